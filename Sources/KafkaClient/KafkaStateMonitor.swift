import Synchronization

/// Watches one client, and reports each change of state once. Give `observer` to the client and call `succeeded` when it
/// got through.
public final class KafkaStateMonitor: Sendable {
    private let watch: Mutex<KafkaStateWatch>
    private let report: @Sendable (KafkaStateChange) -> Void
    private let log: @Sendable (_ facility: String, _ message: String) -> Void

    /// - Parameters:
    ///   - configuration: how the client connects.
    ///   - log: takes librdkafka's own lines, which belong to the level for debugging.
    ///   - report: called with each change, in order, on the thread that brought it about. It must return soon and not
    ///     call the monitor.
    public init(
        _ configuration: KafkaConfiguration,
        log: @escaping @Sendable (_ facility: String, _ message: String) -> Void = { _, _ in },
        report: @escaping @Sendable (KafkaStateChange) -> Void
    ) {
        watch = Mutex(KafkaStateWatch(configuration))
        self.log = log
        self.report = report
    }

    /// For the client that is watched. A client that takes its place may have the same one.
    public var observer: KafkaObserver {
        KafkaObserver(
            log: { [log] _, facility, message in log(facility, message) },
            error: { [weak self] in self?.failed($0) },
            throttle: { [weak self] duration in self?.update { $0.throttled(by: duration, at: $1) } },
            connection: { [weak self] name, isUp in
                self?.update { $0.connection(to: name, isUp: isUp, at: $1) }
            })
    }

    /// What is wrong now.
    public var trouble: KafkaTrouble? { watch.withLock { $0.trouble } }

    /// Whether a broker is connected.
    public var isConnected: Bool { watch.withLock { $0.isConnected } }

    /// Takes an error of a message or of a call; those of the client come through `observer`.
    public func failed(_ error: KafkaError) {
        update { $0.failed(error, at: $1) }
    }

    /// Takes that no client can be made.
    public func failed(_ error: KafkaConfigurationError) {
        update { $0.failed(error, at: $1) }
    }

    /// Takes that the client that was watched is gone; another one may have the same monitor.
    public func clientEnded() {
        update { watch, _ in
            watch.clientEnded()
            return nil
        }
    }

    /// Takes that the cluster acknowledged or gave a message.
    public func succeeded() {
        update { $0.succeeded(at: $1) }
    }

    /// Takes whether messages wait for the cluster's answer; see `KafkaStateWatch.isWaiting`.
    public func waits(_ isWaiting: Bool) {
        update { watch, _ in
            watch.isWaiting = isWaiting
            return nil
        }
    }

    private func update(_ change: (inout KafkaStateWatch, ContinuousClock.Instant) -> KafkaStateChange?) {
        // The report is made under the lock, so that two of them cannot change places.
        let due = watch.withLock { watch in
            let before = watch.nextCheck
            if let change = change(&watch, .now) { report(change) }
            return watch.nextCheck == before ? nil : watch.nextCheck
        }
        guard let due else { return }
        Task { [weak self] in
            try await Task.sleep(until: due)
            self?.update { $0.check(at: $1) }
        }
    }
}
