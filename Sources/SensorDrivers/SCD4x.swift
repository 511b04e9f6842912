import Platform
import Readings
import SensorBus

/// The commands of SCD40, SCD41 and SCD43 (SCD4x datasheet 1.6, table 9): opcode, execution time, and whether the chip
/// takes them while it measures periodically.
enum SCD4xCommand: UInt16, SensirionCommand, CaseIterable {
    case startPeriodicMeasurement = 0x21B1
    case readMeasurement = 0xEC05
    case stopPeriodicMeasurement = 0x3F86
    case setTemperatureOffset = 0x241D
    case getTemperatureOffset = 0x2318
    case setAltitude = 0x2427
    case getAltitude = 0x2322
    case ambientPressure = 0xE000
    case performForcedRecalibration = 0x362F
    case setAutomaticSelfCalibration = 0x2416
    case getAutomaticSelfCalibration = 0x2313
    case setSelfCalibrationTarget = 0x243A
    case getSelfCalibrationTarget = 0x233F
    case startLowPowerPeriodicMeasurement = 0x21AC
    case getDataReadyStatus = 0xE4B8
    case persistSettings = 0x3615
    case getSerialNumber = 0x3682
    case performSelfTest = 0x3639
    case performFactoryReset = 0x3632
    case reinitialise = 0x3646
    case getSensorVariant = 0x202F
    case measureSingleShot = 0x219D
    case measureSingleShotWithoutCO2 = 0x2196
    case powerDown = 0x36E0
    case wakeUp = 0x36F6

    var code: [UInt8] { [UInt8(rawValue >> 8), UInt8(rawValue & 0xFF)] }

    /// How long the chip needs before it answers or takes another command.
    var executionTime: Duration {
        switch self {
        case .startPeriodicMeasurement, .startLowPowerPeriodicMeasurement: .zero
        case .stopPeriodicMeasurement: .milliseconds(500)
        case .performForcedRecalibration: .milliseconds(400)
        case .persistSettings: .milliseconds(800)
        case .performSelfTest: .seconds(10)
        case .performFactoryReset: .milliseconds(1200)
        case .reinitialise, .wakeUp: .milliseconds(30)
        case .measureSingleShot: .seconds(5)
        case .measureSingleShotWithoutCO2: .milliseconds(50)
        default: .milliseconds(1)
        }
    }

    /// Whether the chip takes it during periodic measurement.
    var isAllowedWhileMeasuring: Bool {
        switch self {
        case .readMeasurement, .stopPeriodicMeasurement, .ambientPressure, .getDataReadyStatus: true
        default: false
        }
    }
}

