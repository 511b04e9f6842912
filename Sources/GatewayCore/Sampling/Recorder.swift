import Monitoring
import Outbox
import Readings

/// Puts readings into the outbox. While the storage refuses them it keeps a bounded number in memory, and the gateway
/// goes on.
actor Recorder {
    private let outbox: Outbox
    private let capacity: Int
    private let metrics: GatewayMetrics
    private let health: Health
    private let log: Log
    private let recorded: @Sendable (Reading) -> Void
    private var waiting: [OutboxRecord] = []

    /// - Parameter recorded: called with each reading, when it has been committed or could not be.
    init(
        outbox: Outbox, capacity: Int = 10_000, metrics: GatewayMetrics, health: Health, log: Log,
        recorded: @escaping @Sendable (Reading) -> Void = { _ in }
    ) {
        self.outbox = outbox
        self.capacity = capacity
        self.metrics = metrics
        self.health = health
        self.log = log
        self.recorded = recorded
    }

    /// Commits a reading, and those before it that could not be.
    func record(_ record: OutboxRecord) async {
        waiting.append(record)
        if waiting.count > capacity {
            waiting.removeFirst()
            metrics.unrecorded.increment()
        }
        await commit()
        recorded(record.reading)
    }

    /// Commits what still waits in memory, once more, before the program ends.
    func finish() async {
        if !waiting.isEmpty { await commit() }
    }

    private func commit() async {
        let group = waiting
        waiting = []
        do {
            _ = try await outbox.append(group)
            metrics.sampled.increment(by: UInt64(group.count))
            health.report("outbox", .healthy)
        } catch {
            waiting = group + waiting
            health.report("outbox", .degraded("\(error)"))
            log.error("cannot write to the outbox", ["error": "\(error)", "readings in memory": waiting.count])
        }
    }
}
