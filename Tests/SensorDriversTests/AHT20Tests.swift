import Platform
import Readings
import SensorBus
import SimulatedHardware
import TestSupport
import Testing

@testable import SensorDrivers

/// The chip's transfers, and values that the PyPI package `adafruit-circuitpython-ahtx0` 1.0.30 computes from the same
/// bytes.
@Suite struct AHT20Tests {
    static let address = AHT20.address
    static let opening: [PlaybackBus.Exchange] = [.write([0xBA], to: address), .read([0x18], from: address)]
    static let bytes: [UInt8] = [0x1C, 0x7A, 0x3C, 0x56, 0x1A, 0x09, 0x15]

    static func measuring(_ bytes: [UInt8] = bytes) -> [PlaybackBus.Exchange] {
        [.write([0xAC, 0x33, 0x00], to: address), .read(bytes, from: address)]
    }

    static func open(_ bus: PlaybackBus, clock: ImmediateClock = ImmediateClock()) async throws -> AHT20 {
        try await AHT20.open(bus: bus, clock: clock)
    }

    @Test(
        arguments: [
            ([0x1C, 0x7A, 0x3C, 0x56, 0x1A, 0x09, 0x15], 26.27124786376953, 47.7482795715332),
            ([0x1C, 0x00, 0x00, 0x04, 0xCC, 0xCD, 0x64], 10.000038146972656, 0),
            ([0x1C, 0x12, 0x34, 0x59, 0xAB, 0xCD, 0x59], 70.88871002197266, 7.111072540283203),
        ] as [([UInt8], Double, Double)])
    func measuresAsAnotherImplementationDoes(bytes: [UInt8], celsius: Double, percent: Double) async throws {
        let bus = PlaybackBus(Self.opening + Self.measuring(bytes))
        let sensor = try await Self.open(bus)
        #expect(sensor.chip == Identifier(constant: "aht20") && sensor.identity == ChipIdentity(part: "AHT20"))
        let measurement = try await sensor.measure()
        #expect(abs((measurement.temperature?.celsius ?? .nan) - celsius) < 1e-12)
        #expect(abs((measurement.humidity?.percent ?? .nan) - percent) < 1e-12)
        #expect(measurement.pressure == nil && measurement.co2 == nil)
        try bus.finish()
    }

    @Test func aChipWithoutItsCalibrationIsInitialised() async throws {
        let initialising: [PlaybackBus.Exchange] = [
            .write([0xBA], to: Self.address), .read([0x10], from: Self.address),
            .write([0xBE, 0x08, 0x00], to: Self.address), .read([0x90], from: Self.address),
        ]
        let bus = PlaybackBus(initialising + [.read([0x18], from: Self.address)] + Self.measuring())
        #expect(try await Self.open(bus).measure().humidity != nil)
        try bus.finish()
        let without = PlaybackBus(initialising + [.read([0x10], from: Self.address)])
        #expect(await failure { _ = try await Self.open(without) } == .calibration)
        try without.finish()
    }

    @Test func everyFailingTransferIsReported() async throws {
        let uncalibrated: [PlaybackBus.Exchange] = [
            .write([0xBA], to: Self.address), .read([0x10], from: Self.address),
            .write([0xBE, 0x08, 0x00], to: Self.address), .read([0x18], from: Self.address),
        ]
        try await failingEachTransfer(of: uncalibrated + Self.measuring()) { bus in
            _ = try await Self.open(bus).measure()
        }
    }

    @Test func aMeasurementHasItsTime() async throws {
        let clock = ImmediateClock()
        let busy = PlaybackBus.Exchange.read([0x98, 0, 0, 0, 0, 0, 0], from: Self.address)
        let start = Self.measuring()[0]
        let bus = PlaybackBus(
            Self.opening + Self.measuring() + [start, busy, busy, Self.measuring()[1]] + [start]
                + Array(repeating: busy, count: 5))
        let sensor = try await Self.open(bus, clock: clock)
        var before = clock.now
        _ = try await sensor.measure()
        #expect(before.duration(to: clock.now) == .milliseconds(80))
        before = clock.now
        _ = try await sensor.measure()
        #expect(before.duration(to: clock.now) == .milliseconds(100))
        #expect(await failure { _ = try await sensor.measure() } == .timedOut)
        try bus.finish()
    }

    @Test func aDamagedMeasurementIsTakenAgain() async throws {
        var damaged = Self.bytes
        damaged[6] = 0x14
        let again = Self.measuring(damaged)
        let bus = PlaybackBus(Self.opening + again + again + Self.measuring() + again + again + again)
        let sensor = try await Self.open(bus)
        #expect(try await sensor.measure().temperature != nil)
        #expect(await failure { _ = try await sensor.measure() } == .crc(expected: 0x15, received: 0x14))
        try bus.finish()
    }

