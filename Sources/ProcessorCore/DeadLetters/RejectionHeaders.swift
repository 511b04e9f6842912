import KafkaClient
import Readings

/// The headers that a rejected message carries after its own. Where a name stands twice, the last one is the
/// processor's.
enum RejectionHeader: String, CaseIterable {
    /// The kind of reason.
    case reason = "vigie-reason"
    /// What was found.
    case detail = "vigie-detail"
    /// The topic that the message was read from.
    case topic = "vigie-topic"
    /// The partition that it was read from.
    case partition = "vigie-partition"
    /// Its offset there.
    case offset = "vigie-offset"
    /// When it was rejected.
    case time = "vigie-time"
    /// Only if the message with these headers is above what the broker takes: the size of the value, which is null here
    /// and stands at its place in the topic that it was read from.
    case omitted = "vigie-omitted"
    /// Only of a conflict of numbers: the stream under which it is sent back.
    case ownStream = "vigie-own-stream"

    func header(_ text: String) -> KafkaHeader { KafkaHeader(name: rawValue, text: text) }
}

/// The headers that a message carries when it was sent back.
enum RedriveHeader: String, CaseIterable {
    /// How often it was sent back.
    case count = "vigie-redriven"
    /// When it was last sent back.
    case time = "vigie-redriven-time"
    /// The place of the message that was rejected first, such as `sensor.readings[3]@1234`.
    case origin = "vigie-origin"

    func header(_ text: String) -> KafkaHeader { KafkaHeader(name: rawValue, text: text) }
}

extension [KafkaHeader] {
    /// The text of the last header of a name.
    func last(_ name: String) -> String? {
        last { $0.name == name }.map { String(decoding: $0.value, as: UTF8.self) }
    }
}
