import Monitoring
import Platform
import SensorBus
import SimulatedHardware
import Synchronization

/// What the board's inputs say of its power; nil is not known, or not wired.
final class PowerSupply: Sendable {
    private struct State {
        var isPowerGood: Bool?
        var isCharging: Bool?
    }

    private let state = Mutex(State())

    /// Whether there is power from outside.
    var isPowerGood: Bool? {
        get { state.withLock { $0.isPowerGood } }
        set { state.withLock { $0.isPowerGood = newValue } }
    }

    /// Whether the battery is charged.
    var isCharging: Bool? {
        get { state.withLock { $0.isCharging } }
        set { state.withLock { $0.isCharging = newValue } }
    }
}

/// The board's own lines, as services of the gateway.
struct Board {
    /// Names of chips that stay dead, for the sensors' power to be cycled.
    typealias DeadChips = (stream: AsyncStream<String>, continuation: AsyncStream<String>.Continuation)

    /// One that waits is enough: a cycle is for all chips.
    static func deadChips() -> DeadChips {
        AsyncStream.makeStream(of: String.self, bufferingPolicy: .bufferingNewest(1))
    }

    let settings: BoardSettings
    let gpio: any GPIOLines
    let clock: any Clock<Duration>
    let metrics: MetricsRegistry
    let health: Health
    let log: Log

    /// The services that the settings ask for, in the order of their start: the sensors have power until all that
    /// begins after them has stopped, and the light is the last to go.
    /// - Parameters:
    ///   - supply: kept up to date with the inputs.
    ///   - deadChips: asks for a cycle of the sensors' power.
    ///   - status: what the light shows.
    ///   - powered: called after a cycle, as `SensorRail` does.
    func members(
        supply: PowerSupply, deadChips: AsyncStream<String>, status: @escaping @Sendable () -> BoardStatus,
        powered: @escaping @Sendable () async -> Void
    ) -> [ServiceGroup.Member] {
        var members: [ServiceGroup.Member] = []
        if let output = settings.statusLight {
            let light = StatusLight(output, gpio: gpio, clock: clock, health: health, log: log, status: status)
            members.append(.init("status light", light))
        }
        if let output = settings.sensorPower {
            let rail = SensorRail(
                output, requests: deadChips, gpio: gpio, clock: clock, metrics: metrics, health: health, log: log,
                powered: powered)
            members.append(.init("sensor power", rail))
        }
        if let input = settings.powerGood {
            metrics.gauge("vigie_board_power_good", "1 while the board has power from outside, 0 on its battery.") {
                supply.isPowerGood.map { $0 ? 1 : 0 }
            }
            members.append(.init("power good", watch(.powerGood, input) { supply.isPowerGood = $0 }))
        }
        if let input = settings.charging {
            metrics.gauge("vigie_board_charging", "1 while the battery is charged.") {
                supply.isCharging.map { $0 ? 1 : 0 }
            }
            members.append(.init("charging", watch(.charging, input) { supply.isCharging = $0 }))
        }
        return members
    }

    private func watch(
        _ role: InputWatch.Role, _ input: BoardSettings.Input, _ changed: @escaping @Sendable (Bool?) -> Void
    ) -> InputWatch {
        InputWatch(role, input, gpio: gpio, clock: clock, metrics: metrics, health: health, log: log, changed: changed)
    }
}

extension SimulatedGPIO {
    /// Lines for the settings of a board that has power from outside and does not charge.
    static func board(_ settings: BoardSettings) -> SimulatedGPIO {
        let gpio = SimulatedGPIO(elapsed: elapsed(on: ContinuousClock()))
        if let input = settings.powerGood { gpio.drive(input.line, true) }
        return gpio
    }
}
