import CRdkafka

/// A consumer group of the protocol `classic`, as its coordinator has it.
public struct KafkaGroup: Sendable, Equatable {
    /// A member of it.
    public struct Member: Sendable, Equatable {
        /// What the coordinator calls it; another one after each time it has joined anew.
        public var identifier: String
        /// The name that its client gave itself (`client.id`).
        public var client: String
        /// What it was given to read.
        public var partitions: Set<TopicPartition>

        /// Makes a member.
        public init(identifier: String, client: String, partitions: Set<TopicPartition>) {
            self.identifier = identifier
            self.client = client
            self.partitions = partitions
        }
    }

    /// Whether the members have agreed on who reads what, and no one is joining or leaving.
    public var isStable: Bool
    /// Its members.
    public var members: [Member]

    /// Makes a group.
    public init(isStable: Bool, members: [Member]) {
        self.isStable = isStable
        self.members = members
    }

    init(_ native: rd_kafka_group_info) {
        isStable = native.state.map { String(cString: $0) } == "Stable"
        members = UnsafeBufferPointer(start: native.members, count: Int(native.member_cnt)).map { member in
            let assignment = UnsafeRawBufferPointer(
                start: member.member_assignment, count: max(0, Int(member.member_assignment_size)))
            return Member(
                identifier: member.member_id.map { String(cString: $0) } ?? "",
                client: member.client_id.map { String(cString: $0) } ?? "",
                partitions: KafkaGroup.partitions(inAssignment: Array(assignment)))
        }
    }

    /// Reads what a member was given, as the coordinator keeps it (Kafka's ConsumerProtocolAssignment.json, versions 0
    /// to 3): a version, then for each topic its name and its partitions. What cannot be read is left out.
    static func partitions(inAssignment bytes: [UInt8]) -> Set<TopicPartition> {
        var rest = bytes[...]
        func number(_ width: Int) -> Int? {
            guard rest.count >= width else { return nil }
            let value = rest.prefix(width).reduce(0) { $0 << 8 | Int($1) }
            rest = rest.dropFirst(width)
            return value
        }
        var found: Set<TopicPartition> = []
        guard number(2) != nil, let topics = number(4) else { return [] }
        for _ in 0..<topics {
            guard let length = number(2), rest.count >= length else { return found }
            let topic = String(decoding: rest.prefix(length), as: UTF8.self)
            rest = rest.dropFirst(length)
            guard let count = number(4) else { return found }
            for _ in 0..<count {
                guard let partition = number(4) else { return found }
                found.insert(TopicPartition(topic, Int32(truncatingIfNeeded: partition)))
            }
        }
        return found
    }
}
