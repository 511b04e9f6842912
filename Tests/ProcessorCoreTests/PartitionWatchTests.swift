import Alerting
import Testing

@testable import ProcessorCore

/// When silence means something.
@Suite struct PartitionWatchTests {
    @Test func aStretchEndsWithAGap() {
        var watch = PartitionWatch()
        #expect(watch.silence(lastArrival: 0, partition: 1) == nil)
        for time: Int64 in [1000, 6000, 21_000] { watch.confirm(1, at: time) }
        #expect(watch.silence(lastArrival: 0, partition: 1) == .init(since: 1000, through: 21_000))
        #expect(watch.silence(lastArrival: 7000, partition: 1) == .init(since: 7000, through: 21_000))
        watch.confirm(1, at: 36_001)
        #expect(watch.silence(lastArrival: 0, partition: 1) == .init(since: 36_001, through: 36_001))
        watch.confirm(1, at: 36_000)
        #expect(watch.silence(lastArrival: 0, partition: 1)?.since == 36_000, "the clock was set back")
        watch.confirm(2, at: 1)
        watch.keep([2])
        #expect(watch.stretches.keys.sorted() == [2])
    }

    @Test func anAnswerCountsFromItsQuestionOnceAllIsRead() {
        var ends = EndOfPartition()
        let instant = ContinuousClock.now
        var questions = 0
        func ask(_ seconds: Int, now: Int64, end: Int64?) {
            struct Away: Error {}
            ends.ask([0], at: instant + .seconds(seconds), now: { now }) { _ in
                questions += 1
                guard let end else { throw Away() }
                return end
            }
        }
        ask(0, now: 100, end: 7)
        #expect(ends.reached([0: 6]) == [:])
        ask(60, now: 160, end: 9)
        #expect(questions == 1, "the first answer still stands")
        #expect(ends.reached([0: 7]) == [0: 100])
        #expect(ends.reached([0: 7]) == [:], "each answer once")
        ask(61, now: 161, end: nil)
        ask(62, now: 162, end: 9)
        #expect(questions == 2, "a broker that is away is left alone for a while")
        ask(66, now: 166, end: 9)
        ends.forget()
        #expect(questions == 3 && ends.reached([0: 9]) == [:])
        ask(67, now: 167, end: 9)
        #expect(questions == 3)
        ask(71, now: 171, end: 9)
        #expect(ends.reached([0: 9]) == [0: 171])
    }
}
