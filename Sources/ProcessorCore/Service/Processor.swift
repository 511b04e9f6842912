import Glibc
import Monitoring
import Platform
import PostgresClient
import ProcessorStatus
import Readings

/// Lets nothing wait for long any more for a database that does not answer, once a stop is asked for.
private struct StopOfWaits: Service {
    let waits: PostgresWaits

    func run() async throws {
        await gracefulShutdown()
        waits.stop()
    }
}

/// The central processor: what its command line calls.
public struct Processor: Sendable {
    let settings: ProcessorSettings
    private let log: Log

    /// Makes a processor from its settings.
    public init(_ settings: ProcessorSettings) {
        self.settings = settings
        LogOutput.standardError.minimum = settings.logLevel
        log = Log("processor")
    }

    /// Brings the schema up to date, and what it says of the rules. Waits for the database if it is away.
    /// - Parameter bound: how long to wait.
    /// - Returns: the names of the migrations that were applied.
    /// - Throws: `SchemaTooNew`, `DatabaseAway` when the time is over, or what the database refuses for good.
    @discardableResult
    public func migrate(within bound: Duration) async throws -> [String] {
        try await migrate(Health(), part: Processor.maintenancePart, until: .now + bound)
    }

    /// What this process's work on the tables is reported under.
    static let maintenancePart = "maintenance"

    private func migrate(
        _ health: Health, part: String, until end: ContinuousClock.Instant? = nil
    ) async throws -> [String] {
        var backoff = Backoff.ofServers
        let rules = settings.rules
        var told = ""
        while true {
            do {
                return try await withConnection {
                    let applied = try Migrator.migrate($0)
                    try RuleTable(connection: $0).replace(with: rules)
                    return applied.map(\.name)
                }
            } catch let error as PostgresError where error.isTransient {
                try Task.checkCancellation()
                let away = DatabaseAway(error)
                if let end, ContinuousClock.now >= end { throw away ?? error }
                let reason = away?.advice ?? "\(error)"
                if reason != told { log.warning("the database is away, waiting for it", ["reason": reason]) }
                told = reason
                health.report(part, .degraded(reason))
                try await Task.sleep(for: backoff.next())
            }
        }
    }

    /// Runs until SIGTERM or SIGINT.
    /// - Parameter maintenanceOnly: whether another engine reads the topic. Then there is no consumer, but partitions are
    ///   made ahead, retention is kept, and the webhook is told of alerts.
    public func run(maintenanceOnly: Bool = false) async throws {
        let registry = MetricsRegistry()
        registry.addProcessMetrics()
        let health = Health()
        let metrics = ProcessorMetrics(registry)
        let (wallClock, clock) = (SystemWallClock(), ContinuousClock())
        let collector = StatusCollector(
            identity: ProcessorIdentity(
                // The other engine may have the name from the same configuration.
                instance: maintenanceOnly ? "\(settings.instance)-maintenance" : settings.instance,
                host: ProcessorSettings.hostName, processID: getpid(), version: Release.version, topic: settings.topic,
                group: settings.group, startedAt: wallClock.now(), role: maintenanceOnly ? .maintenance : .processing),
            health: health, registry: registry)
        let workers = (0..<(maintenanceOnly ? 0 : settings.workers)).map { index in
            let worker = index + 1
            health.report(ReadingPipeline.healthPart(worker: worker, of: settings), .starting)
            health.report(ReadingPipeline.kafkaPart(worker: worker, of: settings), .starting)
            let pipeline = ReadingPipeline(
                settings: settings, worker: worker, metrics: metrics, status: collector.addPipeline(), health: health,
                log: settings.workers == 1 ? log : Log("worker-\(worker)"), wallClock: wallClock, clock: clock)
            return ServiceGroup.Member("worker \(worker)", pipeline)
        }
        var endpoint: HTTPEndpoint?
        if let monitoring = settings.monitoring {
            let made = try HTTPEndpoint(
                monitoring, metrics: registry, health: health,
                routes: StatusPage(collector: collector, wallClock: wallClock).routes)
            log.info("listening", ["address": made.url])
            endpoint = made
        }
        defer { endpoint?.stop() }
        if maintenanceOnly { health.report(Processor.maintenancePart, .starting) }
        let maintenance = Maintenance(
            settings: settings, metrics: metrics, health: health, log: log, wallClock: wallClock, clock: clock)
        let statusService = StatusService(
            collector: collector, settings: settings, health: health, endpoint: endpoint.map { url(of: $0) },
            log: log.component("status"), wallClock: wallClock, clock: clock)
        var members =
            [ServiceGroup.Member("status", statusService)] + workers + [.init("maintenance", maintenance)]
        if let webhook = settings.webhook {
            let notifier = AlertNotifier(
                settings: settings, webhook: webhook, metrics: NotifierMetrics(registry), health: health, log: log,
                wallClock: wallClock, clock: clock)
            members.append(.init("webhook", notifier))
        }
        // The last one, as it is the first that is told to stop.
        members.append(.init("database waits", StopOfWaits(waits: settings.databaseWaits)))
        // The endpoint is there already, and says so while the database is away.
        let watchdog = SystemdWatchdog(health: health, log: log)
        try await ServiceGroup(members, log: log, watchdog: watchdog).run { [self] in
            let part =
                maintenanceOnly ? Processor.maintenancePart : ReadingPipeline.healthPart(worker: 1, of: settings)
            for name in try await migrate(health, part: part) { log.info("migrated", ["step": name]) }
            await grantExistingReader()
        }
    }

