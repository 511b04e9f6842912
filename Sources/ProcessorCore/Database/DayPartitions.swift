import PostgresClient
import Readings

/// The day partitions of `sensor_data`, made before the first reading of their day is written.
struct DayPartitions {
    private static let millisecondsADay: Int64 = 86_400_000
    /// Serialises the making of partitions between processors; "vigie-d" in ASCII.
    private static let lock: Int64 = 0x7669_6769_652d_64

    /// Days since 1970 whose partition is there.
    private var known: Set<Int64> = []

    /// Forgets what is known to be there, after an error that may mean that it is gone.
    mutating func forget() {
        known = []
    }

    /// Makes the partitions that a batch needs, outside of the batch's transaction, so that no lock on the whole table
    /// is held for long.
    mutating func prepare(for rows: some Sequence<ReadingBatch.Row>, _ connection: PostgresConnection) throws {
        var missing: Set<Int64> = []
        var latest: Int64?
        for row in rows {
            let day = row.eventTime.flooredQuotient(by: DayPartitions.millisecondsADay)
            if day != latest, !known.contains(day) { missing.insert(day) }
            latest = day
        }
        for day in missing.sorted() {
            try DayPartitions.create(day, connection)
            known.insert(day)
        }
    }

    private static func create(_ day: Int64, _ connection: PostgresConnection) throws {
        let from = Timestamp(milliseconds: day * millisecondsADay).description
        let to = Timestamp(milliseconds: (day + 1) * millisecondsADay).description
        let name = "sensor_data_" + from.prefix(10).filter { $0 != "-" }
        try connection.transaction {
            _ = try connection.query(prepared: "SELECT pg_advisory_xact_lock($1)", [.value(lock)])
            let isThere: Bool = try connection.query(
                prepared: """
                    SELECT EXISTS (SELECT FROM pg_inherits
                    WHERE inhparent = 'sensor_data'::regclass AND inhrelid = to_regclass($1))
                    """, [.value(name)]
            ).value(0, 0)
            if isThere { return }
            // ATTACH takes a weaker lock on the parent than CREATE ... PARTITION OF: writers and readers go on.
            try connection.execute(
                """
                CREATE TABLE \(name) (LIKE sensor_data);
                ALTER TABLE sensor_data ATTACH PARTITION \(name) FOR VALUES FROM ('\(from)') TO ('\(to)');
                """)
        }
    }
}
