import ProcessorStatus

/// Asks the broker from time to time where partitions end, and tells when all up to there has been read.
///
/// The end is what a reader of committed messages may read up to: the offset after the last record, or the first of an
/// open transaction. An answer is worth the time at which it was asked for: all that the broker had then is in the
/// batches once their reader has come so far, however long that takes.
struct EndOffsetProbe {
    /// How often ends are asked for.
    static let interval = Duration.seconds(5)
    /// An answer that is older says nothing of now.
    static let freshness = Duration.seconds(15)

    /// The answers that have not been reached yet.
    private var asked: [Int32: (time: Int64, end: Int64)] = [:]
    /// The last answers.
    private var ends: [Int32: (end: Int64, at: ContinuousClock.Instant)] = [:]
    /// Where the consumer has found nothing more.
    private var endsReached: [Int32: Int64] = [:]
    private var nextQuestion: ContinuousClock.Instant?
    /// What the last question was about.
    private var questioned: Set<Int32> = []

    /// Asks, if it is time to.
    /// - Parameters:
    ///   - now: by the wall clock, milliseconds since 1970.
    ///   - endOffsets: asks the broker; what it does not know is left out.
    mutating func ask(
        _ partitions: Set<Int32>, at instant: ContinuousClock.Instant, now: () -> Int64,
        endOffsets: (Set<Int32>) throws -> [Int32: Int64]
    ) {
        asked = asked.filter { partitions.contains($0.key) }
        ends = ends.filter { partitions.contains($0.key) }
        endsReached = endsReached.filter { partitions.contains($0.key) }
        if partitions.isEmpty { return }
        if let nextQuestion, instant < nextQuestion, partitions.isSubset(of: questioned) { return }
        nextQuestion = instant + EndOffsetProbe.interval
        questioned = partitions
        let time = now()
        // The stream itself says what is wrong with a broker that does not answer.
        guard let answers = try? endOffsets(partitions) else { return }
        for (partition, end) in answers where partitions.contains(partition) {
            if asked[partition] == nil { asked[partition] = (time, end) }
            ends[partition] = (end, instant)
        }
    }

    /// Notes that the consumer has come to the end of a partition.
    mutating func reachEnd(of partition: Int32, at offset: Int64) {
        endsReached[partition] = offset
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
        ends = [:]
        endsReached = [:]
    }

    /// How far a partition is.
    /// - Parameters:
    ///   - position: the next offset to read; nil while it is not known.
    ///   - highWatermark: as of the broker's last answer to the consumer; it counts open transactions.
    func view(
        _ partition: Int32, position: Int64?, highWatermark: Int64?, at instant: ContinuousClock.Instant
    ) -> PartitionView {
        let answer = ends[partition]
        var view = PartitionView(partition: partition, position: position)
        if let answer, answer.at.duration(to: instant) < EndOffsetProbe.freshness { view.freshEnd = answer.end }
        if let position, endsReached[partition] == position {
            view.end = max(position, answer?.end ?? position)
            view.heldBack = max(0, (highWatermark ?? position) - position)
        } else {
            view.end = [highWatermark, answer?.end].compactMap { $0 }.max()
        }
        return view
    }
}
