import SensorBus
import SimulatedHardware
import TestSupport
import Testing

@testable import SensorDrivers

/// What a person does with the chip, as exact transfers.
@Suite struct SCD4xMaintenanceTests {
    private typealias Exchange = PlaybackBus.Exchange
    private static let address = SCD4x.address
    private static let start = Exchange.write([0x21, 0xB1], to: address)
    private static let stop = Exchange.write([0x3F, 0x86], to: address)

    private static func asking(_ code: [UInt8], _ word: UInt16) -> [Exchange] {
        [.write(code, to: address), .read(sensirionWord(word), from: address)]
    }

    /// Opens a chip on `during` after its opening, does something, and tells how long that took.
    private static func perform<Result: Sendable>(
        _ during: [Exchange], settings: SCD4x.Settings = .init(), after settled: Duration = .seconds(180),
        opening: [Exchange] = SCD4xTests.opening, _ body: (SCD4x) async throws -> Result
    ) async throws -> (result: Result, time: Duration) {
        let clock = ImmediateClock()
        let bus = PlaybackBus(opening + during)
        let sensor = try await SCD4xTests.open(bus, settings, clock: clock)
        try await clock.sleep(for: settled)
        let beginning = clock.now
        let result = try await body(sensor)
        try bus.finish()
        return (result, beginning.duration(to: clock.now))
    }

    private static let readingSettings =
        asking([0x23, 0x18], 1498) + asking([0x23, 0x22], 120) + asking([0xE0, 0x00], 1013)
        + asking([0x23, 0x13], 1) + asking([0x23, 0x3F], 420)

    @Test func settingsAreReadBack() async throws {
        let (settings, _) = try await Self.perform([Self.stop] + Self.readingSettings + [Self.start]) {
            try await $0.readSettings()
        }
        #expect(abs(settings.temperatureOffset - 4) < 0.001)
        #expect(settings.altitude == 120)
        #expect(settings.ambientPressure.hectopascals == 1013)
        #expect(settings.automaticSelfCalibration)
        #expect(settings.selfCalibrationTarget.partsPerMillion == 420)
    }

    @Test(arguments: [0, 1, 0xFFFF] as [UInt16])
    func theSelfTestTakesTenSeconds(answer: UInt16) async throws {
        let (result, time) = try await Self.perform([Self.stop] + Self.asking([0x36, 0x39], answer) + [Self.start]) {
            try await $0.selfTest()
        }
        #expect(result == answer)
        #expect(time == .milliseconds(10_500))
    }

    @Test(arguments: [(0x8000, 0), (0x8032, 50), (0x7FCE, -50), (0x7E70, -400)] as [(UInt16, Int)])
    func aRecalibrationSaysByHowMuchTheValuesMove(answer: UInt16, correction: Int) async throws {
        let recalibration: [Exchange] = [
            Self.stop, .write([0x36, 0x2F, 0x01, 0xE0, 0xB4], to: Self.address),
            .read(sensirionWord(answer), from: Self.address), Self.start,
        ]
        let (result, time) = try await Self.perform(recalibration) {
            try await $0.forcedRecalibration(target: .init(partsPerMillion: 480))
        }
        #expect(result == correction)
        #expect(time == .milliseconds(900))
    }

    @Test func aRecalibrationThatFailedIsAnError() async throws {
        let recalibration: [Exchange] = [
            Self.stop, .write([0x36, 0x2F, 0x01, 0xE0, 0xB4], to: Self.address),
            .read(sensirionWord(0xFFFF), from: Self.address), Self.start,
        ]
        let (kind, _) = try await Self.perform(recalibration) { sensor in
            await failure { _ = try await sensor.forcedRecalibration(target: .init(partsPerMillion: 480)) }
        }
        #expect(kind == .recalibrationFailed)
    }

    /// A damaged answer is not asked for by recalibrating once more.
    @Test func aRecalibrationIsDoneOnce() async throws {
        let recalibration: [Exchange] = [
            Self.stop, .write([0x36, 0x2F, 0x01, 0xE0, 0xB4], to: Self.address),
            .read([0x80, 0x00, 0x00], from: Self.address),
        ]
        let (kind, _) = try await Self.perform(recalibration) { sensor in
            await failure { _ = try await sensor.forcedRecalibration(target: .init(partsPerMillion: 480)) }
        }
        #expect(kind == .crc(expected: 0xA2, received: 0x00))
    }

