import Readings
import SensorBus
import SimulatedHardware
import TestSupport
import Testing

@testable import SensorDrivers

@Suite struct BME280CalibrationTests {
    static let datasheetExample = Coefficients(
        t: [27_504, 26_435, -1000], p: [36_477, -10_685, 3024, 2855, 140, -7, 15_500, -14_600, 6000])
    static let withHumidity = Coefficients(
        t: [28_176, 26_220, 350], p: [38_237, -10_824, 3024, 7799, -99, -7, 9900, -10_230, 4285],
        h: [75, 366, 0, 309, 0, 30])

    @Test func theDatasheetsExample() throws {
        let calibration = Self.datasheetExample.calibration
        let fine = calibration.fineTemperature(raw: 519_888)
        #expect(fine == 128_422)
        #expect(calibration.temperature(fine: fine) == 2508)
        // The datasheet prints 25767236 (BMP280, 3.12); its own formula gives this.
        #expect(try calibration.pressure(raw: 415_148, fine: fine) == 25_767_233)
        #expect(calibration.humidity == nil)
    }

    @Test func aChipWithHumidity() throws {
        let calibration = Self.withHumidity.calibration
        let humidity = try #require(calibration.humidity)
        let fine = calibration.fineTemperature(raw: 524_112)
        #expect(fine == 117_407)
        #expect(calibration.temperature(fine: fine) == 2293)
        #expect(try calibration.pressure(raw: 309_104, fine: fine) == 25_611_063)
        #expect(try calibration.humidity(raw: 30_987, fine: fine, humidity) == 64_686)
    }

    @Test func registersDecode() throws {
        let calibration = BME280Calibration(first: BME280Transcript.first, second: BME280Transcript.second)
        #expect([Int(calibration.t1), Int(calibration.t2), Int(calibration.t3)] == [28_176, 26_220, 50])
        #expect([calibration.p2, calibration.p5, calibration.p8, calibration.p9] == [-10_824, -99, -10_230, 4285])
        let humidity = try #require(calibration.humidity)
        #expect([Int(humidity.h1), Int(humidity.h2), Int(humidity.h4), Int(humidity.h5)] == [75, 366, 309, 0])
    }

    @Test func halfBytesOfHumidityAreSigned() throws {
        // H4 and H5 share the byte at 0xE5: the low half is H4's, the high one H5's.
        let second: [UInt8] = [0xFF, 0x7F, 0xFE, 0x80, 0x1F, 0xFF, 0x80]
        let humidity = try #require(BME280Calibration(first: BME280Transcript.first, second: second).humidity)
        #expect([Int(humidity.h2), Int(humidity.h3), Int(humidity.h6)] == [32_767, 254, -128])
        #expect(humidity.h4 == -2048 + 15)
        #expect(humidity.h5 == -16 + 1)
    }

    @Test func divisionByZeroIsAnError() {
        var coefficients = Self.datasheetExample
        coefficients.p[0] = 0
        #expect(throws: BME280Calibration.Unusable()) {
            try coefficients.calibration.pressure(raw: 415_148, fine: 128_422)
        }
    }
}

@Suite struct BME280Tests {
    typealias Transcript = BME280Transcript

    @Test func measuresAsTheRegistersSay() async throws {
        let bus = PlaybackBus(Transcript.opening() + Transcript.measuring(Transcript.data))
        let sensor = try await Transcript.open(bus)
        #expect(sensor.variant == .bme280)
        #expect(sensor.chip == Identifier(constant: "bme280"))
        let measurement = try await sensor.measure()
        #expect(measurement.temperature?.celsius == 23.72)
        #expect(measurement.pressure?.hectopascals == 25_841_330.0 / 256 / 100)
        #expect(measurement.humidity?.percent == 66_873.0 / 1024)
        #expect(measurement.co2 == nil)
        #expect(measurement.batteryVoltage == nil)
        try bus.finish()
    }

    @Test func aBMP280HasNoHumidity() async throws {
        let example = BME280CalibrationTests.datasheetExample
        let bus = PlaybackBus(
            Transcript.opening(id: 0x58, first: example.first, second: nil)
                + Transcript.measuring(Transcript.data(pressure: 415_148, temperature: 519_888)))
        let sensor = try await Transcript.open(bus)
        #expect(sensor.variant == .bmp280)
        #expect(sensor.chip == Identifier(constant: "bmp280"))
        let measurement = try await sensor.measure()
        #expect(measurement.temperature?.celsius == 25.08)
        #expect(measurement.pressure?.hectopascals == 25_767_233.0 / 256 / 100)
        #expect(measurement.humidity == nil)
        try bus.finish()
    }

    /// The other chip works too, and whoever looks learns what it is.
    @Test(
        arguments: [
            (.bme280, .bme280, "BME280", "0x60", nil), (.bmp280, .bmp280, "BMP280", "0x58", nil),
            (
                .bme280, .bmp280, "BMP280", "0x58",
                "the configuration says BME280, and it is a BMP280, which has no humidity"
            ),
            (.bmp280, .bme280, "BME280", "0x60", "the configuration says BMP280, and it is a BME280"),
        ] as [(BME280.Variant, BME280.Variant, String, String, String?)])
    func itSaysWhatItIs(
        expected: BME280.Variant, found: BME280.Variant, part: String, chipID: String, remark: String?
    ) async throws {
        let second = found == .bme280 ? Transcript.second : nil
        let bus = PlaybackBus(Transcript.opening(id: found.rawValue, second: second))
        let sensor = try await Transcript.open(bus, settings: .init(variant: expected))
        #expect(sensor.identity == ChipIdentity(part: part, facts: [.init("chip id", chipID)], remark: remark))
        try bus.finish()
    }

