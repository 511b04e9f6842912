import KafkaClient
import Monitoring
import Readings

/// The topic of messages that do not become rows: each goes there unchanged, with the headers that it had, and headers
/// that say why, where it was and when it was looked at.
final class RejectedTopic: Sendable {
    private let sender: ReliableSender
    private let sourceTopic: String
    private let log: Log

    init(
        configuration: KafkaConfiguration, topic: String, sourceTopic: String, health: RejectedTopicHealth, log: Log,
        clock: any Clock<Duration>
    ) {
        sender = ReliableSender(configuration: configuration, topic: topic, log: log, clock: clock) { error in
            if let error { health.failed(error) } else { health.succeeded() }
        }
        self.sourceTopic = sourceTopic
        self.log = log
    }

    /// Sends messages and returns when the broker has acknowledged all of them, however long that takes.
    /// - Throws: CancellationError.
    func publish(_ messages: [ReadingBatch.Rejected], now: Timestamp) async throws {
        var outgoing = messages.map { message in
            ReliableSender.Message(
                key: message.key, value: message.value, headers: message.headers + headers(message, now))
        }
        let refused = try await sender.send(outgoing)
        if refused.isEmpty { return }
        // The message itself was just below the limit. It must not stop those behind it, so its notice goes without it.
        let tooLarge = refused.keys.sorted()
        for index in tooLarge {
            let omitted = RejectionHeader.omitted.header("\(messages[index].value?.count ?? 0)")
            outgoing[index].value = nil
            outgoing[index].headers = headers(messages[index], now) + [omitted]
            log.warning(
                "a rejected message with its headers is above the broker's limit; its value stays in its own topic",
                ["partition": messages[index].partition, "offset": messages[index].offset])
        }
        for (index, error) in try await sender.send(tooLarge.map { outgoing[$0] }) {
            log.error("the broker refuses the notice of a rejected message", ["index": index, "error": "\(error)"])
        }
    }

    private func headers(_ message: ReadingBatch.Rejected, _ now: Timestamp) -> [KafkaHeader] {
        [
            RejectionHeader.reason.header(message.rejection.reason.rawValue),
            RejectionHeader.detail.header("\(message.rejection)"),
            RejectionHeader.topic.header(sourceTopic),
            RejectionHeader.partition.header("\(message.partition)"),
            RejectionHeader.offset.header("\(message.offset)"),
            RejectionHeader.time.header(now.description),
        ] + (message.ownStream.map { [RejectionHeader.ownStream.header("\($0)")] } ?? [])
    }
}
