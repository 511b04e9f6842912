import PostgresClient
import Readings

/// The partitions of `sensor_data`, by event time in UTC: one a day, made before the first reading of its day is written;
/// `PartitionSpan` says when more than a day goes into one.
struct DayPartitions {
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
    mutating func prepare(
        for rows: some Sequence<ReadingBatch.Row>, now: Timestamp, _ connection: PostgresConnection
    ) throws {
        var missing: Set<Int64> = []
        var latest: Int64?
        for row in rows {
            let day = Timestamp(milliseconds: row.eventTime).day
            if day != latest, day >= firstDay, !known.contains(day) { missing.insert(day) }
            latest = day
        }
        if missing.isEmpty { return }
        firstDay = try DayPartitions.firstDay(connection)
        missing = missing.filter { $0 >= firstDay }
        _ = try DayPartitions.make(missing, today: now.day, connection)
        known.formUnion(missing)
    }

    /// Makes the partitions of today and of some days after it, so that no batch has to.
    /// - Returns: how many were made.
    static func prepare(daysAhead: Int64, now: Timestamp, _ connection: PostgresConnection) throws -> Int {
        try make(Set(now.day...(now.day + daysAhead)), today: now.day, connection)
    }

    private static func firstDay(_ connection: PostgresConnection) throws -> Int64 {
        let since = try connection.query(prepared: "SELECT readings_since FROM retention")
        return Timestamp(milliseconds: try since.value(0, 0, as: PostgresTimestamp.self).milliseconds).day
    }

    /// - Returns: how many were made.
    private static func make(_ days: Set<Int64>, today: Int64, _ connection: PostgresConnection) throws -> Int {
        // Most are there, and to see that takes no lock.
        if PartitionSpan.missing(for: days, today: today, existing: try existing(connection)).isEmpty { return 0 }
        return try connection.transaction {
            _ = try connection.query(prepared: "SELECT pg_advisory_xact_lock($1)", [.value(lock)])
            let spans = PartitionSpan.missing(for: days, today: today, existing: try existing(connection))
            for span in spans {
                let (from, to) = (Timestamp(day: span.days.lowerBound), Timestamp(day: span.days.upperBound))
                // ATTACH takes a weaker lock on the parent than CREATE ... PARTITION OF: writers and readers go on.
                try connection.execute(
                    """
                    CREATE TABLE \(span.name) (LIKE sensor_data INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
                    ALTER TABLE sensor_data ATTACH PARTITION \(span.name) FOR VALUES FROM ('\(from)') TO ('\(to)');
                    """)
            }
            return spans.count
        }
    }

    /// The days that have a partition, whoever attached it.
    private static func existing(_ connection: PostgresConnection) throws -> [Range<Int64>] {
        // The server writes a bound as it reads one; one that it writes without quotation marks is none.
        let rows = try connection.query(
            prepared: """
                SELECT floor(extract(epoch FROM since) / 86400)::int8, ceil(extract(epoch FROM until) / 86400)::int8
                FROM (SELECT substring(bound, 'FROM \\(''([^'']+)''\\)')::timestamptz AS since,
                        substring(bound, 'TO \\(''([^'']+)''\\)$')::timestamptz AS until, bound
                    FROM (SELECT pg_get_expr(c.relpartbound, c.oid) AS bound
                        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                        WHERE i.inhparent = 'sensor_data'::regclass) p) p
                WHERE bound <> 'DEFAULT'
                """)
        return try (0..<rows.rowCount).map { row in
            let since = try rows.optional(row, 0, as: Int64.self) ?? .min
            return since..<max(since, try rows.optional(row, 1, as: Int64.self) ?? .max)
        }
    }
}
