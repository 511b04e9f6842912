import Platform
import Readings
import SensorBus
import SimulatedHardware
import TestSupport
import Testing

@testable import SensorDrivers

/// The chip's transfers, and values that the PyPI package `adafruit-circuitpython-bmp3xx` 1.3.27 computes from the same
/// bytes.
@Suite struct BMP3xxTests {
    static let address: I2CAddress = 0x77
    static let calibration: [UInt8] = [
        0x7C, 0x6C, 0x5E, 0x49, 0xF9, 0xE3, 0xFE, 0x90, 0xFB, 0x23, 0x00, 0x38, 0x62, 0xA0, 0x73, 0xFE, 0xFA, 0xBA,
        0x2C, 0x09, 0xC4,
    ]
    static let data: [UInt8] = [0xA0, 0x2E, 0x63, 0xE0, 0xA5, 0x7E]

    static func opening(id: UInt8 = 0x60, calibration: [UInt8] = calibration) -> [PlaybackBus.Exchange] {
        [
            .write([0x00], thenRead: [id], at: address),
            .write([0x7E, 0xB6], to: address),
            .write([0x03], thenRead: [0x10], at: address),
            .write([0x31], thenRead: calibration, at: address),
        ]
    }

    static func measuring(_ data: [UInt8] = data, oversampling: UInt8 = 0x02) -> [PlaybackBus.Exchange] {
        [
            .write([0x1C, oversampling], to: address), .write([0x1F, 0x00], to: address),
            .write([0x1B, 0x13], to: address), .write([0x03], thenRead: [0x70] + data, at: address),
        ]
    }

    static func open(
        _ bus: PlaybackBus, _ settings: BMP3xx.Settings = .init(), clock: ImmediateClock = ImmediateClock()
    ) async throws -> BMP3xx {
        try await BMP3xx.open(bus: bus, address: address, settings: settings, clock: clock)
    }

    @Test(
        arguments: [
            ([0xA0, 0x2E, 0x63, 0xE0, 0xA5, 0x7E], 20.786798033255764, 104_345.45227488819),
            ([0xC0, 0xCF, 0x6A, 0xA0, 0xCD, 0x87], 31.237581644560123, 98_712.87754688664),
            ([0x80, 0x58, 0x4F, 0x80, 0x8D, 0x5B], -19.440415345074143, 113_665.26957457907),
            ([0x01, 0x00, 0x80, 0x80, 0x96, 0x98], 50.35084657656262, 79_449.6200630055),
        ] as [([UInt8], Double, Double)])
    func measuresAsAnotherImplementationDoes(data: [UInt8], celsius: Double, pascals: Double) async throws {
        let bus = PlaybackBus(Self.opening() + Self.measuring(data))
        let sensor = try await Self.open(bus)
        #expect(sensor.variant == .bmp390 && sensor.chip == Identifier(constant: "bmp390"))
        let measurement = try await sensor.measure()
        #expect(abs((measurement.temperature?.celsius ?? .nan) - celsius) < 1e-9)
        #expect(abs((measurement.pressure?.hectopascals ?? .nan) - pascals / 100) < 1e-8)
        #expect(measurement.humidity == nil && measurement.co2 == nil)
        try bus.finish()
    }

    /// The other chip works too, and whoever looks learns what it is.
    @Test(
        arguments: [
            (.bmp390, .bmp390, "BMP390", "0x60", nil), (.bmp388, .bmp388, "BMP388", "0x50", nil),
            (.bmp390, .bmp388, "BMP388", "0x50", "the configuration says BMP390, and it is a BMP388"),
            (.bmp388, .bmp390, "BMP390", "0x60", "the configuration says BMP388, and it is a BMP390"),
        ] as [(BMP3xx.Variant, BMP3xx.Variant, String, String, String?)])
    func itSaysWhatItIs(
        expected: BMP3xx.Variant, found: BMP3xx.Variant, part: String, chipID: String, remark: String?
    ) async throws {
        let bus = PlaybackBus(Self.opening(id: found.rawValue))
        let sensor = try await Self.open(bus, .init(variant: expected))
        #expect(sensor.identity == ChipIdentity(part: part, facts: [.init("chip id", chipID)], remark: remark))
        try bus.finish()
    }

    @Test func everyFailingTransferIsReported() async throws {
        try await failingEachTransfer(of: Self.opening() + Self.measuring()) { bus in
            _ = try await Self.open(bus).measure()
        }
    }

    /// 234 + 392 + 163 microseconds and 2020 for each conversion, and a fifth more.
    @Test(
        arguments: [
            (.x1, .x1, 0x00, 4829), (.x4, .x1, 0x02, 10_889), (.x32, .x2, 0x0D, 69_469), (.x2, .x32, 0x29, 69_469),
        ] as [(BMP3xx.Settings.Oversampling, BMP3xx.Settings.Oversampling, UInt8, Int)])
    func everyOversamplingHasItsCodeAndItsWait(
        pressure: BMP3xx.Settings.Oversampling, temperature: BMP3xx.Settings.Oversampling, code: UInt8, typical: Int
    ) async throws {
        let clock = ImmediateClock()
        let bus = PlaybackBus(Self.opening() + Self.measuring(oversampling: code))
        let sensor = try await Self.open(bus, .init(pressure: pressure, temperature: temperature), clock: clock)
        let start = clock.now
        _ = try await sensor.measure()
        #expect(start.duration(to: clock.now) == .microseconds(typical) * 1.2)
        try bus.finish()
    }

