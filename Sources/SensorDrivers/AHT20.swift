import Readings
import SensorBus

/// Aosong AHT20: temperature and humidity (datasheet AHT20 A1, chapter 5).
///
/// Commands, status bits and scales are those on which the PyPI package `adafruit-circuitpython-ahtx0` 1.0.30 and Linux'
/// `drivers/hwmon/aht10.c` agree; the checksum and the time of a measurement are in the latter and in the datasheet.
///
/// The chip has no identification and cannot be told from another by asking: the checksum of every measurement stands
/// for it. Measured more often than every 2 s it warms itself.
public actor AHT20: ChipDriver {
    /// The only address that it has.
    public static let address: I2CAddress = 0x38

    private enum Command {
        static let reset: [UInt8] = [0xBA]
        /// Loads the calibration.
        static let initialise: [UInt8] = [0xBE, 0x08, 0x00]
        static let measure: [UInt8] = [0xAC, 0x33, 0x00]
    }

    /// Until it takes commands after a reset.
    private static let resetTime = Duration.milliseconds(20)
    private static let initialisationTime = Duration.milliseconds(10)
    private static let measurementTime = Duration.milliseconds(80)
    private static let statusReads = 5
    fileprivate static let isBusy: UInt8 = 1 << 7
    fileprivate static let isCalibrated: UInt8 = 1 << 3

    /// `aht20`.
    public nonisolated var chip: Identifier { device.chip }
    /// Where it is on its bus.
    public nonisolated var address: I2CAddress { device.address }
    /// The part; it says nothing else of itself.
    public nonisolated var identity: ChipIdentity { ChipIdentity(part: "AHT20") }
    /// One measurement and the polls after it, as often as a damaged answer is asked for again.
    public nonisolated var longestMeasurement: Duration {
        (AHT20.measurementTime + .milliseconds(10) * AHT20.statusReads) * answerAttempts
    }
    /// The bus's thread.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { device.bus.executor.asUnownedSerialExecutor() }

    private nonisolated let device: I2CDevice
    private let mutex = AsyncMutex()

    private init(device: I2CDevice) {
        self.device = device
    }

    /// Resets the chip and sees to it that it has its calibration.
    /// - Throws: `.timedOut` if it stays busy; `.calibration` if it has none; bus errors.
    public static func open(
        bus: any I2CBus, address: I2CAddress = AHT20.address, clock: any Clock<Duration>
    ) async throws(ChipError) -> AHT20 {
        let device = I2CDevice(bus: bus, address: address, chip: Identifier(constant: "aht20"), clock: clock)
        return try await open(device, on: BusThread(of: bus))
    }

    private static func open(_ device: I2CDevice, on thread: isolated BusThread) async throws(ChipError) -> AHT20 {
        try device.write(Command.reset, "reset")
        try await device.wait(resetTime, "reset")
        if try await settledStatus(device, "read status") & isCalibrated == 0 {
            try device.write(Command.initialise, "initialise")
            try await device.wait(initialisationTime, "initialise")
            guard try await settledStatus(device, "initialise") & isCalibrated != 0 else {
                throw device.error(.calibration, "initialise")
            }
        }
        return AHT20(device: device)
    }

    /// The status, once the chip is not busy.
    private static func settledStatus(
        _ device: I2CDevice, _ step: String, isolation: isolated (any Actor)? = #isolation
    ) async throws(ChipError) -> UInt8 {
        for _ in 0..<statusReads {
            let status = try device.read(1, step)[0]
            if status & isBusy == 0 { return status }
            try await device.wait(.milliseconds(10), step)
        }
        throw device.error(.timedOut, step)
    }

    /// Measures once.
    /// - Throws: `.outOfRange` beyond -40 to 85 degrees Celsius; `.timedOut`; `.calibration` if the chip has lost it, and
    ///   is to be opened again; `.crc` if three measurements in a row came damaged; bus errors.
    public func measure() async throws(ChipError) -> Measurement {
        await mutex.lock()
        defer { mutex.unlock() }
        var attempt = 1
        while true {
            do throws(ChipError) {
                return try await measureOnce()
            } catch {
                guard case .crc = error.kind, attempt < answerAttempts else { throw error }
                attempt += 1
            }
        }
    }

    private func measureOnce() async throws(ChipError) -> Measurement {
        try device.write(Command.measure, "start measurement")
        let step = "read measurement"
        try await device.wait(AHT20.measurementTime, step)
        for _ in 0..<AHT20.statusReads {
            let bytes = try device.read(7, step)
            if bytes[0] & AHT20.isBusy == 0 { return try evaluate(bytes, step) }
            try await device.wait(.milliseconds(10), step)
        }
        throw device.error(.timedOut, step)
    }

    /// The status, 20 bits of humidity, 20 bits of temperature, and the checksum of these six bytes.
    private func evaluate(_ bytes: [UInt8], _ step: String) throws(ChipError) -> Measurement {
        let expected = sensirionCRC8(bytes[..<6])
        guard bytes[6] == expected else { throw device.error(.crc(expected: expected, received: bytes[6]), step) }
        guard bytes[0] & AHT20.isCalibrated != 0 else { throw device.error(.calibration, step) }
        let humidity = Int(bytes[1]) << 12 | Int(bytes[2]) << 4 | Int(bytes[3]) >> 4
        let temperature = Int(bytes[3] & 0x0F) << 16 | Int(bytes[4]) << 8 | Int(bytes[5])
        let celsius = Double(temperature) * 200 / 1_048_576 - 50
        guard (-40...85).contains(celsius) else {
            throw device.error(.outOfRange(value: celsius), "temperature in degrees Celsius")
        }
        return Measurement(
            temperature: Temperature(celsius: celsius),
            humidity: RelativeHumidity(percent: Double(humidity) * 100 / 1_048_576))
    }
}

extension ChipPart {
    /// A DHT20 has the same chip in it.
    public static let aht20 = ChipPart("AHT20")
}

extension AHT20 {
    /// AHT20: it has no identification. Its status and its last measurement are read and nothing is written, as an
    /// expander of lines (PCF8574A) at the same address takes every byte for the levels of its outputs.
    public static let probe = Probe(
        "AHT20", writes: 0, addresses: [AHT20.address]
    ) { (scan, address, presence, evidence) throws(BusInventory.Trouble) in
        guard case .readable = presence, let bytes = try scan.transfer([], 7, address) else { return nil }
        // An expander gives its inputs over and over.
        guard bytes[0] & AHT20.isBusy == 0, Set(bytes).count > 1 else { return nil }
        let isCalibrated = bytes[0] & AHT20.isCalibrated != 0
        let status = Finding.Evidence(
            "read", hexadecimal(bytes[0], digits: 2), isCalibrated ? "status: calibrated" : "status: not initialised")
        guard sensirionCRC8(bytes[..<6]) == bytes[6] else {
            evidence.append(Finding.Evidence.garbled("seven bytes read", bytes))
            return nil
        }
        let last = Finding.Evidence(
            "seven bytes read", bytes.map { hexadecimal($0, digits: 2) }.joined(separator: " "),
            "last measurement, checksum right")
        return Finding(address, .aht20, .likely, [status, last], note: "it has no identification")
    }
}
