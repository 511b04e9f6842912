/// An SCD40, SCD41 or SCD43 as a twin at the level of its commands (SCD4x datasheet 3.4 to 3.11).
///
/// With the offset of 4 degrees from the factory its temperature is the air's; another offset shifts it, as on the
/// real chip. Altitude, pressure and self-calibration are kept, and do not change the CO2.
public struct SimulatedSCD4x: SimulatedChip {
    /// The parts, by what they say of themselves.
    public enum Variant: UInt16, Sendable {
        /// Without single shots.
        case scd40 = 0x0440
        /// With single shots.
        case scd41 = 0x1440
        /// With single shots.
        case scd43 = 0x5441
    }

    /// Settings as they stand in the chip, in its units.
    private struct Settings {
        var temperatureOffset: UInt16 = 1498
        var altitude: UInt16 = 0
        var selfCalibration: UInt16 = 1
        var selfCalibrationTarget: UInt16 = 400
    }

    /// `freeze` never has a value ready; `saturate` gives the largest words, and fails the self test.
    public let faults: FaultScript
    /// 48 bits.
    public let serialNumber: UInt64

    private let world: SimulatedWorld
    private let variant: Variant
    private let saysVariant: Bool
    private var readyAt: Duration
    private var isAsleep = false
    private var measuring: (start: Duration, period: Duration)?
    /// The index of the last value read since measuring began, counted from 1.
    private var lastRead: Int64 = 0
    /// How long it measured before it was stopped.
    private var measuredFor = Duration.zero
    private var firstShot: Duration?
    /// Whether the next single shot is the first since power came, which is not worth much.
    private var isNextShotFirst = true
    /// A single shot that was not read.
    private var shot: [UInt16]?
    private var answer: [UInt16]?
    private var settings = Settings()
    private var ambientPressure: UInt16 = 1013

    // What outlasts a power cut.
    private var stored = Settings()
    private var correction = 0

    private static let startUp = Duration.seconds(1)

    /// Puts a chip that has had power for long into `world`.
    /// - Parameter saysVariant: false for firmware that does not know the command.
    public init(
        world: SimulatedWorld, variant: Variant = .scd41, saysVariant: Bool = true,
        serialNumber: UInt64 = 0x73B1_EB07_3B0C, faults: FaultScript = FaultScript()
    ) {
        self.world = world
        self.variant = variant
        self.saysVariant = saysVariant
        self.serialNumber = serialNumber & 0xFFFF_FFFF_FFFF
        self.faults = faults
        readyAt = world.elapsed()
    }

    /// Power comes back: it is idle, and its settings are the stored ones.
    public mutating func powerUp(at time: Duration) {
        restart()
        isAsleep = false
        readyAt = time + SimulatedSCD4x.startUp
    }

    /// Idle, with the stored settings.
    private mutating func restart() {
        measuring = nil
        measuredFor = .zero
        firstShot = nil
        isNextShotFirst = true
        shot = nil
        answer = nil
        settings = stored
        ambientPressure = 1013
    }

    /// A command, with a word and its checksum if it takes one. A busy chip does not acknowledge, nor does one that is
    /// told what it does not do in its state, or a word with a wrong checksum.
    public mutating func write(_ bytes: [UInt8], at time: Duration) -> Bool {
        guard time >= readyAt else { return false }
        guard bytes.count == 2 || bytes.count == 5 else { return bytes.isEmpty && !isAsleep }
        let code = UInt16(bytes[0]) << 8 | UInt16(bytes[1])
        if isAsleep {
            // It wakes without acknowledging (3.11.4), and has lost what was not stored.
            if code == 0x36F6 {
                restart()
                isAsleep = false
                readyAt = time + .milliseconds(30)
            }
            return false
        }
        answer = nil
        guard bytes.count == 5 else { return perform(code, at: time) }
        guard bytes[4] == SensirionWords.checksum(bytes[2], bytes[3]) else { return false }
        return perform(code, with: UInt16(bytes[2]) << 8 | UInt16(bytes[3]), at: time)
    }

    /// The answer to the last command, once; nothing before its time, and nothing if it has no answer.
    public mutating func read(_ count: Int, at time: Duration) -> [UInt8]? {
        guard time >= readyAt, let words = answer, count <= words.count * 3 else { return nil }
        answer = nil
        return Array(SensirionWords.bytes(words, isDamaged: faults.has(.crc, at: time)).prefix(count))
    }

