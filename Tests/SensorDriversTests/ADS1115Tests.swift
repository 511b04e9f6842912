import Platform
import SensorBus
import TestSupport
import Testing

@testable import SensorDrivers
@testable import SimulatedHardware

@Suite struct ADS1115Tests {
    static let address: I2CAddress = 0x48
    static let opening: [PlaybackBus.Exchange] = [
        .write([0x01, 0x43, 0x83], to: address),
        .write([0x01], thenRead: [0xC3, 0x83], at: address),
    ]
    static let busy = PlaybackBus.Exchange.write([0x01], thenRead: [0x43, 0x83], at: address)

    static func converting(_ code: Int16) -> [PlaybackBus.Exchange] {
        let word = UInt16(bitPattern: code)
        return [
            .write([0x01, 0xC3, 0x83], to: address),
            .write([0x01], thenRead: [0xC3, 0x83], at: address),
            .write([0x00], thenRead: [UInt8(word >> 8), UInt8(word & 0xFF)], at: address),
        ]
    }

    static func open(_ bus: PlaybackBus, _ settings: ADS1115.Settings = .init()) async throws -> ADS1115 {
        try await ADS1115.open(bus: bus, address: address, settings: settings, clock: ImmediateClock())
    }

    @Test func aBatteryBehindADivider() async throws {
        let divider = try #require(VoltageDivider(upper: 100_000, lower: 100_000))
        // 2.1 V at the input in steps of 125 microvolts.
        let bus = PlaybackBus(Self.opening + Self.converting(16_800))
        let sensor = try await Self.open(bus, .init(divider: divider, curve: .liIon))
        let measurement = try await sensor.measure()
        #expect(abs((measurement.batteryVoltage?.volts ?? .nan) - 4.2) < 1e-12)
        #expect(measurement.batteryLevel?.percent == 100)
        #expect(measurement.temperature == nil)
        try bus.finish()
    }

    @Test func codesAreTwosComplement() async throws {
        let bus = PlaybackBus(Self.opening + Self.converting(-8) + Self.converting(0))
        let sensor = try await Self.open(bus)
        let below = try await sensor.measure()
        #expect(abs((below.batteryVoltage?.volts ?? .nan) + 0.001) < 1e-12)
        #expect(below.batteryLevel == nil)
        #expect(try await sensor.measure().batteryVoltage?.volts == 0)
        try bus.finish()
    }

    @Test(arguments: [Int16.max, .min])
    func theEndsOfTheRangeAreNoValues(code: Int16) async throws {
        let bus = PlaybackBus(Self.opening + Self.converting(code))
        let sensor = try await Self.open(bus)
        #expect(await failure { _ = try await sensor.measure() } == .saturated)
        try bus.finish()
    }

    @Test func everyFailingTransferIsReported() async throws {
        try await failingEachTransfer(of: Self.opening + Self.converting(16_800)) { bus in
            _ = try await Self.open(bus).measure()
        }
    }

    @Test func theConversionIsWaitedForAndTimesOut() async throws {
        let conversion = Self.converting(16_800)
        let clock = ImmediateClock()
        let busy = [PlaybackBus.Exchange](repeating: Self.busy, count: 4)
        let slow = [conversion[0]] + busy + Array(conversion[1...])
        let stuck = [conversion[0]] + busy + [Self.busy]
        let bus = PlaybackBus(Self.opening + slow + stuck)
        let sensor = try await ADS1115.open(bus: bus, address: Self.address, clock: clock)
        let start = clock.now
        #expect(try await sensor.measure().batteryVoltage != nil)
        // 1/128 s and 10 %, twice.
        let waited = start.duration(to: clock.now)
        #expect((Duration.milliseconds(17)..<Duration.milliseconds(18)).contains(waited))
        #expect(await failure { _ = try await sensor.measure() } == .timedOut)
        try bus.finish()
    }

    @Test func conversionsAskedForAtOnceFollowEachOther() async throws {
        // A second start during a conversion would be out of the list's order.
        let codes = (1...20).map { Int16($0 * 100) }
        let bus = PlaybackBus(Self.opening + codes.flatMap(Self.converting))
        let sensor = try await Self.open(bus)
        let volts = try await withThrowingTaskGroup(of: Double?.self) { group in
            for _ in codes { group.addTask { try await sensor.measure().batteryVoltage?.volts } }
            return try await group.reduce(into: []) { $0.append($1 ?? .nan) }
        }
        #expect(volts.sorted() == codes.map { Double($0) * 125e-6 })
        try bus.finish()
    }

    @Test func anotherChipIsRefused() async throws {
        let bus = PlaybackBus([Self.opening[0], .write([0x01], thenRead: [0x85, 0x83], at: Self.address)])
        #expect(await failure { _ = try await Self.open(bus) } == .wrongChip(answer: 0x8583, hint: nil))
        try bus.finish()
    }

