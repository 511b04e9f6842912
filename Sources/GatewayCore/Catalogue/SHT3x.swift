import SensorBus
import SensorDrivers
import SimulatedHardware

extension ChipType {
    /// Temperature and humidity.
    static let sht3x = ChipType(
        "sht3x", addresses: SHT3x.addresses, quantities: [.temperature, .humidity], parts: [.sht3x],
        probe: SHT3x.probe
    ) { section in
        var settings = SHT3x.Settings()
        settings.precision = section.value("precision", as: .choice(.high), default: .high)
        return settings
    }
}

extension SHT3x.Settings: ChipSetup {
    package func open(
        bus: any I2CBus, address: I2CAddress, clock: any Clock<Duration>
    ) async throws(ChipError) -> any ChipDriver {
        try await SHT3x.open(bus: bus, address: address, settings: self, clock: clock)
    }

    package func twin(in world: SimulatedWorld, faults: FaultScript) -> any SimulatedChip {
        SimulatedSHT3x(world: world, faults: faults)
    }
}
