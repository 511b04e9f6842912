import SensorBus

/// How one family of chips is told from others: where it may be, and what to ask it. Every question is one that a chip
/// of another family survives; see `identifyChips`.
struct Probe: Sendable {
    /// Where the family may be.
    let addresses: [I2CAddress]
    /// Asks a chip that may be of the family.
    ///
    /// Returns what it is, or nil if it is none of the family; what it answered all the same goes into the evidence.
    let ask:
        @Sendable (
            isolated Identification, I2CAddress, Identification.Presence, inout [Finding.Evidence]
        ) async throws(BusInventory.Trouble) -> Finding?

    /// In the order in which they are asked at one address. The multiplexer comes before the barometers, whose question
    /// would open channels.
    static let all = [multiplexer, bosch, sht4x, sht3x, scd4x, ads1115]

    /// TCA9548A: a single register, which every write sets and every read gives (datasheet SCPS207, 8.5.3 and 8.6.2).
    /// Writing what was read changes nothing; then reading once round a chip of 256 registers tells it from one.
    private static let multiplexer = Probe(
        addresses: MultiplexerChannel.addresses
    ) { (scan, address, presence, _) throws(BusInventory.Trouble) in
        guard case .readable(let selection) = presence,
            try scan.transfer([], 4, address) == [UInt8](repeating: selection, count: 4),
            try scan.transfer([selection], 256, address) == [UInt8](repeating: selection, count: 256)
        else { return nil }
        // A line that floats reads so too, and all eight channels at once are of no use to anybody.
        guard selection != 0xFF else { return nil }
        let open = (0..<8).filter { selection >> UInt8($0) & 1 == 1 }.map { "\($0)" }
        let channels =
            open.isEmpty ? "no channel is open" : "open: \(open.joined(separator: ", ")), and seen on the bus itself"
        return Finding(
            address, .tca9548a, .likely,
            [
                Finding.Evidence(
                    "read, written back, read again", hexadecimal(selection, digits: 2), "control register alone")
            ],
            note: channels)
    }

    /// BME280, BMP280, BMP180, BME680: the chip id in register 0xD0 (BME280 datasheet 5.4.1).
    private static let bosch = Probe(
        addresses: BME280.addresses
    ) { (scan, address, presence, evidence) throws(BusInventory.Trouble) in
        guard case .readable = presence, let id = try scan.transfer([0xD0], 1, address)?.first else { return nil }
        let answer = Finding.Evidence("register 0xD0", hexadecimal(id, digits: 2), "chip id")
        switch id {
        case 0x60: return Finding(address, .bme280, .certain, [answer])
        case 0x56, 0x57, 0x58:
            return Finding(address, .bmp280, .certain, [answer], note: "no humidity; often sold as a BME280")
        case 0x55: return Finding(address, .bmp180, .certain, [answer], note: "not supported")
        case 0x61: return Finding(address, .bme680, .certain, [answer], note: "not supported")
        default:
            evidence.append(Finding.Evidence("register 0xD0", hexadecimal(id, digits: 2)))
            return nil
        }
    }

    /// SHT4x: the serial number, two words with checksums (SHT4x datasheet 4.5, 4.6). One byte: harmless to others.
    private static let sht4x = Probe(
        addresses: [0x44, 0x45, 0x46]
    ) { (scan, address, presence, evidence) throws(BusInventory.Trouble) in
        guard try scan.mayBeCommanded(address, presence) else { return nil }
        switch try await scan.query([0x89], words: 2, address) {
        case .words(let words):
            return Finding(
                address, .sht4x, .certain,
                [Finding.Evidence("command 0x89", serial(words), "serial number, checksums right")])
        case .garbled(let bytes): evidence.append(garbled("command 0x89", bytes))
        case .silence: break
        }
        return nil
    }

    /// SHT3x: the status with its checksum, then the serial number (SHT3x-DIS datasheet 4.11; "Electronic
    /// identification code" 1.0). Not every part has the latter.
    private static let sht3x = Probe(
        addresses: [0x44, 0x45]
    ) { (scan, address, presence, evidence) throws(BusInventory.Trouble) in
        guard try scan.mayBeCommanded(address, presence) else { return nil }
        let status: [UInt16]
        switch try await scan.query([0xF3, 0x2D], words: 1, address) {
        case .words(let words): status = words
        case .garbled(let bytes):
            evidence.append(garbled("command 0xF32D", bytes))
            return nil
        case .silence: return nil
        }
        var answers = [Finding.Evidence("command 0xF32D", hexadecimal(status[0], digits: 4), "status, checksum right")]
        guard case .words(let words) = try await scan.query([0x37, 0x80], words: 2, address) else {
            return Finding(address, .sht3x, .likely, answers)
        }
        answers.append(Finding.Evidence("command 0x3780", serial(words), "serial number, checksums right"))
        return Finding(address, .sht3x, .certain, answers)
    }

