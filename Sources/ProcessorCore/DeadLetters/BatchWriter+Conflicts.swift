import Monitoring
import ReadingDecoding
import Readings

extension BatchWriter {
    /// About so many messages are read from the broker and sent at once: each may have 64 KiB.
    private static let mostOriginals = 500

    /// Sends conflicts to the rejected topic, as the broker has them.
    ///
    /// The transaction that found them is rolled back and tried again afterwards. So a conflict is in the topic before the
    /// table has it: at least once there, as a crash in between sends it again, and once in the table.
    func announce(_ found: UnannouncedConflicts, of batch: ReadingBatch) async throws {
        let indices = Dictionary(
            batch.rows.enumerated().map { (Place($0.element.partition, $0.element.offset), $0.offset) },
            uniquingKeysWith: { first, _ in first })
        let conflicts = found.conflicts.compactMap { conflict in
            indices[Place(conflict.partition, conflict.offset)].map { (index: $0, conflict: conflict) }
        }
        for start in stride(from: 0, to: conflicts.count, by: BatchWriter.mostOriginals) {
            let part = conflicts[start..<min(start + BatchWriter.mostOriginals, conflicts.count)]
            let rejections = part.map { index, conflict in
                let stream = conflict.name.streamID
                let detail = "another reading has the number \(conflict.sequence) of the stream \(stream)"
                return (index, Rejection(.sequenceConflict, field: "seq", detail: detail))
            }
            // They come in the order of their indices, as the conflicts do.
            var messages = try await originals(of: Dictionary(uniqueKeysWithValues: rejections), in: batch)
            for (place, conflict) in zip(messages.indices, part) {
                messages[place].ownStream = conflict.conflict.ownStream
            }
            try await rejectedTopic.publish(messages, now: wallClock.now())
        }
        log.warning(
            "readings under numbers that other readings have went to the rejected topic",
            [
                "readings": conflicts.count, "gateway": found.conflicts.first?.name.gatewayID ?? "",
                "stream": found.conflicts.first.map { "\($0.name.streamID)" } ?? "",
                "remedy": "vigie-processor redrive --reason sequence_conflict makes rows of them",
            ])
    }
}

/// Where a message stands in the topic.
private struct Place: Hashable {
    var partition: Int32
    var offset: Int64

    init(_ partition: Int32, _ offset: Int64) {
        self.partition = partition
        self.offset = offset
    }
}