    @Test(arguments: zip(ADS1115.Settings.Range.allCases, [187.5, 125, 62.5, 31.25, 15.625, 7.8125]))
    func steps(range: ADS1115.Settings.Range, microvolts: Double) {
        #expect(abs(range.voltsPerStep * 1e6 - microvolts) < 1e-9)
    }

    /// Every code at some range, against the straight form: its share of full scale.
    @Test(arguments: zip(ADS1115.Settings.Range.allCases, [6.144, 4.096, 2.048, 1.024, 0.512, 0.256]))
    func everyCodeIsItsShareOfTheRangeOrSaturated(range: ADS1115.Settings.Range, volts: Double) async throws {
        var random = SeededGenerator(seed: printedSeed())
        let extremes: [Int16] = [-32_768, -32_767, -1, 0, 1, 32_766, 32_767]
        let codes = extremes + (0..<200).map { _ in Int16.random(in: .min ... .max, using: &random) }
        let low = UInt8(range.rawValue << 1 | 1)
        let transfers = codes.flatMap { code -> [PlaybackBus.Exchange] in
            let word = UInt16(bitPattern: code)
            return [
                .write([0x01, 0xC0 | low, 0x83], to: Self.address),
                .write([0x01], thenRead: [0xC0 | low, 0x83], at: Self.address),
                .write([0x00], thenRead: [UInt8(word >> 8), UInt8(word & 0xFF)], at: Self.address),
            ]
        }
        let bus = PlaybackBus(
            [
                .write([0x01, 0x40 | low, 0x83], to: Self.address),
                .write([0x01], thenRead: [0xC0 | low, 0x83], at: Self.address),
            ] + transfers)
        let divider = try #require(VoltageDivider(upper: 200_000, lower: 100_000))
        let sensor = try await Self.open(bus, .init(range: range, divider: divider, curve: .liFePO4))
        for code in codes {
            do {
                let measurement = try await sensor.measure()
                let exact = Double(code) / 32_768 * volts * 3
                #expect(abs((measurement.batteryVoltage?.volts ?? .nan) - exact) < 1e-9, "code \(code)")
                #expect((0...100).contains(measurement.batteryLevel?.percent ?? .nan), "code \(code)")
                #expect(code != .max && code != .min)
            } catch {
                #expect(error.kind == .saturated && (code == .max || code == .min), "code \(code)")
            }
        }
        try bus.finish()
    }

    @Test(arguments: zip(ADS1115.Settings.Rate.allCases, [8, 16, 32, 64, 128, 250, 475, 860]))
    func everyRateHasItsWait(rate: ADS1115.Settings.Rate, perSecond: Int) {
        #expect(rate.perSecond == perSecond)
        // Its conversion and 10 %, to the microsecond.
        #expect(abs(rate.longestConversion / .microseconds(1) - 1.1e6 / Double(perSecond)) <= 1)
    }

    @Test func everySettingHasItsBits() async throws {
        // AIN3, 0.256 V, 860 a second: 0111 1011 1110 0011.
        let bus = PlaybackBus([
            .write([0x01, 0x7B, 0xE3], to: Self.address),
            .write([0x01], thenRead: [0xFB, 0xE3], at: Self.address),
        ])
        _ = try await Self.open(bus, .init(input: .a3, range: .volts0_256, rate: .perSecond860))
        try bus.finish()
    }
}

@Suite struct BatteryTests {
    @Test(arguments: [
        (BatteryCurve.liIon, [4190, 4050, 3990, 3890, 3800, 3720, 3630, 3530, 3420, 3300, 3100]),
        (.liFePO4, [3400, 3350, 3320, 3290, 3270, 3260, 3250, 3230, 3200, 3120, 3000]),
    ])
    func theCurvesPointsAndBetween(curve: BatteryCurve, millivolts: [Double]) {
        func level(_ millivolts: Double) -> Double { curve.level(of: Voltage(volts: millivolts / 1000)).percent }
        for (index, point) in millivolts.enumerated() {
            #expect(abs(level(point) - Double(100 - 10 * index)) < 1e-6)
        }
        for (index, pair) in zip(millivolts, millivolts.dropFirst()).enumerated() {
            #expect(abs(level((pair.0 + pair.1) / 2) - Double(95 - 10 * index)) < 1e-6)
        }
        #expect(level(5000) == 100)
        #expect(level(0) == 0)
        #expect(level(-1) == 0)
    }

    @Test func dividersThatCannotBe() {
        #expect(VoltageDivider(upper: -1, lower: 1) == nil)
        #expect(VoltageDivider(upper: 1, lower: 0) == nil)
        #expect(VoltageDivider(upper: .infinity, lower: 1) == nil)
        #expect(VoltageDivider(upper: .nan, lower: 1) == nil)
        #expect(VoltageDivider.none.source(of: Voltage(volts: 3)).volts == 3)
    }
}