    @Test func beforeThreeMinutesARecalibrationNeverReachesTheBus() async throws {
        let (kind, _) = try await Self.perform([], after: .milliseconds(179_999)) { sensor in
            await failure { _ = try await sensor.forcedRecalibration(target: .init(partsPerMillion: 480)) }
        }
        guard case .notAllowed(let reason) = kind else {
            Issue.record("\(String(describing: kind))")
            return
        }
        #expect(reason == "it has measured for 179 s; at least 180 s in steady air are needed")
    }

    /// What stops the measurement starts the three minutes anew.
    @Test func theThreeMinutesAreWithoutInterruption() async throws {
        let (kind, _) = try await Self.perform([Self.stop] + Self.readingSettings + [Self.start]) { sensor in
            _ = try await sensor.readSettings()
            return await failure { _ = try await sensor.forcedRecalibration(target: .init(partsPerMillion: 480)) }
        }
        guard case .notAllowed = kind else {
            Issue.record("\(String(describing: kind))")
            return
        }
    }

    @Test(arguments: [399, 5001, -1, 70_000, .nan, .infinity])
    func aReferenceThatCannotBeNeverReachesTheBus(target: Double) async throws {
        let (kind, _) = try await Self.perform([]) { sensor in
            await failure { _ = try await sensor.forcedRecalibration(target: .init(partsPerMillion: target)) }
        }
        guard case .invalidSetting = kind else {
            Issue.record("\(target): \(String(describing: kind))")
            return
        }
    }

    private static let altitude = Exchange.write([0x24, 0x27, 0x01, 0xF4, 0x33], to: address)
    private static let openingWithAltitude = SCD4xTests.identification + [altitude, start]

    @Test func settingsAreStoredOnceWhenAsked() async throws {
        let (_, time) = try await Self.perform([Self.stop, .write([0x36, 0x15], to: Self.address), Self.start]) {
            try await $0.persistSettings()
        }
        #expect(time == .milliseconds(1300))
    }

    /// What the chip forgot it is told again.
    @Test func afterAResetTheSettingsAreWrittenAgain() async throws {
        let pressure = Exchange.write([0xE0, 0x00, 0x03, 0xF5, 0xDB], to: Self.address)
        func transfers(_ code: UInt8) -> [Exchange] {
            [pressure, Self.stop, .write([0x36, code], to: Self.address), Self.altitude, pressure, Self.start]
        }
        let settings = SCD4x.Settings(altitude: 500)
        let (_, factory) = try await Self.perform(
            transfers(0x32), settings: settings, opening: Self.openingWithAltitude
        ) {
            try await $0.setAmbientPressure(.init(hectopascals: 1013))
            try await $0.factoryReset()
        }
        #expect(factory == .milliseconds(1 + 500 + 1200 + 2))
        let (_, stored) = try await Self.perform(
            transfers(0x46), settings: settings, opening: Self.openingWithAltitude
        ) {
            try await $0.setAmbientPressure(.init(hectopascals: 1013))
            try await $0.reinitialise()
        }
        #expect(stored == .milliseconds(1 + 500 + 30 + 2))
    }

    @Test func everyFailingTransferIsReported() async throws {
        func check(_ during: [Exchange], _ body: @escaping @Sendable (SCD4x) async throws -> Void) async throws {
            let opening = SCD4xTests.opening
            try await failingEachTransfer(of: opening + during, from: opening.count) { bus in
                let clock = ImmediateClock()
                let sensor = try await SCD4xTests.open(bus, clock: clock)
                try await clock.sleep(for: .seconds(180))
                try await body(sensor)
            }
        }
        try await check([Self.stop] + Self.readingSettings + [Self.start]) { _ = try await $0.readSettings() }
        try await check([Self.stop] + Self.asking([0x36, 0x39], 0) + [Self.start]) { _ = try await $0.selfTest() }
        try await check([Self.stop, .write([0x36, 0x15], to: Self.address), Self.start]) {
            try await $0.persistSettings()
        }
        try await check(
            [Self.stop, .write([0x36, 0x2F, 0x01, 0xE0, 0xB4], to: Self.address)]
                + [.read(sensirionWord(0x8000), from: Self.address), Self.start]
        ) {
            _ = try await $0.forcedRecalibration(target: .init(partsPerMillion: 480))
        }
    }
}
