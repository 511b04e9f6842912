import Monitoring
import Platform
import PostgresClient
import ProcessorStatus
import Readings

/// Ends a turn of the status each second, and writes a heartbeat into the database every few seconds.
struct StatusService: Service {
    /// Between two heartbeats; less than a third of `ProcessorMember.heartbeatTimeout`.
    static let heartbeat = Duration.seconds(3)

    let collector: StatusCollector
    let settings: ProcessorSettings
    let health: Health
    /// Where this processor answers; nil if nowhere.
    let endpoint: String?
    let log: Log
    let wallClock: any WallClock
    let clock: any Clock<Duration>

    func run() async throws {
        let heartbeats = HeartbeatWriter(collector: collector, settings: settings, log: log)
        do {
            try await cancelOnGracefulShutdown { [self] in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { try await turn() }
                    group.addTask {
                        while true {
                            await heartbeats.write(endpoint: endpoint)
                            try await clock.sleep(for: StatusService.heartbeat)
                        }
                    }
                    try await group.waitForAll()
                }
            }
        } catch is CancellationError {}
        await heartbeats.leave()
    }

    private func turn() async throws {
        var elapsed = Platform.elapsed(on: clock)
        while true {
            try await clock.sleep(for: .seconds(1))
            let seconds = elapsed() / .seconds(1)
            elapsed = Platform.elapsed(on: clock)
            collector.turn(now: wallClock.now(), seconds: seconds)
            for pipeline in collector.pipelines { watch(pipeline) }
        }
    }

    /// Says which partitions stand still.
    private func watch(_ pipeline: PipelineStatus) {
        let part = ReadingPipeline.healthPart(worker: pipeline.worker, of: settings)
        var isHeldUp = health.state(of: part) != .healthy
        if case .degraded = health.state(of: ReadingPipeline.rejectedPart(worker: pipeline.worker, of: settings)) {
            isHeldUp = true
        }
        let (findings, state) = collector.watch(pipeline, isHeldUp: isHeldUp, at: .now)
        for finding in findings {
            switch finding {
            case .stalled(let partition, let offset, let end):
                log.error(
                    "a partition stands still although it has messages that nobody has read: restart the processor",
                    ["partition": partition, "offset": offset.map { "\($0)" } ?? "unknown", "end": end])
            case .advances(let partition):
                log.notice("a partition that stood still goes on", ["partition": partition])
            case .heldBack(let partition, let offset, let count):
                log.warning(
                    "an open transaction holds messages back",
                    [
                        "partition": partition, "from": offset, "messages": count,
                        "remedy": PartitionWatchdog.remedy(topic: settings.topic, partition: partition),
                    ])
            case .released(let partition):
                log.notice("no open transaction holds messages back any more", ["partition": partition])
            }
        }
        health.report(ReadingPipeline.partitionsPart(worker: pipeline.worker, of: settings), state)
    }
}

/// Writes and reads heartbeats, on a connection and a thread of its own, so that neither a slow batch
/// nor a database that is away holds up what is shown.
private actor HeartbeatWriter {
    private let collector: StatusCollector
    private let settings: ProcessorSettings
    private let log: Log
    private let executor = ThreadExecutor(name: "heartbeat")
    private var connection: PostgresConnection?
    private var hasFailed = false

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(collector: StatusCollector, settings: ProcessorSettings, log: Log) {
        self.collector = collector
        self.settings = settings
        self.log = log
    }

    func write(endpoint: String?) {
        do {
            let table = HeartbeatTable(connection: try connected())
            let identity = collector.identity
            try table.write(collector.members(endpoint: endpoint), topic: identity.topic, group: identity.group)
            collector.note(try table.view())
            if hasFailed { log.notice("the database can be asked again") }
            hasFailed = false
        } catch {
            connection = nil
            // Once: the pipeline says the rest.
            if !hasFailed { log.warning("cannot write a heartbeat into the database", ["error": "\(error)"]) }
            hasFailed = true
            collector.note(databaseError: error.message)
        }
    }

    /// Takes this process out of the table, if the database can be reached; if not, the others see in time that it is
    /// gone. Over a new connection, as the old one may have broken since the last heartbeat.
    func leave() {
        connection = nil
        let identity = collector.identity
        do {
            try HeartbeatTable(connection: connected()).leave(
                instance: identity.instance, processID: identity.processID)
        } catch {
            log.warning("cannot leave the table of processors", ["error": "\(error)"])
        }
    }

    private func connected() throws(PostgresError) -> PostgresConnection {
        if let connection, connection.isAlive { return connection }
        connection = nil
        let made = try settings.connect(applicationName: "vigie-processor heartbeat")
        connection = made
        return made
    }
}
