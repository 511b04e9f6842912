/// An SHT4x as a twin at the level of its commands (SHT4x datasheet 4.5 and 4.6). Its heater is not simulated: those commands are not
/// acknowledged.
public struct SimulatedSHT4x: SimulatedChip {
    /// `freeze` never finishes a measurement; `saturate` gives the largest words.
    public let faults: FaultScript
    /// Unique among chips.
    public let serialNumber: UInt32

    private let world: SimulatedWorld
    private var reply: SensirionReply

    /// Until it takes commands after power-up or a reset (3.1, table 5).
    private static let startUp = Duration.milliseconds(1)

    /// Puts a chip that has had power for long into `world`.
    public init(world: SimulatedWorld, serialNumber: UInt32 = 0x0D20_6101, faults: FaultScript = FaultScript()) {
        self.world = world
        self.serialNumber = serialNumber
        self.faults = faults
        reply = SensirionReply(readyAt: world.elapsed())
    }

    /// Power comes back: it starts up.
    public mutating func powerUp(at time: Duration) {
        self = SimulatedSHT4x(world: world, serialNumber: serialNumber, faults: faults)
        reply.readyAt = time + SimulatedSHT4x.startUp
    }

    /// A command. A busy chip acknowledges none.
    public mutating func write(_ bytes: [UInt8], at time: Duration) -> Bool {
        guard !reply.isBusy(at: time, faults) else { return false }
        // The bare address, by which a bus is scanned.
        guard let command = bytes.first else { return true }
        guard bytes.count == 1 else { return false }
        reply.clear()
        switch command {
        case 0xFD: measure(at: time, for: .microseconds(8300))
        case 0xF6: measure(at: time, for: .microseconds(4500))
        case 0xE0: measure(at: time, for: .microseconds(1700))
        case 0x89: reply.answer(SensirionWords.words(serialNumber), from: time)
        case 0x94: reply.readyAt = time + SimulatedSHT4x.startUp
        default: return false
        }
        return true
    }

    /// The answer to the last command, once; nothing before its time.
    public mutating func read(_ count: Int, at time: Duration) -> [UInt8]? {
        reply.read(count, at: time, faults)
    }

    private mutating func measure(at time: Duration, for duration: Duration) {
        let air = world.conditions(at: time)
        let humidity = SensirionWords.word((air.humidity + 6) * 65_535 / 125)
        let words = [SensirionWords.temperature(air.temperature), humidity]
        reply.measure(words, at: time, for: duration, faults)
    }
}
