import PostgresClient

/// The database was made by a newer program.
public struct SchemaTooNew: Error, Sendable, CustomStringConvertible {
    /// The database's last migration.
    public var found: Int64
    /// The last one that this program knows.
    public var known: Int64

    /// What is wrong and what to do.
    public var description: String {
        """
        the database has schema \(found), this program knows schemas up to \(known): \
        run the vigie-processor that made it, or a newer one
        """
    }
}

/// The database was made by an older program, or by none.
public struct SchemaTooOld: Error, Sendable, CustomStringConvertible {
    /// The database's last migration; 0 if it has none.
    public var found: Int64
    /// The one that this program needs.
    public var needed: Int64

    /// What is wrong and what to do.
    public var description: String {
        "the database has schema \(found), this program needs schema \(needed): run \"vigie-processor migrate\""
    }
}

/// Brings the schema up to date, one program at a time.
struct Migrator {
    /// Held for the length of the migration; "vigie" in ASCII.
    static let lock: Int64 = 0x7669_6769_65

    /// Applies what is missing.
    /// - Returns: the migrations that were applied now.
    /// - Throws: `SchemaTooNew`, or what the database says.
    static func migrate(_ connection: PostgresConnection) throws -> [Migration] {
        try connection.transaction {
            _ = try connection.query("SELECT pg_advisory_xact_lock($1)", [.value(lock)])
            try connection.execute(
                """
                CREATE TABLE IF NOT EXISTS schema_migration (
                    number bigint PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())
                """)
            let found = try version(connection)
            guard found <= Migration.latest else { throw SchemaTooNew(found: found, known: Migration.latest) }
            let missing = Migration.all.filter { $0.number > found }
            for migration in missing {
                try connection.execute(migration.sql)
                _ = try connection.query(
                    "INSERT INTO schema_migration (number, name) VALUES ($1, $2)",
                    [.value(migration.number), .value(migration.name)])
            }
            return missing
        }
    }

    /// Looks whether the schema is the one that this program knows.
    /// - Throws: `SchemaTooOld`, `SchemaTooNew`, or what the database says.
    static func check(_ connection: PostgresConnection) throws {
        let hasTable = try connection.query("SELECT to_regclass('schema_migration') IS NOT NULL").value(0, 0) as Bool
        let found = hasTable ? try version(connection) : 0
        if found < Migration.latest { throw SchemaTooOld(found: found, needed: Migration.latest) }
        if found > Migration.latest { throw SchemaTooNew(found: found, known: Migration.latest) }
    }

    private static func version(_ connection: PostgresConnection) throws -> Int64 {
        try connection.query("SELECT coalesce(max(number), 0) FROM schema_migration").value(0, 0)
    }
}
