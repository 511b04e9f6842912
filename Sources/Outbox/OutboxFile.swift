import CSQLite
import Glibc
import Platform
import Readings

/// The open file of an outbox: its connection, and the statements on readings and the quarantine. Belongs to the
/// outbox's actor and is used on its thread alone, which Swift 6.0 does not see in closures inside the actor.
final class OutboxFile: @unchecked Sendable {
    let path: String
    let database: Database
    /// Whether the file is in a file system of the system's, not of a test's.
    private let isOnDisk: Bool
    /// The file that is open; nil if the path led to another one by then.
    private let identity: FileIdentity?
    /// SQLite's log beside the file.
    private var log: FileIdentity?
    /// Bytes that the log has at most while nothing keeps it from being put into the file.
    private let logBytesAtMost: Int64
    private let insertReading: Statement
    private let selectReadings: Statement
    private let selectBefore: Statement
    private let deleteThrough: Statement
    private let selectOldest: Statement
    private let pageCount: Statement
    private let freePageCount: Statement
    /// The lock on the file itself; nil in a test's file system. The last one here: it outlives the connection.
    let hold: FileHold?

    /// The size of a page, bytes. A commit writes whole pages.
    static let pageSize: Int64 = 4096

    /// Opens the file or makes it, brings it to the present format, and looks whether its parts can be read: the schema,
    /// its length, the small tables, the first and the last reading.
    /// - Parameters:
    ///   - mostBytes: the most bytes of the outbox.
    ///   - hold: the lock that this process may have on the file already.
    ///   - sync: puts on the medium what an earlier process has written and not synced, or tried in vain to sync.
    /// - Throws: `OutboxError`; with `isDamage` if it is no outbox that can be used, with `holder` if another process has
    ///   it.
    init(
        path: String, fileSystem: String?, mostBytes: Int64, hold: FileHold?, sync: (String) -> Bool
    ) throws(OutboxError) {
        self.path = path
        let logPages = Self.logPages(mostBytes: mostBytes)
        logBytesAtMost = Self.logBytesAtMost(mostBytes: mostBytes)
        if fileSystem == nil { try FileCheck.run(path) }
        database = try Database(path: path, fileSystem: fileSystem)
        // Until it is known to be an outbox.
        database.keepsLog(true)
        if fileSystem != nil {
            self.hold = nil
        } else if let hold, hold.identity == FileIdentity(path: path) {
            self.hold = hold
        } else {
            // Before the first statement, with which SQLite would look at the log.
            self.hold = try FileHold(path: path)
        }
        // The wait for another program's lock: short, since who reads waits behind it. The writer tries again.
        try database.execute("PRAGMA busy_timeout = 100")
        // Before the first table, else it has no effect but a page that is written at each start.
        if try database.integer("PRAGMA page_count") == 0 {
            try database.execute("PRAGMA auto_vacuum = INCREMENTAL")
        }
        try database.execute("PRAGMA journal_mode = WAL")
        try database.execute("PRAGMA synchronous = FULL")
        // The gateway's memory is small; 256 KiB of pages hold what is read and written at once.
        try database.execute("PRAGMA cache_size = -256")
        try database.execute("PRAGMA wal_autocheckpoint = \(logPages)")
        // The log keeps its length, so that there is room to drop readings on a full disk.
        try database.execute("PRAGMA journal_size_limit = \(logBytesAtMost)")
        // A page that is free is not overwritten with zeros: that would double what a deletion writes.
        try database.execute("PRAGMA secure_delete = OFF")
        try OutboxSchema.prepare(database)
        isOnDisk = fileSystem == nil
        // In this order: what is put in its place between the two has moved it.
        let found = FileIdentity(itself: path)
        identity = database.hasMoved ? nil : found
        insertReading = try database.statement(
            "INSERT INTO reading \(ReadingColumn.insertion)")
        selectReadings = try database.statement(
            "SELECT \(ReadingColumn.names) FROM reading WHERE seq > ? ORDER BY seq LIMIT ?")
        selectBefore = try database.statement("SELECT seq FROM reading WHERE seq < ? ORDER BY seq DESC LIMIT 1")
        deleteThrough = try database.statement("DELETE FROM reading WHERE seq <= ?")
        selectOldest = try database.statement("SELECT seq, event_time FROM reading ORDER BY seq LIMIT 1")
        pageCount = try database.prepare("PRAGMA page_count")
        freePageCount = try database.prepare("PRAGMA freelist_count")
        try check()
        // What a process that was killed had written to the log is there now, and would go with a power cut although it may
        // have been sent by then, and with all that is committed behind it. SQLite syncs neither that nor the name of a log
        // that it found. With the lock of a writer nobody else changes the log meanwhile; an empty one needs none.
        func syncLog() throws(OutboxError) {
            guard sync(path) else {
                throw OutboxError(
                    code: SQLITE_IOERR, message: "the log of an earlier process cannot be written", path: path)
            }
        }
        if isOnDisk, Self.logBytes(path) == 0 {
            try syncLog()
        } else {
            try database.transaction(syncLog)
        }
        database.keepsLog(false)
        if isOnDisk { log = FileIdentity(itself: path + "-wal") }
    }