    @Test(arguments: [0x00, 0x58, 0x51, 0xFF] as [UInt8])
    func anotherChipIsRefused(id: UInt8) async throws {
        let bus = PlaybackBus(Array(Self.opening(id: id).prefix(1)))
        #expect(await failure { _ = try await Self.open(bus) } == .wrongChip(answer: UInt64(id), hint: nil))
        try bus.finish()
    }

    @Test(arguments: [0x00, 0xFF] as [UInt8])
    func aCalibrationOfNothingIsRefused(byte: UInt8) async throws {
        let bus = PlaybackBus(Self.opening(calibration: [UInt8](repeating: byte, count: 21)))
        #expect(await failure { _ = try await Self.open(bus) } == .calibration)
        try bus.finish()
    }

    /// A reset that does not end, and a measurement that does not.
    @Test func whatDoesNotEndIsGivenUp() async throws {
        let busy = PlaybackBus.Exchange.write([0x03], thenRead: [0x00], at: Self.address)
        let bus = PlaybackBus(Array(Self.opening().prefix(2)) + Array(repeating: busy, count: 5))
        #expect(await failure { _ = try await Self.open(bus) } == .timedOut)
        try bus.finish()
        // Only one of the two quantities is there.
        let half = PlaybackBus.Exchange.write([0x03], thenRead: [0x30] + Self.data, at: Self.address)
        let (started, read) = (Array(Self.measuring().dropLast()), Array(Self.measuring().suffix(1)))
        var exchanges = Self.opening() + started + Array(repeating: half, count: 4)
        exchanges += read + started + Array(repeating: half, count: 5)
        let other = PlaybackBus(exchanges)
        let sensor = try await Self.open(other)
        #expect(try await sensor.measure().pressure != nil)
        #expect(await failure { _ = try await sensor.measure() } == .timedOut)
        try other.finish()
    }

    @Test func whatWasSkippedIsNoValue() async throws {
        let skipped: [UInt8] = [0x00, 0x00, 0x80]
        let (first, second) = (Array(Self.data.prefix(3)), Array(Self.data.suffix(3)))
        for data in [skipped + second, first + skipped, skipped + skipped] {
            let bus = PlaybackBus(Self.opening() + Self.measuring(data))
            let sensor = try await Self.open(bus)
            #expect(await failure { _ = try await sensor.measure() } == .notReady)
            try bus.finish()
        }
    }

    /// Whatever the chip sends: a value within its range, or a typed error.
    @Test func theDriverGivesValuesInRangeOrATypedError() async throws {
        var random = SeededGenerator(seed: printedSeed())
        func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in .random(in: .min ... .max, using: &random) } }
        var refused = 0
        for round in 0..<400 {
            // With a calibration that is any, hardly any value is possible.
            let calibration = round % 2 == 0 ? Self.calibration : bytes(21)
            let bus = PlaybackBus(Self.opening(calibration: calibration) + Self.measuring(bytes(6)))
            let sensor = try await Self.open(bus)
            do {
                let measurement = try await sensor.measure()
                #expect((-40...85).contains(measurement.temperature?.celsius ?? .nan))
                #expect((300...1250).contains(measurement.pressure?.hectopascals ?? .nan))
            } catch {
                guard case .outOfRange = error.kind else {
                    Issue.record(error)
                    continue
                }
                refused += 1
            }
            try bus.finish()
        }
        #expect(refused > 100 && refused < 400)
    }

    /// The driver's floating-point formulas against the twin's fixed-point ones, over the chip's range.
    @Test func theDriverAgreesWithTheTwin() async throws {
        var random = SeededGenerator(seed: printedSeed())
        let clock = ImmediateClock()
        for _ in 0..<300 {
            let air = Conditions(
                temperature: .random(in: -39...84, using: &random), pressure: .random(in: 320...1240, using: &random))
            let world = SimulatedWorld(
                environment: ConstantEnvironment(air), origin: Timestamp(milliseconds: 0), clock: clock)
            let bus = SimulatedI2CBus(world: world)
            bus.attach(SimulatedBMP3xx(world: world), at: Self.address)
            let sensor = try await BMP3xx.open(bus: bus, address: Self.address, clock: clock)
            let measurement = try await sensor.measure()
            #expect(abs((measurement.temperature?.celsius ?? .nan) - air.temperature) < 0.02, "\(air)")
            // One step of the pressure is up to 1.1 Pa, one of the temperature moves it by as much again.
            #expect(abs((measurement.pressure?.hectopascals ?? .nan) - air.pressure) < 0.03, "\(air)")
        }
    }
}
