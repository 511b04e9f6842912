import Readings
import SensorBus
import SensorDrivers
import SimulatedHardware
import TestSupport
import Testing

/// The real drivers against the simulated chips: what goes in as air comes out as a measurement.
@Suite struct SimulatedChipTests {
    /// A bus with one chip, in air that does not change, on a clock that does not wait.
    struct Bench {
        let clock = ImmediateClock()
        let world: SimulatedWorld
        let bus: SimulatedI2CBus

        init(_ conditions: Conditions = Conditions()) {
            world = SimulatedWorld(
                environment: ConstantEnvironment(conditions), origin: Timestamp(milliseconds: 0), clock: clock)
            bus = SimulatedI2CBus(world: world)
        }

        func bme280(_ variant: SimulatedBME280.Variant = .bme280, _ episodes: [FaultScript.Episode] = [])
            async throws -> BME280
        {
            bus.attach(SimulatedBME280(world: world, variant: variant, faults: FaultScript(episodes)), at: 0x76)
            return try await BME280.open(bus: bus, address: 0x76, clock: clock)
        }

        func sht3x(_ episodes: [FaultScript.Episode] = [], precision: Precision = .high) async throws -> SHT3x {
            bus.attach(SimulatedSHT3x(world: world, faults: FaultScript(episodes)), at: 0x44)
            return try await SHT3x.open(bus: bus, address: 0x44, settings: .init(precision: precision), clock: clock)
        }

        func scd41(_ settings: SCD4x.Settings = .init(), _ episodes: [FaultScript.Episode] = []) async throws -> SCD4x {
            bus.attach(SimulatedSCD4x(world: world, faults: FaultScript(episodes)), at: 0x62)
            return try await SCD4x.open(bus: bus, settings: settings, clock: clock)
        }

        func sht4x(_ episodes: [FaultScript.Episode] = [], precision: Precision = .high)
            async throws -> SHT4x
        {
            bus.attach(SimulatedSHT4x(world: world, faults: FaultScript(episodes)), at: 0x44)
            return try await SHT4x.open(bus: bus, address: 0x44, settings: .init(precision: precision), clock: clock)
        }

        func ads1115(_ divider: VoltageDivider, _ episodes: [FaultScript.Episode] = []) async throws -> ADS1115 {
            bus.attach(
                SimulatedADS1115(
                    world: world, dividerRatio: divider.lower / (divider.upper + divider.lower),
                    faults: FaultScript(episodes)), at: 0x48)
            return try await ADS1115.open(
                bus: bus, address: 0x48, settings: .init(divider: divider, curve: .liIon), clock: clock)
        }

        /// Lets the world's time pass until it is `seconds` old.
        func pass(until seconds: Int) async throws {
            try await clock.sleep(until: .init(elapsed: .seconds(seconds)), tolerance: nil)
        }
    }

    static func isClose(_ left: Double?, _ right: Double, within tolerance: Double) -> Bool {
        abs((left ?? .nan) - right) <= tolerance
    }

    @Test(arguments: [-35.0, -10, 0, 21.37, 40, 84], [310.0, 800, 1013.25, 1090])
    func bme280GivesTheAir(temperature: Double, pressure: Double) async throws {
        for humidity in [1.0, 33.3, 50, 99] {
            let bench = Bench(Conditions(temperature: temperature, humidity: humidity, pressure: pressure))
            let measurement = try await bench.bme280().measure()
            // One step of a single conversion: 0.005 degrees, 2.6 Pa and 0.01 %; the formulas add theirs.
            #expect(Self.isClose(measurement.temperature?.celsius, temperature, within: 0.015))
            #expect(Self.isClose(measurement.pressure?.hectopascals, pressure, within: 0.06))
            #expect(Self.isClose(measurement.humidity?.percent, humidity, within: 0.05))
        }
    }

    @Test func anSCD40GivesTheAirToo() async throws {
        let bench = Bench()
        bench.bus.attach(SimulatedSCD4x(world: bench.world, variant: .scd40), at: 0x62)
        let sensor = try await SCD4x.open(bus: bench.bus, settings: .init(variant: .scd40), clock: bench.clock)
        #expect(sensor.identity.part == "SCD40" && sensor.identity.remark == nil)
        #expect(try await sensor.measure().co2?.partsPerMillion == 600)
    }

    @Test func bmp280GivesNoHumidity() async throws {
        let measurement = try await Bench().bme280(.bmp280).measure()
        #expect(measurement.humidity == nil)
        #expect(Self.isClose(measurement.pressure?.hectopascals, 1013.25, within: 0.06))
    }

