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

extension SensorWindows {
    fileprivate mutating func closed(_ policy: WindowPolicy, through time: Int64 = .min) -> [Window] {
        var windows: [Window] = []
        advance(through: time, policy: policy) { windows.append(Window($0)) }
        return windows
    }

    fileprivate mutating func changed(_ policy: WindowPolicy) -> [Window] {
        var windows: [Window] = []
        drainDirtyWindows(policy: policy) { windows.append(Window($0)) }
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
            (0, [Window(-20, 10, 1, false), Window(-10, 20, 1, false), Window(0, 30, 1, false)]),
            (9, [Window(-20, 10, 1, false), Window(-10, 20, 1, false), Window(0, 30, 1, false)]),
            (10, [Window(-10, 20, 1, false), Window(0, 30, 1, false), Window(10, 40, 1, false)]),
            (-1, [Window(-30, 0, 1, false), Window(-20, 10, 1, false), Window(-10, 20, 1, false)]),
        ] as [(Int64, [Window])])
    fileprivate func windowsAreHalfOpenAndAligned(time: Int64, expected: [Window]) throws {
        let policy = try policy([(30, 10)], lateness: 1000)
        var windows = SensorWindows()
        var late: Set<LateWindow> = []
        _ = windows.add(observation(time), policy: policy, lateWindows: &late)
        #expect(windows.changed(policy) == expected)
        #expect(windows.changed(policy).isEmpty, "given once")
    }

    @Test func aWindowIsFinalWhenTheWatermarkReachesItsEnd() throws {
        let policy = try policy([(10, 10)], lateness: 5)
        var windows = SensorWindows()
        var late: Set<LateWindow> = []
        _ = windows.add(observation(3), policy: policy, lateWindows: &late)
        _ = windows.add(observation(14), policy: policy, lateWindows: &late)
        #expect(windows.closed(policy).isEmpty, "watermark 9")
        _ = windows.add(observation(15), policy: policy, lateWindows: &late)
        #expect(windows.closed(policy) == [Window(0, 10, 1, true)], "watermark 10")
        #expect(windows.closed(policy).isEmpty, "given once")
        #expect(windows.changed(policy) == [Window(10, 20, 2, false)])
        #expect(late.isEmpty)
    }

    @Test func lateMeansBelowTheWatermark() throws {
        let policy = try policy([(10, 10)], lateness: 5)
        var windows = SensorWindows()
        var late: Set<LateWindow> = []
        _ = windows.add(observation(20), policy: policy, lateWindows: &late)
        _ = windows.closed(policy)
        #expect(windows.finalThrough == 15)
        #expect(!windows.add(observation(15), policy: policy, lateWindows: &late), "at the watermark")
        #expect(windows.add(observation(14), policy: policy, lateWindows: &late), "below it, its window still open")
        #expect(late.isEmpty)
        #expect(windows.add(observation(9), policy: policy, lateWindows: &late), "below it, its window final")
        let tumbling = try #require(WindowSpecification(size: 10, slide: 10))
        #expect(late == [LateWindow(specification: tumbling, start: 0)])
        #expect(windows.changed(policy) == [Window(10, 20, 2, false), Window(20, 30, 1, false)])
    }

    @Test func silenceMakesWindowsFinal() throws {
        let policy = try policy([(10, 5)], lateness: 100)
        var windows = SensorWindows()
        var late: Set<LateWindow> = []
        _ = windows.add(observation(7), policy: policy, lateWindows: &late)
        #expect(windows.closed(policy, through: 14) == [Window(0, 10, 1, true)])
        #expect(windows.closed(policy, through: 15) == [Window(5, 15, 1, true)])
        #expect(windows.isEmpty)
        #expect(windows.add(observation(12), policy: policy, lateWindows: &late), "finality stands")
        #expect(late.count == 1)
        #expect(windows.changed(policy) == [Window(10, 20, 1, false)])
    }

    @Test func aLongSilenceCostsNothing() throws {
        let policy = try policy([(10 * minute, minute)], lateness: 10 * minute)
        var windows = SensorWindows()
        var late: Set<LateWindow> = []
        _ = windows.add(observation(0), policy: policy, lateWindows: &late)
        _ = windows.add(observation(Int64(40) * 365 * 24 * 60 * minute), policy: policy, lateWindows: &late)
        #expect(windows.closed(policy).count == 10)
        #expect(windows.paneCount == 1)
    }

    @Test func totalsCountWhatTheyAreNamedFor() throws {
        let policy = try policy([(60_000, 60_000)], lateness: 0)
        var windows = SensorWindows()
        var late: Set<LateWindow> = []
        for (time, status) in [(0, Status.ok), (10_000, .warning), (20_000, .failure), (30_000, .failure)] {
            _ = windows.add(
                observation(Int64(time), temperature: status == .ok ? nil : 10, status: status), policy: policy,
                lateWindows: &late)
        }
        var results: [WindowResult] = []
        windows.advance(through: 60_000, policy: policy) { results.append($0) }
        let totals = try #require(results.first).totals
        #expect(totals.readingCount == 4 && totals.warningCount == 1 && totals.failureCount == 2)
        #expect(totals.summaries[.temperature].count == 3 && totals.summaries[.humidity].mean == nil)
        #expect(abs(totals.coverage(of: 60_000) - 4.0 / 6) < 1e-12)
        #expect(totals.coverage(of: 30_000) == 1, "a stretch is covered once, however often readings come")
    }
}
