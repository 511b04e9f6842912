import Readings
import SensorBus

/// Bosch BME280: temperature, humidity and air pressure; also BMP280, which has no humidity
/// (BME280 datasheet BST-BME280-DS002; BMP280 datasheet BST-BMP280-DS001).
///
/// It measures in forced mode: one conversion a call, asleep in between (3.3.3), which also keeps it from warming
/// itself. A BMP280 is often sold as a BME280; the chip id tells, and humidity is then absent.
public actor BME280: ChipDriver {
    /// How the chip measures.
    public struct Settings: Sendable, Equatable {
        /// Conversions averaged into one value (5.4.3, 5.4.5), as the registers encode them.
        public enum Oversampling: UInt8, Sendable, CaseIterable {
            /// The quantity is not measured.
            case skip = 0
            /// 1, 2, 4, 8 or 16 conversions.
            case x1, x2, x4, x8, x16

            /// How many conversions.
            var factor: Int { self == .skip ? 0 : 1 << (Int(rawValue) - 1) }
        }

        /// Which chip should be there; the other one works too.
        public var variant: Variant
        /// Of temperature, which the others need: `skip` is refused.
        public var temperature: Oversampling
        /// Of pressure.
        public var pressure: Oversampling
        /// Of humidity.
        public var humidity: Oversampling

        /// Makes settings; x1 everywhere is the datasheet's recommendation for weather monitoring (3.5.1).
        public init(
            variant: Variant = .bme280, temperature: Oversampling = .x1, pressure: Oversampling = .x1,
            humidity: Oversampling = .x1
        ) {
            self.variant = variant
            self.temperature = temperature
            self.pressure = pressure
            self.humidity = humidity
        }

        /// The longest time of one measurement (appendix B, 9.1).
        var longestMeasurement: Duration {
            var microseconds = 1250 + 2300 * temperature.factor
            if pressure != .skip { microseconds += 2300 * pressure.factor + 575 }
            if humidity != .skip { microseconds += 2300 * humidity.factor + 575 }
            return .microseconds(microseconds)
        }
    }

    /// Which of the two chips answered, by chip id (5.4.1).
    public enum Variant: UInt8, Sendable {
        /// Without humidity.
        case bmp280 = 0x58
        /// With humidity.
        case bme280 = 0x60

        /// As its maker writes it.
        var part: String { self == .bme280 ? "BME280" : "BMP280" }
        /// As faults have it.
        var chip: Identifier { self == .bme280 ? Identifier(constant: "bme280") : Identifier(constant: "bmp280") }
    }

    /// The addresses it can be strapped to: SDO low, SDO high (6.2).
    public static let addresses: [I2CAddress] = [0x76, 0x77]

    private enum Register {
        static let calibration: UInt8 = 0x88
        static let chipID: UInt8 = 0xD0
        static let reset: UInt8 = 0xE0
        static let humidityCalibration: UInt8 = 0xE1
        static let controlHumidity: UInt8 = 0xF2
        static let status: UInt8 = 0xF3
        static let controlMeasurement: UInt8 = 0xF4
        static let configuration: UInt8 = 0xF5
        static let data: UInt8 = 0xF7
    }

    private static let resetCommand: UInt8 = 0xB6
    private static let isMeasuring: UInt8 = 1 << 3
    private static let isCopyingCalibration: UInt8 = 1 << 0
    private static let forcedMode: UInt8 = 1
    private static let statusReads = 5

    /// `bme280` or `bmp280`.
    public nonisolated let chip: Identifier
    /// Where it is on its bus.
    public nonisolated var address: I2CAddress { device.address }
    /// Which chip it is.
    public nonisolated let variant: Variant
    /// The part and its chip id.
    public nonisolated var identity: ChipIdentity {
        var remark: String?
        if variant != settings.variant {
            remark = "the configuration says \(settings.variant.part), and it is a \(variant.part)"
            if variant == .bmp280 { remark? += ", which has no humidity" }
        }
        return ChipIdentity(
            part: variant.part, facts: [.init("chip id", hexadecimal(variant.rawValue, digits: 2))], remark: remark)
    }
    /// By the settings (appendix B, 9.1), and the polls after that.
    public nonisolated var longestMeasurement: Duration {
        settings.longestMeasurement + .milliseconds(2) * BME280.statusReads
    }
    /// The bus's thread.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { device.bus.executor.asUnownedSerialExecutor() }

    private nonisolated let device: I2CDevice
    private nonisolated let settings: Settings
    private let calibration: BME280Calibration
    private let mutex = AsyncMutex()

    private init(device: I2CDevice, variant: Variant, settings: Settings, calibration: BME280Calibration) {
        self.device = device
        self.chip = device.chip
        self.variant = variant
        self.settings = settings
        self.calibration = calibration
    }

    /// Identifies the chip, resets it, reads its calibration and writes the settings.
    /// - Throws: `.invalidSetting` before the bus is touched; `.wrongChip`; `.calibration`; `.timedOut` if the reset
    ///   does not finish; bus errors.
    public static func open(
        bus: any I2CBus, address: I2CAddress, settings: Settings = Settings(), clock: any Clock<Duration>
    ) async throws(ChipError) -> BME280 {
        // It is called what the configuration says, until it says itself what it is.
        let device = I2CDevice(bus: bus, address: address, chip: settings.variant.chip, clock: clock)
        return try await open(device, settings, on: BusThread(of: bus))
    }

    private static func open(
        _ device: I2CDevice, _ settings: Settings, on thread: isolated BusThread
    ) async throws(ChipError) -> BME280 {
        var device = device
        guard settings.temperature != .skip else {
            throw device.error(
                .invalidSetting("temperature is skipped, and the other quantities need it"), "check settings")
        }
        let variant = try identify(device)
        device.chip = variant.chip
        try await reset(device)
        let calibration = try readCalibration(device, variant)
        try configure(device, variant, settings)
        return BME280(device: device, variant: variant, settings: settings, calibration: calibration)
    }

    private static func identify(_ device: I2CDevice) throws(ChipError) -> Variant {
        let step = "read chip id"
        let id = try device.read(register: Register.chipID, 1, step)[0]
        if let variant = Variant(rawValue: id) { return variant }
        let hint = id == 0x55 ? "a BMP180, which is not supported" : nil
        throw device.error(.wrongChip(answer: UInt64(id), hint: hint), step)
    }

    /// Resets, then waits until the chip has copied its calibration from non-volatile memory (1.1, 5.4.2).
    private static func reset(
        _ device: I2CDevice, isolation: isolated (any Actor)? = #isolation
    ) async throws(ChipError) {
        let step = "reset"
        try device.write([Register.reset, resetCommand], step)
        for _ in 0..<statusReads {
            try await device.wait(.milliseconds(2), step)
            let status = try device.read(register: Register.status, 1, step)[0]
            if status & isCopyingCalibration == 0 { return }
        }
        throw device.error(.timedOut, step)
    }

    private static func readCalibration(_ device: I2CDevice, _ variant: Variant) throws(ChipError) -> BME280Calibration
    {
        let step = "read calibration"
        let first = try device.read(register: Register.calibration, 26, step)
        let second: [UInt8]? =
            variant == .bme280 ? try device.read(register: Register.humidityCalibration, 7, step) : nil
        for bytes in [first, second ?? first] {
            // 24 bytes are temperature and pressure; byte 24 is reserved, and 25 is humidity's.
            let meaningful = bytes.prefix(24)
            if meaningful.allSatisfy({ $0 == 0 }) || meaningful.allSatisfy({ $0 == 0xFF }) {
                throw device.error(.calibration, step)
            }
        }
        return BME280Calibration(first: first, second: second)
    }

    /// Writes the settings asleep, since the chip may ignore writes to config otherwise (5.4.6), and ctrl_meas
    /// last, since ctrl_hum counts only from the next write of it (5.4.3).
    private static func configure(_ device: I2CDevice, _ variant: Variant, _ settings: Settings) throws(ChipError) {
        let step = "write settings"
        try device.write([Register.controlMeasurement, 0], step)
        if variant == .bme280 {
            try device.write([Register.controlHumidity, settings.humidity.rawValue], step)
        }
        try device.write([Register.configuration, 0], step)
        try device.write([Register.controlMeasurement, settings.controlMeasurement], step)
    }

    /// Converts once and reads the result. All settings are written anew each time, so a chip that lost its power in
    /// between measures humidity again too.
    /// - Throws: `.notReady` if the chip skipped everything; `.outOfRange` beyond -40 to 85 degrees Celsius or 300 to
    ///   1100 hPa; `.calibration`, `.timedOut`, bus errors.
    public func measure() async throws(ChipError) -> Measurement {
        await mutex.lock()
        defer { mutex.unlock() }
        if variant == .bme280 {
            try device.write([Register.controlHumidity, settings.humidity.rawValue], "start measurement")
        }
        let arming = settings.controlMeasurement | BME280.forcedMode
        try device.write([Register.controlMeasurement, arming], "start measurement")
        try await waitForResult()
        let count = variant == .bme280 ? 8 : 6
        let bytes = try device.read(register: Register.data, count, "read data")
        return try evaluate(bytes)
    }

    private func waitForResult() async throws(ChipError) {
        let step = "wait for measurement"
        try await device.wait(settings.longestMeasurement, step)
        for _ in 0..<BME280.statusReads {
            let status = try device.read(register: Register.status, 1, step)[0]
            if status & BME280.isMeasuring == 0 { return }
            try await device.wait(.milliseconds(2), step)
        }
        throw device.error(.timedOut, step)
    }

    /// Turns the data registers into quantities. A skipped one reads as 0x80000 or 0x8000 (5.4.7 to 5.4.9).
    ///
    /// A temperature may also come out as 0x80000: as it is never skipped by setting, it counts as missing only where the
    /// pressure is missing too, which is how the registers stand after a reset.
    private func evaluate(_ bytes: [UInt8]) throws(ChipError) -> Measurement {
        func twentyBits(_ index: Int) -> Int {
            Int(bytes[index]) << 12 | Int(bytes[index + 1]) << 4 | Int(bytes[index + 2]) >> 4
        }
        let (rawPressure, rawTemperature, skipped) = (twentyBits(0), twentyBits(3), 0x80000)
        guard rawTemperature != skipped || rawPressure != skipped else { throw device.error(.notReady, "read data") }
        var measurement = Measurement()
        do {
            let fine = calibration.fineTemperature(raw: rawTemperature)
            measurement.temperature = Temperature(celsius: Double(calibration.temperature(fine: fine)) / 100)
            if rawPressure != skipped {
                let pascals = Double(try calibration.pressure(raw: rawPressure, fine: fine)) / 256
                measurement.pressure = Pressure(hectopascals: pascals / 100)
            }
            if let coefficients = calibration.humidity, bytes.count == 8 {
                let raw = Int(bytes[6]) << 8 | Int(bytes[7])
                if raw != 0x8000 {
                    let fraction = try calibration.humidity(raw: raw, fine: fine, coefficients)
                    measurement.humidity = RelativeHumidity(percent: Double(fraction) / 1024)
                }
            }
        } catch {
            throw device.error(.calibration, "evaluate")
        }
        if let celsius = measurement.temperature?.celsius, !(-40...85).contains(celsius) {
            throw device.error(.outOfRange(value: celsius), "temperature in degrees Celsius")
        }
        if let hectopascals = measurement.pressure?.hectopascals, !(300...1100).contains(hectopascals) {
            throw device.error(.outOfRange(value: hectopascals), "pressure in hPa")
        }
        return measurement
    }
}

extension BME280.Settings {
    /// The register ctrl_meas, asleep (5.4.5).
    fileprivate var controlMeasurement: UInt8 {
        temperature.rawValue << 5 | pressure.rawValue << 2
    }
}

extension ChipPart {
    /// With humidity.
    public static let bme280 = ChipPart("BME280")
    /// Without.
    public static let bmp280 = ChipPart("BMP280")
    /// An older barometer, which is not supported.
    public static let bmp180 = ChipPart("BMP180")
    /// One that smells too, which is not supported.
    public static let bme680 = ChipPart("BME680")
}

extension BME280 {
    /// BME280, BMP280, BMP180, BME680: the chip id in register 0xD0 (BME280 datasheet 5.4.1).
    public static let probe = Probe(
        "BME280", writes: 1, addresses: BME280.addresses
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
}
