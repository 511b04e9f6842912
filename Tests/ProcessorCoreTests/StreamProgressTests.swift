import Platform
import ReadingDecoding
import Readings
import TestSupport
import Testing

@testable import ProcessorCore

extension StreamProgress {
    /// `admit`, for use outside of an expectation, which takes no mutating call.
    fileprivate mutating func admits(_ sequence: Int64, from first: Int64 = 1) -> Bool {
        admit(sequence, streamFirst: first, eventTime: sequence * 10)
    }

    fileprivate var ranges: [LossRange] { Array(losses.all) }
}

@Suite struct StreamProgressTests {
    @Test func admitsInOrderOnce() {
        var progress = StreamProgress()
        let first = (1...5).map { progress.admits($0) }
        let second = (1...5).map { progress.admits($0) }
        #expect(first.allSatisfy { $0 } && !second.contains(true))
        #expect(progress.last == 5 && progress.ranges.isEmpty && progress.missing == 0)
        #expect(progress.changes.isEmpty)
    }

    @Test func aJumpLeavesAHoleWithItsTimes() {
        var progress = StreamProgress()
        _ = progress.admits(2)
        _ = progress.admits(6)
        #expect(
            progress.ranges == [
                LossRange(first: 1, last: 1, timeBefore: nil, timeAfter: 20),
                LossRange(first: 3, last: 5, timeBefore: 20, timeAfter: 60),
            ])
        #expect(progress.missing == 4)
    }

    @Test(
        arguments: [
            (3, [LossRange(first: 4, last: 5, timeBefore: 30, timeAfter: 60)]),
            (5, [LossRange(first: 3, last: 4, timeBefore: 20, timeAfter: 50)]),
            (
                4,
                [
                    LossRange(first: 3, last: 3, timeBefore: 20, timeAfter: 40),
                    LossRange(first: 5, last: 5, timeBefore: 40, timeAfter: 60),
                ]
            ),
        ] as [(Int64, [LossRange])])
    func aLateOneShrinksOrSplitsTheHole(sequence: Int64, expected: [LossRange]) {
        var progress = StreamProgress(last: 2, lastEventTime: 20)
        _ = progress.admits(6)
        let first = progress.admits(sequence)
        #expect(first && progress.ranges == expected)
        let second = progress.admits(sequence)
        #expect(!second && progress.ranges == expected)
    }

    @Test func theLargestNumberDoesNotTrap() {
        var progress = StreamProgress()
        let largest = Reading.numbers.upperBound
        let isAdmitted = progress.admit(largest, eventTime: 0)
        #expect(isAdmitted && progress.missing == largest - 1)
        progress.note(gap: [1...largest], reason: .thinned)
        progress.note(first: largest, last: largest, previous: .noStream)
        #expect(progress.missing == largest - 1 && progress.ranges.count == 1)
    }

    @Test func aStreamBeginsWhereItsReadingsSay() {
        var progress = StreamProgress(first: 101)
        _ = progress.admits(103, from: 101)
        #expect(progress.ranges == [LossRange(first: 101, last: 102, timeBefore: nil, timeAfter: 1030)])
        // A report says less, and then more.
        progress.note(first: 102, last: nil, previous: .notTold)
        #expect(progress.first == 101)
        progress.note(first: 91, last: nil, previous: .noStream)
        #expect(progress.first == 91 && progress.missing == 12 && progress.ranges.count == 1)
    }

    @Test func whatIsToldOfAnEmptyStreamIsLost() {
        var progress = StreamProgress(first: 11)
        progress.note(first: 11, last: nil, previous: .noStream)
        #expect(progress.last == 10 && progress.missing == 0)
        progress.note(first: 11, last: 20, previous: .noStream)
        #expect(progress.last == 20 && progress.end == 20 && progress.missing == 10)
        progress.note(gap: [14...16], reason: .queueFull)
        #expect(progress.ranges.map(\.reason) == [.unknown, .queueFull, .unknown])
        // A reading that comes after all is taken, whatever was said of it.
        let isAdmitted = progress.admits(15, from: 11)
        #expect(isAdmitted && progress.missing == 9 && progress.ranges.count == 4)
        #expect(progress.ranges[1] == LossRange(first: 14, last: 14, reason: .queueFull, timeAfter: 150))
    }

    @Test func onlyOneReasonIsJoinedAndOnlyWhatTouches() {
        var progress = StreamProgress(last: 10)
        progress.note(gap: [11...12, 15...16], reason: .droppedOldest)
        progress.note(gap: [13...14], reason: .thinned)
        #expect(progress.ranges.map(\.first) == [11, 13, 15])
        progress.note(gap: [17...17], reason: .droppedOldest)
        #expect(progress.ranges.map(\.last) == [12, 14, 17])
        // Quarantine yields, and what has a stronger reason keeps it.
        progress.note(gap: [11...18], reason: .quarantined)
        #expect(progress.ranges.map(\.reason) == [.droppedOldest, .thinned, .droppedOldest, .quarantined])
        progress.note(gap: [11...18], reason: .stopped)
        #expect(progress.ranges == [LossRange(first: 11, last: 18, reason: .stopped)])
    }

    /// What anybody may say of a stream, in any order and more than once.
    private enum Event {
        case reading(Int64, first: Int64)
        case stream(first: Int64, last: Int64?, previous: DecodedReport.Previous)
        case gap([ClosedRange<Int64>], LossReason)

        func apply(to progress: inout StreamProgress) -> Bool? {
            switch self {
            case .reading(let number, let first): return progress.admits(number, from: first)
            case .stream(let first, let last, let previous):
                progress.note(first: first, last: last, previous: previous)
            case .gap(let ranges, let reason): progress.note(gap: ranges, reason: reason)
            }
            return nil
        }

        var lowest: Int64 {
            switch self {
            case .reading(_, let first), .stream(let first, _, _): first
            case .gap(let ranges, _): ranges.first?.lowerBound ?? .max
            }
        }
    }

    /// The same in plain sets.
    private struct Model {
        var first = Int64.max
        var known: Set<Int64> = []
        var admitted: Set<Int64> = []
        var reasons: [Int64: LossReason] = [:]
        var end: Int64?
        var previous = DecodedReport.Previous.notTold

        mutating func apply(_ event: Event) -> Bool? {
            first = min(first, event.lowest)
            switch event {
            case .reading(let number, _):
                known.insert(number)
                return admitted.insert(number).inserted
            case .stream(_, let last, let previous):
                if let last {
                    end = min(end ?? last, last)
                    known.insert(last)
                }
                self.previous = max(self.previous, previous)
            case .gap(let ranges, let reason):
                for number in ranges.joined() {
                    known.insert(number)
                    reasons[number] = max(reasons[number] ?? .unknown, reason)
                }
            }
            return nil
        }

        var last: Int64 { max(first - 1, known.max() ?? 0) }

        var losses: [Int64: LossReason] {
            guard first <= last else { return [:] }
            let missing = Set(first...last).subtracting(admitted)
            return Dictionary(uniqueKeysWithValues: missing.map { ($0, reasons[$0] ?? .unknown) })
        }
    }

    private func events(using random: inout SeededGenerator) -> [Event] {
        let base = Bool.random(using: &random) ? 0 : Int64.random(in: 1...20, using: &random)
        return (0..<Int.random(in: 1..<70, using: &random)).map { _ in
            let number = base + Int64.random(in: 1...40, using: &random)
            switch Int.random(in: 0..<10, using: &random) {
            case 0:
                let first = base + Int64.random(in: 1...8, using: &random)
                let isLast = Bool.random(using: &random)
                let previous: [DecodedReport.Previous] = [.notTold, .noStream, .stream(StreamID(bits: UInt64(number)))]
                return .stream(
                    first: first, last: isLast ? Int64.random(in: first - 1...first + 40, using: &random) : nil,
                    previous: previous[Int.random(in: 0..<3, using: &random)])
            case 1...3:
                let reason = LossReason.allCases[Int.random(in: 0..<LossReason.allCases.count, using: &random)]
                let length = Int64.random(in: 0...5, using: &random)
                let far = number + length + 2
                return .gap(
                    Bool.random(using: &random) ? [number...number + length] : [number...number, far...far], reason)
            default:
                return .reading(number, first: Int64.random(in: max(1, number - 10)...number, using: &random))
            }
        }
    }

    /// Whatever the order and however often it is said: what is known is what sets of numbers say, and the table, written
    /// now and then, is the same.
    @Test func agreesWithSetsInEveryOrder() {
        var random = SeededGenerator(seed: printedSeed())
        for _ in 0..<400 {
            let events = events(using: &random)
            var outcomes: [[LossRange]] = []
            for _ in 0..<3 {
                let repeated = events.filter { _ in Int.random(in: 0..<4, using: &random) == 0 }
                let order = (events + repeated).shuffled(using: &random)
                var model = Model()
                var progress = StreamProgress(first: order[0].lowest)
                var table: [Int64: LossRange] = [:]
                for event in order {
                    let taken = event.apply(to: &progress)
                    #expect(taken == model.apply(event))
                    if Int.random(in: 0..<5, using: &random) == 0 { write(&progress, &table) }
                }
                write(&progress, &table)
                #expect(progress.first == model.first && progress.last == model.last)
                #expect(progress.end == model.end && progress.previous == model.previous)
                #expect(progress.lastAdmitted == model.admitted.max() ?? 0)
                #expect(progress.lastEventTime == model.admitted.max().map { $0 * 10 })
                var numbers: [Int64: LossReason] = [:]
                for range in progress.ranges {
                    for number in range.first...range.last { numbers[number] = range.reason }
                    // A time is that of the reading beside it.
                    if let time = range.timeBefore { #expect(time == (range.first - 1) * 10) }
                    if let time = range.timeAfter { #expect(time == (range.last + 1) * 10) }
                }
                #expect(numbers == model.losses && progress.missing == Int64(numbers.count))
                let pairs = zip(progress.ranges, progress.ranges.dropFirst())
                #expect(
                    pairs.allSatisfy { $0.last + 1 < $1.first || $0.last + 1 == $1.first && $0.reason != $1.reason })
                #expect(table.values.sorted { $0.first < $1.first } == progress.ranges)
                // A processor that has nothing in memory knows the same.
                let loaded = StreamProgress(
                    first: progress.first, last: progress.last, lastEventTime: progress.lastEventTime,
                    end: progress.end, previous: progress.previous, losses: LossRanges(progress.ranges))
                #expect(!loaded.differs(from: progress) && loaded.lastAdmitted == progress.lastAdmitted)
                outcomes.append(
                    progress.ranges.map { LossRange(first: $0.first, last: $0.last, reason: $0.reason) })
            }
            #expect(outcomes.allSatisfy { $0 == outcomes[0] })
        }
    }

    private func write(_ progress: inout StreamProgress, _ table: inout [Int64: LossRange]) {
        let (gone, new) = progress.rangesToWrite
        for first in gone { #expect(table.removeValue(forKey: first) != nil) }
        for range in new { #expect(table.updateValue(range, forKey: range.first) == nil) }
        progress.forgetChanges()
    }

    /// An outbox that thins its readings leaves as many ranges as readings.
    @Test func tensOfThousandsOfRangesStayInOrder() {
        var progress = StreamProgress()
        progress.note(gap: (1...30_000).map { (number: Int64) in number * 2...number * 2 }, reason: .thinned)
        for number in 0..<Int64(15_000) { _ = progress.admits(number * 2 + 1) }
        for number in 0..<Int64(15_000) { _ = progress.admits(60_000 - number * 2 - 1) }
        #expect(progress.losses.count == 30_000 && progress.missing == 30_000)
        // Told once more, by somebody who thinks that all is lost.
        progress.note(gap: [1...60_000], reason: .thinned)
        #expect(progress.ranges.map(\.first) == (1...30_000).map { $0 * 2 })
        for number in (1...30_000).shuffled() { _ = progress.admits(Int64(number) * 2) }
        #expect(progress.losses.count == 0 && progress.missing == 0)
    }
}