    @Test func everyFailingTransferIsReported() async throws {
        try await failingEachTransfer(of: Transcript.opening(id: 0x58, second: nil)) { bus in
            _ = try await Transcript.open(bus)
        }
        try await failingEachTransfer(of: Transcript.opening() + Transcript.measuring(Transcript.data)) { bus in
            _ = try await Transcript.open(bus).measure()
        }
    }

    @Test(
        arguments: [
            (0x55, "a BMP180, which is not supported" as String?), (0x61, nil), (0x00, nil), (0xFF, nil),
        ] as [(UInt8, String?)])
    func anotherChipIsRefused(id: UInt8, hint: String?) async throws {
        let bus = PlaybackBus([.write([0xD0], thenRead: [id], at: 0x76)])
        let kind = await failure { _ = try await Transcript.open(bus) }
        #expect(kind == .wrongChip(answer: UInt64(id), hint: hint))
        try bus.finish()
    }

    @Test(arguments: [UInt8(0x00), 0xFF], [true, false])
    func anEmptyCalibrationIsRefused(filler: UInt8, isOfHumidity: Bool) async throws {
        let first = isOfHumidity ? Transcript.first : [UInt8](repeating: filler, count: 26)
        let second = isOfHumidity ? [UInt8](repeating: filler, count: 7) : Transcript.second
        let bus = PlaybackBus(Array(Transcript.opening(first: first, second: second).prefix(5)))
        #expect(await failure { _ = try await Transcript.open(bus) } == .calibration)
        try bus.finish()
    }

    @Test func theResetIsWaitedForUntilTheCalibrationIsCopied() async throws {
        let busy = PlaybackBus.Exchange.write([0xF3], thenRead: [0x01], at: 0x76)
        var transcript = Transcript.opening()
        transcript.insert(contentsOf: [busy, busy, busy, busy], at: 2)
        let clock = ImmediateClock()
        let bus = PlaybackBus(transcript)
        _ = try await BME280.open(bus: bus, address: 0x76, clock: clock)
        #expect(clock.now.elapsed == .milliseconds(10))
        try bus.finish()

        let never = PlaybackBus(transcript.prefix(2) + [busy, busy, busy, busy, busy])
        #expect(await failure { _ = try await Transcript.open(never) } == .timedOut)
        try never.finish()
    }

    @Test func aMeasurementThatNeverEndsTimesOutAndTheNextIsArmedAnew() async throws {
        let busy = PlaybackBus.Exchange.write([0xF3], thenRead: [0x08], at: 0x76)
        var second = Transcript.measuring(Transcript.data)
        let arm = Array(second.prefix(2))
        second.insert(busy, at: 2)
        let bus = PlaybackBus(Transcript.opening() + arm + [busy, busy, busy, busy, busy] + second)
        let sensor = try await Transcript.open(bus)
        #expect(await failure { _ = try await sensor.measure() } == .timedOut)
        #expect(try await sensor.measure().temperature?.celsius == 23.72)
        try bus.finish()
    }

    @Test(arguments: [(BME280.Settings.Oversampling.x1, 9300), (.x4, 30_000), (.x16, 112_800)])
    func theLongestMeasurement(oversampling: BME280.Settings.Oversampling, microseconds: Int) {
        let settings = BME280.Settings(temperature: oversampling, pressure: oversampling, humidity: oversampling)
        #expect(settings.longestMeasurement == .microseconds(microseconds))
    }

    @Test func oversamplingIsWritten() async throws {
        var transcript = Transcript.opening()
        transcript[6] = .write([0xF2, 0x05], to: 0x76)
        transcript[8] = .write([0xF4, 0x4C], to: 0x76)
        let bus = PlaybackBus(transcript)
        _ = try await Transcript.open(bus, settings: .init(temperature: .x2, pressure: .x4, humidity: .x16))
        try bus.finish()
    }

    @Test func temperatureCannotBeSkipped() async throws {
        let bus = PlaybackBus([])
        let kind = await failure { _ = try await Transcript.open(bus, settings: .init(temperature: .skip)) }
        guard case .invalidSetting = kind else {
            Issue.record("not refused as a setting")
            return
        }
        try bus.finish()
    }

    @Test func whatTheChipSkippedIsAbsent() async throws {
        let bus = PlaybackBus(
            Transcript.opening()
                + Transcript.measuring(Transcript.data(pressure: 0x80000, temperature: 526_700, humidity: 31_350))
                + Transcript.measuring(Transcript.data(pressure: 304_428, temperature: 526_700, humidity: 0x8000))
                + Transcript.measuring(Transcript.data(pressure: 304_428, temperature: 0x80000, humidity: 31_350))
                + Transcript.measuring(Transcript.data(pressure: 0x80000, temperature: 0x80000, humidity: 0x8000)))
        let sensor = try await Transcript.open(bus)
        let withoutPressure = try await sensor.measure()
        #expect(withoutPressure.pressure == nil)
        #expect(withoutPressure.humidity?.percent == 66_873.0 / 1024)
        let withoutHumidity = try await sensor.measure()
        #expect(withoutHumidity.humidity == nil)
        #expect(withoutHumidity.pressure != nil)
        // Never skipped by setting, so beside a pressure it is a measured temperature.
        let temperature = try await sensor.measure()
        #expect(temperature.temperature != nil && temperature.pressure != nil)
        #expect(await failure { _ = try await sensor.measure() } == .notReady)
        try bus.finish()
    }

    @Test func cancellationIsTyped() async throws {
        let bus = PlaybackBus(Array(Transcript.opening().prefix(2)))
        let task = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            _ = try await Transcript.open(bus)
        }
        #expect(await failure { try await task.value } == .cancelled)
        try bus.finish()
    }
}