/// Sensirion SCD41: carbon dioxide, temperature and humidity, measured periodically; also SCD40 and SCD43, which take
/// the same commands (SCD4x datasheet, version 1.4 and later). Run its bus at 100 kHz.
///
/// The chip measures by itself, every 5 s or about every 30 s. Asked more often than that, it has nothing new for some
/// samples; `measure()` then gives the last value while it is younger than one period since it was read, and otherwise
/// waits for the next one. So a station sampled at any interval from 1 s on gets a value younger than two periods.
public actor SCD41: Sensor {
    /// How the chip measures. What is nil stays as it is stored in the chip. Nothing is persisted: the memory bears
    /// about 2000 writes (3.10.1), and the settings are written at every opening anyway.
    public struct Settings: Sendable, Equatable {
        /// How often the chip measures (3.6, 3.9).
        public enum Period: Sendable {
            /// Every 5 s.
            case standard
            /// About every 30 s, at a fifth of the power.
            case lowPower

            /// The time between two values.
            public var duration: Duration { self == .standard ? .seconds(5) : .seconds(30) }
        }

        /// How often it measures.
        public var period: Period
        /// How much warmer the chip is than the air, degrees Celsius, 0 to 20: found in the final enclosure, minutes
        /// after power-up (3.7.1). 4 from the factory.
        public var temperatureOffset: Double?
        /// Height above sea level, metres, 0 to 3000 (3.7.3). A pressure that is fed overrides it.
        public var altitude: Int?
        /// Whether the chip takes the lowest CO2 of a week for fresh air (3.8.2). On from the factory.
        public var automaticSelfCalibration: Bool?

        /// Makes settings.
        public init(
            period: Period = .standard, temperatureOffset: Double? = nil, altitude: Int? = nil,
            automaticSelfCalibration: Bool? = nil
        ) {
            self.period = period
            self.temperatureOffset = temperatureOffset
            self.altitude = altitude
            self.automaticSelfCalibration = automaticSelfCalibration
        }
    }

    /// The only address it has.
    public static let address: I2CAddress = 0x62

    /// `scd41`.
    public nonisolated var chip: Identifier { port.chip }
    /// Where it is on its bus.
    public nonisolated var address: I2CAddress { port.address }
    /// 48 bits, unique (3.10.2).
    public nonisolated let serialNumber: UInt64
    /// The part and its serial number.
    public nonisolated var identity: ChipIdentity {
        ChipIdentity(part: "SCD41", serialNumber: hexadecimal(serialNumber, digits: 12))
    }
    /// The bus's thread.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { port.bus.executor.asUnownedSerialExecutor() }

    private nonisolated let port: ChipPort
    private let period: Duration
    private let turn = Turn()
    private var last: (measurement: Measurement, sinceRead: @Sendable () -> Duration)?
    /// The pressure last fed, hPa.
    private var ambientPressure: UInt16?

    private init(port: ChipPort, serialNumber: UInt64, period: Duration) {
        self.port = port
        self.serialNumber = serialNumber
        self.period = period
    }

    /// Stops what the chip is doing, identifies it, writes the settings and starts periodic measurement.
    /// - Throws: `.invalidSetting` before the bus is touched, `.crc`, `.wrongChip` if the serial number cannot be one,
    ///   and bus errors.
    public static func open(
        bus: any I2CBus, address: I2CAddress = SCD41.address, settings: Settings = Settings(),
        clock: any Clock<Duration>
    ) async throws(SensorError) -> SCD41 {
        try await Opening(bus: bus).open(address: address, settings: settings, clock: clock)
    }

    /// The opening's transfers on the bus's thread.
    private actor Opening {
        private let bus: any I2CBus
        nonisolated var unownedExecutor: UnownedSerialExecutor { bus.executor.asUnownedSerialExecutor() }

        init(bus: any I2CBus) {
            self.bus = bus
        }

        func open(address: I2CAddress, settings: Settings, clock: any Clock<Duration>) async throws(SensorError)
            -> SCD41
        {
            let port = ChipPort(bus: bus, address: address, chip: Identifier(constant: "scd41"), clock: clock)
            let words = try settings.words(port)
            // A chip that was left measuring, by a program that was killed, refuses every other command.
            try await port.send(.stopPeriodicMeasurement, whileMeasuring: true)
            let serialNumber = try await port.serialNumber(SCD4xCommand.getSerialNumber, words: 3)
            for (command, word) in words {
                try await port.send(command, word, whileMeasuring: false)
            }
            try await port.send(
                settings.period == .standard ? .startPeriodicMeasurement : .startLowPowerPeriodicMeasurement,
                whileMeasuring: false)
            return SCD41(port: port, serialNumber: serialNumber, period: settings.period.duration)
        }
    }

    /// Reads the newest value, as the type's description says.
    /// - Throws: `.notReady` if a new value is due and does not come within 1.2 periods, `.crc`, `.outOfRange`, and bus
    ///   errors.
    public func measure() async throws(SensorError) -> Measurement {
        await turn.take()
        defer { turn.give() }
        let polls = 24
        for poll in 0...polls {
            if try await isDataReady() {
                let measurement = try await readMeasurement()
                last = (measurement, elapsed(on: port.clock))
                return measurement
            }
            if let last, last.sinceRead() < period { return last.measurement }
            if poll < polls { try await port.wait(period / 20, "wait for a value") }
        }
        throw port.error(.notReady, "wait for a value")
    }

    /// Tells the chip the air's pressure, which its CO2 depends on (3.7.5). It overrides the altitude. The same value
    /// again is not sent again.
    /// - Throws: `.invalidSetting` outside 700 to 1200 hPa, and bus errors.
    public func setAmbientPressure(_ pressure: Pressure) async throws(SensorError) {
        guard (700...1200).contains(pressure.hectopascals) else {
            throw port.error(.invalidSetting("pressure \(pressure.hectopascals) hPa, 700 to 1200"), "set pressure")
        }
        await turn.take()
        defer { turn.give() }
        let word = UInt16(pressure.hectopascals.rounded())
        if word == ambientPressure { return }
        try await port.send(.ambientPressure, word, whileMeasuring: true)
        ambientPressure = word
    }

    /// Whether there is a value that was not read yet. Only the low 11 bits say so (3.9.2); the others may be set.
    private func isDataReady() async throws(SensorError) -> Bool {
        try await port.query(.getDataReadyStatus, words: 1, whileMeasuring: true)[0] & 0x07FF != 0
    }

    /// Reads and thereby clears the value (3.6.2).
    private func readMeasurement() async throws(SensorError) -> Measurement {
        let words = try await port.query(.readMeasurement, words: 3, whileMeasuring: true)
        // The chip's output range (1.1); what is beyond is a chip that is broken or saturated.
        guard words[0] <= 40_000 else {
            throw port.error(.outOfRange(value: Double(words[0])), "CO2 in ppm")
        }
        return Measurement(
            temperature: Temperature(celsius: sensirionTemperature(words[1])),
            humidity: RelativeHumidity(percent: 100 * Double(words[2]) / 65_535),
            // The sensor never sees 0 ppm in air: it is what it reports for a value without CO2.
            co2: words[0] == 0 ? nil : Concentration(partsPerMillion: Double(words[0])))
    }
}

