import KafkaClient
import Testing

@testable import ProcessorCore

/// Partitions that a group leaves to nobody.
@Suite struct GroupCoverageTests {
    private let start = ContinuousClock.now

    private func group(_ partitions: [[Int32]], isStable: Bool = true) -> KafkaGroup {
        KafkaGroup(
            isStable: isStable,
            members: partitions.enumerated().map { number, partitions in
                KafkaGroup.Member(
                    identifier: "member-\(number)", client: "processor",
                    partitions: Set(partitions.map { TopicPartition("readings", $0) } + [TopicPartition("other", 9)]))
            })
    }

    private func observe(
        _ coverage: inout GroupCoverage, _ partitions: [[Int32]], isStable: Bool = true, member: Int = 0,
        after seconds: Int
    ) -> GroupCoverage.Finding {
        coverage.observe(
            group(partitions, isStable: isStable), topic: "readings", partitionCount: 5, member: "member-\(member)",
            at: start + .seconds(seconds))
    }

    @Test func aGroupThatReadsEverythingIsLeftAlone() {
        var coverage = GroupCoverage()
        for seconds in stride(from: 0, through: 200, by: 10) {
            #expect(observe(&coverage, [[0, 1, 2], [3, 4]], after: seconds) == GroupCoverage.Finding())
        }
    }

    @Test func theFirstMemberJoinsAnewForWhatIsNobodysAtTwoLooks() {
        var coverage = GroupCoverage()
        #expect(observe(&coverage, [[0, 1], [2, 3]], after: 0).rejoinsFor.isEmpty)
        #expect(observe(&coverage, [[0, 1], [2, 3]], after: 10).rejoinsFor == [4])
        // What it does takes a moment, and works or not.
        #expect(observe(&coverage, [[0, 1], [2, 3]], after: 20).rejoinsFor.isEmpty)
        #expect(observe(&coverage, [[0, 1], [2, 3]], after: 40).rejoinsFor == [4])
        #expect(observe(&coverage, [[0, 1], [2, 3, 4]], after: 50) == GroupCoverage.Finding())
    }

    @Test func theOthersOnlySayItAfterAMinute() {
        var coverage = GroupCoverage()
        for seconds in stride(from: 0, to: 60, by: 10) {
            #expect(
                observe(&coverage, [[0, 1], [2, 3]], member: 1, after: seconds) == GroupCoverage.Finding(),
                "after \(seconds) s")
        }
        #expect(observe(&coverage, [[0, 1], [2, 3]], member: 1, after: 60) == GroupCoverage.Finding(unowned: [4]))
        // It stays a failure while the group changes, and ends when somebody reads the partition.
        #expect(observe(&coverage, [[], []], isStable: false, member: 1, after: 70).unowned == [4])
        #expect(observe(&coverage, [[0, 1, 4], [2, 3]], member: 1, after: 80).unowned.isEmpty)
    }

    @Test func aRebalanceIsNoLackOfOwners() {
        var coverage = GroupCoverage()
        for seconds in stride(from: 0, through: 200, by: 10) {
            #expect(observe(&coverage, [[], []], isStable: false, after: seconds) == GroupCoverage.Finding())
        }
        #expect(observe(&coverage, [], after: 210) == GroupCoverage.Finding())
    }
}
