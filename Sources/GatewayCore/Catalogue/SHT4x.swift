import SensorBus
import SensorDrivers
import SimulatedHardware

extension ChipType {
    /// Temperature and humidity.
    static let sht4x = ChipType(
        "sht4x", addresses: SHT4x.addresses, quantities: [.temperature, .humidity], parts: [.sht4x],
        probe: SHT4x.probe
    ) { section in
        var settings = SHT4x.Settings()
        settings.precision = section.value("precision", as: .choice(.high), default: .high)
        return settings
    }
}

extension SHT4x.Settings: ChipSetup {
    package func open(
        bus: any I2CBus, address: I2CAddress, clock: any Clock<Duration>
    ) async throws(ChipError) -> any ChipDriver {
        try await SHT4x.open(bus: bus, address: address, settings: self, clock: clock)
    }

    package func twin(in world: SimulatedWorld, faults: FaultScript) -> any SimulatedChip {
        SimulatedSHT4x(world: world, faults: faults)
    }
}
