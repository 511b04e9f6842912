import CSQLite
import Readings

/// The tables of an outbox's file, and how older files become such.
///
/// `outbox` has one row: what the file remembers of rows that are gone. `reading` has one row a reading that waits.
/// `quarantine` has the readings that the broker refused alone. `stream` has one row a stream of which something is
/// still to be told, and the present one. `gap` has numbers that never come, until the centre was told.
/// `unreadable` has rows that hold no reading. `PRAGMA user_version` is the format's number.
///
/// Format 1 is the first. Format 2 added `committed_at`. Format 3 added streams, gaps and what is new in `outbox`; a
/// reading names its stream, and numbers are given by the program, not by AUTOINCREMENT, which writes a page more
/// with each commit. Each quantity that was added since is a format of its own, which adds its column to `reading`, and so is
/// format 6, which added the checksum there and to `stream`.
enum OutboxSchema {
    /// The format's number, in the file's `user_version`.
    static let format = formatWithStreams + Int64(addedColumns.count)
    /// The last format from which on each one has added a column.
    private static let formatWithStreams: Int64 = 3
    /// The columns of `reading` that the formats since have added, one each.
    private static let addedColumns = ReadingColumn.all.dropFirst(Int(ReadingColumn.streamFirst.position) + 1)

    /// Makes the tables of a new file, or brings an older file to the present format, in one transaction.
    /// - Throws: `OutboxError` with `isDamage` if the file is no outbox.
    static func prepare(_ database: Database) throws(OutboxError) {
        let version = try database.integer("PRAGMA user_version") ?? 0
        switch version {
        case format: return
        case 0:
            let present = try database.integer("SELECT count(*) FROM sqlite_schema") ?? 0
            guard present == 0 else {
                throw OutboxError(
                    code: SQLITE_NOTADB, message: "it belongs to another program", path: database.path)
            }
            try database.transaction { () throws(OutboxError) in
                try database.execute(allTables(stream: nil))
                try database.execute("INSERT INTO outbox (last_number, dropped) VALUES (0, 0)")
                try database.execute("PRAGMA user_version = \(format)")
            }
        case 1, 2: try migrate(database, from: version)
        case formatWithStreams..<format:
            try database.transaction { () throws(OutboxError) in
                let missing = addedColumns.dropFirst(Int(version - formatWithStreams))
                try add(missing, to: database)
                if missing.contains(.checksum) {
                    try database.execute("ALTER TABLE stream ADD COLUMN \(checksumOfOlderRows)")
                }
                try database.execute("PRAGMA user_version = \(format)")
            }
        case let newer where newer > format:
            throw OutboxError(
                code: SQLITE_NOTADB,
                message: "made by a newer release (format \(newer), this one knows \(format)): install that release",
                path: database.path)
        default:
            throw OutboxError(code: SQLITE_NOTADB, message: "it belongs to another program", path: database.path)
        }
    }

    private static let tables = ["outbox", "reading", "quarantine", "stream", "gap", "unreadable"]

    /// The tables of a file, by their names.
    struct Tables {
        var names: Set<String>

        /// Whether they are an outbox's. A damage may have taken some away, and other programs have a table `outbox`, too.
        var isOutbox: Bool { names.intersection(OutboxSchema.tables).count >= 2 }
    }

    /// The tables of a file, without those that SQLite itself makes.
    static func tables(in database: Database) throws(OutboxError) -> Tables {
        var names: Set<String> = []
        try database.prepare(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'"
        ).run { row in names.insert(row.text(at: 0) ?? "") }
        return Tables(names: names)
    }

    /// Adds columns to `reading`; rows that are there do not have them.
    private static func add(_ columns: ArraySlice<ReadingColumn>, to database: Database) throws(OutboxError) {
        for column in columns {
            let definition = column == .checksum ? checksumOfOlderRows : "\(column.name) \(column.type)"
            try database.execute("ALTER TABLE reading ADD COLUMN \(definition)")
        }
    }

