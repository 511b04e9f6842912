/// An AHT20 as a twin at the level of its commands (datasheet AHT20 A1, chapter 5).
public struct SimulatedAHT20: SimulatedChip {
    /// `freeze` stays busy; `saturate` gives the largest values.
    public let faults: FaultScript

    private let world: SimulatedWorld
    /// It acknowledges nothing before.
    private var awakeAt: Duration
    private let loadsCalibration: Bool
    private var isCalibrated: Bool
    /// Until when it is busy, and whether with a measurement.
    private var busyUntil: Duration
    private var isMeasuring = false
    /// Humidity and temperature of the last measurement, 20 bits each. Before the first one they are zeros here.
    private var values = (humidity: UInt64(0), temperature: UInt64(0))

    private static let startUp = Duration.milliseconds(20)

    /// Puts a chip that has had power for long into `world`.
    /// - Parameter isCalibrated: whether it loads its calibration by itself, as most do; else it is to be initialised.
    public init(world: SimulatedWorld, isCalibrated: Bool = true, faults: FaultScript = FaultScript()) {
        self.world = world
        loadsCalibration = isCalibrated
        self.isCalibrated = isCalibrated
        self.faults = faults
        awakeAt = world.elapsed()
        busyUntil = awakeAt
    }

    /// Power comes back: it starts up.
    public mutating func powerUp(at time: Duration) {
        self = SimulatedAHT20(world: world, isCalibrated: loadsCalibration, faults: faults)
        awakeAt = time + SimulatedAHT20.startUp
        busyUntil = awakeAt
    }

    /// A command; what is none is acknowledged and does nothing.
    public mutating func write(_ bytes: [UInt8], at time: Duration) -> Bool {
        guard time >= awakeAt else { return false }
        switch bytes {
        case [0xBA]:
            isMeasuring = false
            busyUntil = time
            awakeAt = time + SimulatedAHT20.startUp
        case [0xBE, 0x08, 0x00]:
            isCalibrated = true
            busyUntil = time + .milliseconds(10)
        case [0xAC, 0x33, 0x00]:
            measure(at: time)
        default:
            break
        }
        return true
    }

    /// The status, then the last measurement and its checksum, as often as is asked.
    public mutating func read(_ count: Int, at time: Duration) -> [UInt8]? {
        guard time >= awakeAt else { return nil }
        let isBusy = time < busyUntil || isMeasuring && faults.has(.freeze, at: time)
        if !isBusy { isMeasuring = false }
        let status: UInt64 = 0x10 | (isCalibrated ? 0x08 : 0) | (isBusy ? 0x80 : 0)
        // Six bytes in one number: the status, and twice 20 bits.
        let bits = status << 40 | values.humidity << 20 | values.temperature
        var bytes = (0..<6).map { UInt8(truncatingIfNeeded: bits >> UInt64(40 - 8 * $0)) }
        bytes.append(SimulatedAHT20.checksum(bits) ^ (faults.has(.crc, at: time) ? 0x01 : 0))
        return (0..<count).map { $0 < bytes.count ? bytes[$0] : 0xFF }
    }

    private mutating func measure(at time: Duration) {
        busyUntil = time + .milliseconds(80)
        isMeasuring = true
        let air = world.conditions(at: time)
        let isSaturated = faults.has(.saturate, at: time)
        values.humidity = isSaturated ? 0xF_FFFF : SimulatedAHT20.twentyBits(air.humidity / 100)
        values.temperature = isSaturated ? 0xF_FFFF : SimulatedAHT20.twentyBits((air.temperature + 50) / 200)
    }

    /// A share of the scale, cut off at its ends.
    private static func twentyBits(_ share: Double) -> UInt64 {
        UInt64(min(max((share * 1_048_576).rounded(), 0), 1_048_575))
    }

    /// CRC-8 of 48 bits, by polynomial division of all of them: another way than the driver's, so that the two check each
    /// other.
    private static func checksum(_ bits: UInt64) -> UInt8 {
        // The initial value of 0xFF is the same as inverting the first byte.
        var remainder = (bits ^ 0xFF << 40) << 8
        for bit in stride(from: 55, through: 8, by: -1) where remainder & 1 << UInt64(bit) != 0 {
            remainder ^= 0x131 << UInt64(bit - 8)
        }
        return UInt8(truncatingIfNeeded: remainder)
    }
}