    @Test(arguments: [-10.0, 21.37, 55], [5.0, 45, 95])
    func scd41GivesTheAir(temperature: Double, humidity: Double) async throws {
        for co2 in [400.0, 1234, 40_000] {
            let bench = Bench(Conditions(temperature: temperature, humidity: humidity, co2: co2))
            let measurement = try await bench.scd41(.init(temperatureOffset: 4, altitude: 100)).measure()
            #expect(measurement.co2?.partsPerMillion == co2)
            #expect(Self.isClose(measurement.temperature?.celsius, temperature, within: 0.003))
            #expect(Self.isClose(measurement.humidity?.percent, humidity, within: 0.001))
        }
    }

    @Test(arguments: [-39.0, 0, 21.37, 124], Precision.allCases)
    func sht4xGivesTheAir(temperature: Double, precision: Precision) async throws {
        for humidity in [0.0, 33.3, 100] {
            let bench = Bench(Conditions(temperature: temperature, humidity: humidity))
            let measurement = try await bench.sht4x(precision: precision).measure()
            #expect(Self.isClose(measurement.temperature?.celsius, temperature, within: 0.0014))
            #expect(Self.isClose(measurement.humidity?.percent, humidity, within: 0.001))
        }
    }

    @Test(arguments: [-39.0, 0, 21.37, 124], Precision.allCases)
    func sht3xGivesTheAir(temperature: Double, precision: Precision) async throws {
        for humidity in [0.0, 33.3, 100] {
            let bench = Bench(Conditions(temperature: temperature, humidity: humidity))
            let measurement = try await bench.sht3x(precision: precision).measure()
            #expect(Self.isClose(measurement.temperature?.celsius, temperature, within: 0.0014))
            #expect(Self.isClose(measurement.humidity?.percent, humidity, within: 0.0008))
        }
    }

    @Test(arguments: [3.0, 3.333, 3.9, 4.2])
    func ads1115GivesTheBattery(volts: Double) async throws {
        let divider = try #require(VoltageDivider(upper: 100_000, lower: 100_000))
        let measurement = try await Bench(Conditions(battery: volts)).ads1115(divider).measure()
        #expect(Self.isClose(measurement.batteryVoltage?.volts, volts, within: 125e-6))
        #expect(measurement.batteryLevel == BatteryCurve.liIon.level(of: measurement.batteryVoltage ?? .init(volts: 0)))
    }

    /// To half a step at every setting; the model's oscillator is slow.
    @Test(arguments: ADS1115.Settings.Range.allCases, ADS1115.Settings.Rate.allCases)
    func ads1115AtEverySetting(range: ADS1115.Settings.Range, rate: ADS1115.Settings.Rate) async throws {
        let bench = Bench(Conditions(battery: range.volts * 0.9))
        bench.bus.attach(SimulatedADS1115(world: bench.world), at: 0x48)
        let sensor = try await ADS1115.open(
            bus: bench.bus, address: 0x48, settings: .init(range: range, rate: rate), clock: bench.clock)
        for _ in 0..<3 {
            let volts = try await sensor.measure().batteryVoltage?.volts
            #expect(Self.isClose(volts, range.volts * 0.9, within: range.volts / 65_536))
        }
    }

    /// Measures within an episode from 100 s to 200 s, and afterwards.
    private static func fault(
        _ kind: FaultScript.Kind, _ bench: Bench, open: ([FaultScript.Episode]) async throws -> any ChipDriver
    ) async throws -> ChipError.Kind? {
        let sensor = try await open([.init(kind, from: .seconds(100), to: .seconds(200))])
        _ = try await sensor.measure()
        try await bench.pass(until: 110)
        var kindOfError: ChipError.Kind?
        do throws(ChipError) {
            _ = try await sensor.measure()
        } catch {
            kindOfError = error.kind
        }
        try await bench.pass(until: 210)
        if kind == .unplug {
            // It came back without its settings: either it says so, or opening it again mends it.
            await #expect(throws: ChipError.self) { _ = try await sensor.measure() }
            try await bench.pass(until: 220)
            _ = try await open([]).measure()
        } else {
            _ = try await sensor.measure()
        }
        return kindOfError
    }

    @Test func faultsOfTheBME280() async throws {
        func fault(_ kind: FaultScript.Kind) async throws -> ChipError.Kind? {
            let bench = Bench()
            return try await Self.fault(kind, bench) { try await bench.bme280(.bme280, $0) }
        }
        let silence = ChipError.Kind.bus(BusError(.notAcknowledged, bus: "simulated", address: 0x76))
        #expect(try await fault(.nack) == silence)
        #expect(try await fault(.freeze) == .timedOut)
        guard case .outOfRange = try await fault(.saturate) else {
            Issue.record("saturated air is not out of range")
            return
        }
    }