    /// SCD40, SCD41, SCD43: the serial number and the variant, which it refuses while it measures; then the data ready
    /// status, which it does not (SCD4x datasheet 3.9.2, 3.10.2).
    private static let scd4x = Probe(
        addresses: [0x62]
    ) { (scan, address, presence, evidence) throws(BusInventory.Trouble) in
        guard try scan.mayBeCommanded(address, presence) else { return nil }
        if let finding = try await scd4xAtRest(scan, address, &evidence) { return finding }
        guard case .words(let ready) = try await scan.query([0xE4, 0xB8], words: 1, address) else { return nil }
        let answer = Finding.Evidence(
            "command 0xE4B8", hexadecimal(ready[0], digits: 4), "data ready status, checksum right")
        if scan.mayStopMeasurements, try scan.transfer([0x3F, 0x86], 0, address) != nil {
            try await scan.wait(SCD4xCommand.stopPeriodicMeasurement.executionTime)
            if var finding = try await scd4xAtRest(scan, address, &evidence) {
                finding.note = "it was measuring, and was stopped"
                return finding
            }
        }
        return Finding(
            address, .scd4x, .likely, [answer],
            note: "it is measuring, and says its serial number and variant only when stopped (--stop-measurement)")
    }

    private static func scd4xAtRest(
        _ scan: isolated Identification, _ address: I2CAddress, _ evidence: inout [Finding.Evidence]
    ) async throws(BusInventory.Trouble) -> Finding? {
        let words: [UInt16]
        switch try await scan.query([0x36, 0x82], words: 3, address) {
        case .words(let answer): words = answer
        case .garbled(let bytes):
            evidence.append(garbled("command 0x3682", bytes))
            return nil
        case .silence: return nil
        }
        var answers = [Finding.Evidence("command 0x3682", serial(words), "serial number, checksums right")]
        var part = ChipPart.scd4x
        if case .words(let variant) = try await scan.query([0x20, 0x2F], words: 1, address) {
            answers.append(Finding.Evidence("command 0x202F", hexadecimal(variant[0], digits: 4), "variant"))
            switch variant[0] >> 12 {
            case 0: part = .scd40
            case 1: part = .scd41
            case 5: part = .scd43
            default: break
            }
        }
        return Finding(address, part, .certain, answers)
    }

    /// ADS1115: it has no identification. Its configuration, and the comparator's thresholds, which nobody sets who
    /// does not use the comparator, stand at their values after a reset (SBAS444, 8.1.3, 8.1.4).
    private static let ads1115 = Probe(
        addresses: ADS1115.addresses
    ) { (scan, address, presence, evidence) throws(BusInventory.Trouble) in
        guard case .readable = presence else { return nil }
        var registers: [UInt16] = []
        for register in UInt8(1)...3 {
            guard let bytes = try scan.transfer([register], 2, address) else { return nil }
            registers.append(UInt16(bytes[0]) << 8 | UInt16(bytes[1]))
        }
        let afterReset: UInt16 = 0x8583
        let isAfterReset = registers[0] == afterReset
        let answers = [
            Finding.Evidence(
                "register 1", hexadecimal(registers[0], digits: 4), isAfterReset ? "as after a reset" : "configuration"),
            Finding.Evidence(
                "registers 2, 3", "\(hexadecimal(registers[1], digits: 4)), \(hexadecimal(registers[2], digits: 4))",
                "thresholds"),
        ]
        guard registers[1] == 0x8000, registers[2] == 0x7FFF else {
            evidence += answers
            return nil
        }
        return Finding(address, .ads1115, .likely, answers, note: "it has no identification; an ADS1015 answers alike")
    }

    private static func serial(_ words: [UInt16]) -> String {
        hexadecimal(words.reduce(UInt64(0)) { $0 << 16 | UInt64($1) }, digits: words.count * 4)
    }

    private static func garbled(_ asked: String, _ bytes: [UInt8]) -> Finding.Evidence {
        Finding.Evidence(
            asked, bytes.map { hexadecimal($0, digits: 2) }.joined(separator: " "),
            "checksum wrong: noise, or another chip")
    }
}

extension Identification {
    /// What a chip of Sensirion's answers to a command.
    enum CommandAnswer {
        case words([UInt16])
        /// It answers, and the checksums are wrong.
        case garbled([UInt8])
        /// It does not acknowledge.
        case silence
    }

    /// Whether a command may be sent: to a chip that refuses to be read. A Sensirion that has something to say gives it
    /// once and then refuses; a chip of registers never does.
    func mayBeCommanded(_ address: I2CAddress, _ presence: Presence) throws(BusInventory.Trouble) -> Bool {
        switch presence {
        case .writable, .unreadable: true
        case .readable: try transfer([], 1, address) == nil
        case .absent: false
        }
    }

    /// Sends a command and reads its answer, 1 ms later, in a transfer of its own.
    func query(
        _ command: [UInt8], words count: Int, _ address: I2CAddress
    ) async throws(BusInventory.Trouble) -> CommandAnswer {
        guard try transfer(command, 0, address) != nil else { return .silence }
        try await wait(.milliseconds(1))
        guard let bytes = try transfer([], count * 3, address), bytes.count == count * 3 else { return .silence }
        var words: [UInt16] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            guard bytes[start + 2] == sensirionCRC8(bytes[start..<start + 2]) else { return .garbled(bytes) }
            words.append(UInt16(bytes[start]) << 8 | UInt16(bytes[start + 1]))
        }
        return .words(words)
    }
}
