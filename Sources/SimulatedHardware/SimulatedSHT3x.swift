/// An SHT3x as a twin at the level of its single measurements and its status (SHT3x-DIS datasheet, chapter 4). What is not simulated
/// (clock stretching, periodic measurement, the heater, alerts) is not acknowledged.
public struct SimulatedSHT3x: SimulatedChip {
    /// `freeze` never finishes a measurement; `saturate` gives the largest words.
    public let faults: FaultScript
    /// Unique among chips.
    public let serialNumber: UInt32

    private let world: SimulatedWorld
    private var reply: SensirionReply
    /// Alert pending and reset detected, as after any reset (4.13).
    private var status: UInt16 = 0x8010

    /// Until it takes commands after power-up or a reset (2.2, table 4).
    private static let startUp = Duration.microseconds(1500)

    /// Puts a chip that has had power for long into `world`.
    public init(world: SimulatedWorld, serialNumber: UInt32 = 0x1B36_72A4, faults: FaultScript = FaultScript()) {
        self.world = world
        self.serialNumber = serialNumber
        self.faults = faults
        reply = SensirionReply(readyAt: world.elapsed())
    }

    /// Power comes back: it starts up.
    public mutating func powerUp(at time: Duration) {
        self = SimulatedSHT3x(world: world, serialNumber: serialNumber, faults: faults)
        reply.readyAt = time + SimulatedSHT3x.startUp
    }

    /// A command. A busy chip acknowledges none.
    public mutating func write(_ bytes: [UInt8], at time: Duration) -> Bool {
        guard !reply.isBusy(at: time, faults) else { return false }
        guard bytes.count == 2 else { return bytes.isEmpty }
        // What was measured and not read is lost with the next command.
        reply.clear()
        switch UInt16(bytes[0]) << 8 | UInt16(bytes[1]) {
        case 0x2400: measure(at: time, for: .milliseconds(15))
        case 0x240B: measure(at: time, for: .milliseconds(6))
        case 0x2416: measure(at: time, for: .milliseconds(4))
        case 0x3093: reply.readyAt = time + .milliseconds(1)
        case 0x30A2:
            status = 0x8010
            reply.readyAt = time + SimulatedSHT3x.startUp
        case 0xF32D: reply.answer([status], from: time)
        case 0x3041: status = 0
        case 0x3780: reply.answer(SensirionWords.words(serialNumber), from: time)
        default:
            // The last command was not processed.
            status |= 1 << 1
            return false
        }
        return true
    }

    /// The answer to the last command, once; nothing before its time.
    public mutating func read(_ count: Int, at time: Duration) -> [UInt8]? {
        reply.read(count, at: time, faults)
    }

    private mutating func measure(at time: Duration, for duration: Duration) {
        let air = world.conditions(at: time)
        let humidity = SensirionWords.word(air.humidity * 65_535 / 100)
        let words = [SensirionWords.temperature(air.temperature), humidity]
        reply.measure(words, at: time, for: duration, faults)
    }
}
