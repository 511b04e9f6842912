import SensorBus
import SimulatedHardware

extension ChipSettings {
    /// A model of the chip.
    /// - Parameters:
    ///   - world: what it lives in.
    ///   - faults: what goes wrong with it.
    func model(in world: SimulatedWorld, faults: FaultScript) -> any SimulatedChip {
        let model: SimulatedModel =
            switch kind {
            case .bme280: .bme280
            case .bmp280: .bmp280
            case .scd40: .scd40
            case .scd41: .scd41
            case .sht3x: .sht3x
            case .sht4x: .sht4x
            case .ads1115: .ads1115
            }
        let divider = ads1115.divider
        return model.chip(
            in: world, dividerRatio: divider.lower / (divider.upper + divider.lower), faults: faults)
    }
}
