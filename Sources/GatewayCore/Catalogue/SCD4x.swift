import Configuration
import Readings
import SensorBus
import SensorDrivers
import SimulatedHardware

extension ChipType {
    /// Carbon dioxide, temperature and humidity.
    static let scd40 = scd4x("scd40", parts: [.scd40, .scd41, .scd43, .scd4x], variant: .scd40)

    /// The same, also in single shots.
    static let scd41 = scd4x("scd41", parts: [.scd41, .scd43, .scd4x, .scd40], variant: .scd41)

    private static func scd4x(_ name: StaticString, parts: [ChipPart], variant: SCD4x.Variant) -> ChipType {
        ChipType(
            name, addresses: [SCD4x.address], quantities: [.temperature, .humidity, .co2], parts: parts,
            probe: SCD4x.probe, hasNoise: false, isPressureCompensated: true, fastestClock: 100_000
        ) { section in
            SCD4x.Settings(section, variant: variant)
        }
    }
}

extension SCD4x.Settings: ChipSetup {
    fileprivate init(_ section: Section, variant: SCD4x.Variant) {
        self.init(variant: variant)
        mode = section.value("mode", as: .choice(.periodic), default: .periodic)
        isPoweredDown = section.value("power_down", as: .boolean, default: false)
        temperatureOffset = section.optional("temperature_offset", as: .number(0...20))
        altitude = section.optional("altitude", as: .integer(0...3000))
        automaticSelfCalibration = section.optional("self_calibration", as: .boolean)
        selfCalibrationTarget = section.optional("self_calibration_target", as: .integer(SCD4x.references))
        if mode.period == nil, !variant.hasSingleShot {
            section.problem("an \(variant.part) has no single shots: periodic or low_power", at: "mode")
        }
        if mode.period != nil, isPoweredDown {
            section.problem("it is powered down between single shots only", at: "power_down")
        }
    }

    package func open(
        bus: any I2CBus, address: I2CAddress, clock: any Clock<Duration>
    ) async throws(ChipError) -> any ChipDriver {
        try await SCD4x.open(bus: bus, address: address, settings: self, clock: clock)
    }

    package func twin(in world: SimulatedWorld, faults: FaultScript) -> any SimulatedChip {
        SimulatedSCD4x(world: world, variant: variant == .scd40 ? .scd40 : .scd41, faults: faults)
    }

    package var omittedQuantities: Set<Quantity> { mode == .singleShotWithoutCO2 ? [.co2] : [] }
    package var sampleTime: Duration? { shotTime }
}
