import KafkaClient
import Readings

/// A message of the rejected topic, taken apart.
struct RejectedMessage: Sendable {
    /// Where it stands in the rejected topic.
    var topicPartition: TopicPartition
    var offsetThere: Int64
    /// The message as it was sent at first; the value is nil also if it was left out.
    var key: [UInt8]?
    var value: [UInt8]?
    var headers: [KafkaHeader]
    /// Why it was rejected.
    var reason: String
    /// Where it was read from.
    var topic: String
    var partition: Int32
    var offset: Int64
    /// When it was rejected.
    var time: Timestamp?
    /// Whether its value only stands where it was read from.
    var isOmitted: Bool
    /// The place of the message that was rejected first, if it was sent back and rejected again.
    var origin: String
    /// Of a conflict of numbers, the stream that was made for it.
    var ownStream: StreamID?
    /// How often it was sent back.
    var redrivenCount: Int

    /// Takes a message apart; nil if it does not have the headers of a rejected one.
    init?(_ message: KafkaMessageView) {
        let all = message.headers
        func text(_ header: RejectionHeader) -> String? { all.last(header.rawValue) }
        guard let reason = text(.reason), let topic = text(.topic),
            let partition = text(.partition).flatMap({ Int32($0) }),
            let offset = text(.offset).flatMap({ Int64($0) })
        else { return nil }
        topicPartition = message.topicPartition
        offsetThere = message.offset
        key = message.keyBytes
        value = message.valueBytes
        self.reason = reason
        self.topic = topic
        self.partition = partition
        self.offset = offset
        time = text(.time).flatMap { Timestamp($0) }
        isOmitted = text(.omitted) != nil
        origin = all.last(RedriveHeader.origin.rawValue) ?? "\(TopicPartition(topic, partition))@\(offset)"
        ownStream = text(.ownStream).flatMap { StreamID($0) }
        redrivenCount = all.last(RedriveHeader.count.rawValue).flatMap { Int($0) } ?? 0
        headers = all
        // A header of the same name that the message had before is its own.
        for name in RejectionHeader.allCases.map(\.rawValue) {
            if let index = headers.lastIndex(where: { $0.name == name }) { headers.remove(at: index) }
        }
        let own = Set(RedriveHeader.allCases.map(\.rawValue))
        headers.removeAll { own.contains($0.name) }
    }

    /// The headers with which it is sent back.
    func redrivenHeaders(now: Timestamp) -> [KafkaHeader] {
        headers + [
            RedriveHeader.count.header("\(min(redrivenCount, .max - 1) + 1)"),
            RedriveHeader.time.header(now.description), RedriveHeader.origin.header(origin),
        ]
    }
}
