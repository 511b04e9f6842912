import Monitoring
import Platform
import SensorBus

/// Holds the sensors' power on, and takes it away for a moment when a chip stays dead: what else could be done, such as
/// clocking a stuck bus free, cannot be done from a program while the pins belong to the I2C controller.
actor SensorRail: Service {
    /// What health calls it.
    static let part = "sensor_power"
    private static let recheckInterval = Duration.seconds(10)

    private let settings: BoardSettings.SensorPower
    private let gpio: any GPIOLines
    private let clock: any Clock<Duration>
    private let stopwatch: @Sendable () -> Duration
    private let cycles: Counter
    private let health: Health
    private let log: Log
    private let powered: @Sendable () async -> Void
    private let requests: AsyncStream<String>
    private var lastCycle: Duration?

    nonisolated var unownedExecutor: UnownedSerialExecutor { gpio.executor.asUnownedSerialExecutor() }

    /// - Parameters:
    ///   - requests: names of chips that stay dead. Nothing happens if the last cycle was not long ago: such a chip asks
    ///     again.
    ///   - powered: called when the chips have power again and have started: they have lost their settings.
    init(
        _ settings: BoardSettings.SensorPower, requests: AsyncStream<String>, gpio: any GPIOLines,
        clock: any Clock<Duration>,
        metrics: MetricsRegistry, health: Health, log: Log, powered: @escaping @Sendable () async -> Void
    ) {
        self.settings = settings
        self.requests = requests
        self.gpio = gpio
        self.clock = clock
        self.health = health
        self.log = log
        self.powered = powered
        stopwatch = elapsed(on: clock)
        cycles = metrics.counter(
            "vigie_board_sensor_power_cycles_total", "Times that the sensors' power was taken away to revive a chip.")
    }

    func run() async throws {
        do {
            try await cancelOnGracefulShutdown { try await self.serve() }
        } catch is CancellationError {}
    }

    private enum Event: Sendable {
        case dead(chip: String)
        case recheck
    }

    /// As `run`, until the requests end.
    func serve() async throws {
        let (events, wake) = AsyncStream.makeStream(of: Event.self)
        let (requests, clock) = (requests, clock)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                for await chip in requests { wake.yield(.dead(chip: chip)) }
                wake.finish()
            }
            group.addTask {
                while true {
                    try await clock.sleep(for: SensorRail.recheckInterval)
                    wake.yield(.recheck)
                }
            }
            try await retryingLine(SensorRail.part, clock: clock, health: health, log: log) { try await hold(events) }
            group.cancelAll()
        }
    }

    private func hold(_ events: AsyncStream<Event>) async throws {
        let rail = try gpio.output(settings.output.line, initially: true, options: settings.output.options)
        health.report(SensorRail.part, .healthy)
        for await event in events {
            switch event {
            case .recheck:
                // A chip that was unplugged shows here, and one that has forgotten its outputs learns them again.
                try rail.set(true)
            case .dead(let chip):
                if let lastCycle, stopwatch() - lastCycle < settings.interval {
                    log.debug("the sensors' power was cycled not long ago", ["chip": chip])
                } else {
                    try await cycle(rail, for: chip)
                }
            }
        }
    }

    private func cycle(_ rail: any GPIOOutput, for chip: String) async throws {
        lastCycle = stopwatch()
        log.warning(
            "a chip stays dead: taking the sensors' power away",
            ["chip": chip, "for": settings.offTime.notation, "line": rail.name])
        try rail.set(false)
        do {
            try await clock.sleep(for: settings.offTime)
        } catch {
            // A stop in the middle of it leaves the sensors with power too.
            try rail.set(true)
            throw error
        }
        try rail.set(true)
        cycles.increment()
        try await clock.sleep(for: settings.settleTime)
        log.notice("the sensors have power again", ["line": rail.name])
        await powered()
    }
}
