import Platform
import Readings
import SensorBus
import SimulatedHardware
import TestSupport
import Testing

@testable import SensorDrivers

/// The chip's transfers. Words and their meanings are those of the PyPI package `sensirion-i2c-sen5x` 0.1.1.
@Suite struct SEN55Tests {
    static let address = SEN55.address

    /// Words with their checksums.
    static func bytes(_ words: [UInt16]) -> [UInt8] { words.flatMap(sensirionWord) }

    /// A text as the chip sends it.
    static func text(_ text: String) -> [UInt8] {
        let characters = Array(text.utf8) + [UInt8](repeating: 0, count: 32 - text.utf8.count)
        return bytes(
            stride(from: 0, to: 32, by: 2).map { UInt16(characters[$0]) << 8 | UInt16(characters[$0 + 1]) })
    }

    static func asked(_ command: [UInt8], _ answer: [UInt8]) -> [PlaybackBus.Exchange] {
        [.write(command, to: address), .read(answer, from: address)]
    }

    static func opening(name: String = "SEN55") -> [PlaybackBus.Exchange] {
        asked([0xD0, 0x14], text(name)) + asked([0xD0, 0x33], text("3F5A8B0D12C47E90"))
            + asked([0xD2, 0x10], bytes([0, 0])) + [.write([0x00, 0x21], to: address)]
    }

    static func isReady(_ ready: Bool) -> [PlaybackBus.Exchange] { asked([0x02, 0x02], bytes([ready ? 1 : 0])) }

    static func status(_ flags: UInt32 = 0) -> [PlaybackBus.Exchange] {
        asked([0xD2, 0x10], bytes([UInt16(flags >> 16), UInt16(flags & 0xFFFF)]))
    }

    static func value(_ words: [UInt16], flags: UInt32 = 0) -> [PlaybackBus.Exchange] {
        isReady(true) + asked([0x03, 0xC4], bytes(words)) + status(flags)
    }

    /// 5.6 ug/m3, 45.67 %RH, 21.35 degrees and an index of 103.4.
    static let words: [UInt16] = [50, 56, 60, 61, 4567, 4270, 1034, 0x7FFF]

    static func open(_ bus: PlaybackBus, clock: ImmediateClock = ImmediateClock()) async throws -> SEN55 {
        try await SEN55.open(bus: bus, clock: clock)
    }