extension SCD41.Settings {
    /// The commands that write these settings, each with its word.
    fileprivate func words(_ port: ChipPort) throws(SensorError) -> [(SCD4xCommand, UInt16)] {
        var words: [(SCD4xCommand, UInt16)] = []
        if let temperatureOffset {
            // The word is unsigned: a negative offset would wrap and wreck temperature and humidity.
            guard (0...20).contains(temperatureOffset) else {
                throw port.error(
                    .invalidSetting("temperature offset \(temperatureOffset) C, 0 to 20"), "check settings")
            }
            words.append((.setTemperatureOffset, UInt16((temperatureOffset * 65_535 / 175).rounded())))
        }
        if let altitude {
            guard let word = UInt16(exactly: altitude), word <= 3000 else {
                throw port.error(.invalidSetting("altitude \(altitude) m, 0 to 3000"), "check settings")
            }
            words.append((.setAltitude, word))
        }
        if let automaticSelfCalibration {
            words.append((.setAutomaticSelfCalibration, automaticSelfCalibration ? 1 : 0))
        }
        return words
    }
}

extension ChipPort {
    /// Sends a command, with a word if it takes one, and waits for its execution time.
    /// - Throws: `.notAllowed`, before the bus is touched, if the chip would refuse it in its present state.
    func send(
        _ command: SCD4xCommand, _ word: UInt16? = nil, whileMeasuring: Bool,
        isolation: isolated (any Actor)? = #isolation
    ) async throws(SensorError) {
        try check(command, whileMeasuring: whileMeasuring)
        try await send(command, word)
    }

    /// Sends a command and, after its execution time, reads its answer in a transfer of its own (3.4).
    func query(
        _ command: SCD4xCommand, words: Int, whileMeasuring: Bool, isolation: isolated (any Actor)? = #isolation
    ) async throws(SensorError) -> [UInt16] {
        try check(command, whileMeasuring: whileMeasuring)
        // The measurement is gone from the chip once it was read (3.6.2).
        return try await query(command, words: words, isRepeatable: command != .readMeasurement)
    }

    private func check(_ command: SCD4xCommand, whileMeasuring: Bool) throws(SensorError) {
        guard !whileMeasuring || command.isAllowedWhileMeasuring else {
            throw error(.notAllowed("the chip is measuring; stop it first"), "\(command)")
        }
    }
}
