import KafkaClient
import Monitoring
import Platform
import Readings
import Synchronization

/// The topic of messages that are no readings: each goes there unchanged, with headers that say why, where it was and
/// when it was looked at.
final class RejectedTopic: Sendable {
    private let configuration: KafkaConfiguration
    private let topic: String
    private let sourceTopic: String
    private let log: Log
    private let clock: any Clock<Duration>
    private let producer = Mutex<KafkaProducer?>(nil)
    private let waiting = Mutex<Waiting?>(nil)

    /// Messages on their way, and who waits for them.
    private struct Waiting {
        var pending: Set<UInt64>
        var failed: Set<UInt64> = []
        var continuation: CheckedContinuation<Set<UInt64>, Never>
    }

    init(
        configuration: KafkaConfiguration, topic: String, sourceTopic: String, log: Log, clock: any Clock<Duration>
    ) {
        var configuration = configuration
        configuration.properties["group.instance.id"] = nil
        self.configuration = configuration
        self.topic = topic
        self.sourceTopic = sourceTopic
        self.log = log
        self.clock = clock
    }

    /// Sends messages and returns when the broker has acknowledged all of them, however long that takes.
    /// - Throws: CancellationError.
    func publish(_ messages: [ReadingBatch.Rejected], now: Timestamp) async throws {
        var open = Set(messages.indices.map { UInt64($0) })
        var backoff = Backoff.ofServers
        while !open.isEmpty {
            do {
                open = await send(messages, open, through: try currentProducer(), now: now)
            } catch {
                log.warning("cannot send rejected messages", ["error": "\(error)"])
            }
            if !open.isEmpty {
                dropProducerIfFatal()
                try await clock.sleep(for: backoff.next())
            }
        }
    }

    /// Sends some of the messages and returns those that failed.
    private func send(
        _ messages: [ReadingBatch.Rejected], _ indices: Set<UInt64>, through producer: KafkaProducer, now: Timestamp
    ) async -> Set<UInt64> {
        await withCheckedContinuation { continuation in
            waiting.withLock { $0 = Waiting(pending: indices, continuation: continuation) }
            for index in indices.sorted() {
                let message = messages[Int(index)]
                do {
                    try producer.send(
                        topic: topic, key: message.key, value: message.value ?? [], headers: headers(message, now),
                        token: index)
                } catch {
                    log.warning("cannot send a rejected message", ["error": "\(error)", "offset": message.offset])
                    settle([(index, false)])
                }
            }
        }
    }

    private func headers(_ message: ReadingBatch.Rejected, _ now: Timestamp) -> [KafkaHeader] {
        [
            KafkaHeader(name: "vigie-reason", text: message.rejection.reason.rawValue),
            KafkaHeader(name: "vigie-detail", text: "\(message.rejection)"),
            KafkaHeader(name: "vigie-topic", text: sourceTopic),
            KafkaHeader(name: "vigie-partition", text: "\(message.partition)"),
            KafkaHeader(name: "vigie-offset", text: "\(message.offset)"),
            KafkaHeader(name: "vigie-time", text: now.description),
        ]
    }

    /// Takes note of messages that have arrived or failed.
    private func settle(_ results: [(token: UInt64, isDelivered: Bool)]) {
        let done = waiting.withLock { waiting -> (CheckedContinuation<Set<UInt64>, Never>, Set<UInt64>)? in
            for result in results where waiting?.pending.remove(result.token) != nil {
                if !result.isDelivered { waiting?.failed.insert(result.token) }
            }
            guard let finished = waiting, finished.pending.isEmpty else { return nil }
            waiting = nil
            return (finished.continuation, finished.failed)
        }
        if let (continuation, failed) = done { continuation.resume(returning: failed) }
    }

    private func currentProducer() throws -> KafkaProducer {
        try producer.withLock { producer in
            if let producer { return producer }
            let made = try KafkaProducer(configuration: configuration) { [weak self] reports in
                self?.settle(reports.map { ($0.token, $0.error == nil) })
            }
            producer = made
            return made
        }
    }

    private func dropProducerIfFatal() {
        producer.withLock { if $0?.fatalError != nil { $0 = nil } }
    }
}

extension Backoff {
    /// Between two attempts to reach the database or the broker.
    static var ofServers: Backoff { Backoff(firstMilliseconds: 100, longestMilliseconds: 10_000) }
}