    /// Whether the path leads to another file by now, to none or to a link, or the log is gone.
    var isReplaced: Bool {
        guard isOnDisk else { return false }
        // The path has no links. If one leads to the file now, a later start looks for the log beside its end. The log is as
        // much of it as the file: without it what was committed last would be gone with the connection.
        return identity == nil || FileIdentity(itself: path) != identity
            || log != nil && FileIdentity(itself: path + "-wal") != log
    }

    /// Looks whether its parts can be read: the tables and their columns, its length, the small tables, the first and the
    /// last reading.
    /// - Throws: `OutboxError`, with `isDamage` or SQLITE_ERROR if something is not there or cannot be read.
    func check() throws(OutboxError) {
        try OutboxSchema.check(database)
        let pages = try database.integer("PRAGMA page_count") ?? 0
        var status = stat()
        // What SQLite's log has yet may lie beyond the file's end.
        if isOnDisk, stat(path, &status) == 0, Self.logBytes(path) == 0, status.st_size < pages * Self.pageSize {
            throw OutboxError(code: SQLITE_CORRUPT, message: "it is cut off", path: path)
        }
        guard try database.integer("SELECT last_number FROM outbox") != nil else {
            throw OutboxError(code: SQLITE_CORRUPT, message: "its own row is gone", path: path)
        }
        let last = try lastNumber()
        guard last == 0 || Outbox.numbers.contains(last) else {
            throw OutboxError(code: SQLITE_CORRUPT, message: "the number \(last) is none", path: path)
        }
        guard try database.integer("SELECT count(*) FROM stream") == Int64(StreamTable.all(in: database).count) else {
            throw OutboxError(code: SQLITE_CORRUPT, message: "a stream is not as it was written", path: path)
        }
        _ = try GapTable.newest(in: database)
        _ = try database.integer("SELECT count(*) FROM gap")
        _ = try database.integer("SELECT count(*) FROM quarantine")
        try database.prepare("SELECT \(ReadingColumn.names) FROM reading ORDER BY seq DESC LIMIT 1").run()
        try selectReadings.run([.integer(0), .integer(1)])
        let first = try database.integer("SELECT min(seq) FROM reading")
        guard first.map({ Outbox.numbers.contains($0) }) ?? true else {
            throw OutboxError(code: SQLITE_CORRUPT, message: "a reading has no number", path: path)
        }
    }

    /// After so many pages in SQLite's log they are put into the file: a small outbox has a small log.
    private static func logPages(mostBytes: Int64) -> Int64 { min(max(mostBytes / 8 / pageSize, 16), 400) }

    private static func logBytesAtMost(mostBytes: Int64) -> Int64 { logPages(mostBytes: mostBytes) * 2 * pageSize }

    /// Bytes of SQLite's log beside a file.
    static func logBytes(_ path: String) -> Int64 {
        FileIdentity(path: path + "-wal")?.bytes ?? 0
    }
}

// MARK: Readings

