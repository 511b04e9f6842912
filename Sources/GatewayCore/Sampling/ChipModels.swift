import SensorBus
import SimulatedHardware

extension StationSettings {
    /// Puts models of the station's chips on buses.
    /// - Parameters:
    ///   - world: what the chips live in.
    ///   - faults: what goes wrong with a chip.
    ///   - bus: the bus of a number.
    func attachModels(
        in world: SimulatedWorld, faults: (ChipSettings) -> FaultScript = { _ in FaultScript() },
        bus: (Int) -> SimulatedI2CBus
    ) {
        for chip in chips {
            bus(chip.place.bus).attach(
                chip.model(in: world, faults: faults(chip)), at: chip.place.address, behind: chip.place.channel)
        }
    }
}

extension ChipSettings {
    /// A model of the chip.
    fileprivate func model(in world: SimulatedWorld, faults: FaultScript) -> any SimulatedChip {
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
