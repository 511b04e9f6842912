import PostgresClient
import Readings
import Windowing

/// Adds up panes from raw rows: one range of the index a sensor, in the day partitions that it touches.
struct PaneQuery {
    let connection: PostgresConnection
    /// Milliseconds.
    let paneSize: Int64

    /// A stretch of event time of a sensor.
    struct Range {
        var name: SensorName
        /// The first instant, milliseconds since 1970; rounded down to a pane.
        var from: Int64
        /// The first instant that is not part of it, milliseconds since 1970.
        var to: Int64
    }

    /// What raw rows add up to, beside the statistics of quantities.
    private enum Column: ResultColumn {
        case position, start, readingCount, warningCount, failureCount, lateCount, coveredTime
        case statistic(Statistic, Quantity)

        enum Statistic: String, CaseIterable {
            case count
            case mean = "avg"
            case squaredDeviations = "squared_deviations"
            case minimum = "min"
            case maximum = "max"
        }

        /// What the raw rows `d` add up to, in SQL.
        static let aggregates: [(column: Column, expression: String)] =
            [
                (.readingCount, "count(*)"), (.warningCount, "count(*) FILTER (WHERE d.status = 'warning')"),
                (.failureCount, "count(*) FILTER (WHERE d.status = 'failure')"),
                (.lateCount, "count(*) FILTER (WHERE d.late)"), (.coveredTime, "sum(d.interval_ms)::int8"),
            ]
            + Quantity.aggregated.flatMap { quantity in
                Statistic.allCases.map { statistic in
                    let column = "d.\(quantity.name)"
                    let expression =
                        statistic == .squaredDeviations
                        ? "var_pop(\(column)) * count(\(column))" : "\(statistic.rawValue)(\(column))"
                    return (.statistic(statistic, quantity), expression)
                }
            }

        var name: String {
            switch self {
            case .position: "position"
            case .start: "pane"
            case .readingCount: "reading_count"
            case .warningCount: "warning_count"
            case .failureCount: "failure_count"
            case .lateCount: "late_count"
            case .coveredTime: "covered_ms"
            case .statistic(let statistic, let quantity): "\(quantity.name)_\(statistic.rawValue)"
            }
        }
    }

    /// The statement. LATERAL, so that each range is found by the index: a join would read whole partitions. The bounds of
    /// all ranges together keep the others out before the statement begins.
    private static let statement: String = {
        let aggregates = Column.aggregates.map { "\($0.expression) AS \($0.column.name)" }
        return """
            SELECT r.position, p.*
            FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[])
                WITH ORDINALITY AS r (gateway_id, sensor_id, since, until, position)
            CROSS JOIN LATERAL (
                SELECT date_bin($5 * interval '1 millisecond', d.event_time, timestamptz 'epoch') AS pane,
                    \(aggregates.joined(separator: ", "))
                FROM sensor_data d WHERE d.sensor_id = r.sensor_id AND d.gateway_id = r.gateway_id
                    AND d.event_time >= r.since AND d.event_time < r.until
                    AND d.event_time >= $6 AND d.event_time < $7 AND d.in_windows
                GROUP BY pane) p
            """
    }()

    /// The panes of ranges, in the order of these.
    func panes(of ranges: [Range]) throws -> [[Pane]] {
        guard let first = ranges.map(\.from).min(), let last = ranges.map(\.to).max() else { return [] }
        func time(_ milliseconds: Int64) -> PostgresTimestamp { PostgresTimestamp(milliseconds: milliseconds) }
        func paneStart(_ milliseconds: Int64) -> Int64 {
            milliseconds == .min ? .min : milliseconds.flooredQuotient(by: paneSize) * paneSize
        }
        let result = try connection.query(
            prepared: PaneQuery.statement,
            [
                .array(ranges.map(\.name.gatewayID)), .array(ranges.map(\.name.sensorID)),
                .array(ranges.map { time(paneStart($0.from)) }), .array(ranges.map { time($0.to) }),
                .value(paneSize), .value(time(paneStart(first))), .value(time(last)),
            ])
        var panes = [[Pane]](repeating: [], count: ranges.count)
        for row in ResultRows(result, of: Column.self) {
            let position: Int64 = try row.value(.position)
            panes[Int(position) - 1].append(Pane(start: try row.time(.start), totals: try PaneQuery.totals(row)))
        }
        return panes
    }

    private static func totals(_ row: ResultRow<Column>) throws -> Totals {
        var totals = Totals()
        totals.readingCount = try row.value(.readingCount)
        totals.warningCount = try row.value(.warningCount)
        totals.failureCount = try row.value(.failureCount)
        totals.lateCount = try row.value(.lateCount)
        totals.coveredTime = try row.value(.coveredTime)
        for quantity in Quantity.aggregated {
            let count: Int64 = try row.value(.statistic(.count, quantity))
            guard count > 0 else { continue }
            totals.summaries[quantity] = Summary(
                count: count, mean: try row.value(.statistic(.mean, quantity)),
                squaredDeviations: try row.value(.statistic(.squaredDeviations, quantity)),
                minimum: try row.value(.statistic(.minimum, quantity)),
                maximum: try row.value(.statistic(.maximum, quantity)))
        }
        return totals
    }
}