extension OutboxFile {
    /// The largest number that the file knows of; 0 if there is none.
    func lastNumber() throws(OutboxError) -> Int64 {
        try database.statement(
            """
            SELECT max(coalesce((SELECT max(last_number) FROM outbox), 0), coalesce((SELECT max(seq) FROM reading), 0),
                coalesce((SELECT max(seq) FROM quarantine), 0), coalesce((SELECT max(last) FROM gap), 0),
                coalesce((SELECT max(coalesce(last, first)) FROM stream), 0))
            """
        ).integer() ?? 0
    }

    /// Inserts a reading under its number.
    /// - Throws: a constraint's error if there is one under that number.
    func insert(_ record: OutboxRecord) throws(OutboxError) {
        try record.insert(by: insertReading)
    }

    /// Readings in the order of their numbers.
    /// - Returns: those that are readings, and the numbers of rows that are none.
    /// - Throws: `OutboxError` with `isDamage` also if a page stands where another one belongs.
    func readings(
        after sequence: Int64, limit: Int
    ) throws(OutboxError) -> (records: [OutboxRecord], unreadable: [Int64]) {
        var records: [OutboxRecord] = []
        var unreadable: [Int64] = []
        var last = sequence
        var isFirst = true
        try selectReadings.run([.integer(sequence), .integer(Int64(limit))]) { row throws(OutboxError) in
            let number = row.integer(at: ReadingColumn.sequence.position) ?? 0
            guard number > last else {
                throw OutboxError(
                    code: SQLITE_CORRUPT, message: "the reading \(number) comes after \(last)", path: path)
            }
            if isFirst, number > last + 1 { try checkNeighbours(last, number) }
            isFirst = false
            last = number
            if let record = OutboxRecord(row), try isOfKnownStream(record.reading, row) {
                records.append(record)
            } else {
                unreadable.append(number)
            }
        }
        return (records, unreadable)
    }

    /// Looks whether the row that stands before one is none that a search should have found: in a page with damaged
    /// numbers it passes over others.
    /// - Parameters:
    ///   - sequence: the number after which was searched.
    ///   - found: the number that was found.
    private func checkNeighbours(_ sequence: Int64, _ found: Int64) throws(OutboxError) {
        let before = try selectBefore.integer([.integer(found)])
        guard let before, before < 1 || before > sequence else { return }
        throw OutboxError(
            code: SQLITE_CORRUPT, message: "the reading \(before) comes before \(found)", path: path)
    }

    /// Whether a row that has no checksum may be what was committed: its stream is one that the file knows, or nothing is
    /// known of streams there.
    private func isOfKnownStream(_ reading: Reading, _ row: Statement.Row) throws(OutboxError) -> Bool {
        if row.isChecked(at: ReadingColumn.checksum.position) { return true }
        var (known, matching): (Int64, Int64) = (0, 0)
        try database.statement("SELECT count(*), coalesce(sum(stream_id = ?), 0) FROM stream WHERE first <= ?")
            .run([.integer(Int64(bitPattern: reading.streamID.bits)), .integer(reading.sequence)]) { row in
                (known, matching) = (row.integer(at: 0) ?? 0, row.integer(at: 1) ?? 0)
            }
        return known == 0 || matching > 0
    }

    /// Deletes every reading up to and with a number.
    /// - Returns: how many.
    func delete(through sequence: Int64) throws(OutboxError) -> Int {
        try deleteThrough.run([.integer(sequence)])
        return database.changes
    }

    /// The oldest reading that waits, by its number.
    /// - Parameter sequence: it and what is before it are not looked at.
    func oldest(after sequence: Int64) throws(OutboxError) -> (sequence: Int64, eventTime: Int64)? {
        var oldest: (sequence: Int64, eventTime: Int64)?
        if sequence == 0 {
            try selectOldest.run { row in oldest = (row.integer(at: 0) ?? 0, row.integer(at: 1) ?? 0) }
        } else {
            try database.statement("SELECT seq, event_time FROM reading WHERE seq > ? ORDER BY seq LIMIT 1")
                .run([.integer(sequence)]) { row in oldest = (row.integer(at: 0) ?? 0, row.integer(at: 1) ?? 0) }
        }
        return oldest
    }

