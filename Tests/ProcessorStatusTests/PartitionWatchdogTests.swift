import Monitoring
import Testing

@testable import ProcessorStatus

@Suite struct PartitionWatchdogTests {
    private let start = ContinuousClock.now

    /// Looks at one partition.
    private func look(
        _ watchdog: inout PartitionWatchdog, after seconds: Int, committed: Int64?, end: Int64?, isHeldUp: Bool = false
    ) -> [PartitionWatchdog.Finding] {
        var view = PartitionView(partition: 3, position: committed, end: end)
        (view.committed, view.freshEnd) = (committed, end)
        return watchdog.observe([view], isHeldUp: isHeldUp, at: start + .seconds(seconds))
    }

    @Test func aPartitionThatStandsStillIsSaidOnceAndThatItGoesOnOnce() {
        var watchdog = PartitionWatchdog()
        #expect(look(&watchdog, after: 0, committed: 100, end: 100) == [])
        #expect(look(&watchdog, after: 500, committed: 100, end: 100) == [], "nothing to read")
        #expect(look(&watchdog, after: 501, committed: 100, end: 102) == [])
        #expect(look(&watchdog, after: 559, committed: 100, end: 816) == [])
        #expect(watchdog.health(topic: "t") == .healthy)
        #expect(
            look(&watchdog, after: 560, committed: 100, end: 816) == [.stalled(3, offset: 100, end: 816)])
        #expect(look(&watchdog, after: 561, committed: 100, end: 817) == [])
        #expect(watchdog.stalled == [3])
        let health = Health.State.failed(
            "partition 3 stands still at offset 100 although there are messages up to 817; restart the processor")
        #expect(watchdog.health(topic: "t") == health)
        #expect(look(&watchdog, after: 562, committed: 101, end: 817) == [.advances(3)])
        #expect(look(&watchdog, after: 563, committed: 101, end: 817) == [])
        #expect(watchdog.health(topic: "t") == .healthy && watchdog.stalled == [])
        #expect(look(&watchdog, after: 622, committed: 101, end: 817) == [.stalled(3, offset: 101, end: 817)])
        #expect(watchdog.observe([], isHeldUp: false, at: start + .seconds(623)) == [], "it is another's now")
        #expect(watchdog.stalled == [])
    }

    @Test func aDatabaseThatIsAwayIsNotAPartitionThatStandsStill() {
        var watchdog = PartitionWatchdog()
        for second in stride(from: 0, through: 600, by: 1) {
            #expect(look(&watchdog, after: second, committed: 5, end: 9, isHeldUp: true) == [])
        }
        // It is back, and nothing happens.
        #expect(look(&watchdog, after: 659, committed: 5, end: 9) == [])
        #expect(look(&watchdog, after: 660, committed: 5, end: 9) == [.stalled(3, offset: 5, end: 9)])
        // It goes away again: what was said stays true.
        #expect(look(&watchdog, after: 800, committed: 5, end: 9, isHeldUp: true) == [])
        #expect(watchdog.stalled == [3])
    }

    @Test func aBrokerThatDoesNotAnswerSaysNothingOfAPartition() {
        var watchdog = PartitionWatchdog()
        #expect(look(&watchdog, after: 0, committed: 5, end: 9) == [])
        #expect(look(&watchdog, after: 59, committed: 5, end: nil) == [])
        #expect(look(&watchdog, after: 118, committed: 5, end: 9) == [])
        #expect(look(&watchdog, after: 119, committed: 5, end: 9) == [.stalled(3, offset: 5, end: 9)])
    }

    /// As after stale batches that follow each other, or when a partition waits although the database is there.
    @Test func aPositionThatIsForgottenIsNoProgress() {
        var watchdog = PartitionWatchdog()
        for second in 0..<60 {
            #expect(look(&watchdog, after: second, committed: second % 2 == 0 ? 5 : nil, end: 9) == [])
        }
        #expect(look(&watchdog, after: 60, committed: nil, end: 9) == [.stalled(3, offset: 5, end: 9)])
        var other = PartitionWatchdog()
        #expect(look(&other, after: 0, committed: nil, end: 0) == [])
        #expect(look(&other, after: 600, committed: nil, end: 0) == [], "it is empty")
        #expect(look(&other, after: 660, committed: nil, end: 1) == [.stalled(3, offset: nil, end: 1)])
    }

    @Test func anOpenTransactionThatHoldsMessagesBackIsSaid() {
        var watchdog = PartitionWatchdog()
        func look(_ seconds: Int, at position: Int64, heldBack: Int64) -> [PartitionWatchdog.Finding] {
            var view = PartitionView(partition: 3, position: position, end: position)
            (view.committed, view.freshEnd, view.heldBack) = (position, position, heldBack)
            return watchdog.observe([view], isHeldUp: false, at: start + .seconds(seconds))
        }
        #expect(look(0, at: 50, heldBack: 1) == [])
        #expect(look(59, at: 57, heldBack: 1) == [], "another transaction")
        #expect(look(118, at: 57, heldBack: 12) == [])
        #expect(look(119, at: 57, heldBack: 12) == [.heldBack(3, offset: 57, count: 12)])
        #expect(look(120, at: 57, heldBack: 14) == [])
        guard case .degraded(let text) = watchdog.health(topic: "t") else {
            Issue.record("the health is \(watchdog.health(topic: "t"))")
            return
        }
        #expect(text.hasPrefix("an open transaction holds back 14 messages of partition 3 from offset 57 on; "))
        #expect(text.contains("describe-producers --topic t --partition 3"))
        #expect(watchdog.stalled == [], "nothing can be read")
        #expect(look(121, at: 71, heldBack: 0) == [.released(3)])
        #expect(watchdog.health(topic: "t") == .healthy)
    }
}
