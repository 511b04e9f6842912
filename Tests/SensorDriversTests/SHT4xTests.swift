import Platform
import Readings
import SensorBus
import TestSupport
import Testing

@testable import SensorDrivers
@testable import SimulatedHardware

@Suite struct SHT4xTests {
    static let address: I2CAddress = 0x44
    static let opening: [PlaybackBus.Exchange] = [
        .write([0x94], to: address),
        .write([0x89], to: address),
        .read([0x0D, 0x20, 0x47, 0x61, 0x01, 0x11], from: address),
    ]

    static func measuring(_ command: UInt8 = 0xFD, _ words: [UInt8] = [0x63, 0x36, 0x9A, 0x5A, 0x7C, 0x0D])
        -> [PlaybackBus.Exchange]
    {
        [.write([command], to: address), .read(words, from: address)]
    }

    static func measuring(temperature: UInt16, humidity: UInt16) -> [PlaybackBus.Exchange] {
        measuring(0xFD, sensirionWord(temperature) + sensirionWord(humidity))
    }

    static func open(_ bus: PlaybackBus, _ settings: SHT4x.Settings = .init()) async throws -> SHT4x {
        try await SHT4x.open(bus: bus, address: address, settings: settings, clock: ImmediateClock())
    }

    @Test func measuresAsTheWordsSay() async throws {
        let bus = PlaybackBus(Self.opening + Self.measuring())
        let sensor = try await Self.open(bus)
        #expect(sensor.serialNumber == 0x0D20_6101)
        #expect(sensor.identity == ChipIdentity(part: "SHT4x", serialNumber: "0x0D206101"))
        #expect(sensor.chip == Identifier(constant: "sht4x"))
        let measurement = try await sensor.measure()
        #expect(abs((measurement.temperature?.celsius ?? .nan) - 22.8210) < 0.00005)
        #expect(abs((measurement.humidity?.percent ?? .nan) - 38.1825) < 0.00005)
        #expect(measurement.co2 == nil && measurement.pressure == nil)
        try bus.finish()
    }

    @Test(
        arguments: [(.high, 0xFD, 10), (.medium, 0xF6, 5), (.low, 0xE0, 2)] as [(Precision, UInt8, Int)]
    )
    func everyPrecisionHasItsCommandAndItsWait(precision: Precision, command: UInt8, wait: Int)
        async throws
    {
        let clock = ImmediateClock()
        let bus = PlaybackBus(Self.opening + Self.measuring(command))
        let sensor = try await SHT4x.open(
            bus: bus, address: Self.address, settings: .init(precision: precision), clock: clock)
        let start = clock.now
        _ = try await sensor.measure()
        #expect(start.duration(to: clock.now) == .milliseconds(wait))
        try bus.finish()
    }

    @Test func everyFailingTransferIsReported() async throws {
        try await failingEachTransfer(of: Self.opening + Self.measuring()) { bus in
            _ = try await Self.open(bus).measure()
        }
    }

    @Test func aDamagedMeasurementIsTakenAgain() async throws {
        let damaged = Self.measuring(0xFD, [0x63, 0x36, 0x9A, 0x5A, 0x7C, 0x0C])
        let bus = PlaybackBus(Self.opening + damaged + Self.measuring() + damaged + damaged + damaged)
        let sensor = try await Self.open(bus)
        #expect(try await sensor.measure().humidity != nil)
        #expect(await failure { _ = try await sensor.measure() } == .crc(expected: 0x0D, received: 0x0C))
        try bus.finish()
    }

    @Test(
        arguments: [
            ([0x00, 0x00, 0x81], 0), ([0xFF, 0xFF, 0xAC], 0xFFFF_FFFF),
        ] as [([UInt8], UInt64)])
    func aSerialNumberThatCannotBeOneIsRefused(word: [UInt8], answer: UInt64) async throws {
        let bus = PlaybackBus(Self.opening.prefix(2) + [.read(word + word, from: Self.address)])
        #expect(await failure { _ = try await Self.open(bus) } == .wrongChip(answer: answer, hint: nil))
        try bus.finish()
    }

    /// Every word, against the datasheet's formula and its limits.
    @Test func everyWordOfHumidity() {
        for word in UInt16.min ... .max {
            let exact = -6.0 + 125.0 * (Double(word) / 65_535.0)
            let percent = SHT4x.humidity(word).percent
            if abs(percent - min(100, max(0, exact))) > 1e-9 { Issue.record("\(word): \(percent)") }
        }
        #expect(SHT4x.humidity(0).percent == 0)
        #expect(SHT4x.humidity(.max).percent == 100)
    }

    @Test func everyWordOfTemperature() {
        for word in UInt16.min ... .max {
            let exact = -45.0 + 175.0 * (Double(word) / 65_535.0)
            if abs(sensirionTemperature(word) - exact) > 1e-9 { Issue.record("\(word)") }
        }
    }

    @Test func theDriverGivesValuesInRangeOrATypedError() async throws {
        var random = SeededGenerator(seed: printedSeed())
        let extremes: [UInt16] = [0, 1, 1872, 1873, 63_662, 63_663, 65_534, 65_535]
        let any = (0..<200).map { _ in UInt16.random(in: .min ... .max, using: &random) }
        let words = (extremes + any).map { (temperature: $0, humidity: $0 &* 31) }
        let bus = PlaybackBus(
            Self.opening + words.flatMap { Self.measuring(temperature: $0.temperature, humidity: $0.humidity) })
        let sensor = try await Self.open(bus)
        var refused = 0
        for (temperature, humidity) in words {
            let exact = -45 + 175 * Double(temperature) / 65_535
            do {
                let measurement = try await sensor.measure()
                #expect(measurement.temperature?.celsius == exact && (-40...125).contains(exact))
                #expect(measurement.humidity == SHT4x.humidity(humidity))
            } catch {
                #expect(error.kind == .outOfRange(value: exact) && !(-40...125).contains(exact))
                refused += 1
            }
        }
        #expect(refused >= 6)
        try bus.finish()
    }
}
