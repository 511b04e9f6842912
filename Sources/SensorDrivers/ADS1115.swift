import Readings
import SensorBus

/// Texas Instruments ADS1115, a 16-bit converter: here it measures a battery's voltage behind a divider
/// (ADS1115 datasheet SBAS444).
///
/// Single conversions; the chip powers down in between (8.4.2.1).
public actor ADS1115: ChipDriver {
    /// What is measured and how.
    public struct Settings: Sendable, Equatable {
        /// The input measured against ground, as the multiplexer encodes it (8.1.3, MUX).
        public enum Input: UInt16, Sendable, CaseIterable {
            /// AIN0.
            case a0 = 4
            /// AIN1, AIN2 and AIN3.
            case a1, a2, a3
        }

        /// Full scale, as the amplifier encodes it (8.1.3, PGA). The input must stay below the chip's supply too.
        public enum Range: UInt16, Sendable, CaseIterable {
            /// 6.144 V, 187.5 microvolts a step.
            case volts6_144 = 0
            /// 4.096 V, 125 microvolts a step, and so on, each half of the one before.
            case volts4_096, volts2_048, volts1_024, volts0_512, volts0_256

            /// The largest input.
            public var volts: Double {
                switch self {
                case .volts6_144: 6.144
                case .volts4_096: 4.096
                case .volts2_048: 2.048
                case .volts1_024: 1.024
                case .volts0_512: 0.512
                case .volts0_256: 0.256
                }
            }

            /// One step of 16 bits with a sign.
            var voltsPerStep: Double { volts / 32_768 }
        }

        /// Conversions a second, as the chip encodes them (8.1.3, DR): the slower, the less noise.
        public enum Rate: UInt16, Sendable, CaseIterable {
            /// 8 a second.
            case perSecond8 = 0
            /// 16 a second, and so on.
            case perSecond16, perSecond32, perSecond64, perSecond128, perSecond250, perSecond475, perSecond860

            /// How many.
            public var perSecond: Int {
                switch self {
                case .perSecond8: 8
                case .perSecond16: 16
                case .perSecond32: 32
                case .perSecond64: 64
                case .perSecond128: 128
                case .perSecond250: 250
                case .perSecond475: 475
                case .perSecond860: 860
                }
            }

            /// One conversion, with the 10 % by which the chip's oscillator may be slow (7.5).
            var longestConversion: Duration { .microseconds(1_100_000 / perSecond) }
        }

        /// The input that the divider is on.
        public var input: Input
        /// Full scale.
        public var range: Range
        /// Conversions a second.
        public var rate: Rate
        /// Between battery and input.
        public var divider: VoltageDivider
        /// The cell, if its level shall be estimated.
        public var curve: BatteryCurve?

        /// Makes settings.
        public init(
            input: Input = .a0, range: Range = .volts4_096, rate: Rate = .perSecond128,
            divider: VoltageDivider = .none, curve: BatteryCurve? = nil
        ) {
            self.input = input
            self.range = range
            self.rate = rate
            self.divider = divider
            self.curve = curve
        }

        /// The configuration register for single conversions with the comparator off, idle (8.1.3).
        fileprivate var configuration: UInt16 {
            input.rawValue << 12 | range.rawValue << 9 | 1 << 8 | rate.rawValue << 5 | 0b11
        }
    }

    /// The addresses it can be strapped to: ADDR at GND, VDD, SDA, SCL (7.5.1.1).
    public static let addresses: [I2CAddress] = [0x48, 0x49, 0x4A, 0x4B]

    private enum Register {
        static let conversion: UInt8 = 0
        static let configuration: UInt8 = 1
    }

    /// Written: start a conversion. Read: none is running.
    private static let operationalStatus: UInt16 = 1 << 15
    private static let statusReads = 5

    /// `ads1115`.
    public nonisolated var chip: Identifier { device.chip }
    /// Where it is on its bus.
    public nonisolated var address: I2CAddress { device.address }
    /// The part: the chip has no identification.
    public nonisolated var identity: ChipIdentity { ChipIdentity(part: "ADS1115") }
    /// One conversion (7.5), and the polls after that.
    public nonisolated var longestMeasurement: Duration {
        settings.rate.longestConversion * (1 + Double(ADS1115.statusReads) / 4)
    }
    /// The bus's thread.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { device.bus.executor.asUnownedSerialExecutor() }

    private nonisolated let device: I2CDevice
    private nonisolated let settings: Settings
    private let mutex = AsyncMutex()

    private init(device: I2CDevice, settings: Settings) {
        self.device = device
        self.settings = settings
    }

    /// Writes the settings and reads them back, which is how the chip is recognised: it has no identification.
    /// - Throws: `.wrongChip` if what is read back differs, and bus errors.
    public static func open(
        bus: any I2CBus, address: I2CAddress, settings: Settings = Settings(), clock: any Clock<Duration>
    ) async throws(ChipError) -> ADS1115 {
        let device = I2CDevice(bus: bus, address: address, chip: Identifier(constant: "ads1115"), clock: clock)
        return try await open(device, settings, on: BusThread(of: bus))
    }

    private static func open(
        _ device: I2CDevice, _ settings: Settings, on thread: isolated BusThread
    ) async throws(ChipError) -> ADS1115 {
        let step = "write settings"
        try device.write(register: Register.configuration, settings.configuration, step)
        let answer = try device.readWord(register: Register.configuration, step)
        guard answer & ~operationalStatus == settings.configuration else {
            throw device.error(.wrongChip(answer: UInt64(answer), hint: nil), step)
        }
        return ADS1115(device: device, settings: settings)
    }

    /// Converts once: the battery's voltage and, if the curve is known, an estimate of its level.
    /// - Throws: `.saturated` at either end of the range, `.timedOut`, and bus errors.
    public func measure() async throws(ChipError) -> Measurement {
        await mutex.lock()
        defer { mutex.unlock() }
        let start = settings.configuration | ADS1115.operationalStatus
        try device.write(register: Register.configuration, start, "start conversion")
        try await waitForResult()
        let step = "read conversion"
        let code = Int16(bitPattern: try device.readWord(register: Register.conversion, step))
        guard code != .max, code != .min else { throw device.error(.saturated, step) }
        let voltage = settings.divider.source(of: Voltage(volts: Double(code) * settings.range.voltsPerStep))
        return Measurement(batteryVoltage: voltage, batteryLevel: settings.curve?.level(of: voltage))
    }

    /// Waits until the chip is idle: read early, the conversion register holds the previous result.
    private func waitForResult() async throws(ChipError) {
        let step = "wait for conversion"
        let longest = settings.rate.longestConversion
        try await device.wait(longest, step)
        for _ in 0..<ADS1115.statusReads {
            let status = try device.readWord(register: Register.configuration, step)
            if status & ADS1115.operationalStatus != 0 { return }
            try await device.wait(longest / 4, step)
        }
        throw device.error(.timedOut, step)
    }
}

extension I2CDevice {
    fileprivate func write(register: UInt8, _ word: UInt16, _ step: String) throws(ChipError) {
        try write([register, UInt8(word >> 8), UInt8(word & 0xFF)], step)
    }

    fileprivate func readWord(register: UInt8, _ step: String) throws(ChipError) -> UInt16 {
        let bytes = try read(register: register, 2, step)
        return UInt16(bytes[0]) << 8 | UInt16(bytes[1])
    }
}

extension ChipPart {
    /// An ADS1015, which has 12 bits, answers alike.
    public static let ads1115 = ChipPart("ADS1115")
}

extension ADS1115 {
    /// ADS1115: it has no identification. Its configuration, and the comparator's thresholds, which nobody sets who
    /// does not use the comparator, stand at their values after a reset (SBAS444, 8.1.3, 8.1.4).
    public static let probe = Probe(
        "ADS1115", writes: 1, addresses: ADS1115.addresses
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
}
