import Readings
import SensorBus

/// The commands of SHT30, SHT31 and SHT35 that are used (SHT3x-DIS datasheet, chapter 4). Measurements are those without
/// clock stretching, which the BCM2835 of the Raspberry Pi 0 to 4 mishandles.
enum SHT3xCommand: UInt16, SensirionCommand, CaseIterable {
    case measureHighPrecision = 0x2400
    case measureMediumPrecision = 0x240B
    case measureLowPrecision = 0x2416
    case stopPeriodicMeasurement = 0x3093
    case softReset = 0x30A2
    case readStatus = 0xF32D
    case clearStatus = 0x3041
    case readSerialNumber = 0x3780

    /// The measurement of a precision.
    static func measurement(_ precision: Precision) -> SHT3xCommand {
        switch precision {
        case .high: .measureHighPrecision
        case .medium: .measureMediumPrecision
        case .low: .measureLowPrecision
        }
    }

    var code: [UInt8] { [UInt8(rawValue >> 8), UInt8(rawValue & 0xFF)] }

    /// A measurement takes 15.5, 6.5 or 4.5 ms at most, the reset 1.5 ms (2.2, table 4).
    var executionTime: Duration {
        switch self {
        case .measureHighPrecision: .milliseconds(16)
        case .measureMediumPrecision: .milliseconds(7)
        case .measureLowPrecision: .milliseconds(5)
        case .softReset: .milliseconds(2)
        case .stopPeriodicMeasurement, .readStatus, .clearStatus, .readSerialNumber: .milliseconds(1)
        }
    }
}

/// Sensirion SHT30, SHT31 or SHT35: temperature and humidity (SHT3x-DIS datasheet, version 6 and later).
///
/// It measures when it is asked and idles in between. The three differ in accuracy only, and do not say which they are.
public actor SHT3x: ChipDriver {
    /// How the chip measures.
    public struct Settings: Sendable, Equatable {
        /// How much noise the values may have.
        public var precision: Precision

        /// Makes settings.
        public init(precision: Precision = .high) {
            self.precision = precision
        }
    }

    /// The register in which the chip says how it is (4.13, table 17).
    public struct Status: Sendable, Equatable {
        /// As it was read.
        public var word: UInt16

        /// Whether the heater is on, which falsifies the air that is measured.
        public var isHeaterOn: Bool { word & 1 << 13 != 0 }
        /// Whether it was reset, by command or by a loss of power, since the status was cleared.
        public var wasReset: Bool { word & 1 << 4 != 0 }
    }

    /// The addresses it can be strapped to: ADDR low, ADDR high (3.4).
    public static let addresses: [I2CAddress] = [0x44, 0x45]

    /// `sht3x`.
    public nonisolated var chip: Identifier { device.chip }
    /// Where it is on its bus.
    public nonisolated var address: I2CAddress { device.address }
    /// 32 bits, unique.
    public nonisolated let serialNumber: UInt64
    /// The part and its serial number.
    public nonisolated var identity: ChipIdentity {
        ChipIdentity(part: "SHT3x", serialNumber: hexadecimal(serialNumber, digits: 8))
    }
    /// One measurement at the precision that is set, as often as a damaged answer is asked for again.
    public nonisolated var longestMeasurement: Duration {
        SHT3xCommand.measurement(settings.precision).executionTime * answerAttempts
    }
    /// The bus's thread.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { device.bus.executor.asUnownedSerialExecutor() }

    private nonisolated let device: I2CDevice
    private nonisolated let settings: Settings
    private let mutex = AsyncMutex()

    private init(device: I2CDevice, settings: Settings, serialNumber: UInt64) {
        self.device = device
        self.settings = settings
        self.serialNumber = serialNumber
    }

    /// Resets the chip, checks that it was, and reads its serial number.
    /// - Throws: `.crc`; `.wrongChip` if the status does not tell of the reset or the serial number cannot be one; bus
    ///   errors.
    public static func open(
        bus: any I2CBus, address: I2CAddress, settings: Settings = Settings(), clock: any Clock<Duration>
    ) async throws(ChipError) -> SHT3x {
        let device = I2CDevice(bus: bus, address: address, chip: Identifier(constant: "sht3x"), clock: clock)
        return try await open(device, settings, on: BusThread(of: bus))
    }

    private static func open(
        _ device: I2CDevice, _ settings: Settings, on thread: isolated BusThread
    ) async throws(ChipError) -> SHT3x {
        // A chip that another program left measuring periodically takes no reset.
        try await device.send(SHT3xCommand.stopPeriodicMeasurement)
        try await device.send(SHT3xCommand.softReset)
        let status = try await device.status()
        guard status.wasReset, !status.isHeaterOn else {
            throw device.error(.wrongChip(answer: UInt64(status.word), hint: nil), "\(SHT3xCommand.readStatus)")
        }
        try await device.send(SHT3xCommand.clearStatus)
        let serialNumber = try await device.serialNumber(SHT3xCommand.readSerialNumber, words: 2)
        return SHT3x(device: device, settings: settings, serialNumber: serialNumber)
    }

    /// Measures once. What was read is gone from the chip, so a damaged answer is measured anew.
    /// - Throws: `.outOfRange` beyond -40 to 125 degrees Celsius; `.crc` if three measurements in a row came damaged;
    ///   bus errors.
    public func measure() async throws(ChipError) -> Measurement {
        await mutex.lock()
        defer { mutex.unlock() }
        let words = try await device.query(SHT3xCommand.measurement(settings.precision), words: 2)
        let temperature = try device.temperature(words[0], within: -40...125)
        return Measurement(
            temperature: temperature,
            humidity: RelativeHumidity(percent: 100 * Double(words[1]) / 65_535))
    }

    /// Reads how the chip is.
    public func status() async throws(ChipError) -> Status {
        await mutex.lock()
        defer { mutex.unlock() }
        return try await device.status()
    }
}

extension I2CDevice {
    fileprivate func status(isolation: isolated (any Actor)? = #isolation) async throws(ChipError) -> SHT3x.Status {
        SHT3x.Status(word: try await query(SHT3xCommand.readStatus, words: 1)[0])
    }
}

extension ChipPart {
    /// The whole family.
    public static let sht3x = ChipPart("SHT3x")
}

extension SHT3x {
    /// SHT3x: the status with its checksum, then the serial number (SHT3x-DIS datasheet 4.11; "Electronic
    /// identification code" 1.0). Not every part has the latter.
    public static let probe = Probe(
        "SHT3x", writes: 2, addresses: SHT3x.addresses
    ) { (scan, address, presence, evidence) throws(BusInventory.Trouble) in
        guard try scan.mayBeCommanded(address, presence) else { return nil }
        let status: [UInt16]
        switch try await scan.query([0xF3, 0x2D], words: 1, address) {
        case .words(let words): status = words
        case .garbled(let bytes):
            evidence.append(Finding.Evidence.garbled("command 0xF32D", bytes))
            return nil
        case .silence: return nil
        }
        var answers = [Finding.Evidence("command 0xF32D", hexadecimal(status[0], digits: 4), "status, checksum right")]
        guard case .words(let words) = try await scan.query([0x37, 0x80], words: 2, address) else {
            return Finding(address, .sht3x, .likely, answers)
        }
        answers.append(
            Finding.Evidence("command 0x3780", Finding.Evidence.serial(words), "serial number, checksums right"))
        return Finding(address, .sht3x, .certain, answers)
    }
}
