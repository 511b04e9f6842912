import Monitoring
import Platform
import PostgresClient
import Readings

/// Keeps the tables in shape beside the stream: makes the partitions of the days to come, and deletes what is older than
/// it is to be kept. Several processors may run it: each step is one's own, whoever comes first.
///
/// Its thread and its connection are its own. Whatever goes wrong here is told and tried again later; the stream goes on.
actor Maintenance: Service {
    /// How often it looks.
    static let interval = Duration.seconds(600)
    /// How long it waits after a step that failed.
    static let retryInterval = Duration.seconds(30)
    /// The most windows that one transaction deletes.
    private static let portion: Int64 = 10_000

    private let settings: ProcessorSettings
    private let metrics: ProcessorMetrics
    private let health: Health
    private let log: Log
    private let wallClock: any WallClock
    private let clock: any Clock<Duration>
    private let executor = ThreadExecutor(name: "maintenance")

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(
        settings: ProcessorSettings, metrics: ProcessorMetrics, health: Health, log: Log, wallClock: any WallClock,
        clock: any Clock<Duration>
    ) {
        self.settings = settings
        self.metrics = metrics
        self.health = health
        self.log = log.component("maintenance")
        self.wallClock = wallClock
        self.clock = clock
    }

    /// Works at once and then regularly.
    nonisolated func run() async throws {
        do {
            try await cancelOnGracefulShutdown { [self] in
                while true { try await clock.sleep(for: await work()) }
            }
        } catch is CancellationError {}
    }

    /// Does what is due.
    /// - Returns: when to look again.
    func work() -> Duration {
        do {
            let connection = try settings.connect(applicationName: "vigie-processor maintenance")
            let made = try DayPartitions.prepare(
                daysAhead: settings.daysAhead, now: wallClock.now(), connection)
            if made > 0 { log.info("made the partitions of days to come", ["partitions": made]) }
            if settings.retention.isSet { try applyRetention(connection) }
            health.report(Processor.maintenancePart, .healthy)
            return Maintenance.interval
        } catch {
            log.warning("maintenance is put off", ["error": "\(error)", "for": "\(Maintenance.retryInterval)"])
            health.report(Processor.maintenancePart, .degraded("\(error)"))
            return Maintenance.retryInterval
        }
    }

    private func applyRetention(_ connection: PostgresConnection) throws {
        let retention = Retention(connection: connection)
        if try retention.moveCutoff(
            now: wallClock.now(), keepingReadings: settings.retention.readings, windows: settings.retention.windows)
        {
            log.info("what is older than retention keeps is not written any more")
        }
        while !Task.isCancelled, let day = try retention.dropNextDay() {
            metrics.expired.increment(by: UInt64(day.readings))
            log.notice("dropped a day", ["partition": day.partition, "readings": day.readings])
        }
        while !Task.isCancelled {
            let count = try retention.deleteWindows(atMost: Maintenance.portion)
            metrics.expiredWindows.increment(by: UInt64(count))
            if count < Maintenance.portion { break }
        }
    }
}
