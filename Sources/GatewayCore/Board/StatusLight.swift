import Monitoring
import SensorBus

/// Shows the gateway's status by the rhythm of a light; dark when the gateway does not run.
actor StatusLight: Service {
    /// What health calls it.
    static let part = "status_light"

    private let settings: BoardSettings.Output
    private let gpio: any GPIOLines
    private let clock: any Clock<Duration>
    private let health: Health
    private let log: Log
    private let status: @Sendable () -> BoardStatus

    nonisolated var unownedExecutor: UnownedSerialExecutor { gpio.executor.asUnownedSerialExecutor() }

    /// - Parameter status: what to show, asked before each round.
    init(
        _ settings: BoardSettings.Output, gpio: any GPIOLines, clock: any Clock<Duration>, health: Health, log: Log,
        status: @escaping @Sendable () -> BoardStatus
    ) {
        self.settings = settings
        self.gpio = gpio
        self.clock = clock
        self.health = health
        self.log = log
        self.status = status
    }

    func run() async throws {
        do {
            try await cancelOnGracefulShutdown { try await self.shine() }
        } catch is CancellationError {}
    }

    private func shine() async throws {
        try await retryingLine(StatusLight.part, clock: clock, health: health, log: log) {
            let light = try gpio.output(settings.line, initially: false, options: settings.options)
            health.report(StatusLight.part, .healthy)
            do {
                while true {
                    for step in status().pattern.steps {
                        try light.set(step.isOn)
                        try await clock.sleep(for: step.duration)
                    }
                }
            } catch let error as CancellationError {
                try light.set(false)
                throw error
            }
        }
    }
}
