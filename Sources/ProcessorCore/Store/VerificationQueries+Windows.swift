import PostgresClient
import Readings

extension VerificationQueries {
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

    /// Whether a statistic of a quantity is not that of the raw rows: extremes are equal, averages within rounding, and
    /// deviations within what folding late readings in makes of it.
    private static func differs(_ statistic: WindowStatistic, _ quantity: Quantity) -> String {
        let name = WindowColumn.statistic(statistic, quantity).name
        let (left, right, mean) = ("w.\(name)", "r.\(name)", "r.\(WindowColumn.statistic(.mean, quantity).name)")
        let isBeyond =
            switch statistic {
            case .minimum, .maximum: "\(left) <> \(right)"
            case .mean: "abs(\(left) - \(right)) > 1e-9 * greatest(1, abs(\(mean)))"
            case .standardDeviation: "abs(\(left) - \(right)) > 1e-6 * greatest(1, abs(\(mean)))"
            }
        return "(\(left) IS NULL) <> (\(right) IS NULL) OR \(isBeyond)"
    }

    /// Columns of `compareWindows`.
    enum WindowProblemColumn: String, ResultColumn {
        case problem, count, example
        /// False: an open window is behind, which the next writing ends.
        case isMismatch = "is_mismatch"
    }

    /// Every window with its rows, and every row with its windows. A final window holds all rows that windows count, an open
    /// one those of commits up to its own, whatever the clocks said. An open window of an older release says of none.
    /// Parameters: the sizes and the slides of the windows that there should be, milliseconds.
    static let compareWindows: String = {
        let counts: [WindowColumn] = [.readingCount, .warningCount, .failureCount, .lateCount]
        let compared = counts + WindowColumn.counts + [.coveredTime, .coverage] + WindowColumn.statistics
        let size = "(extract(epoch FROM w.window_size)::float8 * 1000)"
        let sums = compared.compactMap { column in
            column.aggregate(sizeInMilliseconds: size).map { "\($0) AS \(column.name)" }
        }
        let values = Quantity.aggregated.flatMap { quantity in
            WindowStatistic.allCases.map { "(\(differs($0, quantity)))" }
        }
        // Rows of older releases do not have these.
        let mergeable = (WindowColumn.counts + [.coveredTime]).map { "w.\($0.name) <> r.\($0.name)" }
        let inWindow = """
            d.sensor_id = w.sensor_id AND d.gateway_id = w.gateway_id
                AND d.event_time >= w.window_start AND d.event_time < w.window_end AND d.in_windows
            """
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
                        WHEN abs(w.coverage - r.coverage) > 1e-9 THEN 'with a wrong coverage'
                        WHEN \(values.joined(separator: " OR ")) THEN 'with wrong values'
                        WHEN \(mergeable.joined(separator: " OR ")) THEN 'with counts of quantities that are wrong'
                        WHEN w.is_final IS DISTINCT FROM (w.window_end <= s.final_through) THEN 'wrongly final or open'
                    END AS problem
                FROM sensor_data_agg w LEFT JOIN LATERAL (
                        SELECT \(sums.joined(separator: ", "))
                        FROM sensor_data d WHERE \(inWindow) AND (w.is_final OR d.commit_number <= w.commit_number)
                        HAVING count(*) > 0) r ON true
                    LEFT JOIN sensor s ON s.sensor_id = w.sensor_id AND s.gateway_id = w.gateway_id
                WHERE w.window_start >= \(since) AND (w.is_final OR w.commit_number >= 0)),
            -- What was never written is found by its rows: those of each slide are in as many windows as slides make a size.
            specifications AS (
                SELECT size * interval '1 millisecond' AS window_size, slide * interval '1 millisecond' AS slide
                FROM unnest($1::int8[], $2::int8[]) AS z (size, slide)),
            panes AS (
                SELECT DISTINCT d.sensor_id, d.gateway_id, z.window_size, z.slide,
                    date_bin(z.slide, d.event_time, timestamptz 'epoch') AS pane
                FROM sensor_data d CROSS JOIN specifications z WHERE d.in_windows),
            covering AS (
                SELECT DISTINCT p.sensor_id, p.gateway_id, p.window_size, p.slide, c.window_start
                FROM panes p CROSS JOIN LATERAL
                    generate_series(p.pane + p.slide - p.window_size, p.pane, p.slide) AS c (window_start)
                WHERE c.window_start >= \(since)),
            unwritten AS (
                SELECT c.sensor_id, c.gateway_id, c.window_size, c.window_start,
                    c.window_start + c.window_size <= s.final_through AS is_final
                FROM covering c JOIN sensor s ON s.sensor_id = c.sensor_id AND s.gateway_id = c.gateway_id
                    LEFT JOIN sensor_data_agg w ON w.sensor_id = c.sensor_id AND w.gateway_id = c.gateway_id
                        AND w.window_size = c.window_size AND w.window_start = c.window_start
                WHERE w.sensor_id IS NULL
                    AND c.window_start + c.window_size - c.slide <= greatest(s.final_through, s.last_event_time)),
            problems AS (
                SELECT problem, true AS is_mismatch, sensor_id, gateway_id, window_size, window_start FROM compared
                WHERE problem IS NOT NULL
                UNION ALL SELECT 'never written', true, sensor_id, gateway_id, window_size, window_start
                FROM unwritten WHERE is_final
                UNION ALL SELECT 'behind', false, sensor_id, gateway_id, window_size, window_start
                FROM unwritten WHERE NOT is_final
                UNION ALL SELECT 'behind', false, w.sensor_id, w.gateway_id, w.window_size, w.window_start
                FROM sensor_data_agg w WHERE NOT w.is_final AND w.window_start >= \(since)
                    AND EXISTS (SELECT FROM sensor_data d WHERE \(inWindow) AND d.commit_number > w.commit_number))
            SELECT problem, is_mismatch, count(*) AS count,
                min((gateway_id, sensor_id, window_size::text, window_start::text)::text) AS example
            FROM problems GROUP BY 1, 2 ORDER BY 1, 2
            """
    }()
}
