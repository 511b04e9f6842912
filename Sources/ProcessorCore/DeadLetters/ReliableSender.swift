import KafkaClient
import Monitoring
import Platform
import Synchronization

/// Sends messages and waits until the broker has acknowledged each, however long that takes, unless a limit is
/// set.
final class ReliableSender: Sendable {
    /// A message to send.
    struct Message: Sendable {
        var key: [UInt8]?
        var value: [UInt8]?
        var headers: [KafkaHeader]
        var partition: Int32? = nil
    }

    private let configuration: KafkaConfiguration
    private let topic: String
    private let log: Log
    private let clock: any Clock<Duration>
    private let progressLimit: Duration?
    private let report: (@Sendable (KafkaError?) -> Void)?
    private let producer = Mutex<KafkaProducer?>(nil)
    private let waiting = Mutex<Waiting?>(nil)

    /// Messages on their way, and who waits for them.
    private struct Waiting {
        var pending: Set<UInt64>
        var failed: [UInt64: KafkaError] = [:]
        var continuation: CheckedContinuation<[UInt64: KafkaError], Never>
    }

    /// More at once would not fit into librdkafka's queue.
    private static let portion = 10_000

    /// - Parameters:
    ///   - progressLimit: how long the broker may take nothing; nil for ever.
    ///   - report: takes each error that is tried again, and nil when all is sent. Without it a line of the log says each.
    init(
        configuration: KafkaConfiguration, topic: String, log: Log, clock: any Clock<Duration>,
        progressLimit: Duration? = nil, report: (@Sendable (KafkaError?) -> Void)? = nil
    ) {
        self.progressLimit = progressLimit
        self.report = report
        var configuration = configuration
        if let progressLimit, configuration.properties["message.timeout.ms"] == nil {
            configuration.properties["message.timeout.ms"] = "\(progressLimit.millisecondsRoundedDown)"
        }
        // A message that was received with headers added may be above librdkafka's own limit; the broker's decides.
        if configuration.properties["message.max.bytes"] == nil {
            configuration.properties["message.max.bytes"] = "1000000000"
        }
        self.configuration = configuration
        self.topic = topic
        self.log = log
        self.clock = clock
    }

    /// Sends messages and returns when each is acknowledged or refused for good.
    /// - Returns: those that the broker refuses for good, by their index, and why.
    /// - Throws: CancellationError, or `KafkaError` if a limit is set.
    func send(_ messages: [Message]) async throws -> [Int: KafkaError] {
        var refused: [Int: KafkaError] = [:]
        for start in stride(from: 0, to: messages.count, by: ReliableSender.portion) {
            var open = Set((start..<min(start + ReliableSender.portion, messages.count)).map { UInt64($0) })
            var backoff = Backoff.ofServers
            let began = ContinuousClock.now
            while !open.isEmpty {
                var failed = Dictionary(uniqueKeysWithValues: open.map { ($0, KafkaError?.none) })
                do {
                    failed = try await send(messages, open, through: try currentProducer()).mapValues { $0 }
                } catch let error as CancellationError {
                    throw error
                } catch {
                    log.warning("cannot send messages", ["topic": topic, "error": "\(error)"])
                    if progressLimit != nil { throw error }
                }
                for (index, error) in failed {
                    if let error, isFinal(error) {
                        refused[Int(index)] = error
                        failed[index] = nil
                    }
                }
                open = Set(failed.keys)
                if let error = failed.values.lazy.compactMap({ $0 }).first {
                    if let report {
                        report(error)
                    } else {
                        log.warning(
                            "messages were not taken, trying again",
                            ["topic": topic, "messages": open.count, "error": "\(error)"])
                    }
                    if let progressLimit, !error.isRetriable || began.duration(to: .now) >= progressLimit {
                        throw error
                    }
                }
                if !open.isEmpty {
                    dropProducerIfFatal()
                    try await clock.sleep(for: backoff.next())
                }
            }
        }
        report?(nil)
        return refused
    }

    /// Only a message's size is its own fault; everything else may be mended while it waits.
    private func isFinal(_ error: KafkaError) -> Bool { error.code == .messageTooLarge }

    /// Sends some of the messages and returns those that failed.
    /// - Throws: CancellationError; whether the messages arrive is not known then.
    private func send(
        _ messages: [Message], _ indices: Set<UInt64>, through producer: KafkaProducer
    ) async throws -> [UInt64: KafkaError] {
        let failed = await withTaskCancellationHandler {
            await deliver(messages, indices, through: producer)
        } onCancel: {
            stopWaiting()
        }
        try Task.checkCancellation()
        return failed
    }

    private func deliver(
        _ messages: [Message], _ indices: Set<UInt64>, through producer: KafkaProducer
    ) async -> [UInt64: KafkaError] {
        await withCheckedContinuation { continuation in
            waiting.withLock { $0 = Waiting(pending: indices, continuation: continuation) }
            // The cancellation may have come before there was somebody to wake.
            if Task.isCancelled { return stopWaiting() }
            for index in indices.sorted() {
                let message = messages[Int(index)]
                do throws(KafkaError) {
                    try producer.send(
                        topic: topic, key: message.key, value: message.value, headers: message.headers,
                        partition: message.partition, token: index)
                } catch {
                    settle([(index, error)])
                }
            }
        }
    }

    /// Wakes who waits, although not all is known.
    private func stopWaiting() {
        let stopped = waiting.withLock { waiting in
            defer { waiting = nil }
            return waiting
        }
        stopped?.continuation.resume(returning: stopped?.failed ?? [:])
    }

    /// Takes note of messages that have arrived or failed.
    private func settle(_ results: [(token: UInt64, error: KafkaError?)]) {
        let done = waiting.withLock {
            waiting -> (CheckedContinuation<[UInt64: KafkaError], Never>, [UInt64: KafkaError])? in
            for result in results where waiting?.pending.remove(result.token) != nil {
                if let error = result.error { waiting?.failed[result.token] = error }
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
            let log = log
            let observer = KafkaObserver(error: { error in log.debug("Kafka", ["error": "\(error)"]) })
            let made = try KafkaProducer(configuration: configuration, observer: observer) { [weak self] reports in
                self?.settle(reports.map { ($0.token, $0.error) })
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
