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
        let outbox = try await Outbox.open(
            path: settings.outboxPath, limits: settings.outboxLimits, randomBits: UInt64.random(in: 0...UInt64.max)
        ) {
            wake.yield(.appended)
        }
        log.info(
            "outbox open", ["stream": "\(outbox.streamID)", "waiting": try await outbox.status().depth])
        let publisher = Publisher(
            outbox: outbox, events: events, configuration: settings.kafka, topic: settings.topic,
            window: settings.window, drainTime: settings.drainTime, metrics: metrics, health: health,
            log: log.component("publisher"), clock: ContinuousClock())
        let power = PowerManager(settings.battery, metrics: registry, health: health, log: log.component("power")) {
            wake.yield(.flush)
        }
        let recorder = Recorder(
            outbox: outbox, metrics: metrics, health: health, log: log.component("recorder"),
            recorded: { power.took($0) })
        let deadChips = Board.deadChips()
        let hardware = try settings.hardware()
        let stations = try stations(
            on: hardware, recorder: recorder, metrics: metrics, health: health, pace: { power.interval($0) },
            whenDead: { deadChips.continuation.yield($0) })
        let sampler = Sampler(stations: stations, recorder: recorder)
        let gpio: any GPIOLines =
            hardware.setTwinPower.map { SimulatedGPIO.board(settings.board, setPower: $0) } ?? LinuxGPIO()
        let board = Board(
            settings: settings.board, gpio: gpio, clock: ContinuousClock(), metrics: registry, health: health,
            log: log.component("board"))

        var endpoint: HTTPEndpoint?
        if let monitoring = settings.monitoring {
            let made = try HTTPEndpoint(monitoring, metrics: registry, health: health)
            log.info("listening", ["address": made.url])
            endpoint = made
        }
        defer { endpoint?.stop() }
        // Stopped in reverse: sampling first, then what is in the outbox is published.
        var members = board.members(
            power: power, deadChips: deadChips.stream,
            powered: { for chip in stations.flatMap(\.chips) { await chip.restart() } })
        members += [
            ServiceGroup.Member("outbox status", OutboxStatusReporter(outbox: outbox, metrics: metrics, log: log)),
            ServiceGroup.Member("publisher", publisher), ServiceGroup.Member("sampler", sampler),
        ]
        let count = stations.reduce(0) { $0 + $1.chips.count }
        log.notice(
            "sampling begins",
            [
                "stations": stations.count, "chips": count, "mode": settings.mode.rawValue,
                "kafka": settings.kafka.bootstrapServers,
            ])
        try await ServiceGroup(members, log: log, watchdog: SystemdWatchdog(health: health, log: log)).run()
    }
}

/// Keeps the outbox's gauges up to date.
private struct OutboxStatusReporter: Service {
    let outbox: Outbox
    let metrics: GatewayMetrics
    let log: Log

    func run() async throws {
        do {
            try await cancelOnGracefulShutdown { [self] in
                while true {
                    do {
                        let status = try await outbox.status()
                        metrics.depth.set(status.depth)
                        metrics.outboxBytes.set(status.bytes)
                        metrics.dropped.set(status.dropped)
                        metrics.oldest.set(Double(status.oldest?.milliseconds ?? 0) / 1000)
                    } catch let error as OutboxError {
                        log.warning("cannot read the outbox", ["error": "\(error)"])
                    }
                    try await Task.sleep(for: .seconds(1))
                }
            }
        } catch is CancellationError {}
    }
}
