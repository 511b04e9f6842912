import CSQLite
import Readings

extension Outbox {
    /// Moves a reading that the broker refused alone out of the way. Its number becomes a gap until it is sent after all.
    /// - Parameters:
    ///   - record: the reading, as `read` gave it.
    ///   - reason: the broker's.
    /// - Throws: why that is not possible now; the reading is where it was.
    public func quarantine(_ record: OutboxRecord, reason: String) throws(OutboxError) {
        let reading = record.reading
        let isThere = try withFile { file throws(OutboxError) in
            try file.database.transaction { () throws(OutboxError) in
                guard
                    try file.database.integer("SELECT 1 FROM reading WHERE seq = \(reading.sequence)") != nil
                else { return false }
                try file.quarantine(record, reason: reason, limits: limits, now: wallClock.now())
                try add(
                    Gap(
                        streamID: reading.streamID, gatewayID: reading.gatewayID.description, reason: .quarantined,
                        ranges: NumberRanges(reading.sequence...reading.sequence)),
                    to: file.database)
                try keepLastNumber(in: file)
                return true
            }
        }
        if isThere { rows.deleted(1) }
    }

    /// Readings in the quarantine that are to be sent once more, in the order of their numbers.
    public func requeued(after sequence: Int64 = 0, limit: Int) throws(OutboxError) -> [QuarantinedReading] {
        try withFile { file throws(OutboxError) in
            try file.quarantined(after: sequence, limit: limit, onlyRequeued: true)
        }
    }

    /// The broker has a reading of the quarantine.
    public func acknowledge(requeued sequence: Int64) throws(OutboxError) {
        try withFile { file throws(OutboxError) in
            try file.database.transaction { () throws(OutboxError) in
                try file.database.statement("DELETE FROM quarantine WHERE seq = ? AND is_requeued = 1")
                    .run([.integer(sequence)])
                try keepLastNumber(in: file)
            }
        }
    }

    /// The broker refused a reading of the quarantine once more: it stays there.
    public func refuse(requeued sequence: Int64, reason: String) throws(OutboxError) {
        try withFile { file throws(OutboxError) in
            try file.database.statement(
                "UPDATE quarantine SET is_requeued = 0, reason = ?, quarantined_at = ? WHERE seq = ?"
            ).run([.text(reason), .integer(wallClock.now().milliseconds), .integer(sequence)])
        }
    }
}

/// The quarantine of an outbox's file, for a person at the board; a gateway may be running on it.
///
/// What `requeue` changes has the size that it had, so no page of the file takes another one's place by it.
public struct OutboxQuarantine {
    private let database: Database

    /// Opens the file.
    ///
    /// Blocks: call it on a thread that may wait.
    /// - Throws: `OutboxError` if it is not there, cannot be read, or is of another release.
    public init(path: String, isReadOnly: Bool) throws(OutboxError) {
        database = try Database(ofTool: path, isReadOnly: isReadOnly)
        try database.execute("PRAGMA busy_timeout = 5000")
        let format = try database.integer("PRAGMA user_version") ?? 0
        guard format == OutboxSchema.format else {
            throw OutboxError(
                code: SQLITE_ERROR,
                message: "it is of format \(format), this release knows \(OutboxSchema.format)", path: path,
                remedy: format < OutboxSchema.format
                    ? "start the gateway once, which brings it to that" : "use the release of the gateway that made it")
        }
    }

    /// Gives every reading of the quarantine to `body`, in the order of their numbers.
    public func forEach(_ body: (QuarantinedReading) -> Void) throws(OutboxError) {
        var after: Int64 = 0
        while true {
            let portion = try OutboxFile.quarantined(
                after: after, limit: 500, onlyRequeued: false, in: database)
            guard let last = portion.last?.sequence else { return }
            portion.forEach(body)
            after = last
        }
    }

    /// Marks readings to be sent once more; the gateway does it within seconds.
    /// - Parameter numbers: which; nil: all.
    /// - Returns: how many are marked now, and which of the numbers are not in the quarantine.
    public func requeue(_ numbers: Set<Int64>?) throws(OutboxError) -> (count: Int, missing: [Int64]) {
        try database.transaction { () throws(OutboxError) in
            guard let numbers else {
                try database.execute("UPDATE quarantine SET is_requeued = 1")
                return (database.changes, [])
            }
            let mark = try database.statement("UPDATE quarantine SET is_requeued = 1 WHERE seq = ?")
            var (count, missing) = (0, [Int64]())
            for number in numbers.sorted() {
                try mark.run([.integer(number)])
                count += database.changes
                if database.changes == 0 { missing.append(number) }
            }
            return (count, missing)
        }
    }
}
