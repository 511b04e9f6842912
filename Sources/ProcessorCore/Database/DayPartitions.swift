import PostgresClient
import Readings

/// The day partitions of `sensor_data`, by event time in UTC, made before the first reading of their day is written.
struct DayPartitions {
    private static let millisecondsADay: Int64 = 86_400_000
    /// Serialises the making of partitions between processors; "vigie-d" in ASCII.
    private static let lock: Int64 = 0x7669_6769_652d_64

    /// Days since 1970 whose partition is there.
    private var known: Set<Int64> = []
    /// Days before this one are not kept; it only moves on.
    private var firstDay = Int64.min

    /// Forgets what is known to be there, after an error that may mean that it is gone.
    mutating func forget() {
        known = []
    }

    /// Makes the partitions that a batch needs, outside of the batch's transaction, so that no lock on the whole table
    /// is held for long. Days that retention has dropped are not made again: nothing is written to them.
    mutating func prepare(for rows: some Sequence<ReadingBatch.Row>, _ connection: PostgresConnection) throws {
        var missing: Set<Int64> = []
        var latest: Int64?
        for row in rows {
            let day = DayPartitions.day(of: row.eventTime)
            if day != latest, day >= firstDay, !known.contains(day) { missing.insert(day) }
            latest = day
        }
        if missing.isEmpty { return }
        firstDay = try DayPartitions.firstDay(connection)
        for day in missing.sorted() where day >= firstDay {
            _ = try DayPartitions.create(day, connection)
            known.insert(day)
        }
    }

    /// Makes the partitions of today and of some days after it, so that no batch has to.
    /// - Returns: how many were made.
    static func prepare(daysAhead: Int64, now: Timestamp, _ connection: PostgresConnection) throws -> Int {
        let today = day(of: now.milliseconds)
        return try (today...(today + daysAhead)).reduce(0) { try $0 + (create($1, connection) ? 1 : 0) }
    }

    private static func day(of milliseconds: Int64) -> Int64 {
        milliseconds.flooredQuotient(by: millisecondsADay)
    }

    private static func firstDay(_ connection: PostgresConnection) throws -> Int64 {
        let since = try connection.query(prepared: "SELECT readings_since FROM retention")
        return day(of: try since.value(0, 0, as: PostgresTimestamp.self).milliseconds)
    }

    /// - Returns: false if the partition was there.
    private static func create(_ day: Int64, _ connection: PostgresConnection) throws -> Bool {
        let from = Timestamp(milliseconds: day * millisecondsADay).description
        let to = Timestamp(milliseconds: (day + 1) * millisecondsADay).description
        let name = "sensor_data_" + from.prefix(10).filter { $0 != "-" }
        // Most are there, and to see that takes no lock.
        if try isThere(name, connection) { return false }
        return try connection.transaction {
            _ = try connection.query(prepared: "SELECT pg_advisory_xact_lock($1)", [.value(lock)])
            if try isThere(name, connection) { return false }
            // ATTACH takes a weaker lock on the parent than CREATE ... PARTITION OF: writers and readers go on.
            try connection.execute(
                """
                CREATE TABLE \(name) (LIKE sensor_data INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
                ALTER TABLE sensor_data ATTACH PARTITION \(name) FOR VALUES FROM ('\(from)') TO ('\(to)');
                """)
            return true
        }
    }

    private static func isThere(_ name: String, _ connection: PostgresConnection) throws -> Bool {
        try connection.query(
            prepared: """
                SELECT EXISTS (SELECT FROM pg_inherits
                WHERE inhparent = 'sensor_data'::regclass AND inhrelid = to_regclass($1))
                """, [.value(name)]
        ).value(0, 0)
    }
}
