/// The windows of `Site.writeProcessorConfiguration`, computed by PostgreSQL alone from the rows of `sensor_data`.
enum Windows {
    private static let quantities = [
        "temperature", "humidity", "co2", "pressure", "battery_level", "voc_index", "pm2_5",
    ]

    /// Selects one row for each window that `sensor_data_agg` lacks, has without cause, or has with other numbers. A window
    /// has a row from the time on when its last slide begins.
    ///
    /// Counts, minima and maxima must be equal. Averages and standard deviations are sums in another order, so they
    /// may differ in their last digits.
    static var differences: String {
        let aggregates = quantities.map { name in
            """
            avg(d.\(name)) AS e_\(name)_avg, min(d.\(name)) AS e_\(name)_min, max(d.\(name)) AS e_\(name)_max,
            stddev_samp(d.\(name)) AS e_\(name)_stddev
            """
        }
        let checks = quantities.flatMap { name in
            ["min", "max"].map { "\(name)_\($0) IS DISTINCT FROM e_\(name)_\($0)" }
                + ["avg", "stddev"].map { kind in
                    let (found, expected) = ("\(name)_\(kind)", "e_\(name)_\(kind)")
                    return """
                        (\(found) IS NULL) <> (\(expected) IS NULL)
                        OR abs(\(found) - \(expected)) > 1e-7 * greatest(1, abs(\(expected)))
                        """
                }
        }
        return """
            WITH definition(window_size, slide) AS (
                VALUES (interval '10 minutes', interval '1 minute'), (interval '1 minute', interval '1 minute')
            ), expected AS (
                SELECT sensor_id, gateway_id, window_size, first AS window_start, first + window_size AS e_window_end,
                    count(*) AS e_reading_count, count(*) FILTER (WHERE status = 'warning') AS e_warning_count,
                    count(*) FILTER (WHERE status = 'failure') AS e_failure_count,
                    \(aggregates.joined(separator: ",\n"))
                FROM sensor_data d JOIN sensor s USING (sensor_id, gateway_id), definition, LATERAL (
                    SELECT date_bin(slide, event_time, timestamptz '1970-01-01 00:00:00Z') AS newest
                ) AS aligned, LATERAL generate_series(newest - window_size + slide, newest, slide) AS first
                WHERE first + window_size - slide <= s.last_event_time
                GROUP BY sensor_id, gateway_id, window_size, first
            )
            SELECT sensor_id, gateway_id, window_size::text, window_start, reading_count::bigint, e_reading_count
            FROM expected FULL JOIN sensor_data_agg USING (sensor_id, gateway_id, window_size, window_start)
            WHERE reading_count IS DISTINCT FROM e_reading_count OR window_end IS DISTINCT FROM e_window_end
                OR warning_count IS DISTINCT FROM e_warning_count OR failure_count IS DISTINCT FROM e_failure_count
                OR \(checks.joined(separator: "\nOR "))
            """
    }
}
