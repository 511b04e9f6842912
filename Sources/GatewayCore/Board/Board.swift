import Monitoring
import Platform
import SensorBus

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
    ///   - power: told what the inputs say.
    ///   - deadChips: asks for a cycle of the sensors' power.
    ///   - powered: called after a cycle, as `SensorRail` does.
    func members(
        power: PowerManager, deadChips: AsyncStream<String>, powered: @escaping @Sendable () async -> Void
    ) -> [ServiceGroup.Member] {
        var members: [ServiceGroup.Member] = []
        if let output = settings.statusLight {
            let light = StatusLight(output, gpio: gpio, clock: clock, health: health, log: log) { [health] in
                BoardStatus(health.all)
            }
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
                power.isPowerGood.map { $0 ? 1 : 0 }
            }
            members.append(.init("power good", watch(.powerGood, input) { power.setPowerGood($0) }))
        }
        if let input = settings.charging {
            metrics.gauge("vigie_board_charging", "1 while the battery is charged.") {
                power.isCharging.map { $0 ? 1 : 0 }
            }
            members.append(.init("charging", watch(.charging, input) { power.setCharging($0) }))
        }
        return members
    }

    private func watch(
        _ role: InputWatch.Role, _ input: BoardSettings.Input, _ changed: @escaping @Sendable (Bool?) -> Void
    ) -> InputWatch {
        InputWatch(role, input, gpio: gpio, clock: clock, metrics: metrics, health: health, log: log, changed: changed)
    }
}
