import Alerting
import ProcessorStatus
import Testing

@testable import ProcessorCore

/// When silence means something.
@Suite struct CaughtUpTrackerTests {
    @Test func aStretchEndsWithAGap() {
        var caughtUp = CaughtUpTracker()
        #expect(caughtUp.silence(lastArrival: 0, partition: 1) == nil)
        for time: Int64 in [1000, 6000, 21_000] { caughtUp.confirm(1, at: time) }
        #expect(caughtUp.silence(lastArrival: 0, partition: 1) == .init(since: 1000, through: 21_000))
        #expect(caughtUp.silence(lastArrival: 7000, partition: 1) == .init(since: 7000, through: 21_000))
        caughtUp.confirm(1, at: 36_001)
        #expect(caughtUp.silence(lastArrival: 0, partition: 1) == .init(since: 36_001, through: 36_001))
        caughtUp.confirm(1, at: 36_000)
        #expect(caughtUp.silence(lastArrival: 0, partition: 1)?.since == 36_000, "the clock was set back")
        caughtUp.confirm(2, at: 1)
        caughtUp.keep([2])
        #expect(caughtUp.stretches.keys.sorted() == [2])
    }

    @Test func anAnswerCountsFromItsQuestionOnceAllIsRead() {
        var ends = EndOffsetProbe()
        let instant = ContinuousClock.now
        var questions = 0
        func ask(_ seconds: Int, now: Int64, end: Int64?, of partitions: Set<Int32> = [0]) {
            struct Away: Error {}
            ends.ask(partitions, at: instant + .seconds(seconds), now: { now }) { partitions in
                questions += 1
                guard let end else { throw Away() }
                return Dictionary(uniqueKeysWithValues: partitions.map { ($0, end) })
            }
        }
        ask(0, now: 100, end: 7)
        #expect(ends.reached([0: 6]) == [:])
        ask(60, now: 160, end: 9)
        #expect(questions == 2)
        #expect(ends.reached([0: 7]) == [0: 100], "the first answer still stands")
        #expect(ends.reached([0: 7]) == [:], "each answer once")
        ask(61, now: 161, end: 9)
        #expect(questions == 2)
        ask(62, now: 162, end: 9, of: [0, 1])
        #expect(questions == 3, "a partition that is new is asked for at once")
        #expect(ends.reached([0: 9, 1: 9]) == [0: 162, 1: 162])
        ask(67, now: 167, end: nil)
        ask(68, now: 168, end: 9)
        #expect(questions == 4, "a broker that is away is left alone for a while")
        ask(72, now: 172, end: 9)
        ends.forget()
        #expect(questions == 5 && ends.reached([0: 9]) == [:])
        ask(77, now: 177, end: 9)
        #expect(ends.reached([0: 9]) == [0: 177])
    }

    /// Offsets 5 and 6 mark the ends of transactions, 7 to 9 are of one that is open.
    @Test func theEndIsWhatCanBeRead() {
        var ends = EndOffsetProbe()
        let instant = ContinuousClock.now
        func view(_ position: Int64?, after seconds: Int = 0) -> PartitionView {
            ends.view(0, position: position, highWatermark: 10, at: instant + .seconds(seconds))
        }
        #expect(view(nil).end == 10 && view(nil).freshEnd == nil)
        ends.ask([0], at: instant, now: { 0 }) { _ in [0: 7] }
        #expect(view(5).end == 10 && view(5).freshEnd == 7 && view(5).heldBack == 0)
        #expect(view(5, after: 14).freshEnd == 7 && view(5, after: 15).freshEnd == nil)
        ends.reachEnd(of: 0, at: 7)
        #expect(view(7).end == 7 && view(7).heldBack == 3)
        #expect(view(6).heldBack == 0, "something else is read now")
    }
}
