import Readings
import SensorBus
import SimulatedHardware
import Testing

@testable import SensorDrivers

@Suite struct SCD41Tests {
    static let address: I2CAddress = 0x62
    static let serial: [UInt8] = [0x73, 0xB1, 0x19, 0xEB, 0x07, 0x7A, 0x3B, 0x0C, 0x54]
    static let opening: [PlaybackBus.Exchange] = [
        .write([0x3F, 0x86], to: address),
        .write([0x36, 0x82], to: address),
        .read(serial, from: address),
        .write([0x21, 0xB1], to: address),
    ]
    static let air: [UInt8] = [0x01, 0xF4, 0x33, 0x66, 0x67, 0xA2, 0x5E, 0xB9, 0x3C]

    static func status(_ word: [UInt8]) -> [PlaybackBus.Exchange] {
        [.write([0xE4, 0xB8], to: address), .read(word, from: address)]
    }
    static let ready = status([0x80, 0x06, 0x04])
    /// Not ready is not always zero: the upper bits may be set.
    static let notReady = status([0x80, 0x00, 0xA2])

    static func reading(_ words: [UInt8]) -> [PlaybackBus.Exchange] {
        [.write([0xEC, 0x05], to: address), .read(words, from: address)]
    }

    static func open(_ bus: PlaybackBus, _ settings: SCD41.Settings = .init()) async throws -> SCD41 {
        try await SCD41.open(bus: bus, settings: settings, clock: ImmediateClock())
    }

    @Test(arguments: [
        (air, 500.0, 25.0027, 37.0016),
        ([0x02, 0x2C, 0xA3, 0x67, 0x0D, 0x36, 0x4D, 0x08, 0xF1], 556, 25.4459, 30.0908),
    ])
    func measuresAsTheWordsSay(words: [UInt8], co2: Double, celsius: Double, percent: Double) async throws {
        let bus = PlaybackBus(Self.opening + Self.ready + Self.reading(words))
        let sensor = try await Self.open(bus)
        #expect(sensor.serialNumber == 0x73B1_EB07_3B0C)
        let measurement = try await sensor.measure()
        #expect(measurement.co2?.partsPerMillion == co2)
        #expect(abs((measurement.temperature?.celsius ?? .nan) - celsius) < 0.00005)
        #expect(abs((measurement.humidity?.percent ?? .nan) - percent) < 0.00005)
        #expect(measurement.pressure == nil)
        try bus.finish()
    }

    @Test func everyFailingTransferIsReported() async throws {
        let settings = SCD41.Settings(
            period: .lowPower, temperatureOffset: 4, altitude: 500, automaticSelfCalibration: true)
        let opening: [PlaybackBus.Exchange] =
            Self.opening.prefix(3) + [
                .write([0x24, 0x1D, 0x05, 0xDA, 0x29], to: Self.address),
                .write([0x24, 0x27, 0x01, 0xF4, 0x33], to: Self.address),
                .write([0x24, 0x16, 0x00, 0x01, 0xB0], to: Self.address),
                .write([0x21, 0xAC], to: Self.address),
            ]
        let transcript = opening + Self.ready + Self.reading(Self.air)
        let sound = PlaybackBus(transcript)
        _ = try await Self.open(sound, settings).measure()
        try sound.finish()
        try await failingEachTransfer(of: transcript) { bus in _ = try await Self.open(bus, settings).measure() }
    }

    @Test func notReadyIsPolledUntilAValueComes() async throws {
        let clock = ImmediateClock()
        let bus = PlaybackBus(Self.opening + Self.notReady + Self.notReady + Self.ready + Self.reading(Self.air))
        let sensor = try await SCD41.open(bus: bus, clock: clock)
        let opened = clock.now
        #expect(try await sensor.measure().co2?.partsPerMillion == 500)
        // Two waits of a twentieth of the period, and the two milliseconds and more that the commands take.
        #expect((Duration.milliseconds(500)..<Duration.milliseconds(520)).contains(opened.duration(to: clock.now)))
        try bus.finish()
    }

    @Test func aValueIsGivenAgainOnlyWhileItIsYoung() async throws {
        let clock = ImmediateClock()
        let waiting = (0...24).flatMap { _ in Self.notReady }
        let bus = PlaybackBus(Self.opening + Self.ready + Self.reading(Self.air) + Self.notReady + waiting)
        let sensor = try await SCD41.open(bus: bus, clock: clock)
        let first = try await sensor.measure()
        try await clock.sleep(for: .seconds(2))
        #expect(try await sensor.measure() == first)
        try await clock.sleep(for: .seconds(4))
        #expect(await failure { _ = try await sensor.measure() } == .notReady)
        try bus.finish()
    }

