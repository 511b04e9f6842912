import Platform
import Readings
import SensorBus
import TestSupport
import Testing

@testable import SensorDrivers
@testable import SimulatedHardware

@Suite struct SHT3xTests {
    static let address: I2CAddress = 0x45
    static let opening: [PlaybackBus.Exchange] = [
        .write([0x30, 0x93], to: address),
        .write([0x30, 0xA2], to: address),
        .write([0xF3, 0x2D], to: address),
        .read([0x80, 0x10, 0xE1], from: address),
        .write([0x30, 0x41], to: address),
        .write([0x37, 0x80], to: address),
        .read([0x1B, 0x36, 0x96, 0x72, 0xA4, 0x5B], from: address),
    ]
    static let air: [UInt8] = [0x66, 0x67, 0xA2, 0x5E, 0xB9, 0x3C]

    static func measuring(_ low: UInt8 = 0x00, _ words: [UInt8] = air) -> [PlaybackBus.Exchange] {
        [.write([0x24, low], to: address), .read(words, from: address)]
    }

    static func open(_ bus: PlaybackBus, _ settings: SHT3x.Settings = .init()) async throws -> SHT3x {
        try await SHT3x.open(bus: bus, address: address, settings: settings, clock: ImmediateClock())
    }

    @Test func measuresAsTheWordsSay() async throws {
        let bus = PlaybackBus(Self.opening + Self.measuring())
        let sensor = try await Self.open(bus)
        #expect(sensor.identity == ChipIdentity(part: "SHT3x", serialNumber: "0x1B3672A4"))
        let measurement = try await sensor.measure()
        #expect(abs((measurement.temperature?.celsius ?? .nan) - 25.0027) < 0.00005)
        #expect(abs((measurement.humidity?.percent ?? .nan) - 37.0016) < 0.00005)
        try bus.finish()
    }

    @Test(arguments: [(.high, 0x00, 16), (.medium, 0x0B, 7), (.low, 0x16, 5)] as [(Precision, UInt8, Int)])
    func everyPrecisionHasItsCommandAndItsWait(precision: Precision, low: UInt8, wait: Int) async throws {
        let clock = ImmediateClock()
        let bus = PlaybackBus(Self.opening + Self.measuring(low))
        let sensor = try await SHT3x.open(
            bus: bus, address: Self.address, settings: .init(precision: precision), clock: clock)
        let start = clock.now
        _ = try await sensor.measure()
        #expect(start.duration(to: clock.now) == .milliseconds(wait))
        try bus.finish()
    }

    /// The forms that stretch the clock begin with 0x2C.
    @Test func noCommandStretchesTheClock() {
        #expect(SHT3xCommand.allCases.allSatisfy { $0.rawValue >> 8 != 0x2C })
    }

    @Test func everyFailingTransferIsReported() async throws {
        try await failingEachTransfer(of: Self.opening + Self.measuring()) { bus in
            _ = try await Self.open(bus).measure()
        }
    }

    /// What was read is gone: a retry is a new measurement.
    @Test func aDamagedMeasurementIsTakenAnew() async throws {
        let damaged = Self.measuring(0x00, [0x66, 0x67, 0xA2, 0x5E, 0xB8, 0x3C])
        let bus = PlaybackBus(Self.opening + damaged + damaged + Self.measuring() + damaged + damaged + damaged)
        let sensor = try await Self.open(bus)
        #expect(try await sensor.measure().humidity != nil)
        guard case .crc(_, received: 0x3C) = await failure({ _ = try await sensor.measure() }) else {
            Issue.record("a damaged checksum is not noticed")
            return
        }
        try bus.finish()
    }

    @Test(arguments: [0x0000, 0x8000, 0xA010] as [UInt16])
    func aChipThatWasNotResetIsRefused(status: UInt16) async throws {
        let bus = PlaybackBus(Self.opening[..<3] + [.read(sensirionWord(status), from: Self.address)])
        #expect(await failure { _ = try await Self.open(bus) } == .wrongChip(answer: UInt64(status), hint: nil))
        try bus.finish()
    }

    @Test func theStatusTellsOfAReset() async throws {
        let asking = Self.opening[2]
        let bus = PlaybackBus(
            Self.opening + [
                asking, .read([0x00, 0x00, 0x81], from: Self.address), asking, Self.opening[3],
            ])
        let sensor = try await Self.open(bus)
        #expect(try await sensor.status().wasReset == false)
        #expect(try await sensor.status() == SHT3x.Status(word: 0x8010))
        try bus.finish()
    }

    @Test func theDriverGivesValuesInRangeOrATypedError() async throws {
        var random = SeededGenerator(seed: printedSeed())
        let extremes: [UInt16] = [0, 1, 1872, 1873, 63_662, 63_663, 65_534, 65_535]
        let any = (0..<200).map { _ in UInt16.random(in: .min ... .max, using: &random) }
        let words = (extremes + any).map { (temperature: $0, humidity: $0 &* 31) }
        let bus = PlaybackBus(
            Self.opening
                + words.flatMap { Self.measuring(0x00, sensirionWord($0.temperature) + sensirionWord($0.humidity)) })
        let sensor = try await Self.open(bus)
        var refused = 0
        for (temperature, humidity) in words {
            let exact = -45 + 175 * Double(temperature) / 65_535
            do {
                let measurement = try await sensor.measure()
                #expect(measurement.temperature?.celsius == exact && (-40...125).contains(exact))
                #expect(measurement.humidity?.percent == 100 * Double(humidity) / 65_535)
            } catch {
                #expect(error.kind == .outOfRange(value: exact) && !(-40...125).contains(exact))
                refused += 1
            }
        }
        #expect(refused >= 6)
        try bus.finish()
    }
}
