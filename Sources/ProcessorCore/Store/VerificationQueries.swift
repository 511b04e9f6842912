import PostgresClient

/// The queries of `Verification`, with the columns of their results.
enum VerificationQueries {
    /// Makes the transaction see one state of all tables. The lock comes before the snapshot, so that no day is dropped
    /// between the two.
    static let snapshot = """
        SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;
        LOCK TABLE ONLY sensor_data IN ACCESS SHARE MODE
        """

    /// A kind of trouble, how often it is there, and one place where it is.
    enum ProblemColumn: String, ResultColumn {
        case problem, count, example
    }

    /// A kind of trouble, how often it is there, and one place where it is.
    static func problem(
        _ row: ResultRow<ProblemColumn>
    ) throws(PostgresError) -> (kind: String, count: Int64, example: String) {
        (try row.value(.problem), try row.value(.count), try row.value(.example))
    }

    // MARK: Alerts

    /// No alert is open twice, and what processors take for open is what the table says.
    static let alerts = """
        SELECT problem, count(*) AS count, min((gateway_id, sensor_id, kind, variable)::text) AS example FROM (
            SELECT 'open twice' AS problem, gateway_id, sensor_id, kind, variable FROM alert
            WHERE closed_at IS NULL GROUP BY 2, 3, 4, 5 HAVING count(*) > 1
            UNION ALL SELECT 'open, but no state says so', a.gateway_id, a.sensor_id, a.kind, a.variable
            FROM alert a LEFT JOIN alert_state s ON s.alert_id = a.id
            WHERE a.closed_at IS NULL AND s.alert_id IS NULL
            UNION ALL SELECT 'closed, but their state says open', a.gateway_id, a.sensor_id, a.kind, a.variable
            FROM alert a JOIN alert_state s ON s.alert_id = a.id WHERE a.closed_at IS NOT NULL
            UNION ALL SELECT 'closed before they opened', gateway_id, sensor_id, kind, variable
            FROM alert WHERE closed_at < opened_at AND kind NOT IN ('silence', 'loss', 'conflict')) AS problems
        GROUP BY 1 ORDER BY 1
        """

    // MARK: Conflicts

    /// Columns of `conflicts`.
    enum ConflictCountColumn: String, ResultColumn {
        case gatewayID = "gateway_id"
        case conflicts
        /// Those that are not settled, and one of them.
        case open, example
        /// Those that are said to be settled though nothing of their own streams was admitted.
        case unfounded
    }

    /// The conflicts of each gateway that has some.
    static let conflicts = """
        SELECT gateway_id, count(*) AS conflicts, count(*) FILTER (WHERE settled_at IS NULL) AS open,
            min(format('number %s of stream %s at %s', seq, stream_id, event_time)) FILTER (WHERE settled_at IS NULL)
                AS example,
            count(*) FILTER (WHERE settled_at IS NOT NULL AND NOT (\(ConflictTable.isAdmitted))) AS unfounded
        FROM sequence_conflict c GROUP BY gateway_id ORDER BY gateway_id
        """

    // MARK: Losses

    /// Columns of `losses`.
    enum LossCountColumn: String, ResultColumn {
        case reason, numbers
    }

    /// How many numbers are lost for each reason.
    static let losses = """
        SELECT reason, least(sum(last_seq - first_seq + 1), \(Int64.max))::int8 AS numbers FROM loss GROUP BY reason
        """

    /// How many gateways are silent while a stream of theirs is open, by the database's clock. The number is not compared
    /// with anything, only told.
    static let silentGateways = """
        SELECT count(*) FROM (
            SELECT gateway_id FROM sensor GROUP BY gateway_id
            HAVING now() - max(last_arrival) >
                greatest(interval '1 minute', 10 * max(interval_ms) * interval '1 millisecond')) s
        WHERE EXISTS (SELECT FROM stream_progress p WHERE p.gateway_id = s.gateway_id
            AND p.end_seq IS DISTINCT FROM p.last_seq)
        """

    // MARK: Streams

