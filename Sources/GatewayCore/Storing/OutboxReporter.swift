import Monitoring
import Outbox
import Platform
import Presentation
import Synchronization

/// Turns what happens in the outbox into metrics, health and log: one line a change of state.
struct OutboxReporter: Sendable {
    private let metrics: GatewayMetrics
    private let health: Health
    private let log: Log
    private let state = State()

    private final class State: Sendable {
        /// The trouble that was logged last; nil while the storage takes readings.
        let trouble = Mutex<String?>(nil)
    }

    init(metrics: GatewayMetrics, health: Health, log: Log) {
        self.metrics = metrics
        self.health = health
        self.log = log
    }

    /// What the outbox tells.
    /// - Parameter appended: called when there are new readings.
    func outboxObserver(appended: @escaping @Sendable () -> Void) -> OutboxObserver {
        OutboxObserver(
            appended: appended, troubled: { refused($0, waiting: 0) }, salvaged: salvaged, putBack: putBack,
            setAside: { numbers in
                metrics.unreadable.increment(by: UInt64(numbers.count))
                log.error(
                    "rows of the outbox hold no reading and were set aside in its table \"unreadable\"",
                    ["count": numbers.count, "first": numbers.min() ?? 0])
            })
    }

    /// What the writer tells.
    var writerObserver: OutboxWriterObserver {
        OutboxWriterObserver(
            committed: { count, atRisk in
                metrics.sampled.increment(by: UInt64(count))
                metrics.longestAtRisk.raise(to: atRisk / .seconds(1))
                if health.state(of: Self.part) == nil { health.report(Self.part, .healthy) }
            }, refused: { refused($0, waiting: $1) },
            recovered: {
                state.trouble.withLock { $0 = nil }
                health.report(Self.part, .healthy)
                log.notice("the outbox takes readings again")
            }, dropped: { metrics.unrecorded.increment(by: UInt64($0)) })
    }

    /// The part that health names.
    private static let part = "outbox"

    private func refused(_ error: OutboxError, waiting: Int) {
        health.report(Self.part, .degraded("\(error); readings wait in memory"))
        // The same trouble is told once, however often it is met.
        let text = "\(error.code) \(error.message)"
        let isNew = state.trouble.withLock { trouble in
            defer { trouble = text }
            return trouble != text
        }
        if isNew {
            log.error("the outbox takes no readings; they wait in memory", ["error": "\(error)", "waiting": waiting])
        }
    }

    private func salvaged(_ salvage: OutboxSalvage) {
        metrics.salvages.increment()
        log.error(
            "a damaged outbox was set aside; what can be read of it waits in a new one",
            [
                "file": salvage.path, "cause": salvage.cause?.message ?? "found by an earlier start",
                "readings": salvage.readings, "missing": salvage.missing,
                "interrupted": salvage.interruption.map { "\($0); tried again at the next start" } ?? "no",
            ])
    }

    private func putBack(_ found: String?) {
        metrics.salvages.increment()
        log.error(
            "the outbox's file was deleted or replaced while in use, and was put back: stop the gateway before you do that",
            ["found_in_its_place": found ?? "nothing"])
    }
}
