import Glibc
import KafkaClient
import PostgresClient

/// Messages of the topic that nobody has read yet: those after the offsets in the database.
public enum UnreadMessages: Sendable, Equatable {
    /// The broker was not asked, or did not answer; why.
    case notAsked(String)
    /// How many there are of each partition that has some. What marks transactions counts too until it is read over.
    case known([Int32: Int64])

    /// How many there are; nil if that is not known.
    public var count: Int64? {
        switch self {
        case .notAsked: nil
        case .known(let counts): counts.values.reduce(0, +)
        }
    }
}

extension UnreadMessages: CustomStringConvertible {
    /// Such as `716 of partition 3, 743 of partition 5`.
    public var description: String {
        switch self {
        case .notAsked(let reason): return "not asked: \(reason)"
        case .known(let counts):
            let unread = counts.sorted { $0.key < $1.key }.filter { $0.value > 0 }
            return unread.isEmpty
                ? "0" : unread.map { "\($0.value) of partition \($0.key)" }.joined(separator: ", ")
        }
    }
}

/// What the broker had of a topic at a moment.
struct TopicEnds: Sendable {
    /// How long each request may take.
    static let requestTimeout = Duration.seconds(2)
    /// How long running processors are given to read what was there, milliseconds.
    static let readerLimit: Int64 = 3000

    let topic: String
    /// Nil if the broker did not answer; `reason` then says why.
    let offsets: [Int32: KafkaWatermarks]?
    var reason = ""

    /// Asks the broker, for a few seconds at most.
    static func ask(_ settings: ProcessorSettings) async -> TopicEnds {
        do {
            let admin = try KafkaAdmin(configuration: settings.kafka)
            return TopicEnds(
                topic: settings.topic,
                offsets: try await admin.watermarks(ofTopic: settings.topic, timeout: requestTimeout))
        } catch {
            return TopicEnds(topic: settings.topic, offsets: nil, reason: "\(error)")
        }
    }

    /// Waits until what was there has been read, but not for long: what a running processor has on its way is not worth
    /// being called unread.
    func waitForReaders(_ connection: PostgresConnection) throws {
        var remaining = TopicEnds.readerLimit
        while case .known(let counts) = try unread(connection), !counts.isEmpty, remaining > 0 {
            usleep(100_000)
            remaining -= 100
        }
    }

    /// What the database has not yet got of it.
    func unread(_ connection: PostgresConnection) throws -> UnreadMessages {
        guard let offsets else { return .notAsked(reason) }
        let consumed = try OffsetTable(connection: connection, topic: topic).positions()
        return .known(
            offsets.reduce(into: [:]) { counts, offset in
                // What the broker has dropped cannot be read any more. A log that ends before what was read is another
                // one, and is read from its start.
                let known = consumed[offset.key]?.next ?? 0
                let next = known > offset.value.high ? offset.value.low : max(offset.value.low, known)
                if next < offset.value.high { counts[offset.key] = offset.value.high - next }
            })
    }
}
