import Readings
import SensorBus

/// The commands of SHT40, SHT41 and SHT45 (SHT4x datasheet 4.5, table 8). Those of the heater are not used: it falsifies
/// the air that is measured.
enum SHT4xCommand: UInt8, SensirionCommand, CaseIterable {
    case measureHighPrecision = 0xFD
    case measureMediumPrecision = 0xF6
    case measureLowPrecision = 0xE0
    case readSerialNumber = 0x89
    case softReset = 0x94

    /// The measurement of a precision.
    static func measurement(_ precision: Precision) -> SHT4xCommand {
        switch precision {
        case .high: .measureHighPrecision
        case .medium: .measureMediumPrecision
        case .low: .measureLowPrecision
        }
    }

    var code: [UInt8] { [rawValue] }

    /// A measurement takes 8.3, 4.5 or 1.7 ms at most (3.1, table 5).
    var executionTime: Duration {
        switch self {
        case .measureHighPrecision: .milliseconds(10)
        case .measureMediumPrecision: .milliseconds(5)
        case .measureLowPrecision: .milliseconds(2)
        case .readSerialNumber, .softReset: .milliseconds(1)
        }
    }
}

/// Sensirion SHT40, SHT41 or SHT45: temperature and humidity (SHT4x datasheet, version 6 and later).
///
/// It measures when it is asked and idles in between. The three differ in accuracy only, and do not say which they are.
public actor SHT4x: ChipDriver {
    /// How the chip measures (2.1, 2.2).
    public struct Settings: Sendable, Equatable {
        /// How much noise the values may have.
        public var precision: Precision

        /// Makes settings.
        public init(precision: Precision = .high) {
            self.precision = precision
        }
    }

    /// The addresses that it is sold with: types A, B and C (datasheet 8).
    public static let addresses: [I2CAddress] = [0x44, 0x45, 0x46]

    /// `sht4x`.
    public nonisolated var chip: Identifier { device.chip }
    /// Where it is on its bus.
    public nonisolated var address: I2CAddress { device.address }
    /// 32 bits, unique (4.6).
    public nonisolated let serialNumber: UInt64
    /// The part and its serial number.
    public nonisolated var identity: ChipIdentity {
        ChipIdentity(part: "SHT4x", serialNumber: hexadecimal(serialNumber, digits: 8))
    }
    /// One measurement at the precision that is set, as often as a damaged answer is asked for again.
    public nonisolated var longestMeasurement: Duration {
        SHT4xCommand.measurement(settings.precision).executionTime * answerAttempts
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

    /// Resets the chip, which also ends a heating that another program began, and reads its serial number.
    /// - Throws: `.crc`, `.wrongChip` if the serial number cannot be one, and bus errors.
    public static func open(
        bus: any I2CBus, address: I2CAddress, settings: Settings = Settings(), clock: any Clock<Duration>
    ) async throws(ChipError) -> SHT4x {
        let device = I2CDevice(bus: bus, address: address, chip: Identifier(constant: "sht4x"), clock: clock)
        return try await open(device, settings, on: BusThread(of: bus))
    }

    private static func open(
        _ device: I2CDevice, _ settings: Settings, on thread: isolated BusThread
    ) async throws(ChipError) -> SHT4x {
        try await device.send(SHT4xCommand.softReset)
        let serialNumber = try await device.serialNumber(SHT4xCommand.readSerialNumber, words: 2)
        return SHT4x(device: device, settings: settings, serialNumber: serialNumber)
    }

    /// Measures once.
    /// - Throws: `.outOfRange` beyond -40 to 125 degrees Celsius; `.crc` if three measurements in a row came damaged;
    ///   bus errors.
    public func measure() async throws(ChipError) -> Measurement {
        await mutex.lock()
        defer { mutex.unlock() }
        let words = try await device.query(SHT4xCommand.measurement(settings.precision), words: 2)
        let temperature = try device.temperature(words[0], within: -40...125)
        return Measurement(temperature: temperature, humidity: SHT4x.humidity(words[1]))
    }

    /// The humidity of a word. The chip's scale goes beyond what there is, and is to be cropped (4.6).
    static func humidity(_ word: UInt16) -> RelativeHumidity {
        RelativeHumidity(percent: min(max(-6 + 125 * Double(word) / 65_535, 0), 100))
    }
}

extension ChipPart {
    /// The whole family.
    public static let sht4x = ChipPart("SHT4x")
}

extension SHT4x {
    /// SHT4x: the serial number, two words with checksums (SHT4x datasheet 4.5, 4.6). One byte: harmless to others.
    public static let probe = Probe(
        "SHT4x", writes: 1, addresses: SHT4x.addresses
    ) { (scan, address, presence, evidence) throws(BusInventory.Trouble) in
        guard try scan.mayBeCommanded(address, presence) else { return nil }
        switch try await scan.query([0x89], words: 2, address) {
        case .words(let words):
            return Finding(
                address, .sht4x, .certain,
                [Finding.Evidence("command 0x89", Finding.Evidence.serial(words), "serial number, checksums right")])
        case .garbled(let bytes): evidence.append(Finding.Evidence.garbled("command 0x89", bytes))
        case .silence: break
        }
        return nil
    }
}
