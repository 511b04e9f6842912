import CSQLite
import Platform
import Readings

/// The durable queue between the sampler and the publisher.
///
/// **Constraints.** Power may go at any instant. The network may be away for a month. The storage is an SD card. A
/// number, once given, is never given again, whatever happens in between; the centre finds duplicates and losses by
/// these numbers alone.
///
/// **Format.** One SQLite file, in WAL mode with synchronous=FULL: a commit returns after fsync(2). `outbox` holds the
/// stream's identity, made at random with the file, and the count of dropped readings. `reading` has one row a
/// reading; its key is AUTOINCREMENT, so SQLite remembers the largest one in `sqlite_sequence`, also when the table is
/// empty. `quarantine` has the readings that can never be sent, with the reason. `PRAGMA user_version` is the format's
/// number. Format 2 added `committed_at`: the wall clock when the group of a reading was committed, empty for what
/// format 1 held. It is read as the group's transaction begins, since what is written cannot tell when it was synced.
///
/// **Write.** `append` commits a group of readings in one transaction; when it returns they survive everything but the
/// loss of the storage. When a limit is passed, the oldest readings go in the same transaction, counted.
///
/// **Read.** `read(after:limit:)` gives readings in the order of their numbers and leaves them in place.
///
/// **Acknowledge.** `acknowledge(through:)` deletes what the broker has. A crash between the broker's answer and this
/// makes the same readings be sent again under the same numbers, which is harmless.
///
/// SQLite's calls block, so the outbox has a thread of its own.
public actor Outbox {
    /// The format's number, in the file's `user_version`.
    static let format: Int64 = 2

    /// The identity of this file.
    public nonisolated let streamID: StreamID
    /// The file.
    public nonisolated let path: String
    private nonisolated let executor: ThreadExecutor
    private let limits: OutboxLimits
    private let wallClock: any WallClock
    let database: Database
    private let insert: Statement
    private let select: Statement
    private let deleteThrough: Statement
    private var depth: Int
    private let observer: @Sendable () -> Void

    /// Runs on the outbox's own thread.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// Opens the file, or makes it with a new identity.
    /// - Parameters:
    ///   - path: the file; its folder must exist.
    ///   - limits: how far it may grow.
    ///   - randomBits: 64 random bits for a new file's identity.
    ///   - wallClock: tells when a group of readings was committed.
    ///   - onAppend: called after each commit of new readings, on the outbox's thread; must return at once.
    /// - Throws: `OutboxError` if the file cannot be opened, is damaged, or was made by a newer release.
    public static func open(
        path: String, limits: OutboxLimits = OutboxLimits(), randomBits: UInt64 = .random(in: 1...UInt64.max),
        wallClock: any WallClock = SystemWallClock(), onAppend: @escaping @Sendable () -> Void = {}
    ) async throws(OutboxError) -> Outbox {
        let executor = ThreadExecutor(name: "outbox")
        let opener = Opener(executor: executor)
        return try await opener.open(
            path: path, limits: limits, randomBits: randomBits, wallClock: wallClock, onAppend: onAppend)
    }

    /// Opens files on the outbox's thread, before there is an outbox to do it.
    private actor Opener {
        private nonisolated let executor: ThreadExecutor
        nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

        init(executor: ThreadExecutor) {
            self.executor = executor
        }

        func open(
            path: String, limits: OutboxLimits, randomBits: UInt64, wallClock: any WallClock,
            onAppend: @escaping @Sendable () -> Void
        ) throws(OutboxError) -> Outbox {
            try Outbox(
                path: path, limits: limits, randomBits: randomBits, wallClock: wallClock, executor: executor,
                onAppend: onAppend)
        }
    }

    private init(
        path: String, limits: OutboxLimits, randomBits: UInt64, wallClock: any WallClock, executor: ThreadExecutor,
        onAppend: @escaping @Sendable () -> Void
    ) throws(OutboxError) {
        let database = try Database(path: path)
        streamID = try Outbox.prepareFile(database, randomBits: randomBits)
        insert = try database.prepare(
            """
            INSERT INTO reading (event_time, time_quality, boot_id, boot_time, gateway_id, sensor_id, interval_ms, \
            temperature, humidity, co2, pressure, battery_level, battery_voltage, faults, latitude, longitude, \
            simulated, committed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """)
        select = try database.prepare(
            """
            SELECT seq, event_time, time_quality, boot_id, boot_time, gateway_id, sensor_id, interval_ms, \
            temperature, humidity, co2, pressure, battery_level, battery_voltage, faults, latitude, longitude, \
            simulated, committed_at FROM reading WHERE seq > ? ORDER BY seq LIMIT ?
            """)
        deleteThrough = try database.prepare("DELETE FROM reading WHERE seq <= ?")
        depth = Int(try database.integer("SELECT count(*) FROM reading") ?? 0)
        self.path = path
        self.limits = limits
        self.wallClock = wallClock
        self.executor = executor
        self.database = database
        observer = onAppend
    }

    private static func prepareFile(_ database: Database, randomBits: UInt64) throws(OutboxError) -> StreamID {
        // The bound of the wait for another program's lock, such as sqlite3's shell.
        try database.execute("PRAGMA busy_timeout = 2000")
        try database.execute("PRAGMA journal_mode = WAL")
        try database.execute("PRAGMA synchronous = FULL")
        // The gateway's memory is small; 512 KiB of pages hold what is read and written at once.
        try database.execute("PRAGMA cache_size = -512")
        let version = try database.integer("PRAGMA user_version") ?? 0
        if version > format {
            throw OutboxError(
                code: SQLITE_ERROR,
                message: "made by a newer release (format \(version), this one knows \(format)): install that release",
                path: database.path)
        }
        if version == 0 {
            try database.transaction { () throws(OutboxError) in
                try database.execute(schema)
                try database.prepare("INSERT INTO outbox (stream_id) VALUES (?)")
                    .run([.text(StreamID(bits: randomBits).description)])
                try database.execute("PRAGMA user_version = \(format)")
            }
        } else if version == 1 {
            try database.transaction { () throws(OutboxError) in
                try database.execute("ALTER TABLE reading ADD COLUMN committed_at INTEGER")
                try database.execute("PRAGMA user_version = \(format)")
            }
        }
        var text = ""
        try database.prepare("SELECT stream_id FROM outbox").run { row in text = row.text(0) }
        guard let streamID = StreamID(text) else {
            throw OutboxError(
                code: SQLITE_CORRUPT, message: "the stream's identity is not readable", path: database.path)
        }
        return streamID
    }

    private static let schema = """
        CREATE TABLE outbox (
            stream_id TEXT NOT NULL,
            dropped INTEGER NOT NULL DEFAULT 0
        );
        CREATE TABLE reading (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            event_time INTEGER NOT NULL,
            time_quality TEXT NOT NULL,
            boot_id TEXT NOT NULL,
            boot_time INTEGER NOT NULL,
            gateway_id TEXT NOT NULL,
            sensor_id TEXT NOT NULL,
            interval_ms INTEGER NOT NULL,
            temperature REAL, humidity REAL, co2 REAL, pressure REAL,
            battery_level REAL, battery_voltage REAL,
            faults TEXT NOT NULL,
            latitude REAL, longitude REAL,
            simulated INTEGER NOT NULL,
            committed_at INTEGER
        );
        CREATE TABLE quarantine (
            seq INTEGER PRIMARY KEY,
            reason TEXT NOT NULL,
            event_time INTEGER NOT NULL,
            body TEXT NOT NULL
        );
        """

    /// Commits readings in one transaction; each gets the next number.
    /// - Returns: the last number; the readings have the numbers up to it, in their order. Nil if there are none.
    @discardableResult
    public func append(_ records: [OutboxRecord]) throws(OutboxError) -> Int64? {
        if records.isEmpty { return nil }
        let dropped = try database.transaction { () throws(OutboxError) in
            let now = wallClock.now()
            for record in records { try insert.run(Outbox.values(of: record, committedAt: now)) }
            return try makeRoom(appended: records.count)
        }
        let last = database.lastInsertedRow
        depth += records.count - dropped
        observer()
        return last
    }

    /// Reads readings in the order of their numbers.
    /// - Parameters:
    ///   - sequence: the number after which to begin; 0 begins at the oldest.
    ///   - limit: the most readings.
    public func read(after sequence: Int64 = 0, limit: Int) throws(OutboxError) -> [OutboxRecord] {
        var records: [OutboxRecord] = []
        try select.run([.integer(sequence), .integer(Int64(limit))]) { row throws(OutboxError) in
            records.append(try record(row))
        }
        return records
    }

    /// Deletes every reading up to and with `sequence`: the broker has them.
    public func acknowledge(through sequence: Int64) throws(OutboxError) {
        try deleteThrough.run([.integer(sequence)])
        depth -= database.changes
    }

    /// Moves a reading that can never be sent out of the way, with its body and the reason.
    public func quarantine(_ reading: Reading, reason: String) throws(OutboxError) {
        let removed = try database.transaction { () throws(OutboxError) in
            try database.prepare(
                "INSERT OR REPLACE INTO quarantine (seq, reason, event_time, body) VALUES (?, ?, ?, ?)"
            )
            .run([
                .integer(reading.sequence), .text(reason), .integer(reading.eventTime.milliseconds),
                .text(String(decoding: reading.encoded(), as: UTF8.self)),
            ])
            try database.prepare("DELETE FROM reading WHERE seq = ?").run([.integer(reading.sequence)])
            return database.changes
        }
        depth -= removed
    }

    /// How full the outbox is now.
    public func status() throws(OutboxError) -> OutboxStatus {
        OutboxStatus(
            depth: depth,
            oldest: try database.integer("SELECT event_time FROM reading ORDER BY seq LIMIT 1")
                .map { Timestamp(milliseconds: $0) },
            lastSequence: try database.integer("SELECT seq FROM sqlite_sequence WHERE name = 'reading'") ?? 0,
            bytes: try usedBytes(),
            dropped: try database.integer("SELECT dropped FROM outbox") ?? 0,
            quarantined: Int(try database.integer("SELECT count(*) FROM quarantine") ?? 0))
    }

    private func usedBytes() throws(OutboxError) -> Int64 {
        let pages = try database.integer("PRAGMA page_count") ?? 0
        let free = try database.integer("PRAGMA freelist_count") ?? 0
        return (pages - free) * (try database.integer("PRAGMA page_size") ?? 0)
    }

    /// Drops the oldest readings until the limits hold, but never the newest one.
    /// - Returns: how many went.
    private func makeRoom(appended: Int) throws(OutboxError) -> Int {
        let held = depth + appended
        var dropped = 0
        if held > limits.readings { dropped += try dropOldest(held - max(limits.readings, 1)) }
        while try usedBytes() > limits.bytes, held - dropped > 1 {
            // A share of the whole, so that a page comes free after few rounds.
            dropped += try dropOldest(min(max((held - dropped) / 64, 16), held - dropped - 1))
        }
        if dropped > 0 { try database.execute("UPDATE outbox SET dropped = dropped + \(dropped)") }
        return dropped
    }

    private func dropOldest(_ count: Int) throws(OutboxError) -> Int {
        try database.execute(
            "DELETE FROM reading WHERE seq IN (SELECT seq FROM reading ORDER BY seq LIMIT \(count))")
        return database.changes
    }

    private static func values(of record: OutboxRecord, committedAt now: Timestamp) -> [Statement.Value] {
        let reading = record.reading
        return [
            .integer(reading.eventTime.milliseconds), .text(reading.timeQuality.rawValue), .text(record.bootID),
            .integer(record.bootTimeMilliseconds), .text(reading.gatewayID.description),
            .text(reading.sensorID.description), .integer(reading.intervalMilliseconds),
            .real(reading.values.temperature), .real(reading.values.humidity), .real(reading.values.co2),
            .real(reading.values.pressure), .real(reading.values.batteryLevel), .real(reading.values.batteryVoltage),
            .text(reading.faults.map(\.description).joined(separator: " ")),
            .real(reading.place?.latitude), .real(reading.place?.longitude),
            .integer(reading.isSimulated ? 1 : 0), .integer(now.milliseconds),
        ]
    }

    private func record(_ row: Statement.Row) throws(OutboxError) -> OutboxRecord {
        guard let gatewayID = Identifier(row.text(5)), let sensorID = Identifier(row.text(6)) else {
            throw OutboxError(
                code: SQLITE_CORRUPT, message: "the names of reading \(row.integer(0)) are not readable", path: path)
        }
        let reading = Reading(
            gatewayID: gatewayID, sensorID: sensorID, streamID: streamID, sequence: row.integer(0),
            eventTime: Timestamp(milliseconds: row.integer(1)),
            timeQuality: TimeQuality(rawValue: row.text(2)) ?? .estimated, intervalMilliseconds: row.integer(7),
            values: Values(
                temperature: row.real(8), humidity: row.real(9), co2: row.real(10), pressure: row.real(11),
                batteryLevel: row.real(12), batteryVoltage: row.real(13)),
            faults: row.text(14).split(separator: " ").compactMap { fault in
                let parts = fault.split(separator: ":", maxSplits: 1)
                guard parts.count == 2, let chip = Identifier(String(parts[0])), let kind = Identifier(String(parts[1]))
                else { return nil }
                return Fault(chip: chip, kind: kind)
            },
            place: row.real(15).flatMap { latitude in
                row.real(16).flatMap { Place(latitude: latitude, longitude: $0) }
            },
            isSimulated: row.integer(17) != 0)
        return OutboxRecord(
            reading: reading, bootID: row.text(3), bootTimeMilliseconds: row.integer(4),
            committedAt: row.optionalInteger(18).map { Timestamp(milliseconds: $0) })
    }
}
