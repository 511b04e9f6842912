import Readings
import SensorBus

/// Bosch BMP388 and BMP390: air pressure and temperature (datasheets BST-BMP388-DS001 and BST-BMP390-DS002).
///
/// Registers and formulas are those on which the PyPI package `adafruit-circuitpython-bmp3xx` 1.3.27 and Linux'
/// `drivers/iio/pressure/bmp280-core.c` with `bmp280.h` agree; the times of a conversion are the datasheets' (3.9.2).
///
/// It measures in forced mode: one conversion a call, asleep in between, which also keeps it from warming itself.
public actor BMP3xx: ChipDriver {
    /// Which of the two chips answered, by chip id.
    public enum Variant: UInt8, Sendable {
        /// The older one.
        case bmp388 = 0x50
        /// The younger one, which has less noise.
        case bmp390 = 0x60

        /// As its maker writes it.
        var part: String { self == .bmp388 ? "BMP388" : "BMP390" }
        /// As faults have it.
        var chip: Identifier { self == .bmp388 ? Identifier(constant: "bmp388") : Identifier(constant: "bmp390") }
    }

    /// How the chip measures.
    public struct Settings: Sendable, Equatable {
        /// Conversions averaged into one value, as the register OSR encodes them.
        public enum Oversampling: UInt8, Sendable, CaseIterable {
            /// 1, 2, 4, 8, 16 or 32 conversions.
            case x1, x2, x4, x8, x16, x32
        }

        /// Which chip should be there; the other one works too.
        public var variant: Variant
        /// Of pressure.
        public var pressure: Oversampling
        /// Of temperature.
        public var temperature: Oversampling

        /// Makes settings. Four conversions of pressure and one of temperature are what the chip has after a reset.
        public init(variant: Variant = .bmp390, pressure: Oversampling = .x4, temperature: Oversampling = .x1) {
            self.variant = variant
            self.pressure = pressure
            self.temperature = temperature
        }

        /// The register OSR.
        var oversampling: UInt8 { temperature.rawValue << 3 | pressure.rawValue }

        /// A measurement's time as the datasheets compute it (3.9.2), and a fifth more, as they give typical values.
        var longestMeasurement: Duration {
            let conversions = (1 << Int(pressure.rawValue)) + (1 << Int(temperature.rawValue))
            return .microseconds(234 + 392 + 163 + 2020 * conversions) * 1.2
        }
    }

    /// The addresses it can be strapped to: SDO low, SDO high.
    public static let addresses: [I2CAddress] = [0x76, 0x77]

    private enum Register {
        static let chipID: UInt8 = 0x00
        /// Followed by three bytes of pressure and three of temperature.
        static let status: UInt8 = 0x03
        static let powerControl: UInt8 = 0x1B
        static let oversampling: UInt8 = 0x1C
        static let configuration: UInt8 = 0x1F
        static let calibration: UInt8 = 0x31
        static let command: UInt8 = 0x7E
    }

    private static let resetCommand: UInt8 = 0xB6
    private static let isReadyForCommand: UInt8 = 1 << 4
    /// Pressure and temperature are there.
    private static let hasData: UInt8 = 1 << 5 | 1 << 6
    /// Forced mode, with pressure and temperature.
    private static let measureOnce: UInt8 = 0x13
    private static let statusReads = 5
    /// What a quantity reads as that was not measured.
    private static let skipped = 0x80_0000

    /// `bmp388` or `bmp390`.
    public nonisolated let chip: Identifier
    /// Where it is on its bus.
    public nonisolated var address: I2CAddress { device.address }
    /// Which chip it is.
    public nonisolated let variant: Variant
    /// The part and its chip id.
    public nonisolated var identity: ChipIdentity {
        let remark =
            variant == settings.variant
            ? nil : "the configuration says \(settings.variant.part), and it is a \(variant.part)"
        return ChipIdentity(
            part: variant.part, facts: [.init("chip id", hexadecimal(variant.rawValue, digits: 2))], remark: remark)
    }
    /// By the settings, and the polls after that.
    public nonisolated var longestMeasurement: Duration {
        settings.longestMeasurement + .milliseconds(2) * BMP3xx.statusReads
    }
    /// The bus's thread.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { device.bus.executor.asUnownedSerialExecutor() }

    private nonisolated let device: I2CDevice
    private nonisolated let settings: Settings
    private let calibration: BMP3xxCalibration
    private let mutex = AsyncMutex()

    private init(device: I2CDevice, variant: Variant, settings: Settings, calibration: BMP3xxCalibration) {
        self.device = device
        self.chip = device.chip
        self.variant = variant
        self.settings = settings
        self.calibration = calibration
    }

    /// Identifies the chip, resets it, and reads its calibration.
    /// - Throws: `.wrongChip`; `.calibration`; `.timedOut` if the reset does not finish; bus errors.
    public static func open(
        bus: any I2CBus, address: I2CAddress, settings: Settings = Settings(), clock: any Clock<Duration>
    ) async throws(ChipError) -> BMP3xx {
        // Faults name the configured chip until the chip id has been read.
        let device = I2CDevice(bus: bus, address: address, chip: settings.variant.chip, clock: clock)
        return try await open(device, settings, on: BusThread(of: bus))
    }

    private static func open(
        _ device: I2CDevice, _ settings: Settings, on thread: isolated BusThread
    ) async throws(ChipError) -> BMP3xx {
        var device = device
        let id = try device.read(register: Register.chipID, 1, "read chip id")[0]
        guard let variant = Variant(rawValue: id) else {
            throw device.error(.wrongChip(answer: UInt64(id), hint: nil), "read chip id")
        }
        device.chip = variant.chip
        try await reset(device)
        let bytes = try device.read(register: Register.calibration, BMP3xxCalibration.size, "read calibration")
        guard let calibration = BMP3xxCalibration(bytes) else { throw device.error(.calibration, "read calibration") }
        return BMP3xx(device: device, variant: variant, settings: settings, calibration: calibration)
    }

    /// Resets, which takes 2 ms, and waits until the chip takes commands again.
    private static func reset(
        _ device: I2CDevice, isolation: isolated (any Actor)? = #isolation
    ) async throws(ChipError) {
        let step = "reset"
        try device.write([Register.command, resetCommand], step)
        for _ in 0..<statusReads {
            try await device.wait(.milliseconds(2), step)
            let status = try device.read(register: Register.status, 1, step)[0]
            if status & isReadyForCommand != 0 { return }
        }
        throw device.error(.timedOut, step)
    }

    /// Converts once and reads the result. All settings are written anew each time, so a chip that lost its power in
    /// between measures as before.
    /// - Throws: `.notReady` if the chip skipped the temperature or the pressure; `.outOfRange` beyond -40 to 85 degrees
    ///   Celsius or 300 to 1250 hPa; `.timedOut`, bus errors.
    public func measure() async throws(ChipError) -> Measurement {
        await mutex.lock()
        defer { mutex.unlock() }
        let step = "start measurement"
        try device.write([Register.oversampling, settings.oversampling], step)
        // Without the filter, which would mix in older values.
        try device.write([Register.configuration, 0], step)
        try device.write([Register.powerControl, BMP3xx.measureOnce], step)
        return try evaluate(try await result())
    }

    /// The six bytes of data. They are read together with the status, as they are shadowed during one transfer.
    private func result() async throws(ChipError) -> [UInt8] {
        let step = "read data"
        try await device.wait(settings.longestMeasurement, step)
        for _ in 0..<BMP3xx.statusReads {
            let bytes = try device.read(register: Register.status, 7, step)
            if bytes[0] & BMP3xx.hasData == BMP3xx.hasData { return Array(bytes[1...]) }
            try await device.wait(.milliseconds(2), step)
        }
        throw device.error(.timedOut, step)
    }

    private func evaluate(_ bytes: [UInt8]) throws(ChipError) -> Measurement {
        func word(_ index: Int) -> Int {
            Int(bytes[index]) | Int(bytes[index + 1]) << 8 | Int(bytes[index + 2]) << 16
        }
        let (rawPressure, rawTemperature) = (word(0), word(3))
        guard rawPressure != BMP3xx.skipped, rawTemperature != BMP3xx.skipped else {
            throw device.error(.notReady, "read data")
        }
        let celsius = calibration.celsius(raw: rawTemperature)
        guard (-40...85).contains(celsius) else {
            throw device.error(.outOfRange(value: celsius), "temperature in degrees Celsius")
        }
        let hectopascals = calibration.pascals(raw: rawPressure, celsius: celsius) / 100
        guard (300...1250).contains(hectopascals) else {
            throw device.error(.outOfRange(value: hectopascals), "pressure in hPa")
        }
        return Measurement(
            temperature: Temperature(celsius: celsius), pressure: Pressure(hectopascals: hectopascals))
    }
}

