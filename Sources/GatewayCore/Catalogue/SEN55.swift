import SensorBus
import SensorDrivers
import SimulatedHardware

extension ChipType {
    /// Particles, volatile organic compounds, temperature and humidity.
    static let sen55 = ChipType(
        "sen55", addresses: [SEN55.address], quantities: [.temperature, .humidity, .vocIndex, .pm2_5],
        parts: [.sen55], probe: SEN55.probe, hasNoise: false, fastestClock: 100_000
    ) { _ in
        SEN55.Settings()
    }
}

extension SEN55.Settings: ChipSetup {
    package func open(
        bus: any I2CBus, address: I2CAddress, clock: any Clock<Duration>
    ) async throws(ChipError) -> any ChipDriver {
        try await SEN55.open(bus: bus, address: address, clock: clock)
    }

    package func twin(in world: SimulatedWorld, faults: FaultScript) -> any SimulatedChip {
        SimulatedSEN55(world: world, faults: faults)
    }
}
