import Readings
import SensorBus
import SimulatedHardware
import Synchronization
import TestSupport
import Testing

@testable import SensorDrivers

private typealias Exchange = PlaybackBus.Exchange

/// Of the drivers, in an order that is not the one in which they are asked.
private let probes = [SCD4x.probe, SHT3x.probe, ADS1115.probe, SHT4x.probe, BME280.probe, BME280.probe]

/// The transfers of a scan, exactly.
@Suite struct IdentificationTests {
    /// What is asked at an address where nobody is.
    private func absent(_ address: I2CAddress) -> [Exchange] {
        let read = Exchange.read([0], from: address).failing(.notAcknowledged)
        let emptyWrite = Exchange.write([], to: address).failing(.notAcknowledged)
        switch address.value {
        case 0x30...0x37, 0x50...0x5F: return [read]
        case 0x69: return [emptyWrite]
        default: return [read, emptyWrite]
        }
    }

    /// What is asked at an address where a chip refuses to be read.
    private func refusing(_ address: I2CAddress) -> [Exchange] {
        [Exchange.read([0], from: address).failing(.notAcknowledged), .write([], to: address)]
    }

    private func addresses(except known: Set<I2CAddress> = []) -> [I2CAddress] {
        I2CAddress.valid.compactMap { I2CAddress(validating: Int($0)) }.filter { !known.contains($0) }
    }

    /// Scans a bus on which all addresses are empty but those with a transcript.
    private func scan(
        _ transcripts: [I2CAddress: [Exchange]], probes: [Probe] = probes,
        options: IdentificationOptions = IdentificationOptions(),
        kernelDriver: @escaping @Sendable (I2CAddress) -> String? = { _ in nil }
    ) async throws -> BusInventory {
        try await play(
            addresses().flatMap { transcripts[$0] ?? absent($0) }, probes: probes, options: options,
            kernelDriver: kernelDriver)
    }

    private func play(
        _ transcript: [Exchange], probes: [Probe] = probes, options: IdentificationOptions = IdentificationOptions(),
        kernelDriver: @escaping @Sendable (I2CAddress) -> String? = { _ in nil }
    ) async throws -> BusInventory {
        let bus = PlaybackBus(transcript)
        let inventory = await identifyChips(
            on: bus, probes: probes, options: options, clock: ImmediateClock(), kernelDriver: kernelDriver)
        try bus.finish()
        return inventory
    }

    /// The only finding of a scan that came to its end.
    private func only(_ inventory: BusInventory) throws -> Finding {
        #expect(inventory.trouble == nil && inventory.findings.count == 1)
        return try #require(inventory.findings.first)
    }

    @Test func anEmptyBus() async throws {
        let inventory = try await scan([:])
        #expect(inventory == BusInventory(findings: [], trouble: nil, notes: []))
    }

    // MARK: Chips

    /// Bytes that differ, so that no multiplexer is suspected.
    private func barometer(_ address: I2CAddress, id: UInt8) -> [Exchange] {
        [
            .read([0x80], from: address), .read([0x80, 0x00, 0x00, 0x80], from: address),
            .write([0xD0], thenRead: [id], at: address),
        ]
    }

