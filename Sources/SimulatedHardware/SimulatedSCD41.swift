/// An SCD41 as a model of its commands (SCD4x datasheet 3.4 to 3.10).
///
/// With the offset of 4 degrees from the factory its temperature is the air's; another offset shifts it, as on the
/// real chip.
public struct SimulatedSCD41: SimulatedChip {
    /// `freeze` never has a value ready; `saturate` gives the largest words.
    public let faults: FaultScript
    /// 48 bits.
    public let serialNumber: UInt64

    private let world: SimulatedWorld
    private var readyAt: Duration
    private var measuring: (start: Duration, period: Duration)?
    /// The index of the last value read since measuring began, counted from 1.
    private var lastRead: Int64 = 0
    private var answer: [UInt16]?
    private var temperatureOffset: UInt16 = 1498
    private var altitude: UInt16 = 0
    private var ambientPressure: UInt16 = 1013
    private var selfCalibration: UInt16 = 1

    private static let startUp = Duration.seconds(1)

    /// Puts a chip that has had power for long into `world`.
    public init(
        world: SimulatedWorld, serialNumber: UInt64 = 0x73B1_EB07_3B0C, faults: FaultScript = FaultScript()
    ) {
        self.world = world
        self.serialNumber = serialNumber & 0xFFFF_FFFF_FFFF
        self.faults = faults
        readyAt = world.elapsed()
    }

    /// Power comes back: it is idle, and its settings are those of the factory.
    public mutating func powerUp(at time: Duration) {
        self = SimulatedSCD41(world: world, serialNumber: serialNumber, faults: faults)
        readyAt = time + SimulatedSCD41.startUp
    }

    /// A command, with a word and its checksum if it takes one. A busy chip does not acknowledge, nor does one that is
    /// told what it does not do in its state.
    public mutating func write(_ bytes: [UInt8], at time: Duration) -> Bool {
        guard time >= readyAt else { return false }
        answer = nil
        guard bytes.count == 2 || bytes.count == 5 else { return bytes.isEmpty }
        let word: UInt16? = bytes.count == 5 ? UInt16(bytes[2]) << 8 | UInt16(bytes[3]) : nil
        if word != nil, bytes[4] != SensirionWords.checksum(bytes[2], bytes[3]) { return false }
        switch (UInt16(bytes[0]) << 8 | UInt16(bytes[1]), word) {
        case (0x3F86, nil):  // stop_periodic_measurement
            measuring = nil
            readyAt = time + .milliseconds(500)
        case (0xE4B8, nil):  // get_data_ready_status
            // Bits above the low 11 may be set in either case, and are.
            reply([newestValue(at: time) == nil ? 0x8000 : 0x8006], after: time)
        case (0xEC05, nil):  // read_measurement
            guard let (index, sampled) = newestValue(at: time) else { return true }
            lastRead = index
            reply(words(at: sampled), after: time)
        case (0xE000, let pressure?):
            ambientPressure = pressure
            readyAt = time + .milliseconds(1)
        case (0xE000, nil):
            reply([ambientPressure], after: time)
        case _ where measuring != nil:
            return false
        case (0x21B1, nil):  // start_periodic_measurement
            start(at: time, period: .seconds(5))
        case (0x21AC, nil):  // start_low_power_periodic_measurement
            start(at: time, period: .seconds(30))
        case (0x3682, nil):  // get_serial_number
            reply([32, 16, 0].map { UInt16(truncatingIfNeeded: serialNumber >> $0) }, after: time)
        case (0x202F, nil):  // get_sensor_variant
            reply([0x1440], after: time)
        case (0x241D, let offset?):
            temperatureOffset = offset
            readyAt = time + .milliseconds(1)
        case (0x2318, nil):
            reply([temperatureOffset], after: time)
        case (0x2427, let metres?):
            altitude = metres
            readyAt = time + .milliseconds(1)
        case (0x2322, nil):
            reply([altitude], after: time)
        case (0x2416, let isEnabled?):
            selfCalibration = isEnabled
            readyAt = time + .milliseconds(1)
        case (0x2313, nil):
            reply([selfCalibration], after: time)
        default:
            return false
        }
        return true
    }

    /// The answer to the last command, once; nothing before its time, and nothing if it has no answer.
    public mutating func read(_ count: Int, at time: Duration) -> [UInt8]? {
        guard time >= readyAt, let words = answer, count <= words.count * 3 else { return nil }
        answer = nil
        return Array(SensirionWords.bytes(words, isDamaged: faults.has(.crc, at: time)).prefix(count))
    }

    private mutating func reply(_ words: [UInt16], after time: Duration) {
        answer = words
        readyAt = time + .milliseconds(1)
    }

    private mutating func start(at time: Duration, period: Duration) {
        measuring = (time, period)
        lastRead = 0
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
        let offset = Double(temperatureOffset) * 175 / 65_535
        return [
            SensirionWords.word(air.co2),
            SensirionWords.temperature(air.temperature + 4 - offset),
            SensirionWords.word(air.humidity * 65_535 / 100),
        ]
    }
}
