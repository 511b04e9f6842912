import SensorBus
import SimulatedHardware
import TestSupport
import Testing

@testable import SensorDrivers

/// The SCD41's measurements on demand, as exact transfers.
@Suite struct SCD4xSingleShotTests {
    private typealias Exchange = PlaybackBus.Exchange
    private static let address = SCD4x.address
    private static let air = SCD4xTests.air
    private static let shot = Exchange.write([0x21, 0x9D], to: address)
    private static let wake = Exchange.write([0x36, 0xF6], to: address).failing(.notAcknowledged)
    private static let sleep = Exchange.write([0x36, 0xE0], to: address)
    private static let serial: [Exchange] = Array(SCD4xTests.identification[1...2])
    private static let reading = SCD4xTests.reading(air)

    @Test func theFirstShotIsThrownAway() async throws {
        // Its answer is an hour old, or nonsense: 40001 ppm would be a fault.
        let discarded = SCD4xTests.reading(sensirionWord(40_001) + Self.air[3...])
        let clock = ImmediateClock()
        let shotAndReading = [Self.shot] + Self.reading
        let bus = PlaybackBus(
            SCD4xTests.identification + [Self.shot] + discarded + shotAndReading + shotAndReading)
        let sensor = try await SCD4xTests.open(bus, .init(mode: .singleShot), clock: clock)
        var start = clock.now
        #expect(try await sensor.measure().co2?.partsPerMillion == 500)
        #expect(start.duration(to: clock.now) == .milliseconds(10_002))
        start = clock.now
        #expect(try await sensor.measure().co2?.partsPerMillion == 500)
        #expect(start.duration(to: clock.now) == .milliseconds(5001))
        try bus.finish()
    }

    @Test func withoutCO2ItIsAbsent() async throws {
        let shot = Exchange.write([0x21, 0x96], to: Self.address)
        let reading = SCD4xTests.reading([0x00, 0x00, 0x81] + Self.air[3...])
        let clock = ImmediateClock()
        let bus = PlaybackBus(SCD4xTests.identification + [shot] + reading + [shot] + reading)
        let sensor = try await SCD4xTests.open(bus, .init(mode: .singleShotWithoutCO2), clock: clock)
        let start = clock.now
        let measurement = try await sensor.measure()
        #expect(start.duration(to: clock.now) == .milliseconds(102))
        #expect(measurement.co2 == nil)
        #expect(measurement.temperature != nil && measurement.humidity != nil)
        try bus.finish()
    }

    /// Between shots it sleeps; waking, it acknowledges nothing, is known by its serial number, and is told its settings
    /// and the newest pressure.
    @Test func betweenShotsItSleeps() async throws {
        let altitude = Exchange.write([0x24, 0x27, 0x01, 0xF4, 0x33], to: Self.address)
        let twoShots = [Self.shot] + Self.reading + [Self.shot] + Self.reading
        func settings(_ pressure: [UInt8]) -> [Exchange] {
            [altitude, .write([0xE0, 0x00] + pressure, to: Self.address)]
        }
        let first = settings([0x03, 0xF5, 0xDB]) + twoShots + [Self.sleep]
        let second = [Self.wake] + Self.serial + settings([0x03, 0xE8, 0xD4]) + twoShots + [Self.sleep]
        let bus = PlaybackBus(SCD4xTests.identification + first + second)
        let sensor = try await SCD4xTests.open(
            bus, .init(mode: .singleShot, isPoweredDown: true, altitude: 500))
        try await sensor.setAmbientPressure(.init(hectopascals: 1013))
        #expect(try await sensor.measure().co2?.partsPerMillion == 500)
        try await sensor.setAmbientPressure(.init(hectopascals: 1000))
        #expect(try await sensor.measure().co2?.partsPerMillion == 500)
        try bus.finish()
    }

    @Test func itMustBeTheSameChipThatWakes() async throws {
        let twoShots = [Self.shot] + Self.reading + [Self.shot] + Self.reading
        let other = Exchange.read([0x73, 0xB1, 0x19, 0xEB, 0x07, 0x7A, 0x3B, 0x0D, 0x65], from: Self.address)
        let waking = [Self.sleep, Self.wake, Self.serial[0], other]
        let bus = PlaybackBus(SCD4xTests.identification + twoShots + waking)
        let sensor = try await SCD4xTests.open(bus, .init(mode: .singleShot, isPoweredDown: true))
        _ = try await sensor.measure()
        guard case .wrongChip(0x73B1_EB07_3B0D, _) = await failure({ _ = try await sensor.measure() }) else {
            Issue.record("another chip is taken for the one that was opened")
            return
        }
        try bus.finish()
    }

    @Test func everyFailingTransferIsReported() async throws {
        let twoShots = [Self.shot] + Self.reading + [Self.shot] + Self.reading
        let opening = SCD4xTests.identification
        let waking = [Self.sleep, Self.wake] + Self.serial
        let cycle = twoShots + waking + twoShots + [Self.sleep]
        // To wake unheard is no failure.
        let excused = opening.count + twoShots.count + 1
        try await failingEachTransfer(of: opening + cycle, from: opening.count, except: [excused]) { bus in
            let sensor = try await SCD4xTests.open(bus, .init(mode: .singleShot, isPoweredDown: true))
            _ = try await sensor.measure()
            _ = try await sensor.measure()
        }
    }

    /// The configuration said SCD41; the chip knows better.
    @Test func anSCD40IsRefused() async throws {
        let variant = Exchange.read([0x04, 0x40, 0x3F], from: Self.address)
        let bus = PlaybackBus(SCD4xTests.identification.dropLast() + [variant])
        let kind = await failure { _ = try await SCD4xTests.open(bus, .init(mode: .singleShot)) }
        guard case .invalidSetting = kind else {
            Issue.record("an SCD40 is told to take single shots")
            return
        }
        try bus.finish()
    }
}