/// The calibration of one chip, scaled as the floating-point formulas take it, and those formulas (datasheets 9.1 to 9.3).
struct BMP3xxCalibration: Equatable {
    /// The bytes that hold it.
    static let size = 21

    private let temperature: (t1: Double, t2: Double, t3: Double)
    /// P1 to P11.
    private let pressure: [Double]

    /// Decodes the registers from 0x31 on, little-endian.
    /// - Returns: nil if all bytes are 0x00 or all are 0xFF, which no chip has.
    init?(_ bytes: [UInt8]) {
        guard bytes.count == BMP3xxCalibration.size, Set(bytes) != [0x00], Set(bytes) != [0xFF] else { return nil }
        func unsigned(_ index: Int) -> Double { Double(UInt16(bytes[index]) | UInt16(bytes[index + 1]) << 8) }
        func signed(_ index: Int) -> Double {
            Double(Int16(bitPattern: UInt16(bytes[index]) | UInt16(bytes[index + 1]) << 8))
        }
        func small(_ index: Int) -> Double { Double(Int8(bitPattern: bytes[index])) }
        func power(_ exponent: Int) -> Double { Double(sign: .plus, exponent: exponent, significand: 1) }
        temperature = (unsigned(0) * power(8), unsigned(2) * power(-30), small(4) * power(-48))
        pressure = [
            (signed(5) - power(14)) * power(-20), (signed(7) - power(14)) * power(-29), small(9) * power(-32),
            small(10) * power(-37), unsigned(11) * power(3), unsigned(13) * power(-6), small(15) * power(-8),
            small(16) * power(-15), signed(17) * power(-48), small(19) * power(-48), small(20) * power(-65),
        ]
    }

