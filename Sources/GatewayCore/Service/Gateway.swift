import Monitoring
import Outbox
import Platform
import Readings
import SensorBus
import SimulatedHardware

/// The daemon on the board: what its command line calls.
public struct Gateway: Sendable {
    let settings: GatewaySettings
    private let log: Log

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
        let site = try site()
        let stations = try stations(
            at: site, recorder: recorder, metrics: metrics, health: health, pace: { power.interval($0) },
            whenDead: { deadChips.continuation.yield($0) })
        let sampler = Sampler(stations: stations, recorder: recorder)
        let gpio: any GPIOLines =
            site.setModelPower.map { SimulatedGPIO.board(settings.board, setPower: $0) } ?? LinuxGPIO()
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

    /// The chips' side: the board's own buses, or models.
    /// - Parameter claim: what is asked of other programs that use the buses.
    package func site(claim: LinuxI2CBus.Claim = .shared) throws -> Site {
        settings.mode == .simulated
            ? try Site.simulated(settings.simulation, stations: settings.stations) : Site.hardware(claim: claim)
    }

    /// The stations, with their chips not opened yet, to be read once: nothing is recorded, and no other program may use
    /// their buses meanwhile.
    package func stationsToObserve() throws -> [Station] {
        try stations(at: site(claim: .exclusive), recorder: nil, metrics: GatewayMetrics(MetricsRegistry()))
    }

    /// The stations, with their chips not opened yet.
    /// - Parameters:
    ///   - site: where their chips are.
    ///   - recorder: where readings go; nil drops them.
    ///   - pace: the interval of a station now, of the one that is set.
    ///   - whenDead: called with the name of a chip whose power should be cycled.
    func stations(
        at site: Site, recorder: Recorder?, metrics: GatewayMetrics, health: Health = Health(),
        pace: @escaping @Sendable (Duration) -> Duration = { $0 },
        whenDead: @escaping @Sendable (String) -> Void = { _ in }
    ) throws -> [Station] {
        let isSimulated = settings.mode == .simulated
        let isTrusted = isSimulated || settings.clock == .trust
        let bootID = try String(
            decoding: readFile("/proc/sys/kernel/random/boot_id", limit: 64).filter { $0 > 0x20 }, as: UTF8.self)
        var segments = BusSegments(settings.stations)
        var watches: [String: BusWatch] = [:]
        return try settings.stations.enumerated().map { index, station in
            let chips = try station.chips.map { chip in
                let bus = try site.bus(index, chip.place.bus)
                let watch =
                    watches[bus.name] ?? BusWatch(bus, metrics: metrics, health: health, log: log.component("bus"))
                watches[bus.name] = watch
                let monitor = ChipMonitor(
                    sensorID: station.sensorID, chip: chip.name, metrics: metrics, health: health,
                    log: log.component("chip"), wallClock: site.wallClock)
                // A model has no noise.
                let freezeLimit = station.freezeLimit ?? (isSimulated ? 0 : StationSettings.usualFreezeLimit)
                return ChipSlot(
                    chip, bus: segments.bus(of: chip.place, on: bus), watch: watch, clock: site.clock,
                    patience: site.patience, freezeLimit: freezeLimit, monitor: monitor
                ) {
                    whenDead("\(station.sensorID)/\(chip.name)")
                }
            }
            return Station(
                settings: station, gatewayID: settings.gatewayID, chips: chips, recorder: recorder,
                wallClock: site.wallClock, clock: site.clock, virtualTime: site.virtualTime,
                timeQuality: { isTrusted ? .synced : kernelTimeQuality() }, bootID: bootID, isSimulated: isSimulated,
                end: site.end, pace: pace, metrics: metrics, log: log.component("station"))
        }
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
