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
            UNION ALL SELECT 'with another severity or worst value than their state', a.gateway_id, a.sensor_id, a.kind,
                a.variable
            FROM alert a JOIN alert_state s ON s.alert_id = a.id
            WHERE a.closed_at IS NULL
                AND (a.severity IS DISTINCT FROM s.severity OR a.worst_value IS DISTINCT FROM s.worst)
            UNION ALL SELECT 'whose state is of another alert', a.gateway_id, a.sensor_id, a.kind, a.variable
            FROM alert a JOIN alert_state s ON s.alert_id = a.id
            WHERE (a.gateway_id, a.sensor_id, a.kind, a.variable) <> (s.gateway_id, s.sensor_id, s.kind, s.variable)
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
                greatest(interval '1 minute', max(interval_ms) * interval '10 milliseconds')) s
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
        /// Rows whose number is listed as lost, ranges of `loss` that overlap others, and ranges whose bounds in time are not
        /// those of the readings beside them.
        case filled, overlapping, mistimed
        /// The event time of the row with the largest number, and of the reading with the largest number that was admitted.
        case lastTime = "last_time"
        case lastEventTime = "last_event_time"
        /// The largest number of the rows.
        case lastRow = "last_row"
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
        /// The first and the last commit that wrote rows of it. Commits of older releases come before all others, in the order
        /// of their clocks.
        case since, until
        case previous = "previous_stream_id"
        /// Whether it was made for a conflict: it belongs to no outbox.
        case isOfConflict = "is_of_conflict"
    }

    /// One pass over rows and losses in the order of their numbers: joining the two would compare all rows of a stream
    /// with all of its ranges.
    static let streams = """
        WITH numbers AS (
            SELECT gateway_id, stream_id, seq AS first_seq, seq AS last_seq, false AS is_lost,
                CASE WHEN commit_number > 0 THEN commit_number
                    ELSE (extract(epoch FROM ingested_at) * 1000)::int8 - (1::int8 << 62) END AS written,
                event_time, NULL::timestamptz AS after_time, NULL::timestamptz AS before_time
            FROM sensor_data
            UNION ALL SELECT gateway_id, stream_id, first_seq, last_seq, true, NULL, NULL, after_time, before_time
            FROM loss),
        ordered AS (
            SELECT *, max(last_seq) FILTER (WHERE NOT is_lost) OVER smaller AS last_row,
                max(last_seq) FILTER (WHERE is_lost) OVER smaller AS last_lost,
                lag(last_seq) OVER numbers AS previous_seq, lag(event_time) OVER numbers AS previous_time,
                lead(first_seq) OVER numbers AS next_seq, lead(event_time) OVER numbers AS next_time
            FROM numbers
            WINDOW numbers AS (PARTITION BY gateway_id, stream_id ORDER BY first_seq, is_lost DESC),
                smaller AS (PARTITION BY gateway_id, stream_id ORDER BY first_seq, is_lost DESC
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)),
        found AS (
            SELECT gateway_id, stream_id, count(*) FILTER (WHERE NOT is_lost) AS rows,
                count(*) FILTER (WHERE NOT is_lost AND last_row IS DISTINCT FROM first_seq) AS numbers,
                count(*) FILTER (WHERE NOT is_lost AND first_seq <= last_lost) AS filled,
                count(*) FILTER (WHERE is_lost AND first_seq <= last_lost) AS overlapping,
                -- A time that is not known is NULL, and so is that of a number that is not there.
                count(*) FILTER (WHERE is_lost AND (
                    previous_seq = first_seq - 1 AND previous_time <> after_time
                    OR next_seq = last_seq + 1 AND next_time <> before_time)) AS mistimed,
                min(first_seq) AS lowest, max(last_seq) AS highest,
                max(last_seq) FILTER (WHERE NOT is_lost) AS last_row,
                (max(ARRAY[last_seq, (extract(epoch FROM event_time) * 1000)::int8]) FILTER (WHERE NOT is_lost))[2]
                    AS last_time,
                least(coalesce(sum(last_seq - first_seq + 1) FILTER (WHERE is_lost), 0), \(Int64.max))::int8 AS missing,
                min(written) AS since, max(written) AS until
            FROM ordered GROUP BY 1, 2),
        old AS (SELECT gateway_id, stream_id, least(sum(readings), \(Int64.max))::int8 AS expired FROM expired GROUP BY 1, 2)
        SELECT gateway_id, stream_id, coalesce(f.rows, 0) AS rows, coalesce(f.numbers, 0) AS numbers,
            coalesce(f.filled, 0) AS filled, coalesce(f.overlapping, 0) AS overlapping, coalesce(f.mistimed, 0) AS mistimed,
            f.lowest, f.highest, f.last_row, f.last_time, p.last_event_time,
            coalesce(f.missing, 0) AS missing, coalesce(o.expired, 0) AS expired, coalesce(p.first_seq, 1) AS first_seq,
            coalesce(p.last_seq, 0) AS last_seq, coalesce(p.lost, 0) AS lost, p.gateway_id IS NOT NULL AS is_known,
            p.end_seq, coalesce(p.previous_known, false) AS previous_known, f.since, f.until, p.previous_stream_id,
            EXISTS (SELECT FROM sequence_conflict c WHERE c.gateway_id = p.gateway_id AND c.own_stream_id = p.stream_id)
                AS is_of_conflict
        FROM found f FULL JOIN stream_progress p USING (gateway_id, stream_id)
            LEFT JOIN old o USING (gateway_id, stream_id)
        ORDER BY 1, 2
        """
}