    /// Degrees Celsius of a raw value of 24 bits.
    func celsius(raw: Int) -> Double {
        let difference = Double(raw) - temperature.t1
        return difference * (temperature.t2 + difference * temperature.t3)
    }

    /// Pascals of a raw value of 24 bits at a temperature.
    func pascals(raw: Int, celsius: Double) -> Double {
        let (raw, p) = (Double(raw), pressure)
        let offset = p[4] + celsius * (p[5] + celsius * (p[6] + celsius * p[7]))
        let linear = p[0] + celsius * (p[1] + celsius * (p[2] + celsius * p[3]))
        let square = p[8] + p[9] * celsius
        return offset + raw * (linear + raw * (square + raw * p[10]))
    }

    static func == (left: BMP3xxCalibration, right: BMP3xxCalibration) -> Bool {
        left.temperature == right.temperature && left.pressure == right.pressure
    }
}

extension ChipPart {
    /// The older one.
    public static let bmp388 = ChipPart("BMP388")
    /// The younger one.
    public static let bmp390 = ChipPart("BMP390")
}

extension BMP3xx {
    /// BMP388, BMP390: the chip id in register 0x00. It is asked after that of the BME280, which is in another register
    /// at the same addresses and has the same number.
    public static let probe = Probe(
        "BMP3xx", writes: 1, addresses: BMP3xx.addresses
    ) { (scan, address, presence, evidence) throws(BusInventory.Trouble) in
        guard case .readable = presence, let id = try scan.transfer([Register.chipID], 1, address)?.first else {
            return nil
        }
        switch Variant(rawValue: id) {
        case .bmp388?:
            return Finding(address, .bmp388, .certain, [.init("register 0x00", hexadecimal(id, digits: 2), "chip id")])
        case .bmp390?:
            return Finding(address, .bmp390, .certain, [.init("register 0x00", hexadecimal(id, digits: 2), "chip id")])
        case nil:
            evidence.append(.init("register 0x00", hexadecimal(id, digits: 2)))
            return nil
        }
    }
}
