import HTTPClient
import Monitoring
import Platform
import PostgresClient
import Readings

/// Tells the webhook of alerts: each notification at least once, those of one alert in their order, for as long as it
/// takes. What is to be told stands in the database, so the stream never waits for the webhook, and several processors
/// share the work.
///
/// Its thread and its connection are its own.
actor AlertNotifier: Service {
    /// What became of one look.
    enum Outcome: Sendable, Equatable {
        /// The webhook took a notification.
        case sent
        /// The webhook did not take one; it is tried again later, others at once.
        case refused
        /// The webhook cannot be used now: no use in trying others.
        case failed
        /// There is nothing to send now.
        case nothing
    }

    /// How long the webhook may fail before health says so.
    static let failureLimit = Duration.seconds(60)
    /// How often the database is looked at when there is nothing to send.
    static let interval = Duration.seconds(1)
    /// A processor that is stopped while it sends does not hold its notification for ever.
    private static let bound = "SET LOCAL idle_in_transaction_session_timeout = '60s'"
    private let settings: ProcessorSettings
    private let webhook: WebhookSettings
    private let metrics: NotifierMetrics
    private let health: Health
    private let log: Log
    private let wallClock: any WallClock
    private let clock: any Clock<Duration>
    private let executor = ThreadExecutor(name: "webhook")

    private var connection: PostgresConnection?
    private var client: HTTPClient?
    private var failingSince: ContinuousClock.Instant?
    private var nextCount = ContinuousClock.now

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(
        settings: ProcessorSettings, webhook: WebhookSettings, metrics: NotifierMetrics, health: Health, log: Log,
        wallClock: any WallClock, clock: any Clock<Duration>
    ) {
        self.settings = settings
        self.webhook = webhook
        self.metrics = metrics
        self.health = health
        self.log = log.component("webhook")
        self.wallClock = wallClock
        self.clock = clock
    }

    /// Sends until it is asked to stop.
    nonisolated func run() async throws {
        do {
            try await cancelOnGracefulShutdown { [self] in
                var backoff = AlertNotifier.backoff
                while true {
                    switch await work() {
                    case .sent, .refused:
                        backoff = AlertNotifier.backoff
                        try Task.checkCancellation()
                    case .nothing: try await clock.sleep(for: AlertNotifier.interval)
                    case .failed: try await clock.sleep(for: backoff.next())
                    }
                }
            }
        } catch is CancellationError {}
    }

    private static var backoff: Backoff { Backoff(firstMilliseconds: 500, longestMilliseconds: 30_000) }

    /// Sends one notification if one is due.
    func work() -> Outcome {
        do {
            // Swift 6.0 takes the transaction's closure, which runs at once, for one that runs meanwhile.
            nonisolated(unsafe) let connection = try connected()
            try count(connection)
            let outcome = try connection.transaction(beginningWith: AlertNotifier.bound) { try sendNext(connection) }
            if outcome == .nothing, failingSince == nil { health.report("webhook", .healthy) }
            return outcome
        } catch {
            connection = nil
            log.warning("cannot look for notifications, trying again", ["error": "\(error)"])
            return .failed
        }
    }

    /// The row stays locked while the webhook answers, so nobody else sends it; if this processor is killed meanwhile, it
    /// is sent again.
    private func sendNext(_ connection: PostgresConnection) throws -> Outcome {
        let table = NotificationTable(connection: connection)
        let now = PostgresTimestamp(milliseconds: wallClock.now().milliseconds)
        guard let due = try table.lockNext(now: now) else { return .nothing }
        let key = "alert-\(due.alertID)-\(due.event)"
        let problem: String
        let outcome: Outcome
        do {
            let answer = try send(due.payload, key)
            if answer.isSuccess {
                try table.markSent(due.id)
                metrics.sent.increment()
                failingSince = nil
                health.report("webhook", .healthy)
                return .sent
            }
            problem = "\(webhook.address) answered with status \(answer.status)"
            // A client's error may be about this one alone; time-outs (408) and rates (429) are not.
            outcome =
                (400..<500).contains(answer.status) && ![401, 403, 404, 408, 429].contains(answer.status)
                ? .refused : .failed
        } catch let error as HTTPClientError {
            problem = "\(error)"
            outcome = .failed
        } catch let error as SystemError {
            problem = "the webhook's token cannot be read: \(error)"
            outcome = .failed
        }
        let next = wallClock.now().milliseconds + AlertNotifier.wait(after: due.attempts)
        try table.markFailed(due.id, problem: problem, next: PostgresTimestamp(milliseconds: next))
        note(problem, key)
        return outcome
    }

    /// How long after a failed attempt the same notification waits, milliseconds: doubles from half a second to ten
    /// minutes.
    static func wait(after attempts: Int32) -> Int64 {
        min(600_000, 500 << Int64(min(max(attempts, 0), 20)))
    }

    private func send(_ payload: String, _ key: String) throws -> HTTPClient.Answer {
        var headers = [HTTPClient.Header("Content-Type", "application/json"), .init("Idempotency-Key", key)]
        if let tokenFile = webhook.tokenFile {
            let bytes = try readFile(tokenFile, limit: 16 * 1024)
            let token = String(decoding: bytes, as: UTF8.self).split { $0.isWhitespace }.first ?? ""
            headers.append(.init("Authorization", "Bearer \(token)"))
        }
        let client =
            try client
            ?? HTTPClient(
                limits: .init(connect: webhook.timeout, total: webhook.timeout, answerSize: 64 * 1024),
                authorities: webhook.authorities)
        self.client = client
        return try client.post(webhook.address, headers: headers, body: Array(payload.utf8)) { !Task.isCancelled }
    }

    private func note(_ problem: String, _ key: String) {
        metrics.failures.increment()
        let since = failingSince ?? .now
        failingSince = since
        let duration = since.duration(to: .now)
        log.warning("the webhook did not take a notification", ["error": problem, "notification": key])
        if duration >= AlertNotifier.failureLimit {
            health.report(
                "webhook", .degraded("no notification was taken for \(duration.components.seconds) s: \(problem)"))
        }
    }

    /// Counts what waits, and deletes what was sent long ago, once in a while.
    private func count(_ connection: PostgresConnection) throws {
        guard ContinuousClock.now >= nextCount else { return }
        nextCount = .now + .seconds(10)
        let table = NotificationTable(connection: connection)
        metrics.pending.set(try table.pending())
        try table.deleteOld()
    }

    private func connected() throws -> PostgresConnection {
        if let connection, connection.isAlive { return connection }
        let made = try settings.connect(applicationName: "vigie-processor webhook")
        connection = made
        return made
    }
}

/// What the notifier counts.
struct NotifierMetrics: Sendable {
    let sent: Counter
    let failures: Counter
    let pending: Gauge

    init(_ registry: MetricsRegistry) {
        sent = registry.counter("vigie_notifications_sent_total", "Notifications that the webhook took.")
        failures = registry.counter(
            "vigie_notification_failures_total", "Attempts to send a notification that the webhook did not take.")
        pending = registry.gauge(
            "vigie_notifications_pending", "Notifications that wait to be sent, as of the last count.")
    }
}
