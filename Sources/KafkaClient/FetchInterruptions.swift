import Glibc

/// What has interrupted the fetching of messages: after it a partition may have another log than before, as that of a topic
/// that was deleted and made anew, or of a broker that lost what it had acknowledged. librdkafka goes on as if nothing had
/// happened.
public struct FetchInterruptions: Sendable, Equatable {
    /// The numbers of the brokers to which a connection was lost; negative for an address that is not known to be a
    /// broker's yet.
    public internal(set) var lostBrokers: Set<Int32> = []
    /// Partitions that their broker did not have or did not lead, or that a broker did not name when it told what the
    /// cluster has. In the second case librdkafka drops what was on its way for them, such as the error of a fetch that the
    /// deletion of their topic has ended.
    public internal(set) var unavailable: Set<TopicPartition> = []

    /// Nothing has.
    public init() {}

    /// The lines of librdkafka's log that tell it, by the name that each has, and what stands in them behind the partition.
    /// It tells this in no other way, and only with `debug` `topic` (versions 2.0.2 and 2.8.0;
    /// rd_kafka_toppar_leader_unavailable, rd_kafka_topic_partition_cnt_update).
    private static let lines = [
        (facility: "BROKERUA", sign: "]: broker unavailable: "),
        (facility: "REMOVE", sign: "] no longer reported in metadata"),
    ]

    /// Whether a line of librdkafka's log by this name says something of a partition.
    static func isTold(by facility: UnsafePointer<CChar>) -> Bool {
        lines.contains { strcmp(facility, $0.facility) == 0 }
    }

    /// Takes such a line, like `[thrd:main]: sensor.readings [3]: broker unavailable: fetch: Broker: Not leader`.
    mutating func note(line: String) {
        for (_, sign) in FetchInterruptions.lines {
            if let partition = FetchInterruptions.partition(in: line, before: sign) { unavailable.insert(partition) }
        }
    }

    private static func partition(in line: String, before sign: String) -> TopicPartition? {
        guard let end = line.firstRange(of: sign)?.lowerBound,
            let start = line[..<end].lastIndex(of: "["), start > line.startIndex,
            let partition = Int32(line[line.index(after: start)..<end])
        else { return nil }
        let topic = line[..<line.index(before: start)]
        let name = topic.lastIndex(of: " ").map { topic[topic.index(after: $0)...] } ?? topic
        return TopicPartition(String(name), partition)
    }
}
