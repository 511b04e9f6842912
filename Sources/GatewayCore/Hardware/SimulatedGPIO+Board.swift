import Platform
import SensorBus
import SimulatedHardware

extension SimulatedGPIO {
    /// Lines for the settings of a board that has power from outside and does not charge.
    /// - Parameters:
    ///   - keepsSteps: as the lines have it.
    ///   - observer: as the lines have it.
    ///   - setPower: cuts the sensors' supply, or restores it.
    static func board(
        _ settings: BoardSettings, keepsSteps: Bool = false, observer: (any WorkObserver)? = nil,
        setPower: @escaping @Sendable (Bool) -> Void = { _ in }
    ) -> SimulatedGPIO {
        let gpio = SimulatedGPIO(
            keepsSteps: keepsSteps, observer: observer, elapsed: elapsed(on: ContinuousClock()))
        if let input = settings.powerGood { gpio.drive(input.line, true) }
        if let supply = settings.sensorPower { gpio.wire(supply.output.line, to: setPower) }
        return gpio
    }
}