    /// Counts readings whose numbers lie above `sequence`, up to and with `last`, some of them.
    /// - Returns: how many of at most `limit`, and the number of the last one that was counted.
    func count(
        after sequence: Int64, through last: Int64, limit: Int
    ) throws(OutboxError) -> (count: Int, last: Int64?) {
        var result: (count: Int, last: Int64?) = (0, nil)
        try database.statement(
            "SELECT count(*), max(seq) FROM (SELECT seq FROM reading WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?)"
        ).run([.integer(sequence), .integer(last), .integer(Int64(limit))]) { row in
            result = (Int(row.integer(at: 0) ?? 0), row.integer(at: 1))
        }
        return result
    }

    /// Remembers a number whose row goes.
    func remember(lastNumber: Int64) throws(OutboxError) {
        try database.statement("UPDATE outbox SET last_number = max(last_number, ?)").run([.integer(lastNumber)])
    }

    /// The file's pages, and how many of them are free.
    func pages() throws(OutboxError) -> (all: Int64, free: Int64) {
        (try pageCount.integer() ?? 0, try freePageCount.integer() ?? 0)
    }

    /// Bytes of the file's pages in use and of the log.
    func usedBytes() throws(OutboxError) -> Int64 {
        Self.usedBytes(of: try pages(), path: path, logBytesAtMost: logBytesAtMost)
    }

    /// The same for a connection of a tool.
    /// - Parameter mostBytes: the most bytes of the outbox.
    static func usedBytes(of database: Database, mostBytes: Int64) throws(OutboxError) -> Int64 {
        let all = try database.integer("PRAGMA page_count") ?? 0
        let free = try database.integer("PRAGMA freelist_count") ?? 0
        return usedBytes(
            of: (all, free), path: withoutLinks(database.path), logBytesAtMost: logBytesAtMost(mostBytes: mostBytes))
    }

    /// A log that a reader of another program keeps from being put into the file counts as far as it usually grows: no
    /// reading that is dropped makes it shorter.
    private static func usedBytes(
        of pages: (all: Int64, free: Int64), path: String, logBytesAtMost: Int64
    ) -> Int64 {
        (pages.all - pages.free) * pageSize + min(logBytes(path), logBytesAtMost)
    }

    /// Moves rows that hold no reading out of the way, as text.
    func setAside(_ numbers: [Int64], now: Timestamp) throws(OutboxError) {
        let content = ReadingColumn.all.map { "quote(\($0.name))" }.joined(separator: " || ',' || ")
        let copy = try database.statement(
            "INSERT OR REPLACE INTO unreadable SELECT seq, ?, \(content) FROM reading WHERE seq = ?")
        let delete = try database.statement("DELETE FROM reading WHERE seq = ?")
        for number in numbers {
            try copy.run([.integer(now.milliseconds), .integer(number)])
            try delete.run([.integer(number)])
        }
        // They are for a person to look at, and nobody looks at thousands.
        try database.execute(
            "DELETE FROM unreadable WHERE seq IN (SELECT seq FROM unreadable ORDER BY found_at DESC LIMIT -1 OFFSET 1000)"
        )
    }
}

// MARK: Quarantine

extension OutboxFile {
    private static let quarantineColumns =
        "seq, stream_id, gateway_id, event_time, reason, quarantined_at, is_requeued, body"

    /// Moves a reading into the quarantine, and keeps that within its bounds.
    func quarantine(
        _ record: OutboxRecord, reason: String, limits: OutboxLimits, now: Timestamp
    ) throws(OutboxError) {
        let reading = record.reading
        try insertQuarantined(
            QuarantinedReading(
                sequence: reading.sequence, streamID: reading.streamID, gatewayID: reading.gatewayID.description,
                eventTime: reading.eventTime, reason: reason, quarantinedAt: now, isRequeued: false,
                body: String(decoding: reading.encoded(), as: UTF8.self)))
        try database.statement("DELETE FROM reading WHERE seq = ?").run([.integer(reading.sequence)])
        try boundQuarantine(limits)
    }