    @Test func faultsOfTheSCD41() async throws {
        func fault(_ kind: FaultScript.Kind) async throws -> ChipError.Kind? {
            let bench = Bench()
            return try await Self.fault(kind, bench) { try await bench.scd41(.init(), $0) }
        }
        let silence = ChipError.Kind.bus(BusError(.notAcknowledged, bus: "simulated", address: 0x62))
        #expect(try await fault(.nack) == silence)
        #expect(try await fault(.unplug) == silence)
        #expect(try await fault(.freeze) == .notReady)
        #expect(try await fault(.saturate) == .outOfRange(value: 65_535))
        guard case .crc(let expected, let received) = try await fault(.crc) else {
            Issue.record("a damaged checksum is not noticed")
            return
        }
        #expect(expected ^ received == 0x01)
    }

    @Test func faultsOfTheSHT4x() async throws {
        func fault(_ kind: FaultScript.Kind) async throws -> ChipError.Kind? {
            let bench = Bench()
            return try await Self.fault(kind, bench) { try await bench.sht4x($0) }
        }
        let silence = ChipError.Kind.bus(BusError(.notAcknowledged, bus: "simulated", address: 0x44))
        #expect(try await fault(.nack) == silence)
        #expect(try await fault(.freeze) == silence)
        #expect(try await fault(.saturate) == .outOfRange(value: 130))
        guard case .crc(let expected, let received) = try await fault(.crc) else {
            Issue.record("a damaged checksum is not noticed")
            return
        }
        #expect(expected ^ received == 0x01)
    }

    @Test func faultsOfTheSHT3x() async throws {
        func fault(_ kind: FaultScript.Kind) async throws -> ChipError.Kind? {
            let bench = Bench()
            return try await Self.fault(kind, bench) { try await bench.sht3x($0) }
        }
        let silence = ChipError.Kind.bus(BusError(.notAcknowledged, bus: "simulated", address: 0x44))
        #expect(try await fault(.nack) == silence)
        #expect(try await fault(.freeze) == silence)
        #expect(try await fault(.saturate) == .outOfRange(value: 130))
        guard case .crc = try await fault(.crc) else {
            Issue.record("a damaged checksum is not noticed")
            return
        }
    }

    /// A loss of power that nobody saw is in the status.
    @Test func anSHT3xThatWasUnpluggedSaysSo() async throws {
        let bench = Bench()
        let sensor = try await bench.sht3x([.init(.unplug, from: .seconds(100), to: .seconds(200))])
        #expect(try await sensor.status().wasReset == false)
        try await bench.pass(until: 210)
        #expect(Self.isClose(try await sensor.measure().humidity?.percent, 45, within: 0.001))
        #expect(try await sensor.status().wasReset)
    }

    /// It has no settings to lose: it goes on as if nothing had been.
    @Test func anSHT4xThatWasUnpluggedMeasuresAgain() async throws {
        let bench = Bench()
        let sensor = try await bench.sht4x([.init(.unplug, from: .seconds(100), to: .seconds(200))])
        try await bench.pass(until: 150)
        await #expect(throws: ChipError.self) { _ = try await sensor.measure() }
        try await bench.pass(until: 210)
        #expect(Self.isClose(try await sensor.measure().humidity?.percent, 45, within: 0.001))
    }

    @Test func faultsOfTheADS1115() async throws {
        func fault(_ kind: FaultScript.Kind) async throws -> ChipError.Kind? {
            let bench = Bench()
            return try await Self.fault(kind, bench) { try await bench.ads1115(.none, $0) }
        }
        let silence = ChipError.Kind.bus(BusError(.notAcknowledged, bus: "simulated", address: 0x48))
        #expect(try await fault(.nack) == silence)
        #expect(try await fault(.freeze) == .timedOut)
        #expect(try await fault(.saturate) == .saturated)
    }

    @Test func aBME280ThatWasUnpluggedMeasuresEverythingAgain() async throws {
        let bench = Bench()
        let sensor = try await bench.bme280(.bme280, [.init(.unplug, from: .seconds(100), to: .seconds(200))])
        #expect(try await sensor.measure().humidity != nil)
        try await bench.pass(until: 150)
        await #expect(throws: ChipError.self) { _ = try await sensor.measure() }
        try await bench.pass(until: 210)
        // The power cut took the oversampling of humidity with it.
        #expect(Self.isClose(try await sensor.measure().humidity?.percent, 45, within: 0.05))
    }

    @Test func seededFaultScriptsAreRepeatable() {
        func script(_ seed: UInt64) -> [FaultScript.Episode] {
            FaultScript(seed: seed, length: .seconds(86_400), interval: .seconds(600), duration: .seconds(30)).episodes
        }
        #expect(script(7) == script(7))
        #expect(script(7) != script(8))
        #expect((100...200).contains(script(7).count))
        #expect(script(7).allSatisfy { $0.end - $0.start == .seconds(30) && $0.start >= .zero })
    }
}
