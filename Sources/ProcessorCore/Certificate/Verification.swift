import PostgresClient
import Readings

/// The outcome of recomputing everything from the raw rows.
public struct Certificate: Sendable, Equatable {
    /// Rows of `sensor_data`.
    public var rows: Int64 = 0
    /// Streams with at least one row.
    public var streams: Int64 = 0
    /// Readings that are there more than once.
    public var duplicates: Int64 = 0
    /// Readings that were numbered and are not there, by the reasons in `loss`.
    public var losses: [String: Int64] = [:]
    /// Readings that were admitted and are not kept any more.
    public var expired: Int64 = 0
    /// Rows of `sensor_data_agg`.
    public var windows: Int64 = 0
    /// Those that are final.
    public var finalWindows: Int64 = 0
    /// Those that begin before the readings that are kept, and so cannot be recomputed.
    public var oldWindows: Int64 = 0
    /// Messages of the topic that nobody has read yet.
    public var unread = UnreadMessages.notAsked("no broker was named")
    /// Gateways with more streams than one whose end is not known, or with one that is not their last, or with one whose
    /// beginning is not known, a line each, the first of them.
    public var openStreams: [String] = []
    /// How many there are.
    public var openStreamCount: Int64 = 0
    /// Gateways that have been silent for ten of their intervals while the end of a stream is not known.
    public var silentGateways: Int64 = 0
    /// What does not agree, a line each, the first of each kind.
    public var mismatches: [String] = []
    /// How many things do not agree.
    public var mismatchCount: Int64 = 0

    /// Whether all agrees, every stream is known to its end, and what is missing is not merely unread.
    public var isGood: Bool { mismatchCount == 0 && openStreamCount == 0 && !mayFindMissing }

    /// Readings that were numbered and are not there.
    public var missing: Int64 {
        losses.values.reduce(0) { sum, count in
            let (sum, overflow) = sum.addingReportingOverflow(count)
            return overflow ? .max : sum
        }
    }

    /// Readings that are not there, and nobody has said why.
    public var unexplained: Int64 { losses[LossReason.unknown.text] ?? 0 }

    /// Whether readings that are missing may be among messages that nobody has read yet.
    public var mayFindMissing: Bool { unexplained > 0 && (unread.count ?? 0) > 0 }

    /// Of one kind of trouble so many are listed.
    static let mostExamples = 10
    /// Of one gateway so many streams are listed.
    static let mostStreams = 4

    mutating func addOpen(_ text: String) {
        openStreamCount += 1
        if openStreams.count < Certificate.mostExamples { openStreams.append(text) }
    }
}

extension Certificate: CustomStringConvertible {
    /// The certificate as it is printed.
    public var description: String {
        var lines = [
            "readings          \(rows) in \(streams) streams, each once" + (duplicates == 0 ? "" : ": NO"),
            "missing readings  \(missing)" + reasons
                + (mayFindMissing ? "; those among the unread messages are not lost" : ""),
            "unread messages   \(unread)",
        ]
        if expired > 0 { lines.append("expired readings  \(expired), admitted once and older than retention keeps") }
        lines.append(
            "windows           \(windows), \(finalWindows) of them final, recomputed from the readings"
                + (oldWindows == 0 ? "" : ", but for \(oldWindows) that are older than these"))
        if silentGateways > 0 {
            lines.append(
                "silent gateways   \(silentGateways), whose streams have not ended: what they hold is not counted here")
        }
        if mismatchCount > 0 {
            lines.append("NOT VERIFIED      \(mismatchCount) mismatches, of which:")
            lines += mismatches.map { "  " + $0 }
        }
        if openStreamCount > 0 {
            lines.append(
                """
                NOT VERIFIED      \(mismatchCount > 0 ? "and " : "what was read agrees, but ")nobody knows how far these \
                streams go. A gateway's report tells the end of a stream when it starts with the next one:
                """)
            lines += openStreams.map { "  " + $0 }
            let others = openStreamCount - Int64(openStreams.count)
            if others > 0 { lines.append("  and \(others) others") }
        }
        if mismatchCount == 0, openStreamCount == 0 { lines.append(conclusion) }
        return lines.joined(separator: "\n")
    }

