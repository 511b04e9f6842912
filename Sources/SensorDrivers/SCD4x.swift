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
/// What a person does with the chip where it is mounted (self test, recalibration, storing of settings) is in
/// `SCD4xMaintenance.swift`.
public actor SCD4x: PressureCompensated {
    /// The parts, as the chip tells them apart (get_sensor_variant, bits 15 to 12).
    public enum Variant: String, Sendable, CaseIterable {
        /// Without single shots.
        case scd40
        /// With single shots.
        case scd41
        /// An SCD41 of narrower tolerance.
        case scd43

        /// The part that a variant's word means.
        init?(word: UInt16) {
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
        public var variant: Variant
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
            guard mode.period == nil, variant.hasSingleShot else { return nil }
            return mode.command.executionTime * (isPoweredDown ? 2 : 1)
        }

        /// How long its first value may take, from the beginning of its opening on: it is stopped and perhaps woken (3.6.3,
        /// 3.11.4), and then measures.
        public var longestStart: Duration {
            .seconds(1) + (mode.period.map { $0 * 1.2 } ?? mode.command.executionTime * 2)
        }

        /// Makes settings.
        public init(
            variant: Variant = .scd41, mode: Mode = .periodic, isPoweredDown: Bool = false,
            temperatureOffset: Double? = nil, altitude: Int? = nil, automaticSelfCalibration: Bool? = nil,
            selfCalibrationTarget: Int? = nil
        ) {
            self.variant = variant
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
    public nonisolated var chip: Identifier { device.chip }
    /// Where it is on its bus.
    public nonisolated var address: I2CAddress { device.address }
    /// 48 bits, unique (3.10.2).
    public nonisolated let serialNumber: UInt64
    /// What the chip says it is; nil if its firmware is too old to say.
    public nonisolated let variant: Variant?
    /// The part, its serial number, and how it is known which part it is.
    public nonisolated var identity: ChipIdentity {
        var remark: String?
        if let variant, variant != settings.variant {
            remark = "the configuration says \(settings.variant.part), and it is an \(variant.part)"
        }
        return ChipIdentity(
            part: (variant ?? settings.variant).part, serialNumber: hexadecimal(serialNumber, digits: 12),
            facts: [.init("variant", variant?.part ?? "not told: older firmware")], remark: remark)
    }
    /// Of a chip that measures periodically two polls for a value that is a little late; its first value takes a whole
    /// period. A single shot takes as long as it does, twice if the first is thrown away.
    public nonisolated var longestMeasurement: Duration {
        if let period = settings.mode.period { return period / 10 }
        return settings.mode.command.executionTime * 2 + .milliseconds(100)
    }
    /// The bus's thread.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { device.bus.executor.asUnownedSerialExecutor() }

    nonisolated let device: I2CDevice
    let mutex = AsyncMutex()
    private nonisolated let settings: Settings
    private var state = State.idle
    private var last: (measurement: Measurement, sinceRead: @Sendable () -> Duration)?
    /// Whether the next single shot is the first since the chip woke or was reset.
    private var isFirstShot = true
    /// How long it has been measuring in its mode.
    private var sinceStart: (@Sendable () -> Duration)?
    /// The pressure that it should know and the one that it was told, hPa.
    private var pressure: (known: UInt16?, sent: UInt16?) = (nil, nil)

    private init(device: I2CDevice, settings: Settings, serialNumber: UInt64, variant: Variant?) {
        self.device = device
        self.settings = settings
        self.serialNumber = serialNumber
        self.variant = variant
    }

    /// Stops what the chip is doing or wakes it, identifies it, writes the settings and starts measuring.
    /// - Throws: `.invalidSetting` before the bus is touched, or when the chip says that it has no single shots; `.crc`;
    ///   `.wrongChip` if the serial number cannot be one; bus errors.
    public static func open(
        bus: any I2CBus, address: I2CAddress = SCD4x.address, settings: Settings = Settings(),
        clock: any Clock<Duration>
    ) async throws(ChipError) -> SCD4x {
        let device = I2CDevice(bus: bus, address: address, chip: settings.variant.chip, clock: clock)
        let sensor = try await open(device, settings, on: BusThread(of: bus))
        try await sensor.begin()
        return sensor
    }

    /// Opens the chip as far as it is identified.
    private static func open(
        _ device: I2CDevice, _ settings: Settings, on thread: isolated BusThread
    ) async throws(ChipError) -> SCD4x {
        var device = device
        _ = try settings.words(device)
        try settings.check(settings.variant, device)
        try await stop(device)
        let serialNumber = try await device.serialNumber(SCD4xCommand.getSerialNumber, words: 3)
        let variant = try await readVariant(device)
        if let variant {
            device.chip = variant.chip
            try settings.check(variant, device)
        }
        return SCD4x(device: device, settings: settings, serialNumber: serialNumber, variant: variant)
    }

    /// A program that was killed left the chip measuring, and then it refuses every other command; or asleep, and
    /// then it acknowledges nothing.
    private static func stop(
        _ device: I2CDevice, isolation: isolated (any Actor)? = #isolation
    ) async throws(ChipError) {
        do throws(ChipError) {
            try await device.send(.stopPeriodicMeasurement, whileMeasuring: true)
        } catch {
            guard error.isSilence else { throw error }
            try await device.sendWakeUp()
            try await device.send(.stopPeriodicMeasurement, whileMeasuring: true)
        }
    }

    /// Which part it is; older firmware does not know the command and acknowledges no answer.
    private static func readVariant(
        _ device: I2CDevice, isolation: isolated (any Actor)? = #isolation
    ) async throws(ChipError) -> Variant? {
        do throws(ChipError) {
            return Variant(word: try await device.query(.getSensorVariant, words: 1, whileMeasuring: false)[0])
        } catch {
            guard error.isSilence else { throw error }
            return nil
        }
    }

    private func begin() async throws(ChipError) {
        try await writeSettings()
        try await resume()
    }

    private func writeSettings() async throws(ChipError) {
        for (command, word) in try settings.words(device) {
            try await device.send(command, word, whileMeasuring: false)
        }
    }

    /// Makes the chip idle, so that it takes every command.
    func pause() async throws(ChipError) {
        switch state {
        case .idle: break
        case .measuring:
            try await device.send(.stopPeriodicMeasurement, whileMeasuring: true)
            state = .idle
        case .asleep: try await wake()
        }
    }

    /// Measures again, as the settings have it.
    func resume() async throws(ChipError) {
        last = nil
        sinceStart = nil
        guard settings.mode.period != nil else { return }
        try await device.send(settings.mode.command, whileMeasuring: false)
        state = .measuring
        sinceStart = elapsed(on: device.clock)
    }

    /// How long it has been measuring in its mode, without having been stopped.
    public var measuringTime: Duration { sinceStart?() ?? .zero }

    /// Measures, as the type's description says.
    /// - Throws: `.notReady` if a new value is due and does not come within 1.2 periods; `.crc`; `.outOfRange` beyond
    ///   -10 to 60 degrees Celsius or 40000 ppm; bus errors.
    public func measure() async throws(ChipError) -> Measurement {
        await mutex.lock()
        defer { mutex.unlock() }
        if let period = settings.mode.period { return try await newestValue(period) }
        return try await singleShot()
    }

    private func newestValue(_ period: Duration) async throws(ChipError) -> Measurement {
        let polls = 24
        for poll in 0...polls {
            if try await isDataReady() {
                let measurement = try evaluate(try await readMeasurement())
                last = (measurement, elapsed(on: device.clock))
                return measurement
            }
            if let last, last.sinceRead() < period { return last.measurement }
            if poll < polls { try await device.wait(period / 20, "wait for a value") }
        }
        throw device.error(.notReady, "wait for a value")
    }

    private func singleShot() async throws(ChipError) -> Measurement {
        if state == .asleep { try await wake() }
        if sinceStart == nil { sinceStart = elapsed(on: device.clock) }
        if isFirstShot {
            // To be thrown away (3.11.1).
            try await device.send(settings.mode.command, whileMeasuring: false)
            _ = try await readMeasurement()
            isFirstShot = false
        }
        try await device.send(settings.mode.command, whileMeasuring: false)
        let words = try await readMeasurement()
        if settings.isPoweredDown {
            try await device.send(.powerDown, whileMeasuring: false)
            state = .asleep
        }
        return try evaluate(words)
    }

    /// Wakes the chip and makes sure that it is awake, and the same one (3.11.4). The settings are written again: they
    /// are volatile.
    private func wake() async throws(ChipError) {
        try await device.sendWakeUp()
        let number = try await device.serialNumber(SCD4xCommand.getSerialNumber, words: 3)
        guard number == serialNumber else {
            throw device.error(
                .wrongChip(answer: number, hint: "another SCD4x than the one that was opened"), "wake up")
        }
        state = .idle
        try await restoreSettings()
    }

    /// Tells the chip the air's pressure, which its CO2 depends on (3.7.5). It overrides the altitude. The same value
    /// again is not sent again.
    /// - Throws: `.invalidSetting` outside 700 to 1200 hPa, and bus errors.
    public func setAmbientPressure(_ pressure: Pressure) async throws(ChipError) {
        guard SCD4x.pressures.contains(pressure.hectopascals) else {
            throw device.error(.invalidSetting("pressure \(pressure.hectopascals) hPa, 700 to 1200"), "set pressure")
        }
        await mutex.lock()
        defer { mutex.unlock() }
        self.pressure.known = UInt16(pressure.hectopascals.rounded())
        if state != .asleep { try await sendPressure() }
    }

    private func sendPressure() async throws(ChipError) {
        guard let word = pressure.known, word != pressure.sent else { return }
        try await device.send(.ambientPressure, word, whileMeasuring: state == .measuring)
        pressure.sent = word
    }

    /// Writes the settings and the pressure anew, on an idle chip that was reset or has just woken.
    func restoreSettings() async throws(ChipError) {
        isFirstShot = true
        pressure.sent = nil
        try await writeSettings()
        try await sendPressure()
    }

    /// Whether there is a value that was not read yet. Only the low 11 bits say so (3.9.2); the others may be set.
    private func isDataReady() async throws(ChipError) -> Bool {
        try await device.query(.getDataReadyStatus, words: 1, whileMeasuring: true)[0] & 0x07FF != 0
    }

    /// Reads and thereby clears the value (3.6.2).
    private func readMeasurement() async throws(ChipError) -> [UInt16] {
        try await device.query(.readMeasurement, words: 3, whileMeasuring: state == .measuring)
    }

    private func evaluate(_ words: [UInt16]) throws(ChipError) -> Measurement {
        // The chip's output range and operating conditions (1.1, 1.2); beyond them it is broken or saturated.
        guard words[0] <= 40_000 else {
            throw device.error(.outOfRange(value: Double(words[0])), "CO2 in ppm")
        }
        let temperature = try device.temperature(words[1], within: -10...60)
        return Measurement(
            temperature: temperature,
            humidity: RelativeHumidity(percent: 100 * Double(words[2]) / 65_535),
            // Air is never without CO2: 0 is what stands for a value that was not measured.
            co2: words[0] == 0 ? nil : Concentration(partsPerMillion: Double(words[0])))
    }
}

extension SCD4x.Settings {
    /// The commands that write these settings, each with its word.
    fileprivate func words(_ device: I2CDevice) throws(ChipError) -> [(SCD4xCommand, UInt16)] {
        let step = "check settings"
        var words: [(SCD4xCommand, UInt16)] = []
        if let temperatureOffset {
            // The word is unsigned: a negative offset would wrap and wreck temperature and humidity.
            guard (0...20).contains(temperatureOffset) else {
                throw device.error(.invalidSetting("temperature offset \(temperatureOffset) C, 0 to 20"), step)
            }
            words.append((.setTemperatureOffset, UInt16((temperatureOffset * 65_535 / 175).rounded())))
        }
        if let altitude {
            guard let word = UInt16(exactly: altitude), word <= 3000 else {
                throw device.error(.invalidSetting("altitude \(altitude) m, 0 to 3000"), step)
            }
            words.append((.setAltitude, word))
        }
        if let automaticSelfCalibration {
            words.append((.setAutomaticSelfCalibration, automaticSelfCalibration ? 1 : 0))
        }
        if let selfCalibrationTarget {
            guard SCD4x.references.contains(selfCalibrationTarget) else {
                throw device.error(
                    .invalidSetting("self-calibration target \(selfCalibrationTarget) ppm, 400 to 5000"), step)
            }
            words.append((.setSelfCalibrationTarget, UInt16(selfCalibrationTarget)))
        }
        return words
    }

    /// Checks that a part can do what is set.
    fileprivate func check(_ variant: SCD4x.Variant, _ device: I2CDevice) throws(ChipError) {
        guard mode.period != nil || variant.hasSingleShot else {
            throw device.error(
                .invalidSetting("an \(variant.part) has no single shots; an SCD41 has"), "check settings")
        }
    }
}

extension I2CDevice {
    /// Wakes an SCD4x. It acknowledges this only if it was awake (3.11.4).
    fileprivate func sendWakeUp(isolation: isolated (any Actor)? = #isolation) async throws(ChipError) {
        let command = SCD4xCommand.wakeUp
        do throws(BusError) {
            try bus.write(command.code, to: address)
        } catch {
            guard error.kind == .notAcknowledged else { throw self.error(.bus(error), "\(command)") }
        }
        try await wait(command.executionTime, "\(command)")
    }
}

extension ChipError {
    /// Whether the chip did not acknowledge.
    fileprivate var isSilence: Bool {
        if case .bus(let error) = kind { error.kind == .notAcknowledged } else { false }
    }
}