    /// A command without a word.
    private mutating func perform(_ code: UInt16, at time: Duration) -> Bool {
        switch code {
        case 0x3F86:  // stop_periodic_measurement
            if let measuring { measuredFor = time - measuring.start }
            measuring = nil
            readyAt = time + .milliseconds(500)
        case 0xE4B8:  // get_data_ready_status
            // Bits above the low 11 may be set in either case, and are.
            let isReady = shot != nil || newestValue(at: time) != nil
            reply([isReady ? 0x8006 : 0x8000], at: time)
        case 0xEC05:  // read_measurement
            if let (index, sampled) = newestValue(at: time) {
                lastRead = index
                reply(words(at: sampled), at: time)
            } else if let shot {
                self.shot = nil
                reply(shot, at: time)
            }
        case 0xE000: reply([ambientPressure], at: time)
        case _ where measuring != nil: return false
        case 0x21B1: start(at: time, period: .seconds(5))
        case 0x21AC: start(at: time, period: .seconds(30))
        case 0x219D: return takeShot(at: time, for: .seconds(5))
        case 0x2196: return takeShot(at: time, for: .milliseconds(50))
        case 0x3682:  // get_serial_number
            reply([32, 16, 0].map { UInt16(truncatingIfNeeded: serialNumber >> $0) }, at: time)
        case 0x202F where saysVariant: reply([variant.rawValue], at: time)
        case 0x2318: reply([settings.temperatureOffset], at: time)
        case 0x2322: reply([settings.altitude], at: time)
        case 0x2313: reply([settings.selfCalibration], at: time)
        case 0x233F: reply([settings.selfCalibrationTarget], at: time)
        case 0x3615:  // persist_settings
            stored = settings
            readyAt = time + .milliseconds(800)
        case 0x3639:  // perform_self_test
            reply([faults.has(.saturate, at: time) ? 0x0001 : 0x0000], at: time, after: .seconds(10))
        case 0x3632:  // perform_factory_reset
            stored = Settings()
            correction = 0
            restart()
            readyAt = time + .milliseconds(1200)
        case 0x3646:  // reinit
            restart()
            readyAt = time + .milliseconds(30)
        case 0x36E0 where variant != .scd40:  // power_down
            isAsleep = true
        case 0x36F6 where variant != .scd40:  // wake_up, while awake
            readyAt = time + .milliseconds(30)
        default: return false
        }
        return true
    }

    /// A command with a word.
    private mutating func perform(_ code: UInt16, with word: UInt16, at time: Duration) -> Bool {
        guard measuring == nil || code == 0xE000 else { return false }
        switch code {
        case 0xE000: ambientPressure = word
        case 0x241D: settings.temperatureOffset = word
        case 0x2427: settings.altitude = word
        case 0x2416: settings.selfCalibration = word
        case 0x243A: settings.selfCalibrationTarget = word
        case 0x362F:  // perform_forced_recalibration
            reply([recalibrate(target: word, at: time)], at: time, after: .milliseconds(400))
            return true
        default: return false
        }
        readyAt = time + .milliseconds(1)
        return true
    }

    private mutating func reply(_ words: [UInt16], at time: Duration, after duration: Duration = .milliseconds(1)) {
        answer = words
        readyAt = time + duration
    }

    private mutating func start(at time: Duration, period: Duration) {
        measuring = (time, period)
        lastRead = 0
        shot = nil
    }

    private mutating func takeShot(at time: Duration, for duration: Duration) -> Bool {
        guard variant != .scd40 else { return false }
        if firstShot == nil { firstShot = time }
        if !faults.has(.freeze, at: time) {
            var words = words(at: time)
            if isNextShotFirst { words[0] = words[0] &+ 400 }
            if duration < .seconds(1) { words[0] = 0 }
            shot = words
        }
        isNextShotFirst = false
        readyAt = time + duration
        return true
    }

    /// Moves the CO2 to what it should be, if the chip has measured for long enough (3.8.1).
    /// - Returns: the chip's answer.
    private mutating func recalibrate(target: UInt16, at time: Duration) -> UInt16 {
        let shooting = firstShot.map { time - $0 } ?? .zero
        guard max(measuredFor, shooting) >= .seconds(180) else { return 0xFFFF }
        let measured = Int(words(at: time)[0])
        let step = Int(target) - measured
        correction += step
        return UInt16(clamping: 0x8000 + step)
    }

    /// The newest value that was not read: its index and when it was measured.
    private func newestValue(at time: Duration) -> (index: Int64, sampled: Duration)? {
        guard let measuring, !faults.has(.freeze, at: time) else { return nil }
        let index = Int64((time - measuring.start) / measuring.period)
        guard index > lastRead else { return nil }
        return (index, measuring.start + measuring.period * Int(index))
    }

    private func words(at time: Duration) -> [UInt16] {
        guard !faults.has(.saturate, at: time) else { return [0xFFFF, 0xFFFF, 0xFFFF] }
        let air = world.conditions(at: time)
        let offset = Double(settings.temperatureOffset) * 175 / 65_535
        return [
            SensirionWords.word(air.co2 + Double(correction)),
            SensirionWords.temperature(air.temperature + 4 - offset),
            SensirionWords.word(air.humidity * 65_535 / 100),
        ]
    }
}
