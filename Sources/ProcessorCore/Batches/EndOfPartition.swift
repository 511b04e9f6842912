import KafkaClient

/// Asks the broker from time to time where its partitions end, and tells when all up to there has been read.
///
/// An answer is worth the time at which it was asked for: all that the broker had then is in the batches once their
/// reader has come so far, however long that takes.
struct EndOfPartition {
    /// How often a partition's end is asked for.
    static let interval = Duration.seconds(5)

    private var asked: [Int32: (time: Int64, end: Int64)] = [:]
    private var nextQuestion: [Int32: ContinuousClock.Instant] = [:]
    private var pausedUntil: ContinuousClock.Instant?

    /// Asks for the partitions that are due, for a bounded time.
    /// - Parameters:
    ///   - now: by the wall clock, milliseconds since 1970.
    ///   - end: asks the broker.
    mutating func ask(
        _ partitions: Set<Int32>, at instant: ContinuousClock.Instant, now: () -> Int64,
        end: (Int32) throws -> Int64
    ) {
        if let pausedUntil, instant < pausedUntil { return }
        asked = asked.filter { partitions.contains($0.key) }
        let began = ContinuousClock.now
        for partition in partitions where asked[partition] == nil && instant >= nextQuestion[partition] ?? instant {
            let time = now()
            do {
                asked[partition] = (time, try end(partition))
                nextQuestion[partition] = instant + EndOfPartition.interval
            } catch {
                // The stream itself says what is wrong.
                pausedUntil = instant + EndOfPartition.interval
                return
            }
            if began.duration(to: .now) > .milliseconds(50) { return }
        }
    }

    /// The partitions of which all was read that was there at a time, each once an answer.
    mutating func reached(_ positions: [Int32: Int64]) -> [Int32: Int64] {
        var reached: [Int32: Int64] = [:]
        for (partition, answer) in asked where (positions[partition] ?? -1) >= answer.end {
            reached[partition] = answer.time
            asked[partition] = nil
        }
        return reached
    }

    /// Forgets the answers, as positions have changed.
    mutating func forget() {
        asked = [:]
    }
}
