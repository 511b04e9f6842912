/// What one of Sensirion's chips has to say: nothing while it is busy, then words that can be read once.
struct SensirionReply {
    /// Until then the chip is busy.
    var readyAt: Duration
    /// What is there to be read.
    private var words: [UInt16]?
    private var isMeasurement = false

    init(readyAt: Duration) {
        self.readyAt = readyAt
    }

    /// Whether the chip acknowledges nothing yet; one that is frozen never finishes a measurement.
    func isBusy(at time: Duration, _ faults: FaultScript) -> Bool {
        time < readyAt || isMeasurement && faults.has(.freeze, at: time)
    }

    /// A command comes: what was not read is lost.
    mutating func clear() {
        words = nil
        isMeasurement = false
    }

    /// The answer to a command is there from `ready` on.
    mutating func answer(_ words: [UInt16], from ready: Duration) {
        self.words = words
        readyAt = ready
    }

    /// A measurement begins, whose words are there after `duration`; where the input saturates, the largest.
    mutating func measure(_ words: [UInt16], at time: Duration, for duration: Duration, _ faults: FaultScript) {
        answer(faults.has(.saturate, at: time) ? words.map { _ in .max } : words, from: time + duration)
        isMeasurement = true
    }

    /// Gives the first `count` bytes of the words with their checksums, once.
    /// - Returns: nil if there is nothing to be read, or not so much.
    mutating func read(_ count: Int, at time: Duration, _ faults: FaultScript) -> [UInt8]? {
        guard !isBusy(at: time, faults), let words, count <= words.count * 3 else { return nil }
        clear()
        return Array(SensirionWords.bytes(words, isDamaged: faults.has(.crc, at: time)).prefix(count))
    }
}
