/// What has interrupted the fetching of messages: after it a partition may have another log than before, as that of a topic
/// that was deleted and made anew, or of a broker that lost what it had acknowledged. librdkafka goes on as if nothing had
/// happened.
public struct FetchInterruptions: Sendable, Equatable {
    /// The numbers of the brokers to which a connection was lost; negative for an address that is not known to be a
    /// broker's yet.
    public internal(set) var lostBrokers: Set<Int32> = []
    /// Partitions that their broker did not have, or did not lead.
    public internal(set) var unavailable: Set<TopicPartition> = []

    /// Nothing has.
    public init() {}

    /// The name that librdkafka gives to the line of its log about a partition that a broker does not give. It tells it in
    /// no other way, and only with `debug` `topic` (versions 2.0.2 and 2.8.0; rd_kafka_toppar_leader_unavailable).
    static let facility = "BROKERUA"

    /// Takes such a line, like `[thrd:main]: sensor.readings [3]: broker unavailable: fetch: Broker: Not leader`.
    mutating func note(line: String) {
        guard let end = line.firstRange(of: "]: broker unavailable: ")?.lowerBound,
            let start = line[..<end].lastIndex(of: "["), start > line.startIndex,
            let partition = Int32(line[line.index(after: start)..<end])
        else { return }
        let topic = line[..<line.index(before: start)]
        let name = topic.lastIndex(of: " ").map { topic[topic.index(after: $0)...] } ?? topic
        unavailable.insert(TopicPartition(String(name), partition))
    }
}
