import SensorBus
import SensorDrivers
import SimulatedHardware

extension ChipType {
    /// Temperature, humidity and pressure.
    static let bme280 = ChipType(
        "bme280", addresses: BME280.addresses, quantities: [.temperature, .humidity, .pressure],
        parts: [.bme280, .bmp280], probe: BME280.probe
    ) { _ in
        BME280.Settings(variant: .bme280)
    }

    /// The same without humidity.
    static let bmp280 = ChipType(
        "bmp280", addresses: BME280.addresses, quantities: [.temperature, .pressure], parts: [.bmp280, .bme280],
        probe: BME280.probe
    ) { _ in
        BME280.Settings(variant: .bmp280)
    }
}

extension BME280.Settings: ChipSetup {
    package func open(
        bus: any I2CBus, address: I2CAddress, clock: any Clock<Duration>
    ) async throws(ChipError) -> any ChipDriver {
        try await BME280.open(bus: bus, address: address, settings: self, clock: clock)
    }

    package func twin(in world: SimulatedWorld, faults: FaultScript) -> any SimulatedChip {
        SimulatedBME280(world: world, variant: variant == .bme280 ? .bme280 : .bmp280, faults: faults)
    }
}
