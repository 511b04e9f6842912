import Readings
import Testing
import Windowing

private let minute: Int64 = 60_000

private func policy(_ windows: [(Int64, Int64)], lateness: Int64) throws -> WindowPolicy {
    let specifications = try windows.map { try #require(WindowSpecification(size: $0.0, slide: $0.1)) }
    return try #require(WindowPolicy(specifications: specifications, lateness: lateness))
}

private func observation(_ time: Int64, temperature: Double? = 20, status: Status = .ok) -> Observation {
    Observation(
        eventTime: time, interval: 10_000, status: status, values: [.temperature: temperature])
}

/// A window as the tests look at it: [start, end), readings, final.
private struct Window: Equatable, CustomStringConvertible {
    var start: Int64
    var end: Int64
    var count: Int64
    var isFinal: Bool
    init(_ start: Int64, _ end: Int64, _ count: Int64, _ isFinal: Bool) {
        (self.start, self.end, self.count, self.isFinal) = (start, end, count, isFinal)
    }
    init(_ result: WindowResult) {
        self.init(
            result.start, result.start + result.specification.size, result.totals.readingCount, result.isFinal)
    }
    var description: String { "[\(start), \(end)) \(count)\(isFinal ? " final" : "")" }
}

/// The state under test, by reference, so that what changes it can stand in an expectation.
private final class Windows {
    var state: SensorWindows
    let policy: WindowPolicy

    init(_ policy: WindowPolicy, _ state: SensorWindows = SensorWindows()) {
        (self.policy, self.state) = (policy, state)
    }

    @discardableResult
    func add(_ observation: Observation) -> Bool { state.add(observation, policy: policy) }

    func closed(through time: Int64 = .min) -> [Window] {
        var windows: [Window] = []
        state.advance(through: time, policy: policy) { windows.append(Window($0)) }
        return windows
    }

    func changed() -> [Window] {
        var windows: [Window] = []
        state.drainDirtyWindows(policy: policy) { windows.append(Window($0)) }
        return windows
    }

    /// Final windows with what late readings add to them.
    func late() -> [Window] {
        var windows: [Window] = []
        state.drainLateReadings(policy: policy) {
            windows.append(Window($0.start, $0.start + $0.specification.size, $0.totals.readingCount, true))
        }
        return windows
    }
}

@Suite struct SensorWindowsTests {
    @Test func specificationsMustDivide() {
        #expect(WindowSpecification(size: 10, slide: 3) == nil)
        #expect(WindowSpecification(size: 10, slide: 0) == nil)
        #expect(WindowSpecification(size: 5, slide: 10) == nil)
        #expect(WindowSpecification(size: 10, slide: 10) != nil)
        #expect(WindowPolicy(specifications: [], lateness: 0) == nil)
        let twice = [WindowSpecification(size: 10, slide: 5), WindowSpecification(size: 10, slide: 5)].compactMap { $0 }
        #expect(WindowPolicy(specifications: twice, lateness: 0) == nil)
    }

    @Test func panesAreTheGreatestCommonSlide() throws {
        #expect(try policy([(60, 12), (90, 18)], lateness: 0).paneSize == 6)
    }

    @Test(
        arguments: [
            // An event at a window's first instant belongs to it, one at its end to the next.
            (0, [Window(-20, 10, 1, true), Window(-10, 20, 1, true), Window(0, 30, 1, true)]),
            (9, [Window(-20, 10, 1, true), Window(-10, 20, 1, true), Window(0, 30, 1, true)]),
            (10, [Window(-10, 20, 1, true), Window(0, 30, 1, true), Window(10, 40, 1, true)]),
            (-1, [Window(-30, 0, 1, true), Window(-20, 10, 1, true), Window(-10, 20, 1, true)]),
        ] as [(Int64, [Window])])
    fileprivate func windowsAreHalfOpenAndAligned(time: Int64, expected: [Window]) throws {
        let policy = try policy([(30, 10)], lateness: 1000)
        let windows = Windows(policy)
        windows.add(observation(time))
        #expect(windows.closed(through: 1000) == expected)
        #expect(windows.closed(through: 2000).isEmpty, "given once")
    }

    /// A window that slides is not worth a row while most of it is still to come.
    @Test func anOpenWindowIsGivenFromItsLastSlideOn() throws {
        let policy = try policy([(30, 10)], lateness: 1000)
        let windows = Windows(policy)
        windows.add(observation(3))
        #expect(windows.changed() == [Window(-20, 10, 1, false)])
        #expect(windows.changed().isEmpty, "given once")
        windows.add(observation(14))
        #expect(windows.changed() == [Window(-10, 20, 2, false)])
        // A long step: the window that it jumped over has its reading from before.
        windows.add(observation(41))
        #expect(
            windows.changed() == [Window(0, 30, 2, false), Window(10, 40, 1, false), Window(20, 50, 1, false)])
        windows.add(observation(5))
        #expect(
            windows.changed() == [Window(-20, 10, 2, false), Window(-10, 20, 3, false), Window(0, 30, 3, false)])
    }

    @Test func aWindowIsFinalWhenTheWatermarkReachesItsEnd() throws {
        let policy = try policy([(10, 10)], lateness: 5)
        let windows = Windows(policy)
        windows.add(observation(3))
        windows.add(observation(14))
        #expect(windows.closed().isEmpty, "watermark 9")
        windows.add(observation(15))
        #expect(windows.closed() == [Window(0, 10, 1, true)], "watermark 10")
        #expect(windows.closed().isEmpty, "given once")
        #expect(windows.changed() == [Window(10, 20, 2, false)])
        #expect(windows.late().isEmpty)
    }

    @Test func lateMeansBelowTheWatermark() throws {
        let policy = try policy([(10, 10)], lateness: 5)
        let windows = Windows(policy)
        windows.add(observation(20))
        _ = windows.closed()
        #expect(windows.state.finalThrough == 15)
        #expect(!windows.add(observation(15)), "at the watermark")
        #expect(windows.add(observation(14)), "below it, its window still open")
        #expect(windows.late().isEmpty)
        #expect(windows.add(observation(9)), "below it, its window final")
        #expect(windows.add(observation(3)))
        let late = windows.late()
        #expect(late == [Window(0, 10, 2, true)])
        #expect(windows.late().isEmpty, "given once")
        #expect(windows.changed() == [Window(10, 20, 2, false), Window(20, 30, 1, false)])
    }

    @Test func silenceMakesWindowsFinalAndAReadingInOrderOpensThemAgain() throws {
        let policy = try policy([(10, 5)], lateness: 100)
        let windows = Windows(policy)
        windows.add(observation(7))
        #expect(windows.closed(through: 14) == [Window(0, 10, 1, true)])
        #expect(windows.closed(through: 15) == [Window(5, 15, 1, true)])
        #expect(windows.state.isEmpty)
        #expect(!windows.add(observation(12)), "late depends on order alone")
        #expect(windows.state.finalThrough == -88)
        #expect([windows.state.takeReopening(), windows.state.takeReopening()] == [-88, nil])
        #expect(!windows.state.hasPanes && !windows.state.hasChanges, "what is open again is in the rows")
        #expect(windows.closed(through: 1000).isEmpty && windows.changed().isEmpty)
        var totals = Totals()
        for time: Int64 in [7, 12] { totals.add(observation(time), isLate: false) }
        windows.state.restore([Pane(start: 5, totals: totals)])
        #expect(windows.changed() == [Window(0, 10, 2, false), Window(5, 15, 2, false)])
    }

    /// A board that was cut off for long, whose earlier readings lie in windows that stay final.
    @Test func whatIsInOrderAfterALongSilenceNeedsNoPanes() throws {
        let policy = try policy([(10, 5)], lateness: 100)
        let windows = Windows(policy)
        windows.add(observation(7))
        _ = windows.closed(through: 1000)
        #expect(!windows.add(observation(300)))
        let since = windows.state.takeReopening()
        #expect(windows.state.hasPanes && windows.state.finalThrough == 200 && since == 200)
        #expect(windows.changed() == [Window(295, 305, 1, false)])
    }

    @Test func aLateReadingInOpenAndFinalWindowsIsInBoth() throws {
        let policy = try policy([(30, 10)], lateness: 5)
        let windows = Windows(policy)
        windows.add(observation(20))
        _ = windows.closed()
        #expect(windows.state.finalThrough == 15)
        #expect(windows.add(observation(2)))
        #expect(windows.late() == [Window(-20, 10, 1, true)])
        #expect(windows.closed(through: 30) == [Window(-10, 20, 1, true), Window(0, 30, 2, true)])
    }

    @Test func withoutPanesOnlyTheWatermarkMovesAndLateReadingsAreFolded() throws {
        let policy = try policy([(10, 10)], lateness: 5)
        let windows = Windows(policy, SensorWindows(largestEventTime: 22, finalThrough: 10, policy: policy))
        #expect(!windows.state.hasPanes)
        windows.add(observation(41))
        #expect(windows.add(observation(30)) && windows.add(observation(3)))
        #expect(windows.late() == [Window(0, 10, 1, true)], "the others are open still")
        #expect(windows.closed().isEmpty && windows.changed().isEmpty && windows.state.finalThrough == 10)
        let panes = [22, 41, 30].map { (time: Int64) in
            var totals = Totals()
            totals.add(observation(time), isLate: time == 30)
            return Pane(start: time / 10 * 10, totals: totals)
        }
        windows.state.restore(panes)
        #expect(windows.closed() == [Window(20, 30, 1, true)])
        #expect(windows.changed() == [Window(30, 40, 1, false), Window(40, 50, 1, false)])
        #expect(SensorWindows(largestEventTime: 22, finalThrough: 32, policy: policy).hasPanes, "no window is open")
    }

    @Test func lateReadingsThatCannotBeWrittenMakeTheirWindowsDueAgain() throws {
        let policy = try policy([(10, 10)], lateness: 5)
        let windows = Windows(policy)
        windows.add(observation(100))
        _ = windows.closed()
        windows.add(observation(33))
        windows.state.reopenLateWindows()
        #expect(windows.state.finalThrough == 30 && !windows.state.hasPanes && windows.late().isEmpty)
    }

    @Test func aLongSilenceCostsNothing() throws {
        let policy = try policy([(10 * minute, minute)], lateness: 10 * minute)
        let windows = Windows(policy)
        windows.add(observation(0))
        windows.add(observation(Int64(40) * 365 * 24 * 60 * minute))
        #expect(windows.closed().count == 10)
        #expect(windows.state.paneCount == 1)
    }

    @Test func totalsCountWhatTheyAreNamedFor() throws {
        let policy = try policy([(60_000, 60_000)], lateness: 0)
        let windows = Windows(policy)
        for (time, status) in [(0, Status.ok), (10_000, .warning), (20_000, .failure), (30_000, .failure)] {
            windows.add(observation(Int64(time), temperature: status == .ok ? nil : 10, status: status))
        }
        var results: [WindowResult] = []
        windows.state.advance(through: 60_000, policy: policy) { results.append($0) }
        let totals = try #require(results.first).totals
        #expect(totals.readingCount == 4 && totals.warningCount == 1 && totals.failureCount == 2)
        #expect(totals.summaries[.temperature].count == 3 && totals.summaries[.humidity].mean == nil)
        #expect(abs(totals.coverage(of: 60_000) - 4.0 / 6) < 1e-12)
        #expect(totals.coverage(of: 30_000) == 1, "a stretch is covered once, however often readings come")
    }
}