    /// A chip that lost its power in between says so, and is opened again.
    @Test func aChipThatLostItsCalibrationIsAFault() async throws {
        var lost = Self.bytes
        lost[0] = 0x10
        lost[6] = sensirionCRC8(lost[..<6])
        let bus = PlaybackBus(Self.opening + Self.measuring(lost))
        let sensor = try await Self.open(bus)
        #expect(await failure { _ = try await sensor.measure() } == .calibration)
        try bus.finish()
    }

    @Test func aChipThatStaysBusyIsGivenUp() async throws {
        let busy = PlaybackBus.Exchange.read([0x98], from: Self.address)
        let bus = PlaybackBus(Self.opening.prefix(1) + Array(repeating: busy, count: 5))
        #expect(await failure { _ = try await Self.open(bus) } == .timedOut)
        try bus.finish()
    }

    /// Whatever the chip sends: a value within its range, or a typed error; and a bit that is wrong is noticed.
    @Test func theDriverGivesValuesInRangeOrATypedError() async throws {
        var random = SeededGenerator(seed: printedSeed())
        var counts = (refused: 0, damaged: 0)
        for _ in 0..<500 {
            var bytes: [UInt8] = [0x18] + (0..<5).map { _ in .random(in: .min ... .max, using: &random) }
            bytes.append(sensirionCRC8(bytes))
            let isDamaged = Int.random(in: 0..<5, using: &random) == 0
            // Not the bit that says that it is busy.
            if isDamaged { bytes[.random(in: 1..<7, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random) }
            let transfers = Self.measuring(bytes)
            let bus = PlaybackBus(Self.opening + transfers + (isDamaged ? transfers + transfers : []))
            let sensor = try await Self.open(bus)
            do {
                let measurement = try await sensor.measure()
                #expect(!isDamaged && (-40...85).contains(measurement.temperature?.celsius ?? .nan))
                #expect((0...100).contains(measurement.humidity?.percent ?? .nan))
            } catch {
                switch error.kind {
                case .outOfRange: counts.refused += 1
                case .crc where isDamaged: counts.damaged += 1
                default: Issue.record(error)
                }
            }
            try bus.finish()
        }
        #expect(counts.refused > 20 && counts.damaged > 20)
    }

    @Test func theDriverAgreesWithTheTwin() async throws {
        var random = SeededGenerator(seed: printedSeed())
        let clock = ImmediateClock()
        for round in 0..<300 {
            let air = Conditions(
                temperature: .random(in: -40...85, using: &random), humidity: .random(in: 0...100, using: &random))
            let world = SimulatedWorld(
                environment: ConstantEnvironment(air), origin: Timestamp(milliseconds: 0), clock: clock)
            let bus = SimulatedI2CBus(world: world)
            bus.attach(SimulatedAHT20(world: world, isCalibrated: round % 2 == 0), at: Self.address)
            let measurement = try await AHT20.open(bus: bus, clock: clock).measure()
            #expect(abs((measurement.temperature?.celsius ?? .nan) - air.temperature) <= 0.0001, "\(air)")
            #expect(abs((measurement.humidity?.percent ?? .nan) - air.humidity) <= 0.0001, "\(air)")
        }
    }

    // MARK: Recognising it

    private func scan(_ transcript: [PlaybackBus.Exchange]) async throws -> Finding? {
        let empty = I2CAddress.valid.compactMap { I2CAddress(validating: Int($0)) }
        let bus = PlaybackBus(
            empty.flatMap { address -> [PlaybackBus.Exchange] in
                let read = PlaybackBus.Exchange.read([0], from: address).failing(.notAcknowledged)
                let write = PlaybackBus.Exchange.write([], to: address).failing(.notAcknowledged)
                switch address.value {
                case 0x38: return transcript
                case 0x30...0x37, 0x50...0x5F: return [read]
                case 0x69: return [write]
                default: return [read, write]
                }
            })
        let inventory = await identifyChips(on: bus, probes: [AHT20.probe], clock: ImmediateClock())
        try bus.finish()
        return inventory.findings.first
    }

    /// Nothing is written to it.
    @Test func aScanReadsItsLastMeasurement() async throws {
        let finding = try await scan([.read([0x1C], from: Self.address), .read(Self.bytes, from: Self.address)])
        #expect(finding?.part == .aht20 && finding?.certainty == .likely)
        #expect(finding?.evidence.map(\.answer) == ["0x1C", "0x1C 0x7A 0x3C 0x56 0x1A 0x09 0x15"])
    }

    /// An expander repeats its inputs; another chip has a wrong checksum, is busy or not calibrated.
    @Test(
        arguments: [
            [0x08, 0x08, 0x08, 0x08, 0x08, 0x08, 0x08], [0x1C, 0x7A, 0x3C, 0x56, 0x1A, 0x09, 0x16],
            [0x9C, 0x7A, 0x3C, 0x56, 0x1A, 0x09, 0x15], [0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x15],
        ] as [[UInt8]])
    func aScanTakesNoOtherChipForIt(bytes: [UInt8]) async throws {
        let finding = try await scan([.read([bytes[0]], from: Self.address), .read(bytes, from: Self.address)])
        #expect(finding != nil && finding?.part == nil)
    }
}
