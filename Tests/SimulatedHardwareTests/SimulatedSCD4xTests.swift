import Readings
import SensorBus
import SensorDrivers
import SimulatedHardware
import TestSupport
import Testing

/// The SCD4x's twin byte by byte, and what the driver does with it over hours.
@Suite struct SimulatedSCD4xTests {
    private let clock = ImmediateClock()
    private let world: SimulatedWorld
    private let bus: SimulatedI2CBus

    init() {
        world = SimulatedWorld(
            environment: ConstantEnvironment(), origin: Timestamp(milliseconds: 0), clock: clock)
        bus = SimulatedI2CBus(world: world)
    }

    private func attach(_ variant: SimulatedSCD4x.Variant = .scd41, _ episodes: [FaultScript.Episode] = []) {
        bus.attach(SimulatedSCD4x(world: world, variant: variant, faults: FaultScript(episodes)), at: 0x62)
    }

    private func expectRefusal(_ body: () throws -> Void) {
        #expect(throws: BusError(.notAcknowledged, bus: "simulated", address: 0x62), performing: body)
    }

    private func send(_ bytes: [UInt8], then milliseconds: Int = 1) async throws {
        try bus.write(bytes, to: 0x62)
        try await clock.sleep(for: .milliseconds(milliseconds))
    }

    private func word(_ bytes: [UInt8], then milliseconds: Int = 1) async throws -> Int {
        try await send(bytes, then: milliseconds)
        let answer = try bus.read(3, from: 0x62)
        return Int(answer[0]) << 8 | Int(answer[1])
    }

    @Test func itRefusesWhatTheRealOneRefuses() async throws {
        attach()
        try bus.write([0x36, 0x82], to: 0x62)
        // Too early.
        expectRefusal { _ = try bus.read(9, from: 0x62) }
        try await clock.sleep(for: .milliseconds(1))
        #expect(try bus.read(9, from: 0x62) == [0x73, 0xB1, 0x19, 0xEB, 0x07, 0x7A, 0x3B, 0x0C, 0x54])
        // Once only.
        expectRefusal { _ = try bus.read(9, from: 0x62) }
        // A word with a wrong checksum, half a command, and none that it has.
        expectRefusal { try bus.write([0x24, 0x1D, 0x05, 0xDA, 0x00], to: 0x62) }
        expectRefusal { try bus.write([0x24], to: 0x62) }
        expectRefusal { try bus.write([0x12, 0x34], to: 0x62) }
        try bus.write([0x21, 0xB1], to: 0x62)
        // Nothing measured yet: not ready, in the form that has bits above the low 11, and no measurement.
        #expect(try await word([0xE4, 0xB8]) == 0x8000)
        try await send([0xEC, 0x05])
        expectRefusal { _ = try bus.read(9, from: 0x62) }
        // Busy while it stops.
        try bus.write([0x3F, 0x86], to: 0x62)
        try await clock.sleep(for: .milliseconds(499))
        expectRefusal { try bus.write([0x36, 0x82], to: 0x62) }
        try await clock.sleep(for: .milliseconds(1))
        try bus.write([0x36, 0x82], to: 0x62)
    }

    /// All that the datasheet's table has under "not while measuring"; with a word those that take one.
    @Test(
        arguments: [
            [0x21, 0xB1], [0x21, 0xAC], [0x23, 0x18], [0x23, 0x22], [0x23, 0x13], [0x23, 0x3F], [0x36, 0x15],
            [0x36, 0x82], [0x36, 0x39], [0x36, 0x32], [0x36, 0x46], [0x20, 0x2F], [0x21, 0x9D], [0x21, 0x96],
            [0x36, 0xE0], [0x36, 0xF6], [0x24, 0x1D, 0x01, 0xF4, 0x33], [0x24, 0x27, 0x01, 0xF4, 0x33],
            [0x24, 0x16, 0x01, 0xF4, 0x33], [0x24, 0x3A, 0x01, 0xF4, 0x33], [0x36, 0x2F, 0x01, 0xF4, 0x33],
        ] as [[UInt8]])
    func whileItMeasuresItRefuses(command: [UInt8]) async throws {
        attach()
        try bus.write(command, to: 0x62)
        try await clock.sleep(for: .seconds(11))
        // What was powered down is woken, unheard.
        if command == [0x36, 0xE0] { expectRefusal { try bus.write([0x36, 0xF6], to: 0x62) } }
        try await clock.sleep(for: .seconds(1))
        try await send([0x3F, 0x86], then: 500)
        try bus.write([0x21, 0xB1], to: 0x62)
        expectRefusal { try bus.write(command, to: 0x62) }
        // The pressure it takes.
        try bus.write([0xE0, 0x00, 0x03, 0xF5, 0xDB], to: 0x62)
    }