    /// Columns of `streams`.
    enum StreamCheckColumn: String, ResultColumn {
        case gatewayID = "gateway_id"
        case streamID = "stream_id"
        /// Raw rows, and the different numbers among them.
        case rows, numbers
        /// Rows whose number is listed as lost, and ranges of `loss` that overlap others.
        case filled, overlapping
        /// The smallest and the largest number of rows and losses.
        case lowest, highest
        case missing, expired
        case first = "first_seq"
        case last = "last_seq"
        case lost
        /// Whether `stream_progress` has the stream.
        case isKnown = "is_known"
        case end = "end_seq"
        case isPreviousKnown = "previous_known"
        /// When its rows were written.
        case since, until
        case previous = "previous_stream_id"
        /// Whether it was made for a conflict: it belongs to no outbox.
        case isOfConflict = "is_of_conflict"
    }

    /// One pass over rows and losses in the order of their numbers: joining the two would compare all rows of a stream
    /// with all of its ranges.
    static let streams = """
        WITH numbers AS (
            SELECT gateway_id, stream_id, seq AS first_seq, seq AS last_seq, false AS is_lost, ingested_at
            FROM sensor_data
            UNION ALL SELECT gateway_id, stream_id, first_seq, last_seq, true, NULL FROM loss),
        ordered AS (
            SELECT *, max(last_seq) FILTER (WHERE NOT is_lost) OVER smaller AS last_row,
                max(last_seq) FILTER (WHERE is_lost) OVER smaller AS last_lost
            FROM numbers
            WINDOW smaller AS (PARTITION BY gateway_id, stream_id ORDER BY first_seq, is_lost DESC
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)),
        found AS (
            SELECT gateway_id, stream_id, count(*) FILTER (WHERE NOT is_lost) AS rows,
                count(*) FILTER (WHERE NOT is_lost AND last_row IS DISTINCT FROM first_seq) AS numbers,
                count(*) FILTER (WHERE NOT is_lost AND first_seq <= last_lost) AS filled,
                count(*) FILTER (WHERE is_lost AND first_seq <= last_lost) AS overlapping,
                min(first_seq) AS lowest, max(last_seq) AS highest,
                least(coalesce(sum(last_seq - first_seq + 1) FILTER (WHERE is_lost), 0), \(Int64.max))::int8 AS missing,
                min(ingested_at) AS since, max(ingested_at) AS until
            FROM ordered GROUP BY 1, 2),
        old AS (SELECT gateway_id, stream_id, sum(readings)::int8 AS expired FROM expired GROUP BY 1, 2)
        SELECT gateway_id, stream_id, coalesce(f.rows, 0) AS rows, coalesce(f.numbers, 0) AS numbers,
            coalesce(f.filled, 0) AS filled, coalesce(f.overlapping, 0) AS overlapping, f.lowest, f.highest,
            coalesce(f.missing, 0) AS missing, coalesce(o.expired, 0) AS expired, coalesce(p.first_seq, 1) AS first_seq,
            coalesce(p.last_seq, 0) AS last_seq, coalesce(p.lost, 0) AS lost, p.gateway_id IS NOT NULL AS is_known,
            p.end_seq, coalesce(p.previous_known, false) AS previous_known, f.since, f.until, p.previous_stream_id,
            EXISTS (SELECT FROM sequence_conflict c WHERE c.gateway_id = p.gateway_id AND c.own_stream_id = p.stream_id)
                AS is_of_conflict
        FROM found f FULL JOIN stream_progress p USING (gateway_id, stream_id)
            LEFT JOIN old o USING (gateway_id, stream_id)
        ORDER BY 1, 2
        """

    // MARK: Windows

    /// Columns of `windowCounts`.
    enum WindowCountColumn: String, ResultColumn {
        case windows
        case finalWindows = "final_windows"
        case oldWindows = "old_windows"
    }

    /// How many windows there are.
    static let windowCounts = """
        SELECT count(*) AS windows, count(*) FILTER (WHERE is_final) AS final_windows,
            count(*) FILTER (WHERE window_start < \(since)) AS old_windows
        FROM sensor_data_agg
        """

    /// Windows that begin before this are as they were last written: their readings are gone or going.
    private static let since = "(SELECT greatest(readings_since, windows_since) FROM retention)"

