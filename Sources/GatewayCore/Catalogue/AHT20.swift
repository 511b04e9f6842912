import SensorBus
import SensorDrivers
import SimulatedHardware

extension ChipType {
    /// Temperature and humidity.
    static let aht20 = ChipType(
        "aht20", addresses: [AHT20.address], quantities: [.temperature, .humidity], parts: [.aht20],
        probe: AHT20.probe
    ) { _ in
        AHT20Setup()
    }
}

/// The chip has no settings.
private struct AHT20Setup: ChipSetup {
    func open(
        bus: any I2CBus, address: I2CAddress, clock: any Clock<Duration>
    ) async throws(ChipError) -> any ChipDriver {
        try await AHT20.open(bus: bus, address: address, clock: clock)
    }

    func twin(in world: SimulatedWorld, faults: FaultScript) -> any SimulatedChip {
        SimulatedAHT20(world: world, faults: faults)
    }
}
