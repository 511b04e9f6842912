import Readings

extension Outbox {
    /// How full the outbox is now.
    public func status() throws(OutboxError) -> OutboxStatus {
        try withFile { file throws(OutboxError) in
            let acknowledged =
                acknowledgedThrough == 0
                ? 0
                : try file.database.integer("SELECT count(*) FROM reading WHERE seq <= \(acknowledgedThrough)") ?? 0
            return OutboxStatus(
                depth: max(0, rows.count - Int(acknowledged)),
                oldest: try file.oldest(after: acknowledgedThrough).map { Timestamp(milliseconds: $0.eventTime) },
                lastSequence: lastNumber ?? 0, bytes: try file.usedBytes(),
                dropped: try file.database.integer("SELECT dropped FROM outbox") ?? 0,
                quarantined: Int(try file.database.integer("SELECT count(*) FROM quarantine") ?? 0))
        }
    }

    /// The stream that goes on; nil before the first reading that is committed after a start.
    public var streamID: StreamID? { stream?.streamID }

    /// The largest number ever given; 0 in a new outbox and while no file could be opened.
    public var lastSequence: Int64 { lastNumber ?? 0 }

    /// Deletes what was acknowledged, notes the number of rows and the last number for the next start, and closes the file.
    /// - Throws: why that is not possible; nothing is lost by it.
    public func close() throws(OutboxError) {
        try settle(notingLastNumber: true)
        let count = try withFile { file throws(OutboxError) in try countAll(file) }
        try withFile { file throws(OutboxError) in
            try file.database.execute("UPDATE outbox SET readings = \(count)")
        }
        opened = nil
        hold = nil
        lock = nil
    }
}
