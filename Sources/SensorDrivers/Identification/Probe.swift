import SensorBus

/// How one family of chips is told from others: where it may be, and what to ask it. A probe asks nothing that harms a
/// chip of another family; see `identifyChips`.
public struct Probe: Sendable {
    /// The family, such as `SHT4x`.
    let family: String
    /// The most bytes that it writes at once. Two are a register and its new value to a chip of registers.
    let writes: Int
    /// Where the family may be.
    let addresses: [I2CAddress]
    /// Asks a chip that may be of the family.
    ///
    /// Returns what it is, or nil if it is none of the family; what it answered all the same goes into the evidence.
    let ask:
        @Sendable (
            isolated Identification, I2CAddress, Identification.Presence, inout [Finding.Evidence]
        ) async throws(BusInventory.Trouble) -> Finding?

    /// Names a family's probe.
    init(
        _ family: String, writes: Int, addresses: [I2CAddress],
        ask:
            @escaping @Sendable (
                isolated Identification, I2CAddress, Identification.Presence, inout [Finding.Evidence]
            ) async throws(BusInventory.Trouble) -> Finding?
    ) {
        self.family = family
        self.writes = writes
        self.addresses = addresses
        self.ask = ask
    }

    /// The probes in the order in which they are asked at one address, each family once. The multiplexer comes first, as
    /// any other's probe would open channels; then those that write the least.
    static func ordered(_ probes: [Probe]) -> [Probe] {
        var families: Set<String> = []
        let once = probes.filter { families.insert($0.family).inserted }
        let counts = Set(once.map(\.writes)).sorted()
        return [multiplexer] + counts.flatMap { count in once.filter { $0.writes == count } }
    }

    /// TCA9548A: a single register, which every write sets and every read gives (datasheet SCPS207, 8.5.3 and 8.6.2).
    /// Writing what was read changes nothing; then reading once round a chip of 256 registers tells it from one.
    private static let multiplexer = Probe(
        "TCA9548A", writes: 1, addresses: MultiplexerChannel.addresses
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
}

extension ChipPart {
    /// A multiplexer of eight channels.
    public static let tca9548a = ChipPart("TCA9548A")
}

extension Finding.Evidence {
    static func serial(_ words: [UInt16]) -> String {
        hexadecimal(words.reduce(UInt64(0)) { $0 << 16 | UInt64($1) }, digits: words.count * 4)
    }

    static func garbled(_ asked: String, _ bytes: [UInt8]) -> Finding.Evidence {
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

    /// Sends a command and reads its answer in a transfer of its own.
    /// - Parameter executionTime: how long the chip needs before it answers.
    func query(
        _ command: [UInt8], words count: Int, _ address: I2CAddress, after executionTime: Duration = .milliseconds(1)
    ) async throws(BusInventory.Trouble) -> CommandAnswer {
        guard try transfer(command, 0, address) != nil else { return .silence }
        try await wait(executionTime)
        guard let bytes = try transfer([], count * 3, address), bytes.count == count * 3 else { return .silence }
        var words: [UInt16] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            guard bytes[start + 2] == sensirionCRC8(bytes[start..<start + 2]) else { return .garbled(bytes) }
            words.append(UInt16(bytes[start]) << 8 | UInt16(bytes[start + 1]))
        }
        return .words(words)
    }
}
