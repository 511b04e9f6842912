import SensorBus

/// The chips that there are twins of, by the names that a configuration has for them.
public enum TwinKind: String, CaseIterable, Sendable {
    case bme280, bmp280, scd40, scd41, sht3x, sht4x, ads1115

    /// A chip of this kind in `world`, as it comes from its factory.
    /// - Parameters:
    ///   - dividerRatio: for a converter, its input's volts for one volt of battery.
    ///   - faults: what goes wrong with it, and when.
    public func chip(
        in world: SimulatedWorld, dividerRatio: Double = 1, faults: FaultScript = FaultScript()
    ) -> any SimulatedChip {
        switch self {
        case .bme280: SimulatedBME280(world: world, variant: .bme280, faults: faults)
        case .bmp280: SimulatedBME280(world: world, variant: .bmp280, faults: faults)
        case .scd40: SimulatedSCD4x(world: world, variant: .scd40, faults: faults)
        case .scd41: SimulatedSCD4x(world: world, variant: .scd41, faults: faults)
        case .sht3x: SimulatedSHT3x(world: world, faults: faults)
        case .sht4x: SimulatedSHT4x(world: world, faults: faults)
        case .ads1115: SimulatedADS1115(world: world, dividerRatio: dividerRatio, faults: faults)
        }
    }
}
