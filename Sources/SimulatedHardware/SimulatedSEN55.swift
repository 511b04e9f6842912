import Readings

/// A SEN55 as a twin at the level of its commands (Sensirion's package `sensirion-i2c-sen5x` on PyPI). Settings, fan cleaning
/// and measuring without particles are not simulated: those commands are not acknowledged.
public struct SimulatedSEN55: SimulatedChip {
    /// `freeze` never has a value ready; `saturate` gives the largest words that are values.
    public let faults: FaultScript

    private let world: SimulatedWorld
    private var readyAt: Duration
    /// Since when it measures; nil: it is idle.
    private var measuringSince: Duration?
    /// The number of the value that was read last since measuring began, counted from 1.
    private var lastRead: Int64 = 0
    /// Since when it has power.
    private var poweredSince: Duration
    private var answer: [UInt16]?

    /// Until it takes commands after power-up or a reset.
    private static let startUp = Duration.milliseconds(100)
    /// The index of volatile organic compounds is unknown for so long after power-up.
    private static let indexStart = Duration.seconds(5)
    /// The index of nitrogen oxides is.
    private static let oxidesStart = Duration.seconds(11)

    /// Puts a chip that has just got power into `world`.
    public init(world: SimulatedWorld, faults: FaultScript = FaultScript()) {
        self.world = world
        self.faults = faults
        poweredSince = world.elapsed()
        readyAt = poweredSince
    }

    /// Power comes back: it is idle, and its indices begin anew.
    public mutating func powerUp(at time: Duration) {
        self = SimulatedSEN55(world: world, faults: faults)
        poweredSince = time
        readyAt = time + SimulatedSEN55.startUp
    }

    /// A command without a word. A busy chip acknowledges none.
    public mutating func write(_ bytes: [UInt8], at time: Duration) -> Bool {
        guard time >= readyAt else { return false }
        guard bytes.count == 2 else { return bytes.isEmpty }
        answer = nil
        switch (bytes[0], bytes[1]) {
        case (0x00, 0x21):
            if measuringSince == nil { (measuringSince, lastRead) = (time, 0) }
            readyAt = time + .milliseconds(50)
        case (0x01, 0x04):
            measuringSince = nil
            readyAt = time + .milliseconds(160)
        case (0x02, 0x02): reply([newest(at: time) > lastRead ? 1 : 0], at: time)
        case (0x03, 0xC4):
            lastRead = newest(at: time)
            reply(lastRead > 0 ? words(at: time) : SimulatedSEN55.nothing, at: time)
        case (0xD0, 0x14): reply(SimulatedSEN55.words(of: "SEN55"), at: time)
        case (0xD0, 0x33): reply(SimulatedSEN55.words(of: "3F5A8B0D12C47E90"), at: time)
        case (0xD2, 0x06), (0xD2, 0x10): reply([0, 0], at: time)
        case (0xD3, 0x04): powerUp(at: time)
        default: return false
        }
        return true
    }

    /// The answer to the last command, once; nothing before its time.
    public mutating func read(_ count: Int, at time: Duration) -> [UInt8]? {
        guard time >= readyAt, let words = answer, count <= words.count * 3 else { return nil }
        answer = nil
        return Array(SensirionWords.bytes(words, isDamaged: faults.has(.crc, at: time)).prefix(count))
    }

    private mutating func reply(_ words: [UInt16], at time: Duration) {
        answer = words
        readyAt = time + .milliseconds(20)
    }

    /// The number of the newest value, one a second since measuring began.
    private func newest(at time: Duration) -> Int64 {
        guard let measuringSince, !faults.has(.freeze, at: time) else { return 0 }
        return (time - measuringSince).components.seconds
    }

    /// What stands for unknown values.
    private static let nothing: [UInt16] = [0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 0x7FFF, 0x7FFF, 0x7FFF, 0x7FFF]

    private func words(at time: Duration) -> [UInt16] {
        if faults.has(.saturate, at: time) { return SimulatedSEN55.nothing.map { $0 - 1 } }
        let air = world.conditions(at: time)
        let powered = time - poweredSince
        // Most of what is finer than 10 um is finer than 2.5 um, in tenths.
        let tenths = air[.pm2_5] * 10
        let masses = [0.9, 1, 1.04, 1.06].map { SensirionWords.word(tenths * $0) }
        let index = powered < SimulatedSEN55.indexStart ? 0x7FFF : SensirionWords.word(air[.vocIndex] * 10)
        let oxides: UInt16 = powered < SimulatedSEN55.oxidesStart ? 0x7FFF : 10
        return masses + [
            SimulatedSEN55.signed(air.humidity * 100), SimulatedSEN55.signed(air.temperature * 200), index, oxides,
        ]
    }

    /// A signed word, cut off at its ends.
    private static func signed(_ value: Double) -> UInt16 {
        UInt16(bitPattern: Int16(min(max(value.rounded(), -32_768), 32_766)))
    }

    /// A text in 16 words, two characters each, with zeros behind it.
    private static func words(of text: String) -> [UInt16] {
        var words = [UInt16](repeating: 0, count: 16)
        for (place, character) in text.utf8.prefix(32).enumerated() {
            words[place / 2] |= UInt16(character) << (place % 2 == 0 ? 8 : 0)
        }
        return words
    }
}