    @Test func afterItIsPluggedInAgainItStartsUp() async throws {
        attach(.scd41, [.init(.unplug, from: .seconds(1), to: .seconds(2))])
        try await clock.sleep(for: .milliseconds(2999))
        expectRefusal { try bus.write([0x36, 0x82], to: 0x62) }
        try await clock.sleep(for: .milliseconds(1))
        try bus.write([0x36, 0x82], to: 0x62)
    }

    @Test func everyCommandKeepsItBusyForItsTime() async throws {
        attach()
        for (command, milliseconds) in [
            ([0x36, 0x15], 800), ([0x36, 0x39], 10_000), ([0x36, 0x32], 1200), ([0x36, 0x46], 30),
            ([0x21, 0x9D], 5000), ([0x21, 0x96], 50), ([0x36, 0x2F, 0x01, 0xF4, 0x33], 400),
            ([0x24, 0x27, 0x01, 0xF4, 0x33], 1),
        ] as [([UInt8], Int)] {
            try bus.write(command, to: 0x62)
            try await clock.sleep(for: .microseconds(milliseconds * 1000 - 1))
            expectRefusal { try bus.write([0x23, 0x22], to: 0x62) }
            try await clock.sleep(for: .microseconds(1))
            #expect(try await word([0x23, 0x22]) >= 0)
        }
    }

    /// Asleep it hears nothing, and wakes without a word; what was not stored is gone.
    @Test func itSleepsAndWakesUnheard() async throws {
        attach()
        try await send([0x24, 0x27, 0x01, 0xF4, 0x33])
        try await send([0x36, 0xE0])
        expectRefusal { try bus.write([], to: 0x62) }
        expectRefusal { try bus.write([0x36, 0x82], to: 0x62) }
        expectRefusal { try bus.write([0x36, 0xF6], to: 0x62) }
        try await clock.sleep(for: .milliseconds(29))
        expectRefusal { try bus.write([0x36, 0x82], to: 0x62) }
        try await clock.sleep(for: .milliseconds(1))
        #expect(try await word([0x23, 0x22]) == 0)
    }

    @Test func settingsLastOnlyIfTheyAreStored() async throws {
        attach(.scd41, [.init(.unplug, from: .seconds(10), to: .seconds(20))])
        try await send([0x24, 0x27, 0x01, 0xF4, 0x33])
        try await send([0x36, 0x15], then: 800)
        try await send([0x24, 0x27, 0x03, 0xE8, 0xD4])
        #expect(try await word([0x23, 0x22]) == 1000)
        try await send([0x36, 0x46], then: 30)
        #expect(try await word([0x23, 0x22]) == 500)
        try await clock.sleep(for: .seconds(30))
        #expect(try await word([0x23, 0x22]) == 500)
        try await send([0x36, 0x32], then: 1200)
        #expect(try await word([0x23, 0x22]) == 0)
    }

    @Test func anSCD40HasNoSingleShots() throws {
        attach(.scd40)
        for command: [UInt8] in [[0x21, 0x9D], [0x21, 0x96], [0x36, 0xE0], [0x36, 0xF6]] {
            expectRefusal { try bus.write(command, to: 0x62) }
        }
    }

    // With the driver.

    @Test(arguments: [false, true])
    func singleShotsGiveTheAir(isPoweredDown: Bool) async throws {
        attach()
        let sensor = try await SCD4x.open(
            bus: bus, settings: .init(mode: .singleShot, isPoweredDown: isPoweredDown, temperatureOffset: 4),
            clock: clock)
        for _ in 0..<5 {
            // The first after waking is 400 ppm too high: it must not come out.
            let measurement = try await sensor.measure()
            #expect(measurement.co2?.partsPerMillion == 600)
            #expect(abs((measurement.temperature?.celsius ?? .nan) - 21) < 0.003)
            try await clock.sleep(for: .seconds(600))
        }
    }

    @Test func withoutCO2ItIsAbsent() async throws {
        attach()
        let sensor = try await SCD4x.open(bus: bus, settings: .init(mode: .singleShotWithoutCO2), clock: clock)
        let measurement = try await sensor.measure()
        #expect(measurement.co2 == nil)
        #expect(abs((measurement.humidity?.percent ?? .nan) - 45) < 0.001)
    }

