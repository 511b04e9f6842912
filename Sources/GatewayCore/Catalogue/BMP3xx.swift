import SensorBus
import SensorDrivers
import SimulatedHardware

extension ChipType {
    /// Pressure and temperature.
    static let bmp388 = ChipType(
        "bmp388", addresses: BMP3xx.addresses, quantities: [.temperature, .pressure], parts: [.bmp388, .bmp390],
        probe: BMP3xx.probe
    ) { _ in
        BMP3xx.Settings(variant: .bmp388)
    }

    /// The same with less noise.
    static let bmp390 = ChipType(
        "bmp390", addresses: BMP3xx.addresses, quantities: [.temperature, .pressure], parts: [.bmp390, .bmp388],
        probe: BMP3xx.probe
    ) { _ in
        BMP3xx.Settings(variant: .bmp390)
    }
}

extension BMP3xx.Settings: ChipSetup {
    package func open(
        bus: any I2CBus, address: I2CAddress, clock: any Clock<Duration>
    ) async throws(ChipError) -> any ChipDriver {
        try await BMP3xx.open(bus: bus, address: address, settings: self, clock: clock)
    }

    package func twin(in world: SimulatedWorld, faults: FaultScript) -> any SimulatedChip {
        SimulatedBMP3xx(world: world, variant: variant == .bmp388 ? .bmp388 : .bmp390, faults: faults)
    }
}
