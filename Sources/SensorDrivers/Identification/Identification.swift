import Platform
import SensorBus

/// What a scan may do beyond reading.
public struct IdentificationOptions: Sendable, Equatable {
    /// Whether to select the channels of multiplexers, one after the other, and to look behind them. The former
    /// selection is restored.
    public var opensMultiplexers: Bool
    /// Whether to stop an SCD4x that measures, which is the only way to learn its serial number. It stays stopped.
    public var stopsMeasurements: Bool

    /// Makes options; without any, no chip is left in another state than it was in.
    public init(opensMultiplexers: Bool = false, stopsMeasurements: Bool = false) {
        self.opensMultiplexers = opensMultiplexers
        self.stopsMeasurements = stopsMeasurements
    }
}

/// Finds and names the chips on a bus without changing any that it does not know.
///
/// **Is anybody there?** One byte is read from each address of 0x08 to 0x77; the others are reserved. Who does not
/// answer that is sent an empty write: the address and nothing else, as Sensirion's chips refuse a read until they were
/// asked something. Two habits of i2cdetect(8) are kept: no empty write at 0x30 to 0x37 and 0x50 to 0x5F, where an old
/// memory takes it for a write to itself, and no read at 0x69, where a clock generator that can only be written hangs
/// the bus. What a kernel's driver has is named and not touched.
///
/// **Who is it?** Only at the addresses that a known chip can have, in a fixed order, a question that another chip
/// survives: the number of a register, which every chip of registers takes for where to read from. Two bytes would be
/// a register and its new value to such a chip; so a command of two bytes goes only to an address that refuses to be
/// read, as an idle Sensirion does and a chip of registers never does. A TCA9548A takes whatever byte it gets for its
/// channels; so at 0x70 to 0x77 the first byte that is written is the one that was read.
///
/// **How does it end?** After three transfers in a row that fail otherwise than by no acknowledgement, or eight in all,
/// the bus is given up. Each is bounded by the kernel's own time-out.
/// - Parameters:
///   - bus: the bus.
///   - probes: of the families that it can name, multiplexers besides.
///   - options: what it may do beyond reading.
///   - clock: for the chips' execution times.
///   - kernelDriver: the driver of the kernel that has the chip at an address; nil: none.
///   - progress: called with each address before it is asked.
/// - Returns: what was found until the end, or until the trouble that it names.
public func identifyChips(
    on bus: any I2CBus, probes: [Probe], options: IdentificationOptions = IdentificationOptions(),
    clock: any Clock<Duration>,
    kernelDriver: @escaping @Sendable (I2CAddress) -> String? = { _ in nil },
    progress: @escaping @Sendable (I2CAddress) -> Void = { _ in }
) async -> BusInventory {
    await Identification(
        bus: bus, probes: probes, options: options, clock: clock, kernelDriver: kernelDriver, progress: progress
    ).run()
}

