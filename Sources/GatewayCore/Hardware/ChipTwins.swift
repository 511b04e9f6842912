import SensorBus
import SimulatedHardware

extension ChipSettings {
    /// The twin of the chip.
    /// - Parameters:
    ///   - world: what it lives in.
    ///   - faults: what goes wrong with it.
    func twin(in world: SimulatedWorld, faults: FaultScript) -> any SimulatedChip {
        let twin: TwinKind =
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
        return twin.chip(
            in: world, dividerRatio: divider.lower / (divider.upper + divider.lower), faults: faults)
    }
}
