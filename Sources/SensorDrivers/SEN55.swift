import Platform
import Readings
import SensorBus

/// The commands of the SEN55 that the driver uses: code and execution time. Sensirion's package `sensirion-i2c-sen5x` on
/// PyPI and .NET's `Iot.Device.Bindings` (Sen5x) agree on them.
enum SEN55Command: UInt16, SensirionCommand, CaseIterable {
    case startMeasurement = 0x0021
    case readDataReady = 0x0202
    case readMeasuredValues = 0x03C4
    case readProductName = 0xD014
    case readSerialNumber = 0xD033
    case readAndClearStatus = 0xD210

    var code: [UInt8] { [UInt8(rawValue >> 8), UInt8(rawValue & 0xFF)] }

    var executionTime: Duration { self == .startMeasurement ? .milliseconds(50) : .milliseconds(20) }
}

/// Sensirion SEN55: particles of up to 2.5 um, volatile organic compounds as an index, temperature and humidity. Run its
/// bus at 100 kHz; it needs 5 V.
///
/// The chip measures by itself, once a second. A chip that measures already goes on, so that what its index has learnt of
/// the air outlasts a restart of the program: 100 is the mean of the last day, 1 to 99 is cleaner air, up to 500 is air with
/// more compounds. After power-up the index is unknown for some seconds; the first measurement waits for it.
///
/// About once a week the chip cleans its fan for ten seconds. Meanwhile `measure()` gives the last value.
public actor SEN55: ChipDriver {
    /// There is nothing to set.
    public struct Settings: Sendable, Equatable {
        /// Makes settings.
        public init() {}

        /// How long its first value may take, from the beginning of its opening on.
        public var longestStart: Duration { SEN55.longestWarmUp + .seconds(2) }
    }

    /// The only address that it has.
    public static let address: I2CAddress = 0x69

    /// Between two values.
    private static let period = Duration.seconds(1)
    /// For so long after its start the index may be unknown.
    static let longestWarmUp = Duration.seconds(15)
    /// The longest that it cleans its fan.
    private static let longestCleaning = Duration.seconds(15)

    /// Flags of the device status. Those of errors stay until they are cleared.
    private enum Flag {
        static let fanFailed: UInt32 = 1 << 4
        static let laserFailed: UInt32 = 1 << 5
        static let humiditySensorFailed: UInt32 = 1 << 6
        static let gasSensorFailed: UInt32 = 1 << 7
        static let isCleaning: UInt32 = 1 << 19

        /// What failed, for a person; nil if nothing did.
        static func failure(in status: UInt32) -> String? {
            let parts: [(UInt32, String)] = [
                (fanFailed, "the fan"), (laserFailed, "the laser"), (humiditySensorFailed, "the humidity sensor"),
                (gasSensorFailed, "the gas sensor"),
            ]
            let failed = parts.filter { status & $0.0 != 0 }.map(\.1)
            return failed.isEmpty ? nil : failed.joined(separator: " and ")
        }
    }

    /// `sen55`.
    public nonisolated var chip: Identifier { device.chip }
    /// Where it is on its bus.
    public nonisolated var address: I2CAddress { device.address }
    /// As it is printed on it.
    public nonisolated let serialNumber: String
    /// The part and its serial number.
    public nonisolated var identity: ChipIdentity { ChipIdentity(part: "SEN55", serialNumber: serialNumber) }
    /// A period that is a little late, and the answers.
    public nonisolated var longestMeasurement: Duration { SEN55.period * 1.2 + .milliseconds(100) }
    /// The bus's thread.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { device.bus.executor.asUnownedSerialExecutor() }

    private nonisolated let device: I2CDevice
    private let mutex = AsyncMutex()
    private var last: (measurement: Measurement, sinceRead: @Sendable () -> Duration)?
    /// How long it has been open; nil once the index is known or not waited for any more.
    private var warmUp: (@Sendable () -> Duration)?

    private init(device: I2CDevice, serialNumber: String) {
        self.device = device
        self.serialNumber = serialNumber
        warmUp = elapsed(on: device.clock)
    }

    /// Identifies the chip, forgets the errors that it has noted, and has it measure.
    /// - Throws: `.wrongChip` if it says that it is another one, `.crc`, and bus errors.
    public static func open(
        bus: any I2CBus, address: I2CAddress = SEN55.address, clock: any Clock<Duration>
    ) async throws(ChipError) -> SEN55 {
        let device = I2CDevice(bus: bus, address: address, chip: Identifier(constant: "sen55"), clock: clock)
        return try await open(device, on: BusThread(of: bus))
    }

    private static func open(
        _ device: I2CDevice, on thread: isolated BusThread
    ) async throws(ChipError) -> SEN55 {
        let words = try await device.query(SEN55Command.readProductName, words: 16)
        let name = text(words)
        guard name == "SEN55" else {
            let answer = words.prefix(4).reduce(0 as UInt64) { $0 << 16 | UInt64($1) }
            throw device.error(
                .wrongChip(answer: answer, hint: name.isEmpty ? nil : "it says that it is a \(name)"),
                "\(SEN55Command.readProductName)")
        }
        let serialNumber = text(try await device.query(SEN55Command.readSerialNumber, words: 16))
        _ = try await device.query(SEN55Command.readAndClearStatus, words: 2, isRepeatable: false)
        try await device.send(SEN55Command.startMeasurement)
        return SEN55(device: device, serialNumber: serialNumber)
    }

    /// The text that words hold, two characters each, up to the first zero; empty if it is no plain ASCII.
    static func text(_ words: [UInt16]) -> String {
        let bytes = words.flatMap { [UInt8($0 >> 8), UInt8($0 & 0xFF)] }.prefix { $0 != 0 }
        return bytes.allSatisfy { (0x21...0x7E).contains($0) } ? String(decoding: bytes, as: UTF8.self) : ""
    }

    /// Gives the newest value.
    /// - Throws: `.notReady` if there is none for 1.2 s; `.partFailed` if fan, laser or one of its sensors has failed;
    ///   `.crc`; `.outOfRange` beyond -10 to 50 degrees Celsius, 0 to 100 %RH, an index of 500 or 1000 ug/m3; bus errors.
    public func measure() async throws(ChipError) -> Measurement {
        await mutex.lock()
        defer { mutex.unlock() }
        while true {
            guard let measurement = try await newestValue() else {
                throw device.error(.notReady, "wait for a value")
            }
            let isWarmingUp = warmUp.map { $0() < SEN55.longestWarmUp } ?? false
            if measurement.values[.vocIndex] != nil || !isWarmingUp {
                warmUp = nil
                return measurement
            }
            try await device.wait(SEN55.period, "wait for the index")
        }
    }

    /// - Returns: nil if there is no value within a period and a bit.
    private func newestValue() async throws(ChipError) -> Measurement? {
        let polls = 24
        for poll in 0...polls {
            // The high byte is padding.
            if try await device.query(SEN55Command.readDataReady, words: 1)[0] & 0xFF != 0 {
                let words = try await device.query(SEN55Command.readMeasuredValues, words: 8)
                if let part = Flag.failure(in: try await status()) {
                    throw device.error(.partFailed(part), "read status")
                }
                let measurement = try evaluate(words)
                last = (measurement, elapsed(on: device.clock))
                return measurement
            }
            if let last, last.sinceRead() < SEN55.period { return last.measurement }
            if poll < polls { try await device.wait(SEN55.period / 20, "wait for a value") }
        }
        let isCleaning = try await status() & Flag.isCleaning != 0
        if isCleaning, let last, last.sinceRead() < SEN55.longestCleaning { return last.measurement }
        return nil
    }

    /// Reads and clears the flags. What was read is gone, so a damaged answer is not asked for again.
    private func status() async throws(ChipError) -> UInt32 {
        let words = try await device.query(SEN55Command.readAndClearStatus, words: 2, isRepeatable: false)
        return UInt32(words[0]) << 16 | UInt32(words[1])
    }

    /// Words 0 to 3 are the masses of particles of up to 1, 2.5, 4 and 10 um, then follow humidity, temperature and the
    /// indices of volatile organic compounds and of nitrogen oxides.
    private func evaluate(_ words: [UInt16]) throws(ChipError) -> Measurement {
        var measurement = Measurement()
        measurement.values[.pm2_5] = try value(
            words[1] == 0xFFFF ? nil : Double(words[1]) / 10, within: 0...1000, "PM2.5 in ug/m3")
        measurement.values[.humidity] = try value(signed(words[4], 100), within: 0...100, "humidity in %RH")
        measurement.values[.temperature] = try value(
            signed(words[5], 200), within: -10...50, "temperature in degrees Celsius")
        // 0 is no index: the chip has not got enough of the air yet.
        let index = signed(words[6], 10)
        measurement.values[.vocIndex] = try value(index == 0 ? nil : index, within: 1...500, "VOC index")
        return measurement
    }

    /// A signed word; nil if it stands for an unknown value.
    private func signed(_ word: UInt16, _ scale: Double) -> Double? {
        word == 0x7FFF ? nil : Double(Int16(bitPattern: word)) / scale
    }

    private func value(
        _ value: Double?, within range: ClosedRange<Double>, _ step: String
    ) throws(ChipError) -> Double? {
        guard let value else { return nil }
        guard range.contains(value) else { throw device.error(.outOfRange(value: value), step) }
        return value
    }
}

