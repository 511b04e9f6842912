import Platform
import Readings
import SensorBus

/// Sensirion SCD40, SCD41 or SCD43: carbon dioxide, temperature and humidity (SCD4x datasheet, version 1.4 and later).
/// Run its bus at 100 kHz.
///
/// Periodically, the chip measures by itself, every 5 s or about every 30 s. Asked more often than that, it has nothing
/// new for some samples; `measure()` then gives the last value while it is younger than one period since it was read,
/// and otherwise waits for the next one. So a station sampled at any interval from 1 s on gets a value younger than two
/// periods. In single shots, `measure()` has the chip measure and waits for it.
///
/// What a person does with the chip at its place (self test, recalibration, storing of settings) is in
/// `SCD4xMaintenance.swift`.
public actor SCD4x: PressureCompensated {
    /// The parts, as the chip tells them apart (get_sensor_variant, bits 15 to 12).
    public enum Model: String, Sendable, CaseIterable {
        /// Without single shots.
        case scd40
        /// With single shots.
        case scd41
        /// An SCD41 of narrower tolerance.
        case scd43

        /// The part that a variant's word means.
        init?(variant word: UInt16) {
            switch word >> 12 {
            case 0: self = .scd40
            case 1: self = .scd41
            case 5: self = .scd43
            default: return nil
            }
        }

        /// Whether it measures in single shots.
        public var hasSingleShot: Bool { self != .scd40 }

        /// As its maker writes it.
        public var part: String {
            switch self {
            case .scd40: "SCD40"
            case .scd41: "SCD41"
            case .scd43: "SCD43"
            }
        }

        var chip: Identifier {
            switch self {
            case .scd40: Identifier(constant: "scd40")
            case .scd41: Identifier(constant: "scd41")
            case .scd43: Identifier(constant: "scd43")
            }
        }
    }

    /// How the chip measures. What is nil stays as it is stored in the chip. Nothing is persisted: the memory bears
    /// about 2000 writes (3.10.1), and the settings are written at every opening anyway.
    public struct Settings: Sendable, Equatable {
        /// When the chip measures (3.6, 3.9, 3.11).
        public enum Mode: String, Sendable, CaseIterable {
            /// By itself, every 5 s.
            case periodic
            /// By itself, about every 30 s, at a fifth of the power.
            case lowPower = "low_power"
            /// When it is asked, which takes 5 s; not on an SCD40.
            case singleShot = "single_shot"
            /// Temperature and humidity when it is asked, which takes 50 ms; not on an SCD40.
            case singleShotWithoutCO2 = "single_shot_without_co2"

            /// The time between two values that the chip takes by itself; nil if it takes none.
            public var period: Duration? {
                switch self {
                case .periodic: .seconds(5)
                case .lowPower: .seconds(30)
                case .singleShot, .singleShotWithoutCO2: nil
                }
            }

            /// What sets it off.
            fileprivate var command: SCD4xCommand {
                switch self {
                case .periodic: .startPeriodicMeasurement
                case .lowPower: .startLowPowerPeriodicMeasurement
                case .singleShot: .measureSingleShot
                case .singleShotWithoutCO2: .measureSingleShotWithoutCO2
                }
            }
        }

        /// The part that should be there; the chip says which one is, unless its firmware is too old.
        public var model: Model
        /// When it measures.
        public var mode: Mode
        /// Whether it is powered down between single shots. The first shot after waking is worth nothing and is thrown
        /// away, so a measurement then takes two.
        public var isPoweredDown: Bool
        /// How much warmer the chip is than the air, degrees Celsius, 0 to 20: found in the final enclosure, minutes
        /// after power-up (3.7.1). 4 from the factory.
        public var temperatureOffset: Double?
        /// Height above sea level, metres, 0 to 3000 (3.7.3). A pressure that is fed overrides it.
        public var altitude: Int?
        /// Whether the chip takes the lowest CO2 of a week for fresh air (3.8.2). On from the factory.
        public var automaticSelfCalibration: Bool?
        /// The CO2 of fresh air for self-calibration, ppm, 400 to 5000 (3.8.4). 400 from the factory.
        public var selfCalibrationTarget: Int?

        /// How long a measurement takes that is asked for; nil if the chip measures by itself, or cannot be asked.
        public var shotTime: Duration? {
            guard mode.period == nil, model.hasSingleShot else { return nil }
            return mode.command.executionTime * (isPoweredDown ? 2 : 1)
        }

        /// How long its first value may take, from the beginning of its opening on: it is stopped and perhaps woken (3.6.3,
        /// 3.11.4), and then measures.
        public var longestStart: Duration {
            .seconds(1) + (mode.period.map { $0 * 1.2 } ?? mode.command.executionTime * 2)
        }

        /// Makes settings.
        public init(
            model: Model = .scd41, mode: Mode = .periodic, isPoweredDown: Bool = false,
            temperatureOffset: Double? = nil, altitude: Int? = nil, automaticSelfCalibration: Bool? = nil,
            selfCalibrationTarget: Int? = nil
        ) {
            self.model = model
            self.mode = mode
            self.isPoweredDown = isPoweredDown
            self.temperatureOffset = temperatureOffset
            self.altitude = altitude
            self.automaticSelfCalibration = automaticSelfCalibration
            self.selfCalibrationTarget = selfCalibrationTarget
        }
    }

    /// What the chip is doing, which decides what it takes.
    private enum State {
        /// It waits for commands.
        case idle
        /// It measures periodically.
        case measuring
        /// It is powered down and acknowledges nothing.
        case asleep
    }

    /// The only address it has.
    public static let address: I2CAddress = 0x62
    /// The pressures that it takes, hPa (3.7.5).
    public static let pressures = 700.0...1200.0
    /// The concentrations of fresh or reference air that it can be told, ppm.
    public static let references = 400...5000

    /// `scd40`, `scd41` or `scd43`: what the chip says it is, or what it should be if it does not say.
    public nonisolated var chip: Identifier { port.chip }
    /// Where it is on its bus.
    public nonisolated var address: I2CAddress { port.address }
    /// 48 bits, unique (3.10.2).
    public nonisolated let serialNumber: UInt64
    /// What the chip says it is; nil if its firmware is too old to say.
    public nonisolated let model: Model?
    /// The part, its serial number, and how it is known which part it is.
    public nonisolated var identity: ChipIdentity {
        var remark: String?
        if let model, model != settings.model {
            remark = "the configuration says \(settings.model.part), and it is an \(model.part)"
        }
        return ChipIdentity(
            part: (model ?? settings.model).part, serialNumber: hexadecimal(serialNumber, digits: 12),
            facts: [.init("variant", model?.part ?? "not told: older firmware")], remark: remark)
    }
    /// Of a chip that measures periodically two polls for a value that is a little late; its first value takes a whole
    /// period. A single shot takes as long as it does, twice if the first is thrown away.
    public nonisolated var longestMeasurement: Duration {
        if let period = settings.mode.period { return period / 10 }
        return settings.mode.command.executionTime * 2 + .milliseconds(100)
    }
    /// The bus's thread.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { port.bus.executor.asUnownedSerialExecutor() }

    nonisolated let port: ChipPort
    let turn = Turn()
    private nonisolated let settings: Settings
    private var state = State.idle
    private var last: (measurement: Measurement, sinceRead: @Sendable () -> Duration)?
    /// Whether the next single shot is the first since the chip woke or was reset.
    private var isFirstShot = true
    /// How long it has been measuring in its mode.
    private var sinceStart: (@Sendable () -> Duration)?
    /// The pressure that it should know and the one that it was told, hPa.
    private var pressure: (known: UInt16?, sent: UInt16?) = (nil, nil)

    private init(port: ChipPort, settings: Settings, serialNumber: UInt64, model: Model?) {
        self.port = port
        self.settings = settings
        self.serialNumber = serialNumber
        self.model = model
    }

    /// Stops what the chip is doing or wakes it, identifies it, writes the settings and starts measuring.
    /// - Throws: `.invalidSetting` before the bus is touched, or when the chip says that it has no single shots; `.crc`;
    ///   `.wrongChip` if the serial number cannot be one; bus errors.
    public static func open(
        bus: any I2CBus, address: I2CAddress = SCD4x.address, settings: Settings = Settings(),
        clock: any Clock<Duration>
    ) async throws(SensorError) -> SCD4x {
        let port = ChipPort(bus: bus, address: address, chip: settings.model.chip, clock: clock)
        let sensor = try await open(port, settings, on: BusThread(of: bus))
        try await sensor.begin()
        return sensor
    }

    /// Opens the chip as far as it is identified.
    private static func open(
        _ port: ChipPort, _ settings: Settings, on thread: isolated BusThread
    ) async throws(SensorError) -> SCD4x {
        var port = port
        _ = try settings.words(port)
        try settings.check(settings.model, port)
        try await stop(port)
        let serialNumber = try await port.serialNumber(SCD4xCommand.getSerialNumber, words: 3)
        let model = try await variant(port)
        if let model {
            port.chip = model.chip
            try settings.check(model, port)
        }
        return SCD4x(port: port, settings: settings, serialNumber: serialNumber, model: model)
    }

    /// A program that was killed left the chip measuring, and then it refuses every other command; or asleep, and
    /// then it acknowledges nothing.
    private static func stop(
        _ port: ChipPort, isolation: isolated (any Actor)? = #isolation
    ) async throws(SensorError) {
        do throws(SensorError) {
            try await port.send(.stopPeriodicMeasurement, whileMeasuring: true)
        } catch {
            guard error.isSilence else { throw error }
            try await port.sendWakeUp()
            try await port.send(.stopPeriodicMeasurement, whileMeasuring: true)
        }
    }

    /// Which part it is; older firmware does not know the command and acknowledges no answer.
    private static func variant(
        _ port: ChipPort, isolation: isolated (any Actor)? = #isolation
    ) async throws(SensorError) -> Model? {
        do throws(SensorError) {
            return Model(variant: try await port.query(.getSensorVariant, words: 1, whileMeasuring: false)[0])
        } catch {
            guard error.isSilence else { throw error }
            return nil
        }
    }

    private func begin() async throws(SensorError) {
        try await writeSettings()
        try await resume()
    }

    private func writeSettings() async throws(SensorError) {
        for (command, word) in try settings.words(port) {
            try await port.send(command, word, whileMeasuring: false)
        }
    }

    /// Makes the chip idle, so that it takes every command.
    func pause() async throws(SensorError) {
        switch state {
        case .idle: break
        case .measuring:
            try await port.send(.stopPeriodicMeasurement, whileMeasuring: true)
            state = .idle
        case .asleep: try await wake()
        }
    }

    /// Measures again, as the settings have it.
    func resume() async throws(SensorError) {
        last = nil
        sinceStart = nil
        guard settings.mode.period != nil else { return }
        try await port.send(settings.mode.command, whileMeasuring: false)
        state = .measuring
        sinceStart = elapsed(on: port.clock)
    }

    /// How long it has been measuring in its mode, without having been stopped.
    public var measuringTime: Duration { sinceStart?() ?? .zero }

    /// Measures, as the type's description says.
    /// - Throws: `.notReady` if a new value is due and does not come within 1.2 periods; `.crc`; `.outOfRange` beyond
    ///   -10 to 60 degrees Celsius or 40000 ppm; bus errors.
    public func measure() async throws(SensorError) -> Measurement {
        await turn.take()
        defer { turn.give() }
        if let period = settings.mode.period { return try await newestValue(period) }
        return try await singleShot()
    }

    private func newestValue(_ period: Duration) async throws(SensorError) -> Measurement {
        let polls = 24
        for poll in 0...polls {
            if try await isDataReady() {
                let measurement = try evaluate(try await readMeasurement())
                last = (measurement, elapsed(on: port.clock))
                return measurement
            }
            if let last, last.sinceRead() < period { return last.measurement }
            if poll < polls { try await port.wait(period / 20, "wait for a value") }
        }
        throw port.error(.notReady, "wait for a value")
    }

    private func singleShot() async throws(SensorError) -> Measurement {
        if state == .asleep { try await wake() }
        if sinceStart == nil { sinceStart = elapsed(on: port.clock) }
        if isFirstShot {
            // To be thrown away (3.11.1).
            try await port.send(settings.mode.command, whileMeasuring: false)
            _ = try await readMeasurement()
            isFirstShot = false
        }
        try await port.send(settings.mode.command, whileMeasuring: false)
        let words = try await readMeasurement()
        if settings.isPoweredDown {
            try await port.send(.powerDown, whileMeasuring: false)
            state = .asleep
        }
        return try evaluate(words)
    }

    /// Wakes the chip and makes sure that it is awake, and the same one (3.11.4). The settings are written again: they
    /// are volatile.
    private func wake() async throws(SensorError) {
        try await port.sendWakeUp()
        let number = try await port.serialNumber(SCD4xCommand.getSerialNumber, words: 3)
        guard number == serialNumber else {
            throw port.error(.wrongChip(answer: number, hint: "another SCD4x than the one that was opened"), "wake up")
        }
        state = .idle
        try await restoreSettings()
    }

    /// Tells the chip the air's pressure, which its CO2 depends on (3.7.5). It overrides the altitude. The same value
    /// again is not sent again.
    /// - Throws: `.invalidSetting` outside 700 to 1200 hPa, and bus errors.
    public func setAmbientPressure(_ pressure: Pressure) async throws(SensorError) {
        guard SCD4x.pressures.contains(pressure.hectopascals) else {
            throw port.error(.invalidSetting("pressure \(pressure.hectopascals) hPa, 700 to 1200"), "set pressure")
        }
        await turn.take()
        defer { turn.give() }
        self.pressure.known = UInt16(pressure.hectopascals.rounded())
        if state != .asleep { try await sendPressure() }
    }

    private func sendPressure() async throws(SensorError) {
        guard let word = pressure.known, word != pressure.sent else { return }
        try await port.send(.ambientPressure, word, whileMeasuring: state == .measuring)
        pressure.sent = word
    }

    /// Writes the settings and the pressure anew, on an idle chip that was reset or has just woken.
    func restoreSettings() async throws(SensorError) {
        isFirstShot = true
        pressure.sent = nil
        try await writeSettings()
        try await sendPressure()
    }

    /// Whether there is a value that was not read yet. Only the low 11 bits say so (3.9.2); the others may be set.
    private func isDataReady() async throws(SensorError) -> Bool {
        try await port.query(.getDataReadyStatus, words: 1, whileMeasuring: true)[0] & 0x07FF != 0
    }

    /// Reads and thereby clears the value (3.6.2).
    private func readMeasurement() async throws(SensorError) -> [UInt16] {
        try await port.query(.readMeasurement, words: 3, whileMeasuring: state == .measuring)
    }

    private func evaluate(_ words: [UInt16]) throws(SensorError) -> Measurement {
        // The chip's output range and operating conditions (1.1, 1.2); beyond them it is broken or saturated.
        guard words[0] <= 40_000 else {
            throw port.error(.outOfRange(value: Double(words[0])), "CO2 in ppm")
        }
        let temperature = try port.temperature(words[1], within: -10...60)
        return Measurement(
            temperature: temperature,
            humidity: RelativeHumidity(percent: 100 * Double(words[2]) / 65_535),
            // Air is never without CO2: 0 is what stands for a value that was not measured.
            co2: words[0] == 0 ? nil : Concentration(partsPerMillion: Double(words[0])))
    }
}