    /// What is missing by its reasons, the largest first.
    private var reasons: String {
        if missing == 0 { return "" }
        let counts = losses.filter { $0.value > 0 }.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
        return " (\(counts.map { "\($0.value) \($0.key)" }.joined(separator: ", "))), listed in the table loss"
    }

    /// What can be said when there is no mismatch.
    private var conclusion: String {
        switch unread.count {
        case nil where unexplained > 0:
            "verified          everything agrees that was read; missing readings may be among what was not"
        case nil, 0: "verified          everything agrees"
        case let count? where unexplained > 0:
            """
            NOT VERIFIED      what was read agrees, but missing readings may be among the \(count) unread messages: \
            verify again when they are read
            """
        case let count?: "verified          everything agrees that was read; \(count) messages are not read yet"
        }
    }
}

/// Checks the tables against each other in one snapshot, while processors may go on writing.
struct Verification {
    let connection: PostgresConnection
    var latePolicy = LatePolicy.recompute
    /// What the broker had of the topic a moment ago; nil if it was not asked.
    var topicEnds: TopicEnds?

    func run() throws -> Certificate {
        try connection.transaction {
            // The lock comes before the snapshot, so that no day is dropped between the two.
            try connection.execute(
                """
                SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;
                LOCK TABLE ONLY sensor_data IN ACCESS SHARE MODE
                """)
            var certificate = Certificate()
            try checkStreams(&certificate)
            try countLosses(&certificate)
            try checkWindows(&certificate)
            try checkAlerts(&certificate)
            if let topicEnds { certificate.unread = try topicEnds.unread(connection) }
            return certificate
        }
    }

    /// No alert is open twice, and what processors take for open is what the table says.
    private func checkAlerts(_ certificate: inout Certificate) throws {
        let rows = try connection.query(
            """
            SELECT problem, count(*), min((gateway_id, sensor_id, kind, variable)::text) FROM (
                SELECT 'open twice' AS problem, gateway_id, sensor_id, kind, variable FROM alert
                WHERE closed_at IS NULL GROUP BY 2, 3, 4, 5 HAVING count(*) > 1
                UNION ALL SELECT 'open, but no state says so', a.gateway_id, a.sensor_id, a.kind, a.variable
                FROM alert a LEFT JOIN alert_state s ON s.alert_id = a.id
                WHERE a.closed_at IS NULL AND s.alert_id IS NULL
                UNION ALL SELECT 'closed, but their state says open', a.gateway_id, a.sensor_id, a.kind, a.variable
                FROM alert a JOIN alert_state s ON s.alert_id = a.id WHERE a.closed_at IS NOT NULL
                UNION ALL SELECT 'closed before they opened', gateway_id, sensor_id, kind, variable
                FROM alert WHERE closed_at < opened_at AND kind NOT IN ('silence', 'loss')) AS problems
            GROUP BY 1 ORDER BY 1
            """)
        for row in 0..<rows.rowCount {
            let count: Int64 = try rows.value(row, 1)
            certificate.mismatchCount += count
            certificate.mismatches.append(
                "\(count) alerts \(try rows.value(row, 0, as: String.self)), such as \(try rows.value(row, 2, as: String.self))"
            )
        }
    }

    /// Every window against the rows that were there when it was written, and every row against the windows.
    private func checkWindows(_ certificate: inout Certificate) throws {
        let counts = try connection.query(
            """
            SELECT count(*), count(*) FILTER (WHERE is_final), count(*) FILTER (WHERE window_start < \(Verification.since))
            FROM sensor_data_agg
            """)
        certificate.windows = try counts.value(0, 0)
        certificate.finalWindows = try counts.value(0, 1)
        certificate.oldWindows = try counts.value(0, 2)
        let rows = try connection.query(Verification.compareWindows(latePolicy))
        for row in 0..<rows.rowCount {
            let kind: String = try rows.value(row, 0)
            let count: Int64 = try rows.value(row, 1)
            let example: String = try rows.value(row, 2)
            certificate.mismatchCount += count
            certificate.mismatches.append("\(count) windows \(kind), such as \(example)")
        }
    }

    /// Windows that begin before this are as they were last written: their readings are gone or going.
    private static let since = "(SELECT greatest(readings_since, windows_since) FROM retention)"