    /// Whatever the last program left: asleep, measuring, in the other mode.
    @Test(arguments: SCD4x.Settings.Mode.allCases, [false, true])
    func itIsOpenedInAnyState(mode: SCD4x.Settings.Mode, isPoweredDown: Bool) async throws {
        attach()
        for next in SCD4x.Settings.Mode.allCases {
            let before = try await SCD4x.open(
                bus: bus, settings: .init(mode: mode, isPoweredDown: isPoweredDown), clock: clock)
            _ = try await before.measure()
            let after = try await SCD4x.open(bus: bus, settings: .init(mode: next), clock: clock)
            #expect(abs((try await after.measure().temperature?.celsius ?? .nan) - 21) < 0.003, "\(mode) to \(next)")
        }
    }

    @Test func olderFirmwareIsOpenedToo() async throws {
        bus.attach(SimulatedSCD4x(world: world, saysVariant: false), at: 0x62)
        let sensor = try await SCD4x.open(bus: bus, clock: clock)
        #expect(sensor.variant == nil && sensor.identity.part == "SCD41")
        #expect(try await sensor.measure().co2?.partsPerMillion == 600)
    }

    @Test(arguments: [SCD4x.Settings.Mode.periodic, .lowPower, .singleShot])
    func aRecalibrationMovesTheValuesAndLasts(mode: SCD4x.Settings.Mode) async throws {
        attach(.scd41, [.init(.unplug, from: .seconds(1000), to: .seconds(1001))])
        let settings = SCD4x.Settings(mode: mode)
        let sensor = try await SCD4x.open(bus: bus, settings: settings, clock: clock)
        _ = try await sensor.measure()
        await #expect(throws: ChipError.self) {
            try await sensor.forcedRecalibration(target: .init(partsPerMillion: 420))
        }
        while await sensor.measuringTime < SCD4x.settlingTime { _ = try await sensor.measure() }
        #expect(try await sensor.forcedRecalibration(target: .init(partsPerMillion: 420)) == -180)
        #expect(try await sensor.measure().co2?.partsPerMillion == 420)
        try await clock.sleep(until: .init(elapsed: .seconds(1100)), tolerance: nil)
        let again = try await SCD4x.open(bus: bus, settings: settings, clock: clock)
        #expect(try await again.measure().co2?.partsPerMillion == 420)
        try await again.factoryReset()
        #expect(try await again.measure().co2?.partsPerMillion == 600)
    }

    /// What is wrong with the chip itself: its answer is what it says.
    @Test func theModelRefusesARecalibrationThatComesTooEarly() async throws {
        attach()
        try await send([0x21, 0xB1], then: 179_000)
        try await send([0x3F, 0x86], then: 500)
        #expect(try await word([0x36, 0x2F, 0x01, 0xF4, 0x33], then: 400) == 0xFFFF)
        try await send([0x21, 0xB1], then: 180_000)
        try await send([0x3F, 0x86], then: 500)
        #expect(try await word([0x36, 0x2F, 0x01, 0xF4, 0x33], then: 400) == 0x8000 - 100)
    }

    @Test func theDriversSettingsAreInForceAndComeBackAfterAReset() async throws {
        attach()
        let sensor = try await SCD4x.open(
            bus: bus,
            settings: .init(
                temperatureOffset: 2.5, altitude: 333, automaticSelfCalibration: false, selfCalibrationTarget: 450),
            clock: clock)
        try await sensor.setAmbientPressure(.init(hectopascals: 987.4))
        func check(_ comment: Comment) async throws {
            let settings = try await sensor.readSettings()
            #expect(abs(settings.temperatureOffset - 2.5) < 0.002, comment)
            #expect(settings.altitude == 333, comment)
            #expect(settings.ambientPressure.hectopascals == 987, comment)
            #expect(!settings.automaticSelfCalibration, comment)
            #expect(settings.selfCalibrationTarget.partsPerMillion == 450, comment)
        }
        try await check("opened")
        try await sensor.persistSettings()
        try await check("stored")
        try await sensor.reinitialise()
        try await check("reinitialised")
        try await sensor.factoryReset()
        try await check("reset")
        #expect(try await sensor.selfTest() == 0)
        #expect(try await sensor.measure().co2?.partsPerMillion == 600)
    }

    @Test func aBrokenChipFailsItsSelfTest() async throws {
        attach(.scd41, [.init(.saturate, from: .zero, to: .seconds(1000))])
        let sensor = try await SCD4x.open(bus: bus, clock: clock)
        #expect(try await sensor.selfTest() != 0)
    }
}