    /// Numbers are the same if they differ by less than rounding can make of a million values.
    private static func differs(_ left: String, _ right: String) -> String {
        """
        ((\(left)) IS NULL) <> ((\(right)) IS NULL)
        OR abs((\(left)) - (\(right))) > 1e-6 * greatest(1, abs(\(left)), abs(\(right)))
        """
    }

    /// Every window with its rows, and every row with its windows. A final window holds all rows that windows count, an open
    /// one those of commits up to its own, whatever the clocks said. An open window of an older release says of none.
    static let compareWindows: String = {
        let counts: [WindowColumn] = [.readingCount, .warningCount, .failureCount, .lateCount]
        let compared = counts + WindowColumn.counts + [.coveredTime, .coverage] + WindowColumn.statistics
        let size = "(extract(epoch FROM w.window_size)::float8 * 1000)"
        let sums = compared.compactMap { column in
            column.aggregate(sizeInMilliseconds: size).map { "\($0) AS \(column.name)" }
        }
        let values = WindowColumn.statistics.map { "(\(differs("w.\($0.name)", "r.\($0.name)")))" }
        // Rows of older releases do not have these.
        let mergeable = (WindowColumn.counts + [.coveredTime]).map { "w.\($0.name) <> r.\($0.name)" }
        return """
            -- LATERAL, as the index then finds each window's rows; a join would compare all rows of a sensor with all of
            -- its windows.
            WITH compared AS (
                SELECT w.sensor_id, w.gateway_id, w.window_size, w.window_start,
                    CASE
                        WHEN r.reading_count IS NULL THEN 'without a reading'
                        WHEN w.window_end <> w.window_start + w.window_size THEN 'with a wrong end'
                        WHEN w.reading_count <> r.reading_count THEN 'with a wrong number of readings'
                        WHEN w.warning_count <> r.warning_count OR w.failure_count <> r.failure_count
                            OR w.late_count <> r.late_count THEN 'with wrong counts'
                        WHEN \(differs("w.coverage", "r.coverage")) THEN 'with a wrong coverage'
                        WHEN \(values.joined(separator: " OR ")) THEN 'with wrong values'
                        WHEN \(mergeable.joined(separator: " OR ")) THEN 'with counts of quantities that are wrong'
                        WHEN w.is_final <> (w.window_end <= s.final_through) THEN 'wrongly final or open'
                    END AS problem
                FROM sensor_data_agg w LEFT JOIN LATERAL (
                        SELECT \(sums.joined(separator: ", "))
                        FROM sensor_data d WHERE d.sensor_id = w.sensor_id AND d.gateway_id = w.gateway_id
                            AND d.event_time >= w.window_start AND d.event_time < w.window_end
                            AND d.in_windows AND (w.is_final OR d.commit_number <= w.commit_number)
                        HAVING count(*) > 0) r ON true
                    LEFT JOIN sensor s ON s.sensor_id = w.sensor_id AND s.gateway_id = w.gateway_id
                WHERE w.window_start >= \(since) AND (w.is_final OR w.commit_number >= 0)),
            -- A final window must hold all rows of its time; one that was never written is found by its rows.
            unwritten AS (
                SELECT d.sensor_id, d.gateway_id, z.window_size,
                    date_bin(z.window_size, d.event_time, timestamptz 'epoch') AS window_start
                FROM sensor_data d JOIN sensor s USING (sensor_id, gateway_id)
                    CROSS JOIN (SELECT DISTINCT window_size FROM sensor_data_agg) z
                WHERE date_bin(z.window_size, d.event_time, timestamptz 'epoch') + z.window_size <= s.final_through
                    AND date_bin(z.window_size, d.event_time, timestamptz 'epoch') >= \(since) AND d.in_windows
                GROUP BY 1, 2, 3, 4
                EXCEPT SELECT sensor_id, gateway_id, window_size, window_start FROM sensor_data_agg),
            problems AS (
                SELECT problem, sensor_id, gateway_id, window_size, window_start FROM compared
                WHERE problem IS NOT NULL
                UNION ALL SELECT 'never written', * FROM unwritten)
            SELECT problem, count(*) AS count,
                min((gateway_id, sensor_id, window_size::text, window_start::text)::text) AS example
            FROM problems GROUP BY 1 ORDER BY 1
            """
    }()
}