extension SCD4x.Settings {
    /// The commands that write these settings, each with its word.
    fileprivate func words(_ port: ChipPort) throws(SensorError) -> [(SCD4xCommand, UInt16)] {
        let step = "check settings"
        var words: [(SCD4xCommand, UInt16)] = []
        if let temperatureOffset {
            // The word is unsigned: a negative offset would wrap and wreck temperature and humidity.
            guard (0...20).contains(temperatureOffset) else {
                throw port.error(.invalidSetting("temperature offset \(temperatureOffset) C, 0 to 20"), step)
            }
            words.append((.setTemperatureOffset, UInt16((temperatureOffset * 65_535 / 175).rounded())))
        }
        if let altitude {
            guard let word = UInt16(exactly: altitude), word <= 3000 else {
                throw port.error(.invalidSetting("altitude \(altitude) m, 0 to 3000"), step)
            }
            words.append((.setAltitude, word))
        }
        if let automaticSelfCalibration {
            words.append((.setAutomaticSelfCalibration, automaticSelfCalibration ? 1 : 0))
        }
        if let selfCalibrationTarget {
            guard SCD4x.references.contains(selfCalibrationTarget) else {
                throw port.error(
                    .invalidSetting("self-calibration target \(selfCalibrationTarget) ppm, 400 to 5000"), step)
            }
            words.append((.setSelfCalibrationTarget, UInt16(selfCalibrationTarget)))
        }
        return words
    }

    /// Checks that a part can do what is set.
    fileprivate func check(_ model: SCD4x.Model, _ port: ChipPort) throws(SensorError) {
        guard mode.period != nil || model.hasSingleShot else {
            throw port.error(.invalidSetting("an \(model.part) has no single shots; an SCD41 has"), "check settings")
        }
    }
}

extension ChipPort {
    /// Wakes an SCD4x. It acknowledges this only if it was awake (3.11.4).
    fileprivate func sendWakeUp(isolation: isolated (any Actor)? = #isolation) async throws(SensorError) {
        let command = SCD4xCommand.wakeUp
        do throws(BusError) {
            try bus.write(command.code, to: address)
        } catch {
            guard error.kind == .notAcknowledged else { throw self.error(.bus(error), "\(command)") }
        }
        try await wait(command.executionTime, "\(command)")
    }
}

extension SensorError {
    /// Whether the chip did not acknowledge.
    fileprivate var isSilence: Bool {
        if case .bus(let error) = kind { error.kind == .notAcknowledged } else { false }
    }
}
