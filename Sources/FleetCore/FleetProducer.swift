import KafkaClient
import Readings
import Synchronization

/// Sends a fleet's messages to a topic, at a steady rate or as fast as the broker takes them.
public struct FleetProducer: Sendable {
    /// Where the messages go.
    public let configuration: KafkaConfiguration
    /// The topic.
    public let topic: String
    /// Messages a second; 0 is as fast as possible.
    public let rate: Double

    /// Messages that may wait for their acknowledgement.
    private static let window = 100_000

    /// Makes a producer; it connects when it runs.
    public init(configuration: KafkaConfiguration, topic: String, rate: Double = 0) {
        var configuration = configuration
        let defaults = [
            "queue.buffering.max.messages": "\(FleetProducer.window + 1)",
            "queue.buffering.max.kbytes": "262144",
            "batch.num.messages": "10000",
            "linger.ms": rate == 0 ? "20" : "2",
        ]
        configuration.properties.merge(defaults) { set, _ in set }
        self.configuration = configuration
        self.topic = topic
        self.rate = rate
    }

    /// How long the broker may take for what was sent, before it counts as undelivered; and the same after a stop.
    private static let patience = (usual: Duration.seconds(60), stopping: Duration.seconds(10))

    /// Sends all messages, and returns when the broker has acknowledged them. Cancelling the task stops it after what
    /// was sent is acknowledged.
    /// - Parameters:
    ///   - generator: what to send; it is advanced.
    ///   - clock: what the rate is measured on.
    ///   - isStopped: asked between messages; once true, nothing more is generated.
    /// - Throws: if a message was not acknowledged, or the client cannot start.
    public func run(
        _ generator: inout FleetGenerator, clock: some Clock<Duration> = ContinuousClock(),
        isStopped: @Sendable () -> Bool = { false }
    ) async throws(FleetError) {
        let (producer, deliveries) = try connect()
        let start = clock.now
        var sent = 0
        while !isStopped(), !Task.isCancelled, deliveries.failure == nil {
            if rate > 0, sent.isMultiple(of: burst) {
                do {
                    try await clock.sleep(until: start.advanced(by: .seconds(Double(sent) / rate)), tolerance: nil)
                } catch {
                    break
                }
            }
            guard let message = generator.next() else { break }
            do {
                try await send(message, by: producer, deliveries)
            } catch {
                await producer.close(timeout: .zero)
                throw error
            }
            sent += 1
        }
        await producer.close(
            timeout: Task.isCancelled ? FleetProducer.patience.stopping : FleetProducer.patience.usual)
        if let failure = deliveries.failure { throw failure }
    }

    /// Sends messages at once, and returns when the broker has acknowledged them.
    /// - Parameter isStopping: whether the broker gets no more than the time of a stop for it.
    /// - Throws: if a message was not acknowledged, or the client cannot start.
    public func send(_ messages: [FleetMessage], isStopping: Bool = false) async throws(FleetError) {
        let (producer, deliveries) = try connect()
        for message in messages where deliveries.failure == nil {
            do {
                try await send(message, by: producer, deliveries)
            } catch {
                await producer.close(timeout: .zero)
                throw error
            }
        }
        await producer.close(timeout: isStopping ? FleetProducer.patience.stopping : FleetProducer.patience.usual)
        if let failure = deliveries.failure { throw failure }
    }

    private func connect() throws(FleetError) -> (KafkaProducer, Deliveries) {
        let deliveries = Deliveries()
        do {
            return (try KafkaProducer(configuration: configuration) { deliveries.add($0) }, deliveries)
        } catch {
            throw FleetError.kafka("\(error)")
        }
    }

    /// Messages between two looks at the clock: those of a hundredth of a second.
    private var burst: Int { max(1, Int(min(rate / 100, 1000))) }

    private func send(
        _ message: FleetMessage, by producer: KafkaProducer, _ deliveries: Deliveries
    ) async throws(FleetError) {
        while true {
            await deliveries.waitForRoom(limit: FleetProducer.window)
            // At a steady rate the fleet is as boards are; for load as such the header would only be in the way.
            let headers = rate > 0 ? [KafkaHeader(committedAt: SystemWallClock().now().milliseconds)] : []
            do throws(KafkaError) {
                try producer.send(
                    topic: topic, key: Array("\(message.gateway)\(message.keySuffix)".utf8), value: message.bytes,
                    headers: headers, token: 0)
                deliveries.sent()
                return
            } catch {
                guard error.code == .queueFull, !Task.isCancelled else { throw FleetError.kafka("\(error)") }
                // The bytes in the queue, not the messages: room comes with the next acknowledgements.
                await deliveries.waitForNext()
            }
        }
    }
}

/// Counts what is on its way, and wakes the sender when there is room.
private final class Deliveries: Sendable {
    private struct State {
        var pending = 0
        var undelivered = 0
        var reason = ""
        var limit = 0
        var waiting: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())

    var failure: FleetError? {
        state.withLock { $0.undelivered > 0 ? .undelivered(messages: $0.undelivered, reason: $0.reason) : nil }
    }

    func sent() {
        state.withLock { $0.pending += 1 }
    }

    func add(_ reports: [DeliveryReport]) {
        let waiting = state.withLock { state -> CheckedContinuation<Void, Never>? in
            state.pending -= reports.count
            for report in reports {
                guard let error = report.error else { continue }
                if state.undelivered == 0 { state.reason = "\(error)" }
                state.undelivered += 1
            }
            guard state.pending <= state.limit else { return nil }
            defer { state.waiting = nil }
            return state.waiting
        }
        waiting?.resume()
    }

    /// Returns when fewer than `limit` messages are on their way; if it has to wait, when half of them are through.
    func waitForRoom(limit: Int) async {
        if state.withLock({ $0.pending < limit }) { return }
        await wait(limit: limit / 2)
    }

    /// Returns after the next acknowledgements.
    func waitForNext() async {
        await wait(limit: state.withLock { $0.pending - 1 })
    }

    /// Returns when no more than `limit` messages are on their way, or the task is cancelled.
    private func wait(limit: Int) async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isThere = state.withLock { state in
                    if state.pending <= limit || Task.isCancelled { return true }
                    state.limit = limit
                    state.waiting = continuation
                    return false
                }
                if isThere { continuation.resume() }
            }
        } onCancel: {
            let waiting = state.withLock { state in
                defer { state.waiting = nil }
                return state.waiting
            }
            waiting?.resume()
        }
    }
}
