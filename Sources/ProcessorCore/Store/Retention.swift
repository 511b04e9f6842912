import PostgresClient
import Readings

/// Deletes what is older than it is to be kept: whole days of readings, and windows in portions.
///
/// The order makes every moment of it a consistent one. First the cutoff moves, in an instant in which no batch is
/// written: from then on nobody writes a reading or a window before it. Then each day is counted, stream by stream, and
/// dropped in the same transaction, so the sums of `verify` hold before and after. Every step is a transaction that
/// holds an advisory lock; of several processors one does it, and any of them goes on where another one was stopped.
struct Retention {
    let connection: PostgresConnection

    /// Held for the length of a step: the two keys of an advisory lock, "vigr" in ASCII and the table itself.
    static let lock = "1986619250, 'sensor_data'::regclass::oid::int4"
    /// How long a step waits for the whole table. Batches that come in the meantime wait with it.
    private static let lockTimeout = "1s"
    /// How long a step waits for a day that nobody writes any more: longer than PostgreSQL takes to end an autovacuum that
    /// is in the way (deadlock_timeout).
    private static let dayLockTimeout = "10s"

    /// A day that was dropped.
    struct DroppedDay: Equatable {
        var partition: String
        /// How many readings it held.
        var readings: Int64
    }

    // MARK: The cutoff

    /// Moves the cutoff to the beginning of the day that is so long ago, if it is not there yet.
    ///
    /// A clock that is ahead would delete what is to be kept, so the earlier one of two is taken: the processor's and the
    /// database's.
    /// - Parameters:
    ///   - readings: how long readings are kept, milliseconds; nil for ever.
    ///   - windows: how long windows are kept, milliseconds; nil for ever.
    /// - Returns: whether it moved.
    @discardableResult
    func moveCutoff(now: Timestamp, keepingReadings readings: Int64?, windows: Int64?) throws -> Bool {
        let parameters: [PostgresParameter] = [
            .value(PostgresTimestamp(milliseconds: now.milliseconds)), .value(readings), .value(windows),
        ]
        return try exclusively {
            let isBehind: Bool = try connection.query(
                """
                SELECT readings_since < \(Retention.dayBefore("$2")) IS TRUE
                    OR windows_since < \(Retention.dayBefore("$3")) IS TRUE FROM retention
                """, parameters
            ).value(0, 0)
            guard isBehind else { return false }
            // Excludes `RetentionCutoff.lock`, not those who only read.
            try connection.execute("LOCK TABLE ONLY sensor_data IN SHARE ROW EXCLUSIVE MODE")
            // greatest() takes no notice of NULL.
            _ = try connection.query(
                """
                UPDATE retention SET readings_since = greatest(readings_since, \(Retention.dayBefore("$2"))),
                    windows_since = greatest(windows_since, \(Retention.dayBefore("$3")))
                """, parameters)
            return true
        } ?? false
    }

    private static func dayBefore(_ milliseconds: String) -> String {
        """
        date_bin(interval '1 day', least($1::timestamptz, now()) - \(milliseconds)::int8 * interval '1 millisecond',
            timestamptz 'epoch')
        """
    }

    // MARK: Readings

    /// Drops the oldest partition that lies before the cutoff as a whole.
    /// - Returns: nil if there is none, or if another processor is at it.
    /// - Throws: SQLSTATE 55P03 if somebody reads for too long: to be tried again later.
    func dropNextDay() throws -> DroppedDay? {
        try exclusively {
            // The server writes a bound as it reads one. Partitions that somebody else has attached count too.
            let found = try connection.query(
                """
                SELECT p.partition::regclass::text FROM retention, (
                    SELECT c.oid AS partition, substring(pg_get_expr(c.relpartbound, c.oid), 'TO \\(''([^'']+)''\\)$')
                        AS until
                    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                    WHERE i.inhparent = 'sensor_data'::regclass) p
                WHERE p.until::timestamptz <= readings_since ORDER BY p.until::timestamptz LIMIT 1
                """)
            guard found.rowCount > 0 else { return nil }
            let partition: String = try found.value(0, 0)
            try wait(atMost: Retention.dayLockTimeout)
            // Nobody writes before the cutoff but a processor of an older release.
            try connection.execute("LOCK TABLE \(partition) IN SHARE MODE")
            let readings: Int64 = try connection.query(
                """
                WITH counted AS (SELECT gateway_id, stream_id, count(*) AS readings FROM \(partition) GROUP BY 1, 2),
                kept AS (\(RetentionTable.addExpired(from: "SELECT gateway_id, stream_id, false, readings FROM counted")))
                SELECT coalesce(sum(readings), 0)::int8 FROM counted
                """
            ).value(0, 0)
            // Not before the counting is done: the stream stands still from here to the commit.
            try wait(atMost: Retention.lockTimeout)
            try connection.execute("LOCK TABLE ONLY sensor_data IN ACCESS EXCLUSIVE MODE; DROP TABLE \(partition)")
            return DroppedDay(partition: partition, readings: readings)
        } ?? nil
    }

    // MARK: Windows

    /// Deletes some of the windows that begin before the cutoff.
    /// - Returns: how many: fewer than `limit` if there are no more.
    func deleteWindows(atMost limit: Int64) throws -> Int {
        try exclusively {
            // By the primary key: each sensor's sizes are found one after the other, not by a look at every window.
            try connection.query(
                """
                WITH RECURSIVE size AS (
                    SELECT s.sensor_id, s.gateway_id, (
                        SELECT min(a.window_size) FROM sensor_data_agg a
                        WHERE a.sensor_id = s.sensor_id AND a.gateway_id = s.gateway_id) AS window_size
                    FROM sensor s
                    UNION ALL
                    SELECT z.sensor_id, z.gateway_id, (
                        SELECT min(a.window_size) FROM sensor_data_agg a WHERE a.sensor_id = z.sensor_id
                            AND a.gateway_id = z.gateway_id AND a.window_size > z.window_size)
                    FROM size z WHERE z.window_size IS NOT NULL)
                DELETE FROM sensor_data_agg WHERE ctid = ANY (ARRAY(
                    SELECT a.row FROM size z CROSS JOIN LATERAL (
                        SELECT ctid AS row FROM sensor_data_agg a WHERE a.sensor_id = z.sensor_id
                            AND a.gateway_id = z.gateway_id AND a.window_size = z.window_size
                            AND a.window_start < (SELECT windows_since FROM retention)
                        LIMIT $1) a
                    LIMIT $1))
                """, [.value(limit)]
            ).affectedRows
        } ?? 0
    }

    // MARK: Locks

    /// Runs a step unless another processor is at one.
    private func exclusively<Result>(_ step: () throws -> Result) throws -> Result? {
        try connection.transaction {
            let isMine: Bool = try connection.query("SELECT pg_try_advisory_xact_lock(\(Retention.lock))").value(0, 0)
            guard isMine else { return nil }
            try wait(atMost: Retention.lockTimeout)
            return try step()
        }
    }

    private func wait(atMost timeout: String) throws {
        try connection.execute("SET LOCAL lock_timeout = '\(timeout)'")
    }
}