    func insertQuarantined(_ reading: QuarantinedReading) throws(OutboxError) {
        try database.statement(
            "INSERT OR REPLACE INTO quarantine (\(Self.quarantineColumns)) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        ).run([
            .integer(reading.sequence), .integer(Int64(bitPattern: reading.streamID.bits)), .text(reading.gatewayID),
            .integer(reading.eventTime.milliseconds), .text(reading.reason),
            .integer(reading.quarantinedAt?.milliseconds ?? 0), .integer(reading.isRequeued ? 1 : 0),
            .text(reading.body),
        ])
    }

    private func boundQuarantine(_ limits: OutboxLimits) throws(OutboxError) {
        var (count, bytes): (Int64, Int64) = (0, 0)
        try database.statement("SELECT count(*), coalesce(sum(length(body)), 0) FROM quarantine").run { row in
            (count, bytes) = (row.integer(at: 0) ?? 0, row.integer(at: 1) ?? 0)
        }
        let forget = try database.statement(
            "DELETE FROM quarantine WHERE seq = (SELECT min(seq) FROM quarantine) RETURNING length(body)")
        while count > Int64(limits.quarantinedReadings) || bytes > limits.quarantinedBytes, count > 1 {
            try forget.run { row in bytes -= row.integer(at: 0) ?? 0 }
            count -= 1
        }
    }

    /// Readings in the quarantine in the order of their numbers.
    func quarantined(
        after sequence: Int64, limit: Int, onlyRequeued: Bool
    ) throws(OutboxError) -> [QuarantinedReading] {
        try Self.quarantined(after: sequence, limit: limit, onlyRequeued: onlyRequeued, in: database)
    }

    static func quarantined(
        after sequence: Int64, limit: Int, onlyRequeued: Bool, in database: Database
    ) throws(OutboxError) -> [QuarantinedReading] {
        var readings: [QuarantinedReading] = []
        try database.statement(
            """
            SELECT \(Self.quarantineColumns) FROM quarantine
            WHERE seq > ?\(onlyRequeued ? " AND is_requeued = 1" : "") ORDER BY seq LIMIT ?
            """
        ).run([.integer(sequence), .integer(Int64(limit))]) { row in
            let time = row.integer(at: 5) ?? 0
            readings.append(
                QuarantinedReading(
                    sequence: row.integer(at: 0) ?? 0,
                    streamID: StreamID(bits: UInt64(bitPattern: row.integer(at: 1) ?? 0)),
                    gatewayID: row.text(at: 2) ?? "", eventTime: Timestamp(milliseconds: row.integer(at: 3) ?? 0),
                    reason: row.text(at: 4) ?? "",
                    quarantinedAt: time == 0 ? nil : Timestamp(milliseconds: time),
                    isRequeued: row.integer(at: 6) == 1, body: row.text(at: 7) ?? ""))
        }
        return readings
    }
}

/// The folder that a file is in.
func folder(of path: String) -> String {
    path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
}

/// Makes what a file's log holds, and the names in its folder, survive a power cut (fsync(2)).
///
/// The log is written once more with what it holds: pages whose sync failed, in an earlier process too, count as clean for
/// the kernel, and no later sync would write them.
/// - Returns: whether the storage took the log.
public let syncLogAndFolder: @Sendable (String) -> Bool = { path in
    let log = open(path + "-wal", O_RDWR | O_CLOEXEC)
    if log >= 0 {
        defer { close(log) }
        guard rewrite(log) else { return false }
    }
    let directory = open(folder(of: path), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if directory >= 0 {
        // A file system that cannot do it says so, and there is nothing else to do.
        fsync(directory)
        close(directory)
    }
    return true
}

private func rewrite(_ descriptor: Int32) -> Bool {
    var bytes = [UInt8](repeating: 0, count: 65_536)
    var position = 0
    while true {
        let count = pread(descriptor, &bytes, bytes.count, off_t(position))
        if count == 0 { break }
        guard count > 0, pwrite(descriptor, bytes, count, off_t(position)) == count else { return false }
        position += count
    }
    // EINVAL: the file system cannot do it.
    return position == 0 || fsync(descriptor) == 0 || errno == EINVAL
}
