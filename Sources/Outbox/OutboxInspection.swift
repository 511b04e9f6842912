import CSQLite
import Readings

/// What an outbox's file shows to who looks at it from outside.
public struct OutboxInspection: Sendable, Equatable {
    /// The format's number.
    public var format: Int64
    /// Readings that wait.
    public var depth: Int64
    /// Readings set aside because they can never be sent.
    public var quarantined: Int64
    /// Readings dropped for want of room since the file was made.
    public var dropped: Int64
    /// The event time of the oldest reading that waits.
    public var oldest: Timestamp?
    /// What SQLite finds wrong in it; empty if nothing.
    public var damage: [String]
    /// Whether the check came to its end.
    public var isChecked: Bool
    /// Bytes in use, as `OutboxStatus` has them.
    public var bytes: Int64

    /// Makes one.
    public init(
        format: Int64, depth: Int64, quarantined: Int64 = 0, dropped: Int64 = 0, oldest: Timestamp? = nil,
        damage: [String] = [], isChecked: Bool = true, bytes: Int64 = 0
    ) {
        self.format = format
        self.depth = depth
        self.quarantined = quarantined
        self.dropped = dropped
        self.oldest = oldest
        self.damage = damage
        self.isChecked = isChecked
        self.bytes = bytes
    }

    /// Looks at a file without changing it, also while a gateway uses it, and checks its structure (PRAGMA quick_check).
    ///
    /// Blocks: call it on a thread that may wait.
    /// - Parameters:
    ///   - path: the file.
    ///   - mostBytes: the most bytes of the outbox (`OutboxLimits.bytes`).
    ///   - isOverdue: whether the check has taken long enough.
    /// - Throws: `OutboxError` if it is not there, cannot be read, or is no outbox.
    public init(path: String, mostBytes: Int64, isOverdue: @escaping () -> Bool) throws(OutboxError) {
        let database = try Database(ofTool: path, isReadOnly: true)
        // The bound of the wait for a writer.
        try database.execute("PRAGMA busy_timeout = 2000")
        format = try database.integer("PRAGMA user_version") ?? 0
        bytes = try OutboxFile.usedBytes(of: database, mostBytes: mostBytes)
        depth = try database.integer("SELECT count(*) FROM reading") ?? 0
        quarantined = try database.integer("SELECT count(*) FROM quarantine") ?? 0
        dropped = try database.integer("SELECT dropped FROM outbox") ?? 0
        oldest = try database.integer("SELECT event_time FROM reading ORDER BY seq LIMIT 1").map {
            Timestamp(milliseconds: $0)
        }
        var lines: [String] = []
        do throws(OutboxError) {
            try database.bounded(by: isOverdue) { () throws(OutboxError) in
                try database.prepare("PRAGMA quick_check(10)").run { row in lines.append(row.text(at: 0) ?? "") }
            }
            isChecked = true
        } catch {
            guard error.code & 0xFF == SQLITE_INTERRUPT else { throw error }
            isChecked = false
        }
        damage = lines == ["ok"] ? [] : lines
    }
}