    /// The column of the checksum in a table whose rows are there already and do not have it.
    private static let checksumOfOlderRows =
        "\(ReadingColumn.checksum.name) \(ReadingColumn.checksum.type) DEFAULT \(RowChecksum.none)"

    /// Looks whether the tables are there, each with pages of its own.
    /// - Throws: `OutboxError` with `isDamage` if they are not.
    static func check(_ database: Database) throws(OutboxError) {
        let names = tables.map { "'\($0)'" }.joined(separator: ", ")
        let roots = try database.integer(
            "SELECT count(DISTINCT rootpage) FROM sqlite_schema WHERE type = 'table' AND name IN (\(names))")
        guard roots == Int64(tables.count) else {
            throw OutboxError(code: SQLITE_CORRUPT, message: "a table is missing", path: database.path)
        }
    }

    /// The statement that makes `reading`.
    /// - Parameter stream: the stream of rows that do not name one, for a file that was made by an older release.
    private static func readingTable(stream: StreamID?) -> String {
        let columns = ReadingColumn.all.map { column in
            switch (column, stream) {
            case (.streamID, let stream?): "\(column.name) \(column.type) DEFAULT \(Int64(bitPattern: stream.bits))"
            case (.streamFirst, .some): "\(column.name) \(column.type) DEFAULT 1"
            case (.checksum, .some): checksumOfOlderRows
            default: "\(column.name) \(column.type)"
            }
        }
        return "CREATE TABLE reading (\(columns.joined(separator: ", ")))"
    }

    /// The columns that format 3 added to `quarantine`, with what they hold for rows from before.
    private static func newQuarantineColumns(stream: StreamID?, gatewayID: String?) -> [String] {
        let streamDefault = stream.map { " DEFAULT \(Int64(bitPattern: $0.bits))" } ?? ""
        // Names have no character that SQL would have to quote.
        let gatewayDefault = gatewayID.map { " DEFAULT '\($0)'" } ?? ""
        return [
            "stream_id INTEGER NOT NULL\(streamDefault)", "gateway_id TEXT NOT NULL\(gatewayDefault)",
            "quarantined_at INTEGER NOT NULL DEFAULT 0", "is_requeued INTEGER NOT NULL DEFAULT 0",
        ]
    }

    private static let quarantineTable = """
        CREATE TABLE quarantine (
            seq INTEGER PRIMARY KEY,
            reason TEXT NOT NULL,
            event_time INTEGER NOT NULL,
            body TEXT NOT NULL,
            \(newQuarantineColumns(stream: nil, gatewayID: nil).joined(separator: ",\n    "))
        )
        """

    private static let ledgerTables = """
        CREATE TABLE outbox (
            last_number INTEGER NOT NULL,
            dropped INTEGER NOT NULL,
            readings INTEGER
        );
        CREATE TABLE stream (
            ordinal INTEGER PRIMARY KEY,
            stream_id INTEGER NOT NULL,
            gateway_id TEXT NOT NULL,
            first INTEGER NOT NULL,
            last INTEGER,
            previous INTEGER,
            is_running INTEGER NOT NULL,
            told INTEGER NOT NULL,
            checksum INTEGER NOT NULL
        );
        CREATE INDEX stream_by_first ON stream (first);
        CREATE TABLE gap (
            id INTEGER PRIMARY KEY,
            stream_id INTEGER NOT NULL,
            gateway_id TEXT NOT NULL,
            reason TEXT NOT NULL,
            first INTEGER NOT NULL,
            last INTEGER NOT NULL,
            ranges BLOB
        );
        CREATE TABLE unreadable (
            seq INTEGER PRIMARY KEY,
            found_at INTEGER NOT NULL,
            content TEXT NOT NULL
        );
        """

    private static func allTables(stream: StreamID?) -> String {
        [readingTable(stream: stream), quarantineTable, ledgerTables].joined(separator: ";\n")
    }