extension ChipPart {
    /// Particles and volatile organic compounds.
    public static let sen55 = ChipPart("SEN55")
}

extension SEN55 {
    /// SEN55: its product name, 16 words with checksums.
    ///
    /// A chip of registers would take the command for a register and its new value, so a byte is read first, which an idle
    /// Sensirion refuses. The clock generators that a read at this address hangs are on adapters for SMBus only, which are
    /// refused anyway; here somebody has taken an empty write, or the adapter sends none.
    public static let probe = Probe(
        "SEN5x", writes: 2, addresses: [SEN55.address]
    ) { (scan, address, presence, evidence) throws(BusInventory.Trouble) in
        if try scan.transfer([], 1, address) != nil, try scan.transfer([], 1, address) != nil { return nil }
        guard try scan.mayBeCommanded(address, presence) else { return nil }
        let time = SEN55Command.readProductName.executionTime
        switch try await scan.query([0xD0, 0x14], words: 16, address, after: time) {
        case .words(let words):
            let name = SEN55.text(words)
            evidence.append(Finding.Evidence("command 0xD014", name, "product name, checksums right"))
            return name == "SEN55" ? Finding(address, .sen55, .certain, evidence) : nil
        case .garbled(let bytes): evidence.append(Finding.Evidence.garbled("command 0xD014", bytes))
        case .silence: break
        }
        return nil
    }
}
