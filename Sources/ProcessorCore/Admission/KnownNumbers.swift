import Readings

/// The readings of a batch whose numbers were admitted before: each is the same reading again, or a conflict.
struct KnownNumbers {
    /// Their rows, by their indices in the batch, ascending: only those that can be told apart.
    private(set) var candidates: [Int] = []
    /// Rows that count as duplicates without a look, ascending.
    private var certain: [Int] = []

    /// A number of a stream of the batch.
    private struct Number: Hashable {
        var stream: Int32
        var sequence: Int64
    }

    /// Notes a row whose number was admitted before. Copies of an outbox may estimate times differently, and what is older
    /// than the retention is not there to be compared: these are duplicates.
    mutating func note(_ row: ReadingBatch.Row, at index: Int, cutoff: RetentionCutoff) {
        if row.timeQuality == .estimated || row.eventTime < cutoff.readings {
            certain.append(index)
        } else {
            candidates.append(index)
        }
    }

    /// Compares the candidates with the rows that the batch itself brought.
    /// - Returns: those that differ from such a row, and those whose row is older than the batch.
    func comparedWithin(_ batch: ReadingBatch) -> (conflicts: [Int], older: [Int]) {
        if candidates.isEmpty { return ([], []) }
        var waiting = Set(
            candidates.map { Number(stream: batch.rows[$0].stream, sequence: batch.rows[$0].sequence) })
        var admitted: [Number: Int] = [:]
        var (nextCandidate, nextCertain) = (candidates[...], certain[...])
        for (index, row) in batch.rows.enumerated() {
            if nextCandidate.first == index {
                nextCandidate.removeFirst()
            } else if nextCertain.first == index {
                nextCertain.removeFirst()
            } else if let number = waiting.remove(Number(stream: row.stream, sequence: row.sequence)) {
                admitted[number] = index
            }
        }
        var (conflicts, older): ([Int], [Int]) = ([], [])
        for index in candidates {
            let row = batch.rows[index]
            guard let first = admitted[Number(stream: row.stream, sequence: row.sequence)] else {
                older.append(index)
                continue
            }
            if !row.isSameReading(as: batch.rows[first]) { conflicts.append(index) }
        }
        return (conflicts, older)
    }
}

extension ReadingBatch.Row {
    /// Whether two rows of one batch with one number are the same reading: no quantity that both have differs. One may lack
    /// what an older program did not know.
    func isSameReading(as other: ReadingBatch.Row) -> Bool {
        sensor == other.sensor && eventTime == other.eventTime
            && values.present.intersection(other.values.present).members.allSatisfy { values[$0] == other.values[$0] }
    }
}