    /// Sends rejected messages back to their topic.
    /// - Parameter output: gets a line for each message of a dry run.
    public func redrive(
        _ options: RedriveOptions, output: @escaping @Sendable (String) -> Void
    ) async throws -> RedriveReport {
        try await Redriver(
            settings: settings, options: options, log: log, wallClock: SystemWallClock(), clock: ContinuousClock(),
            output: output
        ).run()
    }

    /// Where the endpoint answers; one that listens on every address answers under this machine's name.
    private func url(of endpoint: HTTPEndpoint) -> String {
        if case .network(let host, let port) = endpoint.address, ["0.0.0.0", "::"].contains(host) {
            return "http://\(ProcessorSettings.hostName):\(port)/"
        }
        return endpoint.url
    }

    /// Lets the reader's role read all tables, and makes the role if it is missing and may be made.
    /// - Returns: what came of it, in a sentence.
    /// - Throws: what the database refuses.
    public func grantReader() async throws -> String {
        let role = settings.readerRole
        switch try await withConnection({ try ReaderRole(connection: $0, name: role).grant(creating: true) }) {
        case .reads: return "the role \(role) may read everything"
        case .missing:
            return """
                there is no role \(role), and this one may not make it: run "CREATE ROLE \(role) NOLOGIN" as one that may, \
                then this command again
                """
        }
    }

    /// A reader's role that exists may read what a migration has made; nothing waits for it.
    private func grantExistingReader() async {
        let role = settings.readerRole
        do {
            _ = try await withConnection { try ReaderRole(connection: $0, name: role).grant(creating: false) }
        } catch {
            log.warning("the reader's role may not read all tables", ["role": role, "error": "\(error)"])
        }
    }

    /// Recomputes windows and streams from the raw rows, and asks the broker for what nobody has read yet.
    public func verify() async throws -> Certificate {
        let windows = settings.windows.specifications
        let ends = await TopicEnds.ask(settings)
        do {
            return try await withConnection { connection in
                try Migrator.check(connection)
                try ends.waitForReaders(connection)
                return try Verification(connection: connection, windows: windows, topicEnds: ends).run()
            }
        } catch {
            throw DatabaseAway(error) ?? error
        }
    }

    /// Runs blocking work with a connection on a thread of its own. Cancelling ends what it waits for.
    private func withConnection<Result: Sendable>(
        _ body: @escaping @Sendable (PostgresConnection) throws -> Result
    ) async throws -> Result {
        let settings = settings
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                startThread(name: "database") {
                    continuation.resume(
                        with: Swift.Result {
                            try body(settings.connect(applicationName: "vigie-processor"))
                        })
                }
            }
        } onCancel: {
            settings.databaseWaits.end()
        }
    }
}