    private static func migrate(_ database: Database, from version: Int64) throws(OutboxError) {
        try database.transaction { () throws(OutboxError) in
            var stream: StreamID?
            var dropped: Int64 = 0
            try database.prepare("SELECT stream_id, dropped FROM outbox").run { row in
                stream = row.text(at: 0).flatMap { StreamID($0) }
                dropped = row.integer(at: 1) ?? 0
            }
            guard let stream else {
                throw OutboxError(
                    code: SQLITE_CORRUPT, message: "the stream's identity is not readable", path: database.path)
            }
            let last = try database.integer("SELECT seq FROM sqlite_sequence WHERE name = 'reading'") ?? 0
            var name: String?
            try database.prepare(
                """
                SELECT coalesce((SELECT gateway_id FROM reading ORDER BY seq DESC LIMIT 1),
                    (SELECT json_extract(body, '$.gateway_id') FROM quarantine ORDER BY seq DESC LIMIT 1))
                """
            ).run { row in name = row.text(at: 0) }
            // A file that holds nothing needs no name.
            let gatewayID = name.flatMap { Identifier($0) }?.description
            if version == 1 { try database.execute("ALTER TABLE reading ADD COLUMN committed_at INTEGER") }
            try database.execute(
                "ALTER TABLE reading ADD COLUMN stream_id INTEGER NOT NULL DEFAULT \(Int64(bitPattern: stream.bits))")
            try database.execute("ALTER TABLE reading ADD COLUMN stream_first INTEGER NOT NULL DEFAULT 1")
            try add(addedColumns, to: database)
            // AUTOINCREMENT goes by the way that SQLite describes for changes that leave the table's content as it is
            // (https://www.sqlite.org/lang_altertable.html): the table may be far too large to be written anew.
            let schemaVersion = try database.integer("PRAGMA schema_version") ?? 0
            try database.execute("PRAGMA writable_schema = ON")
            try database.prepare("UPDATE sqlite_schema SET sql = ? WHERE type = 'table' AND name = 'reading'")
                .run([.text(readingTable(stream: stream))])
            try database.execute("DELETE FROM sqlite_sequence WHERE name = 'reading'")
            try database.execute("PRAGMA schema_version = \(schemaVersion + 1)")
            try database.execute("PRAGMA writable_schema = OFF")
            try database.execute("DROP TABLE outbox")
            try database.execute(ledgerTables)
            try database.prepare("INSERT INTO outbox (last_number, dropped) VALUES (?, ?)")
                .run([.integer(last), .integer(dropped)])
            if last > 0, let gatewayID {
                try StreamTable.insert(
                    StreamRow(
                        ordinal: 1, streamID: stream, gatewayID: gatewayID, first: 1, last: last, previous: nil,
                        isRunning: true, told: .nothing),
                    into: database)
            }
            for column in newQuarantineColumns(stream: stream, gatewayID: gatewayID ?? "unknown") {
                try database.execute("ALTER TABLE quarantine ADD COLUMN \(column)")
            }
            try tellQuarantined(database, stream: stream, gatewayID: gatewayID)
            try database.execute("PRAGMA user_version = \(format)")
        }
    }

    /// Older releases told the centre of no gaps: those of the quarantine are to be told yet.
    private static func tellQuarantined(
        _ database: Database, stream: StreamID, gatewayID: String?
    ) throws(OutboxError) {
        guard let gatewayID else { return }
        var ranges = NumberRanges()
        try database.prepare("SELECT seq FROM quarantine ORDER BY seq").run { row in
            if let number = row.integer(at: 0) { ranges.append(number) }
        }
        for part in ranges.parts(of: GapTable.mostRanges) {
            try GapTable.insert(
                Gap(streamID: stream, gatewayID: gatewayID, reason: .quarantined, ranges: part), into: database)
        }
    }
}