    @Test(
        arguments: [
            (0x60, ChipPart.bme280), (0x58, .bmp280), (0x56, .bmp280), (0x55, .bmp180), (0x61, .bme680),
        ] as [(UInt8, ChipPart)])
    func barometersSayTheirID(id: UInt8, model: ChipPart) async throws {
        for address in [0x76, 0x77] as [I2CAddress] {
            let finding = try only(await scan([address: barometer(address, id: id)]))
            #expect(finding.address == address && finding.part == model && finding.certainty == .certain)
            #expect(
                finding.evidence == [Finding.Evidence("register 0xD0", hexadecimal(id, digits: 2), "chip id")])
        }
    }

    @Test func anotherChipAtABarometersAddressIsUnknown() async throws {
        let finding = try only(await scan([0x77: barometer(0x77, id: 0x00)]))
        #expect(finding.part == nil && finding.certainty == .unknown)
        #expect(finding.evidence.map(\.answer) == ["0x80", "0x00"])
        #expect(finding.note == "at this address often a barometer (MS5611)")
    }

    /// The BMP390's id is the BME280's number in another register, so that of the BME280 is asked first.
    @Test(arguments: [(0x50, ChipPart.bmp388), (0x60, .bmp390), (0x51, nil)] as [(UInt8, ChipPart?)])
    func theYoungerBarometersSayTheirIDInAnotherRegister(id: UInt8, part: ChipPart?) async throws {
        for address in BMP3xx.addresses {
            let transcript =
                barometer(address, id: 0x00) + [Exchange.write([0x00], thenRead: [id], at: address)]
            let finding = try only(await scan([address: transcript], probes: probes + [BMP3xx.probe]))
            #expect(finding.part == part && finding.certainty == (part == nil ? .unknown : .certain))
            #expect(finding.evidence.last?.answer == hexadecimal(id, digits: 2))
        }
    }

    private let sht4xSerial: [Exchange] = [
        .write([0x89], to: 0x44), .read([0x0D, 0x20, 0x47, 0x61, 0x01, 0x11], from: 0x44),
    ]

    @Test func anSHT4xSaysItsSerialNumber() async throws {
        let finding = try only(await scan([0x44: refusing(0x44) + sht4xSerial]))
        #expect(finding.part == .sht4x && finding.certainty == .certain)
        #expect(finding.evidence.map(\.answer) == ["0x0D206101"])
    }

    /// A value that nobody has read is given to the first who reads, once.
    @Test func anSHT4xWithAnOldValueIsStillNamed() async throws {
        let left: [Exchange] = [
            .read([0x63], from: 0x44), Exchange.read([0], from: 0x44).failing(.notAcknowledged),
        ]
        let finding = try only(await scan([0x44: left + sht4xSerial]))
        #expect(finding.part == .sht4x)
    }

    private let noSHT4x: [Exchange] = [
        Exchange.write([0x89], to: 0x45).failing(.notAcknowledged)
    ]

    @Test func anSHT3xSaysItsStatus() async throws {
        let status: [Exchange] = [.write([0xF3, 0x2D], to: 0x45), .read([0x80, 0x06, 0x04], from: 0x45)]
        let serial: [Exchange] = [
            .write([0x37, 0x80], to: 0x45), .read([0xBE, 0xEF, 0x92, 0xAB, 0xCD, 0x6F], from: 0x45),
        ]
        let full = try only(await scan([0x45: refusing(0x45) + noSHT4x + status + serial]))
        #expect(full.part == .sht3x && full.certainty == .certain)
        #expect(full.evidence.map(\.answer) == ["0x8006", "0xBEEFABCD"])
        let old = try only(
            await scan([
                0x45: refusing(0x45) + noSHT4x + status + [
                    .write([0x37, 0x80], to: 0x45),
                    Exchange.read([0, 0, 0, 0, 0, 0], from: 0x45).failing(.notAcknowledged),
                ]
            ]))
        #expect(old.part == .sht3x && old.certainty == .likely)
    }

    @Test func aWrongChecksumNamesNobody() async throws {
        let finding = try only(
            await scan([
                0x46: refusing(0x46) + [
                    .write([0x89], to: 0x46), .read([0x0D, 0x20, 0x48, 0x61, 0x01, 0x11], from: 0x46),
                ]
            ]))
        #expect(finding.part == nil && finding.certainty == .unknown)
        #expect(finding.evidence.last?.meaning == "checksum wrong: noise, or another chip")
    }

    private let scd4xSerial: [Exchange] = [
        .write([0x36, 0x82], to: 0x62), .read([0x73, 0xB1, 0x19, 0xEB, 0x07, 0x7A, 0x3B, 0x0C, 0x54], from: 0x62),
    ]

    private func variant(_ word: UInt16) -> [Exchange] {
        [.write([0x20, 0x2F], to: 0x62), .read(sensirionWord(word), from: 0x62)]
    }

    @Test(
        arguments: [
            (0x0440, ChipPart.scd40), (0x1440, .scd41), (0x5441, .scd43), (0x2000, .scd4x),
        ] as [(UInt16, ChipPart)])
    func anSCD4xAtRestSaysItsSerialNumberAndVariant(word: UInt16, model: ChipPart) async throws {
        let finding = try only(await scan([0x62: refusing(0x62) + scd4xSerial + variant(word)]))
        #expect(finding.part == model && finding.certainty == .certain)
        #expect(finding.evidence[0].answer == "0x73B1EB073B0C")
    }

    private let refusedSerial = Exchange.write([0x36, 0x82], to: 0x62).failing(.notAcknowledged)
    private let dataReady: [Exchange] = [.write([0xE4, 0xB8], to: 0x62), .read([0x80, 0x00, 0xA2], from: 0x62)]

    @Test func anSCD4xThatMeasuresIsNotStopped() async throws {
        let finding = try only(await scan([0x62: refusing(0x62) + [refusedSerial] + dataReady]))
        #expect(finding.part == .scd4x && finding.certainty == .likely)
        #expect(finding.note?.contains("measuring") == true)
    }

    @Test func anSCD4xIsStoppedWhenAsked() async throws {
        let stopped = [refusedSerial] + dataReady + [.write([0x3F, 0x86], to: 0x62)] + scd4xSerial + variant(0x1440)
        let finding = try only(
            await scan([0x62: refusing(0x62) + stopped], options: IdentificationOptions(stopsMeasurements: true)))
        #expect(finding.part == .scd41 && finding.certainty == .certain)
        #expect(finding.note == "it was measuring, and was stopped")
    }

    private func converter(_ configuration: UInt16, _ low: UInt16, _ high: UInt16) -> [Exchange] {
        func word(_ register: UInt8, _ value: UInt16) -> Exchange {
            .write([register], thenRead: [UInt8(value >> 8), UInt8(value & 0xFF)], at: 0x48)
        }
        return [.read([0x00], from: 0x48), word(1, configuration), word(2, low), word(3, high)]
    }

    @Test func anADS1115IsLikelyAtMost() async throws {
        for configuration in [0x8583, 0xC383] as [UInt16] {
            let finding = try only(await scan([0x48: converter(configuration, 0x8000, 0x7FFF)]))
            #expect(finding.part == .ads1115 && finding.certainty == .likely)
        }
        // A TMP102 as it comes up.
        let thermometer = try only(await scan([0x48: converter(0x60A0, 0x4B00, 0x5000)]))
        #expect(thermometer.part == nil && thermometer.certainty == .unknown)
        #expect(thermometer.note == "at this address often a temperature sensor (TMP102, LM75)")
    }

    private func multiplexer(_ address: I2CAddress, _ selection: UInt8) -> [Exchange] {
        [
            .read([selection], from: address), .read([UInt8](repeating: selection, count: 4), from: address),
            .write([selection], thenRead: [UInt8](repeating: selection, count: 256), at: address),
        ]
    }

    @Test func aMultiplexerIsToldWithoutAChange() async throws {
        let idle = try only(await scan([0x70: multiplexer(0x70, 0)]))
        #expect(idle.part == .tca9548a && idle.certainty == .likely && idle.note == "no channel is open")
        let open = try only(await scan([0x77: multiplexer(0x77, 0b101)]))
        #expect(open.part == .tca9548a && open.note == "open: 0, 2, and seen on the bus itself")
    }

    /// A barometer whose next registers are all equal is not taken for a multiplexer.
    @Test func aBarometerIsNoMultiplexer() async throws {
        var registers = [UInt8](repeating: 0, count: 256)
        registers[0x88] = 0x10
        let finding = try only(
            await scan([
                0x76: [
                    .read([0], from: 0x76), .read([0, 0, 0, 0], from: 0x76),
                    .write([0], thenRead: registers, at: 0x76), .write([0xD0], thenRead: [0x60], at: 0x76),
                ]
            ]))
        #expect(finding.part == .bme280)
    }

    // MARK: Safety

    /// A chip of registers at an address of Sensirion's, such as a PCA9685: two bytes would be a register and a value.
    @Test(arguments: [0x44, 0x45, 0x46, 0x62] as [I2CAddress])
    func aChipOfRegistersIsSentNoCommand(address: I2CAddress) async throws {
        // Once for its presence, once for each family that may be here.
        let families = address == 0x44 || address == 0x45 ? 2 : 1
        let reads = [Exchange](repeating: .read([0x11], from: address), count: 1 + families)
        let finding = try only(await scan([address: reads]))
        #expect(finding.part == nil && finding.evidence == [Finding.Evidence("read", "0x11")])
    }

    @Test func whatTheKernelHasIsNotTouched() async throws {
        let finding = try only(
            await scan([0x68: []], kernelDriver: { $0 == 0x68 ? "rtc-ds1307" : nil }))
        #expect(finding == Finding(0x68, kernelDriver: "rtc-ds1307"))
    }

    /// A chip that records what is written to it: 256 registers of which none reads as zero.
    private final class Registers: SimulatedChip {
        let faults = FaultScript()
        private let longestWrite = Mutex(0)
        private let pointer = Mutex<UInt8>(0)

        var longest: Int { longestWrite.withLock { $0 } }

        func powerUp(at time: Duration) {}

        func write(_ bytes: [UInt8], at time: Duration) -> Bool {
            longestWrite.withLock { $0 = max($0, bytes.count) }
            if let first = bytes.first { pointer.withLock { $0 = first } }
            return true
        }

        func read(_ count: Int, at time: Duration) -> [UInt8]? {
            let start = pointer.withLock { $0 }
            return (0..<count).map { UInt8(truncatingIfNeeded: Int(start) + $0) | 1 }
        }
    }

    private func simulatedBus() -> (SimulatedI2CBus, SimulatedWorld, ImmediateClock) {
        let clock = ImmediateClock()
        let world = SimulatedWorld(
            environment: ConstantEnvironment(), origin: Timestamp(milliseconds: 1_772_000_000_000), clock: clock)
        return (SimulatedI2CBus(world: world), world, clock)
    }

    @Test func noRegisterIsWrittenAtAnyAddress() async throws {
        let (bus, _, clock) = simulatedBus()
        let chips = addresses().map { ($0, Registers()) }
        for (address, chip) in chips { bus.attach(chip, at: address) }
        for options in [IdentificationOptions(), .init(opensMultiplexers: true, stopsMeasurements: true)] {
            let inventory = await identifyChips(on: bus, probes: probes, options: options, clock: clock)
            #expect(inventory.trouble == nil && inventory.findings.count == 112)
            #expect(inventory.findings.allSatisfy { $0.part == nil })
        }
        for (address, chip) in chips { #expect(chip.longest <= 1, "\(address)") }
    }

    // MARK: The models

    @Test func theModelsAreNamed() async throws {
        let (bus, world, clock) = simulatedBus()
        bus.attach(SimulatedBME280(world: world, variant: .bmp280), at: 0x76)
        bus.attach(SimulatedBME280(world: world), at: 0x77)
        bus.attach(SimulatedSCD4x(world: world), at: 0x62)
        bus.attach(SimulatedSHT4x(world: world), at: 0x44)
        bus.attach(SimulatedSHT3x(world: world), at: 0x45)
        bus.attach(SimulatedADS1115(world: world), at: 0x4A)
        let inventory = await identifyChips(on: bus, probes: probes, clock: clock)
        #expect(inventory.trouble == nil)
        #expect(inventory.findings.map(\.address) == [0x44, 0x45, 0x4A, 0x62, 0x76, 0x77])
        #expect(inventory.findings.map(\.part) == [.sht4x, .sht3x, .ads1115, .scd41, .bmp280, .bme280])
    }

    /// In use, each with its settings, and after the scan they measure on as if nothing had been.
    @Test func theModelsMeasureOn() async throws {
        let (bus, world, clock) = simulatedBus()
        bus.attach(SimulatedBME280(world: world), at: 0x76)
        bus.attach(SimulatedSCD4x(world: world), at: 0x62)
        bus.attach(SimulatedADS1115(world: world), at: 0x48)
        let chips: [any ChipDriver] = [
            try await BME280.open(bus: bus, address: 0x76, clock: clock),
            try await SCD4x.open(bus: bus, clock: clock),
            try await ADS1115.open(bus: bus, address: 0x48, clock: clock),
        ]
        for chip in chips { _ = try await chip.measure() }
        try await clock.sleep(for: .seconds(5))
        let inventory = await identifyChips(on: bus, probes: probes, clock: clock)
        #expect(inventory.findings.map(\.part) == [.ads1115, .scd4x, .bme280])
        #expect(inventory.findings.map(\.certainty) == [.likely, .likely, .certain])
        for chip in chips { _ = try await chip.measure() }
    }

    // MARK: Multiplexers

    /// A bus with a multiplexer at 0x70 whose register is kept, and a barometer behind channels 1 and 6 each.
    private func behindMultiplexer(_ selection: UInt8, isRestored: Bool = true) -> [Exchange] {
        let address: I2CAddress = 0x70
        var transcript = multiplexer(address, selection) + [.write([0], to: address)]
        transcript += addresses().filter { (0x71...0x77).contains($0.value) }.flatMap(absent)
        transcript += addresses().flatMap { $0 == address ? multiplexer(address, 0) : absent($0) }
        for channel in 0..<8 {
            let bit = UInt8(1) << UInt8(channel)
            transcript += [.write([bit], to: address), .read([bit], from: address)]
            transcript += addresses(except: [address]).flatMap { other in
                other == 0x76 && (channel == 1 || channel == 6) ? barometer(0x76, id: 0x60) : absent(other)
            }
        }
        return transcript + [
            .write([0], to: address), .write([selection], to: address),
            .read([isRestored ? selection : 0xFF], from: address),
        ]
    }

    @Test func channelsAreLookedInto() async throws {
        let inventory = try await play(
            behindMultiplexer(0b1000), options: IdentificationOptions(opensMultiplexers: true))
        #expect(inventory.trouble == nil && inventory.notes.isEmpty)
        #expect(inventory.findings.map(\.part) == [.tca9548a, .bme280, .bme280])
        #expect(inventory.findings[0].certainty == .certain, "it selected all its channels")
        #expect(inventory.findings.map(\.channel?.number) == [nil, 1, 6])
        #expect(inventory.findings.map(\.channel?.multiplexer) == [nil, 0x70, 0x70])
    }

    @Test func aSelectionThatIsNotRestoredIsSaid() async throws {
        let inventory = try await play(
            behindMultiplexer(1, isRestored: false), options: IdentificationOptions(opensMultiplexers: true))
        #expect(
            inventory.notes == ["the multiplexer at 0x70 could not be set back to 0x01: cycle its power"])
    }

    @Test func theSelectionIsRestoredAfterTrouble() async throws {
        let address: I2CAddress = 0x70
        let timeOut = Exchange.read([0], from: 0x08).failing(.timedOut)
        var transcript = multiplexer(address, 4) + [.write([0], to: address)]
        transcript += addresses().filter { (0x71...0x77).contains($0.value) }.flatMap(absent)
        transcript += [
            timeOut, Exchange.write([], to: 0x08).failing(.timedOut), Exchange.read([0], from: 0x09).failing(.timedOut),
            .write([4], to: address), .read([4], from: address),
        ]
        let inventory = try await play(transcript, options: IdentificationOptions(opensMultiplexers: true))
        #expect(inventory.trouble == .failed(BusError(.timedOut, bus: "playback", address: 0x09)))
        #expect(inventory.notes.isEmpty)
    }

    // MARK: Trouble

    @Test(arguments: [BusError.Kind.timedOut, .lengthOrStretch, .arbitrationLost, .other(code: 5)])
    func aWedgedBusIsGivenUp(kind: BusError.Kind) async throws {
        let inventory = try await play([
            Exchange.read([0], from: 0x08).failing(kind), Exchange.write([], to: 0x08).failing(kind),
            Exchange.read([0], from: 0x09).failing(kind),
        ])
        #expect(inventory.trouble == .failed(BusError(kind, bus: "playback", address: 0x09)))
    }

    /// A chip that now and then holds the clock is named as trouble, and the others are found.
    @Test func oneFailureIsNotTheEnd() async throws {
        let inventory = try await scan([
            0x20: [Exchange.read([0], from: 0x20).failing(.timedOut), .write([], to: 0x20).failing(.notAcknowledged)],
            0x76: barometer(0x76, id: 0x60),
        ])
        #expect(inventory.trouble == nil)
        #expect(inventory.findings.map(\.address) == [0x20, 0x76])
        #expect(inventory.findings[0].note == "the transfer failed: timed out")
    }

    @Test func manyFailuresAreTheEnd() async throws {
        var transcript: [Exchange] = []
        for address in addresses().prefix(8) {
            transcript.append(Exchange.read([0], from: address).failing(.timedOut))
            if transcript.count < 15 { transcript.append(.write([], to: address).failing(.notAcknowledged)) }
        }
        let inventory = try await play(transcript)
        #expect(inventory.trouble == .failed(BusError(.timedOut, bus: "playback", address: 0x0F)))
        #expect(inventory.findings.count == 7)
    }

    @Test(arguments: [BusError.Kind.permissionDenied, .forbidden, .missing, .unsupported])
    func whatWillNotGetBetterEndsAtOnce(kind: BusError.Kind) async throws {
        let inventory = try await play([Exchange.read([0], from: 0x08).failing(kind)])
        #expect(inventory.trouble == .failed(BusError(kind, bus: "playback", address: 0x08)))
    }

    @Test func aLineThatIsHeldLowIsNotTakenForChips() async throws {
        var transcript = addresses().prefix(16).map { Exchange.read([0], from: $0) }
        // The first address is nobody's; the others read as an unknown chip until the sixteenth tells.
        #expect(transcript.count == 16)
        let inventory = try await play(transcript)
        #expect(inventory.trouble == .heldLow && inventory.findings.isEmpty)
        transcript[15] = .read([1], from: transcript[15].address)
        let rest = addresses().dropFirst(16).flatMap(absent)
        #expect(try await play(transcript + rest).trouble == nil)
    }

    /// A DesignWare controller, as in a Raspberry Pi 5, refuses an empty write.
    @Test func withoutEmptyWritesTheKnownChipsAreStillFound() async throws {
        var transcript: [Exchange] = []
        for address in addresses() {
            if address.value != 0x69 { transcript.append(.read([0], from: address).failing(.notAcknowledged)) }
            switch address.value {
            case 0x08: transcript.append(.write([], to: address).failing(.unsupported))
            case 0x44: transcript += sht4xSerial
            case 0x45:
                transcript += [
                    .write([0x89], to: address).failing(.notAcknowledged),
                    .write([0xF3, 0x2D], to: address).failing(.notAcknowledged),
                ]
            case 0x46: transcript.append(.write([0x89], to: address).failing(.notAcknowledged))
            case 0x62:
                transcript += [refusedSerial, .write([0xE4, 0xB8], to: address).failing(.notAcknowledged)]
            default: break
            }
        }
        let inventory = try await play(transcript)
        #expect(inventory.findings.map(\.part) == [.sht4x])
        #expect(inventory.notes.count == 1)
    }

    @Test func aScanCanBeInterrupted() async throws {
        let (bus, _, clock) = simulatedBus()
        let task = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return await identifyChips(on: bus, probes: probes, clock: clock)
        }
        #expect(await task.value.trouble == .cancelled)
    }
}
