import Testing

@testable import KafkaClient

/// What a coordinator keeps of a member's partitions.
@Suite struct KafkaGroupTests {
    /// Version 1; two topics, "a" with partitions 0 and 258, "bc" with none; four bytes of user data.
    private let assignment: [UInt8] = [
        0, 1, 0, 0, 0, 2,
        0, 1, 0x61, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 1, 2,
        0, 2, 0x62, 0x63, 0, 0, 0, 0,
        0, 0, 0, 4, 1, 2, 3, 4,
    ]

    @Test func anAssignmentIsRead() {
        #expect(
            KafkaGroup.partitions(inAssignment: assignment) == [TopicPartition("a", 0), TopicPartition("a", 258)])
    }

    @Test func anAssignmentThatIsCutOffIsNoTrap() {
        for length in 0..<assignment.count {
            let found = KafkaGroup.partitions(inAssignment: Array(assignment.prefix(length)))
            #expect(found.isSubset(of: [TopicPartition("a", 0), TopicPartition("a", 258)]), "\(length) bytes")
        }
        #expect(KafkaGroup.partitions(inAssignment: [0, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]).isEmpty)
    }
}