    /// Numbers are the same if they differ by less than rounding can make of a million values.
    private static func differs(_ left: String, _ right: String) -> String {
        """
        ((\(left)) IS NULL) <> ((\(right)) IS NULL)
        OR abs((\(left)) - (\(right))) > 1e-6 * greatest(1, abs(\(left)), abs(\(right)))
        """
    }

    private static func compareWindows(_ latePolicy: LatePolicy) -> String {
        // Those that were late for a final window are left out of it on purpose then.
        let counted = latePolicy == .drop ? "AND NOT d.late" : ""
        // A final window holds all its rows, whatever the clocks of those who wrote them. One that leaves late rows out has
        // those that were there when it was written, and none that is not late came after.
        let written = "d.ingested_at <= w.updated_at"
        let (inWindow, isDatedByClock) =
            latePolicy == .drop ? (written, "w.is_final") : ("(w.is_final OR \(written))", "false")
        let sums = WindowTable.quantities.flatMap { quantity in
            ["avg", "min", "max", "stddev_samp"].map {
                "\($0)(d.\(quantity)) AS \(quantity)_\($0 == "stddev_samp" ? "stddev" : $0)"
            }
        }
        let values = WindowTable.quantities.flatMap { quantity in
            ["avg", "min", "max", "stddev"].map { differs("w.\(quantity)_\($0)", "r.\(quantity)_\($0)") }
        }
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
                        WHEN \(values.map { "(\($0))" }.joined(separator: " OR ")) THEN 'with wrong values'
                        WHEN w.is_final <> (w.window_end <= s.final_through) THEN 'wrongly final or open'
                    END AS problem
                FROM sensor_data_agg w LEFT JOIN LATERAL (
                        SELECT count(*) AS reading_count,
                            count(*) FILTER (WHERE d.status = 'warning') AS warning_count,
                            count(*) FILTER (WHERE d.status = 'failure') AS failure_count,
                            count(*) FILTER (WHERE d.late) AS late_count,
                            least(1, sum(d.interval_ms) / (extract(epoch FROM w.window_size)::float8 * 1000))
                                AS coverage,
                            \(sums.joined(separator: ", "))
                        FROM sensor_data d WHERE d.sensor_id = w.sensor_id AND d.gateway_id = w.gateway_id
                            AND d.event_time >= w.window_start AND d.event_time < w.window_end
                            AND \(inWindow)
                        HAVING count(*) > 0) r ON true
                    LEFT JOIN sensor s ON s.sensor_id = w.sensor_id AND s.gateway_id = w.gateway_id
                WHERE w.window_start >= \(since)),
            -- A final window must hold all rows of its time; one that was never written is found by its rows.
            unwritten AS (
                SELECT d.sensor_id, d.gateway_id, z.window_size,
                    date_bin(z.window_size, d.event_time, timestamptz 'epoch') AS window_start
                FROM sensor_data d JOIN sensor s USING (sensor_id, gateway_id)
                    CROSS JOIN (SELECT DISTINCT window_size FROM sensor_data_agg) z
                WHERE date_bin(z.window_size, d.event_time, timestamptz 'epoch') + z.window_size <= s.final_through
                    AND date_bin(z.window_size, d.event_time, timestamptz 'epoch') >= \(since) \(counted)
                GROUP BY 1, 2, 3, 4
                EXCEPT SELECT sensor_id, gateway_id, window_size, window_start FROM sensor_data_agg),
            behind AS (
                SELECT w.sensor_id, w.gateway_id, w.window_size, w.window_start
                FROM sensor_data_agg w CROSS JOIN LATERAL (
                    SELECT FROM sensor_data d WHERE d.sensor_id = w.sensor_id AND d.gateway_id = w.gateway_id
                        AND d.event_time >= w.window_start AND d.event_time < w.window_end
                        AND d.ingested_at > w.updated_at \(counted)
                    LIMIT 1) newer
                WHERE \(isDatedByClock) AND w.window_start >= \(since)),
            problems AS (
                SELECT problem, sensor_id, gateway_id, window_size, window_start FROM compared
                WHERE problem IS NOT NULL
                UNION ALL SELECT 'never written', * FROM unwritten
                UNION ALL SELECT 'final but without their latest readings', * FROM behind)
            SELECT problem, count(*),
                (min((gateway_id, sensor_id, window_size::text, window_start::text)::text))
            FROM problems GROUP BY 1 ORDER BY 1
            """
    }
}