/// One scan, on the bus's thread.
actor Identification {
    private let bus: any I2CBus
    private let probes: [Probe]
    private let options: IdentificationOptions
    private let clock: any Clock<Duration>
    private let kernelDriver: @Sendable (I2CAddress) -> String?
    private let progress: @Sendable (I2CAddress) -> Void

    private var notes: [String] = []
    /// Failures that are no missing acknowledgement: in a row, and in all.
    private var failures = (inRow: 0, inAll: 0)
    private var lastFailure: BusError?
    /// Whether the adapter sends empty writes; a DesignWare controller (Raspberry Pi 5) does not.
    private var sendsEmptyWrites = true

    nonisolated var unownedExecutor: UnownedSerialExecutor { bus.executor.asUnownedSerialExecutor() }

    private static let mostFailures = (inRow: 3, inAll: 8)

    init(
        bus: any I2CBus, probes: [Probe], options: IdentificationOptions, clock: any Clock<Duration>,
        kernelDriver: @escaping @Sendable (I2CAddress) -> String?, progress: @escaping @Sendable (I2CAddress) -> Void
    ) {
        self.bus = bus
        self.probes = Probe.ordered(probes)
        self.options = options
        self.clock = clock
        self.kernelDriver = kernelDriver
        self.progress = progress
    }

    func run() async -> BusInventory {
        var findings: [Finding] = []
        var trouble: BusInventory.Trouble?
        do throws(BusInventory.Trouble) {
            if options.opensMultiplexers {
                try await scanWithMultiplexers(into: &findings)
            } else {
                try await scan(into: &findings)
            }
        } catch {
            trouble = error
        }
        if trouble == .heldLow { findings = [] }
        return BusInventory(findings: findings, trouble: trouble, notes: notes)
    }

    /// Every address of the bus as it is.
    /// - Parameter channel: the channel that is selected, and the addresses that are on the bus itself anyway.
    private func scan(
        into findings: inout [Finding], behind channel: MultiplexerChannel? = nil, except known: Set<I2CAddress> = []
    ) async throws(BusInventory.Trouble) {
        var zeros = 0
        for value in I2CAddress.valid {
            guard let address = I2CAddress(validating: Int(value)), !known.contains(address) else { continue }
            guard !Task.isCancelled else { throw .cancelled }
            progress(address)
            if channel == nil, let driver = kernelDriver(address) {
                findings.append(Finding(address, kernelDriver: driver))
                continue
            }
            let failuresBefore = failures.inAll
            let presence = try presence(at: address)
            // No bus has sixteen chips at its first sixteen addresses.
            zeros = presence == .readable(0) ? zeros + 1 : 0
            if zeros == 16, value == I2CAddress.valid.lowerBound + 15 { throw .heldLow }
            if var finding = try await identify(address, presence) {
                finding.channel = channel
                findings.append(finding)
            } else if failures.inAll > failuresBefore, let lastFailure {
                var finding = Finding(address, note: "the transfer failed: \(lastFailure.kind)")
                finding.channel = channel
                findings.append(finding)
            }
        }
    }

    // MARK: Presence

    /// How an address answers while nothing was asked.
    enum Presence: Equatable {
        /// It gave this byte.
        case readable(UInt8)
        /// It refuses to be read, and takes an empty write.
        case writable
        /// It refuses to be read; whether it takes a write cannot be known.
        case unreadable
        /// Nobody.
        case absent
    }

    private func presence(at address: I2CAddress) throws(BusInventory.Trouble) -> Presence {
        let isHungByReads = address.value == 0x69
        if !isHungByReads, let byte = try transfer([], 1, address)?.first { return .readable(byte) }
        let isChangedByEmptyWrites = (0x30...0x37).contains(address.value) || (0x50...0x5F).contains(address.value)
        if isChangedByEmptyWrites { return .absent }
        guard sendsEmptyWrites else { return .unreadable }
        do throws(BusError) {
            try bus.write([], to: address)
            failures.inRow = 0
            return .writable
        } catch {
            if error.kind == .unsupported {
                sendsEmptyWrites = false
                notes.append(
                    "the adapter sends no empty writes: an unknown chip that refuses to be read is not seen")
                return .unreadable
            }
            try fail(error)
            return .absent
        }
    }

    /// One transfer.
    /// - Returns: what was read; nil if it was not acknowledged, or failed otherwise.
    func transfer(_ bytes: [UInt8], _ count: Int, _ address: I2CAddress) throws(BusInventory.Trouble) -> [UInt8]? {
        do throws(BusError) {
            let answer: [UInt8]
            if count == 0 {
                try bus.write(bytes, to: address)
                answer = []
            } else if bytes.isEmpty {
                answer = try bus.read(count, from: address)
            } else {
                answer = try bus.write(bytes, thenRead: count, at: address)
            }
            failures.inRow = 0
            return answer
        } catch {
            try fail(error)
            return nil
        }
    }

    /// Counts a failure, and gives the bus up when there are too many.
    private func fail(_ error: BusError) throws(BusInventory.Trouble) {
        switch error.kind {
        case .notAcknowledged: failures.inRow = 0
        case .permissionDenied, .forbidden, .missing, .unsupported, .inUse, .multiplexer: throw .failed(error)
        case .timedOut, .arbitrationLost, .lengthOrStretch, .other:
            failures.inRow += 1
            failures.inAll += 1
            lastFailure = error
            if failures.inRow >= Self.mostFailures.inRow || failures.inAll >= Self.mostFailures.inAll {
                throw .failed(error)
            }
        }
    }

    /// Waits for a chip without holding the bus.
    func wait(_ duration: Duration) async throws(BusInventory.Trouble) {
        do {
            try await clock.sleep(for: duration)
        } catch {
            throw .cancelled
        }
    }

    // MARK: Identity

    private func identify(_ address: I2CAddress, _ presence: Presence) async throws(BusInventory.Trouble) -> Finding? {
        guard presence != .absent else { return nil }
        var evidence: [Finding.Evidence] = []
        for probe in probes where probe.addresses.contains(address) {
            if let finding = try await probe.ask(self, address, presence, &evidence) { return finding }
        }
        switch presence {
        case .readable(let byte):
            evidence.insert(Finding.Evidence("read", hexadecimal(byte, digits: 2)), at: 0)
        case .writable:
            evidence.insert(Finding.Evidence("empty write", "acknowledged", "it refuses to be read"), at: 0)
        case .unreadable, .absent:
            if evidence.isEmpty { return nil }
        }
        let hint = usualOccupant(of: address).map { "at this address often \($0)" }
        return Finding(address, nil, .unknown, evidence, note: hint)
    }

    var mayStopMeasurements: Bool { options.stopsMeasurements }

    // MARK: Multiplexers

    /// The bus itself with all channels closed, then each channel; at the end every multiplexer is as it was.
    private func scanWithMultiplexers(into findings: inout [Finding]) async throws(BusInventory.Trouble) {
        var multiplexers: [(address: I2CAddress, selection: UInt8)] = []
        var trouble: BusInventory.Trouble?
        do throws(BusInventory.Trouble) {
            for address in MultiplexerChannel.addresses where kernelDriver(address) == nil {
                let presence = try presence(at: address)
                guard case .readable(let selection) = presence,
                    try await identify(address, presence)?.part == .tca9548a
                else { continue }
                multiplexers.append((address, selection))
                _ = try transfer([0], 0, address)
            }
            try await scan(into: &findings)
            let known = Set(findings.map(\.address))
            for (address, _) in multiplexers {
                try await scanChannels(of: address, except: known, into: &findings)
            }
        } catch {
            trouble = error
        }
        for (address, selection) in multiplexers where !isRestored(address, selection) {
            notes.append(
                "the multiplexer at \(address) could not be set back to \(hexadecimal(selection, digits: 2)): cycle its power"
            )
        }
        if let trouble { throw trouble }
    }

    private func isRestored(_ address: I2CAddress, _ selection: UInt8) -> Bool {
        // Also after a trouble, so past the count of failures.
        do throws(BusError) {
            try bus.write([selection], to: address)
            return try bus.read(1, from: address) == [selection]
        } catch {
            return false
        }
    }

    private func scanChannels(
        of address: I2CAddress, except known: Set<I2CAddress>, into findings: inout [Finding]
    ) async throws(BusInventory.Trouble) {
        var confirmed = 0
        for number in MultiplexerChannel.numbers {
            let selection = UInt8(1) << UInt8(number)
            guard try transfer([selection], 0, address) != nil,
                try transfer([], 1, address) == [selection]
            else {
                notes.append("the multiplexer at \(address) has no channel \(number), or did not select it")
                continue
            }
            confirmed += 1
            guard let channel = MultiplexerChannel(multiplexer: address, number: number) else { continue }
            try await scan(into: &findings, behind: channel, except: known)
        }
        _ = try transfer([0], 0, address)
        if let index = findings.firstIndex(where: { $0.address == address && $0.channel == nil }), confirmed > 0 {
            findings[index].evidence.append(
                Finding.Evidence("each channel selected", "\(confirmed) read back", "control register"))
            if confirmed == 8 { findings[index].certainty = .certain }
        }
    }
}
