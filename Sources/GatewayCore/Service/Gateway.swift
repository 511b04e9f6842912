import Monitoring
import Outbox
import Platform
import Readings
import SensorBus
import SimulatedHardware

/// The daemon on the board: what its command line calls.
public struct Gateway: Sendable {
    let settings: GatewaySettings
    let log: Log

    /// Makes a gateway from its settings.
    public init(_ settings: GatewaySettings) {
        self.settings = settings
        LogOutput.standardError.minimum = settings.logLevel
        log = Log("gateway")
    }

    /// Samples and publishes until SIGTERM or SIGINT.
    public func run() async throws {
        let registry = MetricsRegistry()
        registry.addProcessMetrics()
        let metrics = GatewayMetrics(registry)
        let health = Health()
        let events = AsyncStream.makeStream(of: Publisher.Event.self)
        let wake = events.continuation
        let reporter = OutboxReporter(metrics: metrics, health: health, log: log.component("outbox"))
        let outbox = try await Outbox.open(
            path: settings.outboxPath, limits: settings.outboxLimits,
            observer: reporter.outboxObserver { wake.yield(.appended) })
        let hardware = try settings.hardware()
        let writer = OutboxWriter(
            outbox: outbox, budget: hardware.virtualTime == nil ? settings.commitBudget : .each,
            capacity: settings.outboxQueue, observer: reporter.writerObserver)
        let publisher = Publisher(
            outbox: outbox, events: events, configuration: settings.kafka, topic: settings.topic,
            window: settings.window, rate: settings.drainRate, drainTime: settings.drainTime, metrics: metrics,
            health: health,
            log: log.component("publisher"), clock: ContinuousClock(),
            online: { writer.set(isOnline: $0) })
        let power = PowerManager(settings.battery, metrics: registry, health: health, log: log.component("power")) {
            wake.yield(.flush)
        }
        let deadChips = Board.deadChips()
        let stations = try stations(
            on: hardware,
            record: { [virtualTime = hardware.virtualTime] record in
                writer.enqueue(record)
                power.took(record.reading)
                // Where time is as fast as the machine allows, the disk would not keep up; it takes no time on that clock.
                await virtualTime?.standingStill { await writer.settled() }
            }, metrics: metrics, health: health, pace: { power.interval($0) },
            whenDead: { deadChips.continuation.yield($0) })
        let sampler = Sampler(stations: stations)
        let gpio: any GPIOLines =
            hardware.setTwinPower.map { SimulatedGPIO.board(settings.board, setPower: $0) } ?? LinuxGPIO()
        let board = Board(
            settings: settings.board, gpio: gpio, clock: ContinuousClock(), metrics: registry, health: health,
            log: log.component("board"))

        for remark in settings.remarks { log.warning("\(remark)") }
        // Stopped in reverse: sampling first, then the rest is committed, then what is in the outbox is published.
        var members = board.members(
            power: power, deadChips: deadChips.stream,
            powered: { for chip in stations.flatMap(\.chips) { await chip.restart() } })
        members += [
            ServiceGroup.Member(
                "outbox status",
                OutboxStatusReporter(
                    outbox: outbox, writer: writer, limits: settings.outboxLimits, metrics: metrics, health: health,
                    log: log.component("outbox"))),
            ServiceGroup.Member("publisher", publisher),
            ServiceGroup.Member(
                "writer", WriterService(writer: writer, bound: settings.drainTime, log: log.component("outbox"))),
            ServiceGroup.Member("sampler", sampler),
        ]
        if let monitoring = settings.monitoring {
            // Before the others, so that it is stopped after them.
            let keeper = EndpointKeeper(
                settings: monitoring, metrics: registry, health: health, log: log, clock: ContinuousClock())
            members.insert(ServiceGroup.Member("endpoint", keeper), at: 0)
        }
        let count = stations.reduce(0) { $0 + $1.chips.count }
        log.notice(
            "sampling begins",
            [
                "stations": stations.count, "chips": count, "mode": settings.mode.rawValue,
                "kafka": settings.kafka.bootstrapServers,
            ])
        try await ServiceGroup(members, log: log, watchdog: SystemdWatchdog(health: health, log: log)).run()
        do throws(OutboxError) {
            try await outbox.close()
        } catch {
            log.warning(
                "the outbox could not be closed in order, which costs the next start some time", ["error": "\(error)"])
        }
    }
}
