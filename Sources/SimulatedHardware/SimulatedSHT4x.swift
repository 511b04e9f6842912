/// An SHT4x as a model of its commands (SHT4x datasheet 4.5 and 4.6). Its heater is not modelled: those commands are not
/// acknowledged.
public struct SimulatedSHT4x: SimulatedChip {
    /// `freeze` never finishes a measurement; `saturate` gives the largest words.
    public let faults: FaultScript
    /// Unique among chips.
    public let serialNumber: UInt32

    private let world: SimulatedWorld
    private var readyAt: Duration
    private var answer: [UInt16]?
    private var isMeasuring = false

    /// Until it takes commands after power-up or a reset (3.1, table 5).
    private static let startUp = Duration.milliseconds(1)

    /// Puts a chip that has had power for long into `world`.
    public init(world: SimulatedWorld, serialNumber: UInt32 = 0x0D20_6101, faults: FaultScript = FaultScript()) {
        self.world = world
        self.serialNumber = serialNumber
        self.faults = faults
        readyAt = world.elapsed()
    }

    /// Power comes back: it starts up.
    public mutating func powerUp(at time: Duration) {
        self = SimulatedSHT4x(world: world, serialNumber: serialNumber, faults: faults)
        readyAt = time + SimulatedSHT4x.startUp
    }

    /// A command. A busy chip acknowledges none.
    public mutating func write(_ bytes: [UInt8], at time: Duration) -> Bool {
        guard !isBusy(at: time) else { return false }
        // The bare address, by which a bus is scanned.
        guard let command = bytes.first else { return true }
        guard bytes.count == 1 else { return false }
        answer = nil
        switch command {
        case 0xFD: measure(at: time, for: .microseconds(8300))
        case 0xF6: measure(at: time, for: .microseconds(4500))
        case 0xE0: measure(at: time, for: .microseconds(1700))
        case 0x89: answer = [UInt16(serialNumber >> 16), UInt16(serialNumber & 0xFFFF)]
        case 0x94: readyAt = time + SimulatedSHT4x.startUp
        default: return false
        }
        return true
    }

    /// The answer to the last command, once; nothing before its time.
    public mutating func read(_ count: Int, at time: Duration) -> [UInt8]? {
        guard !isBusy(at: time), let words = answer, count <= words.count * 3 else { return nil }
        answer = nil
        isMeasuring = false
        return Array(SensirionWords.bytes(words, isDamaged: faults.has(.crc, at: time)).prefix(count))
    }

    private func isBusy(at time: Duration) -> Bool {
        time < readyAt || isMeasuring && faults.has(.freeze, at: time)
    }

    private mutating func measure(at time: Duration, for duration: Duration) {
        let air = world.conditions(at: time)
        answer =
            faults.has(.saturate, at: time)
            ? [0xFFFF, 0xFFFF]
            : [SensirionWords.temperature(air.temperature), SensirionWords.word((air.humidity + 6) * 65_535 / 125)]
        readyAt = time + duration
        isMeasuring = true
    }
}