    @Test func measuresAsAnotherImplementationDoes() async throws {
        let bus = PlaybackBus(Self.opening() + Self.value(Self.words))
        let sensor = try await Self.open(bus)
        #expect(sensor.chip == Identifier(constant: "sen55"))
        #expect(sensor.identity == ChipIdentity(part: "SEN55", serialNumber: "3F5A8B0D12C47E90"))
        let measurement = try await sensor.measure()
        #expect(
            measurement.values == [.pm2_5: 5.6, .humidity: 45.67, .temperature: 21.35, .vocIndex: 103.4])
        try bus.finish()
    }

    /// 0xFFFF of a mass, 0x7FFF of what is signed, and an index of 0.
    @Test func whatTheChipDoesNotKnowIsAbsent() async throws {
        let unknown: [UInt16] = [0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 0x7FFF, 0x7FFF, 0x7FFF, 0x7FFF]
        let frost: [UInt16] = [1, 0, 1, 1, 0, UInt16(bitPattern: -2000), 0, 10]
        let clock = ImmediateClock()
        let bus = PlaybackBus(Self.opening() + Self.value(unknown) + Self.value(frost))
        let sensor = try await Self.open(bus, clock: clock)
        // The index is waited for no longer.
        try await clock.sleep(for: SEN55.longestWarmUp)
        #expect(try await sensor.measure().values == Values())
        try await clock.sleep(for: .seconds(1))
        #expect(try await sensor.measure().values == [.pm2_5: 0, .humidity: 0, .temperature: -10])
        try bus.finish()
    }

    @Test func theFirstMeasurementWaitsForTheIndex() async throws {
        var without = Self.words
        without[6] = 0x7FFF
        let clock = ImmediateClock()
        let bus = PlaybackBus(Self.opening() + Self.value(without) + Self.value(without) + Self.value(Self.words))
        let sensor = try await Self.open(bus, clock: clock)
        let before = clock.now
        #expect(try await sensor.measure().values[.vocIndex] == 103.4)
        #expect(before.duration(to: clock.now) >= .seconds(2))
        try bus.finish()
    }

    /// Asked again within a second it gives the same value; later it waits for the next one.
    @Test func aValueLastsASecond() async throws {
        let clock = ImmediateClock()
        var next = Self.words
        next[1] = 99
        let bus = PlaybackBus(
            Self.opening() + Self.value(Self.words) + Self.isReady(false) + Self.isReady(false)
                + Self.value(next))
        let sensor = try await Self.open(bus, clock: clock)
        let first = try await sensor.measure()
        try await clock.sleep(for: .milliseconds(900))
        #expect(try await sensor.measure() == first)
        try await clock.sleep(for: .milliseconds(100))
        #expect(try await sensor.measure().values[.pm2_5] == 9.9)
        try bus.finish()
    }

    @Test func aChipWithoutAValueIsAFault() async throws {
        let silence = (0...24).flatMap { _ in Self.isReady(false) }
        let bus = PlaybackBus(Self.opening() + silence + Self.status())
        let sensor = try await Self.open(bus)
        #expect(await failure { _ = try await sensor.measure() } == .notReady)
        try bus.finish()
    }

    /// The fan is cleaned about once a week, and there is no value meanwhile.
    @Test func whileItCleansItsFanTheLastValueHolds() async throws {
        let silence = (0...24).flatMap { _ in Self.isReady(false) }
        let clock = ImmediateClock()
        let bus = PlaybackBus(
            Self.opening() + Self.value(Self.words) + silence + Self.status(1 << 19) + silence + Self.status(1 << 19))
        let sensor = try await Self.open(bus, clock: clock)
        let last = try await sensor.measure()
        try await clock.sleep(for: .seconds(2))
        #expect(try await sensor.measure() == last)
        try await clock.sleep(for: .seconds(15))
        #expect(await failure { _ = try await sensor.measure() } == .notReady)
        try bus.finish()
    }

    @Test(arguments: [(4, "the fan"), (5, "the laser"), (6, "the humidity sensor"), (7, "the gas sensor")])
    func aPartThatFailedIsNamed(bit: Int, name: String) async throws {
        let bus = PlaybackBus(Self.opening() + Self.value(Self.words, flags: 1 << UInt32(bit)))
        let sensor = try await Self.open(bus)
        #expect(await failure { _ = try await sensor.measure() } == .partFailed(name))
        try bus.finish()
    }

    @Test(arguments: ["SEN54", "SEN50", "", "SEN5"])
    func anotherChipIsRefused(name: String) async throws {
        let bus = PlaybackBus(Array(Self.opening(name: name).prefix(2)))
        let answer = Array(name.utf8 + [UInt8](repeating: 0, count: 8)).prefix(8).reduce(0 as UInt64) {
            $0 << 8 | UInt64($1)
        }
        let hint = name.isEmpty ? nil : "it says that it is a \(name)"
        #expect(await failure { _ = try await Self.open(bus) } == .wrongChip(answer: answer, hint: hint))
        try bus.finish()
    }

    @Test func everyFailingTransferIsReported() async throws {
        try await failingEachTransfer(of: Self.opening() + Self.value(Self.words)) { bus in
            _ = try await Self.open(bus).measure()
        }
    }

    /// Whatever the chip sends: values within their ranges, or a typed error; and a bit that is wrong is noticed.
    @Test func theDriverGivesValuesInRangeOrATypedError() async throws {
        var random = SeededGenerator(seed: printedSeed())
        var counts = (taken: 0, refused: 0, damaged: 0)
        for _ in 0..<500 {
            // Often near what is possible, as random words hardly ever are.
            let words: [UInt16] = [0, 11_000, 0, 0, 11_000, 11_000, 5500, 0].map { limit in
                limit == 0 ? .random(in: .min ... .max, using: &random) : .random(in: 0...limit, using: &random)
            }
            var sent = Self.bytes(words)
            let isDamaged = Int.random(in: 0..<5, using: &random) == 0
            if isDamaged {
                sent[.random(in: sent.indices, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            }
            let asked = Self.asked([0x03, 0xC4], sent)
            let transfers = isDamaged ? asked + asked + asked : asked + Self.status()
            let bus = PlaybackBus(Self.opening() + Self.isReady(true) + transfers)
            let clock = ImmediateClock()
            let sensor = try await Self.open(bus, clock: clock)
            try await clock.sleep(for: SEN55.longestWarmUp)
            do {
                let values = try await sensor.measure().values
                #expect(!isDamaged)
                for quantity in values.present.members {
                    #expect(quantity.physicalRange.contains(values[quantity] ?? .nan), "\(quantity) of \(words)")
                }
                counts.taken += 1
            } catch {
                switch error.kind {
                case .outOfRange: counts.refused += 1
                case .crc where isDamaged: counts.damaged += 1
                default: Issue.record(error)
                }
            }
            try bus.finish()
        }
        #expect(counts.taken > 20 && counts.refused > 20 && counts.damaged > 20, "\(counts)")
    }

    @Test func theDriverAgreesWithTheTwin() async throws {
        var random = SeededGenerator(seed: printedSeed())
        for _ in 0..<200 {
            let clock = ImmediateClock()
            var air = Conditions(
                temperature: .random(in: -10...50, using: &random), humidity: .random(in: 0...100, using: &random))
            air[.pm2_5] = .random(in: 0...1000, using: &random)
            air[.vocIndex] = .random(in: 1...500, using: &random)
            let world = SimulatedWorld(
                environment: ConstantEnvironment(air), origin: Timestamp(milliseconds: 0), clock: clock)
            let bus = SimulatedI2CBus(world: world)
            bus.attach(SimulatedSEN55(world: world), at: Self.address)
            let values = try await SEN55.open(bus: bus, clock: clock).measure().values
            for (quantity, step) in [(Quantity.temperature, 0.005), (.humidity, 0.01), (.pm2_5, 0.1), (.vocIndex, 0.1)]
            {
                #expect(abs((values[quantity] ?? .nan) - air[quantity]) <= step / 2 + 1e-9, "\(quantity) of \(air)")
            }
        }
    }

    /// A chip that measures goes on: its index outlasts a restart of the program.
    @Test func openingAgainDoesNotBeginTheIndexAnew() async throws {
        let clock = ImmediateClock()
        let world = SimulatedWorld(
            environment: ConstantEnvironment(), origin: Timestamp(milliseconds: 0), clock: clock)
        let bus = SimulatedI2CBus(world: world)
        bus.attach(SimulatedSEN55(world: world), at: Self.address)
        _ = try await SEN55.open(bus: bus, clock: clock).measure()
        let before = clock.now
        #expect(try await SEN55.open(bus: bus, clock: clock).measure().values[.vocIndex] == 100)
        #expect(before.duration(to: clock.now) < .seconds(2))
    }

    // MARK: Recognising it

    private func scan(_ transcript: [PlaybackBus.Exchange]) async throws -> Finding? {
        let empty = I2CAddress.valid.compactMap { I2CAddress(validating: Int($0)) }
        let bus = PlaybackBus(
            empty.flatMap { address -> [PlaybackBus.Exchange] in
                let read = PlaybackBus.Exchange.read([0], from: address).failing(.notAcknowledged)
                let write = PlaybackBus.Exchange.write([], to: address).failing(.notAcknowledged)
                switch address.value {
                case 0x69: return transcript
                case 0x30...0x37, 0x50...0x5F: return [read]
                default: return [read, write]
                }
            })
        let inventory = await identifyChips(on: bus, probes: [SEN55.probe], clock: ImmediateClock())
        try bus.finish()
        return inventory.findings.first
    }

    @Test func aScanAsksForItsName() async throws {
        let refused = PlaybackBus.Exchange.read([0], from: Self.address).failing(.notAcknowledged)
        let present: [PlaybackBus.Exchange] = [.write([], to: Self.address), refused]
        var finding = try await scan(present + Self.asked([0xD0, 0x14], Self.text("SEN55")))
        #expect(finding?.part == .sen55 && finding?.certainty == .certain)
        finding = try await scan(present + Self.asked([0xD0, 0x14], Self.text("SEN54")))
        #expect(finding?.part == nil && finding?.evidence.contains { $0.answer == "SEN54" } == true)
    }

    /// A motion sensor is a chip of registers, to which two bytes are a register and its new value.
    @Test func aScanWritesNothingToAChipThatCanBeRead() async throws {
        let byte = PlaybackBus.Exchange.read([0x68], from: Self.address)
        let finding = try await scan([.write([], to: Self.address), byte, byte])
        #expect(finding != nil && finding?.part == nil)
    }
}