    @Test func aWrongChecksumIsRefused() async throws {
        var damaged = Self.air
        damaged[5] ^= 0x10
        let bus = PlaybackBus(Self.opening + Self.ready + Self.reading(damaged))
        let sensor = try await Self.open(bus)
        #expect(await failure { _ = try await sensor.measure() } == .crc(expected: 0xA2, received: 0xB2))
        try bus.finish()
    }

    @Test func valuesThatAreNoneAreNotGiven() async throws {
        // No CO2 is reported as 0; beyond 40000 ppm the chip cannot measure.
        let withoutCO2: [UInt8] = [0x00, 0x00, 0x81] + Self.air[3...]
        let most: [UInt8] = [0x9C, 0x40, 0x45] + Self.air[3...]
        let tooMuch: [UInt8] = [0x9C, 0x41, 0x74] + Self.air[3...]
        let bus = PlaybackBus(
            Self.opening + Self.ready + Self.reading(withoutCO2) + Self.ready + Self.reading(most) + Self.ready
                + Self.reading(tooMuch))
        let sensor = try await Self.open(bus)
        let measurement = try await sensor.measure()
        #expect(measurement.co2 == nil)
        #expect(measurement.temperature != nil)
        #expect(try await sensor.measure().co2?.partsPerMillion == 40_000)
        #expect(await failure { _ = try await sensor.measure() } == .outOfRange(value: 40_001))
        try bus.finish()
    }

    @Test(
        arguments: [
            ([0x00, 0x00, 0x81], UInt64(0)), ([0xFF, 0xFF, 0xAC], 0xFFFF_FFFF_FFFF),
        ] as [([UInt8], UInt64)])
    func aSerialNumberThatCannotBeOneIsRefused(word: [UInt8], answer: UInt64) async throws {
        let bus = PlaybackBus(Self.opening.prefix(2) + [.read(word + word + word, from: Self.address)])
        #expect(await failure { _ = try await Self.open(bus) } == .wrongChip(answer: answer, hint: nil))
        try bus.finish()
    }

    @Test(arguments: [
        SCD41.Settings(temperatureOffset: -0.1), SCD41.Settings(temperatureOffset: 20.1),
        SCD41.Settings(temperatureOffset: .nan), SCD41.Settings(altitude: -1), SCD41.Settings(altitude: 3001),
    ])
    func settingsOutsideTheirRangeNeverReachTheBus(settings: SCD41.Settings) async throws {
        let bus = PlaybackBus([])
        guard case .invalidSetting = await failure({ _ = try await Self.open(bus, settings) }) else {
            Issue.record("not refused as a setting")
            return
        }
        try bus.finish()
    }

    @Test func pressureIsSentOnceAndOnlyWithinItsRange() async throws {
        let feed = PlaybackBus.Exchange.write([0xE0, 0x00, 0x03, 0xF5, 0xDB], to: Self.address)
        let bus = PlaybackBus(Self.opening + [feed.failing(.notAcknowledged), feed])
        let sensor = try await Self.open(bus)
        for _ in 0..<2 {
            for hectopascals in [699.9, 1200.1, .nan, .infinity] {
                let kind = await failure { try await sensor.setAmbientPressure(.init(hectopascals: hectopascals)) }
                guard case .invalidSetting = kind else {
                    Issue.record("\(hectopascals) hPa: \(String(describing: kind))")
                    continue
                }
            }
        }
        // What was not acknowledged is sent again; what was, is not.
        _ = await failure { try await sensor.setAmbientPressure(.init(hectopascals: 1013.25)) }
        try await sensor.setAmbientPressure(.init(hectopascals: 1013.25))
        try await sensor.setAmbientPressure(.init(hectopascals: 1012.8))
        try bus.finish()
    }

    @Test(arguments: SCD4xCommand.allCases.filter { !$0.isAllowedWhileMeasuring })
    func commandsThatAreNotAllowedNeverReachTheBus(command: SCD4xCommand) async throws {
        let bus = PlaybackBus([])
        let port = ChipPort(
            bus: bus, address: Self.address, chip: Identifier(constant: "scd41"), clock: ImmediateClock())
        let kind = await failure { try await port.send(command, whileMeasuring: true) }
        guard case .notAllowed = kind else {
            Issue.record("\(command): \(String(describing: kind))")
            return
        }
        try bus.finish()
    }
}
