import PostgresClient
import Readings
import Windowing

/// The columns of `sensor`.
enum SensorColumn: TableColumn {
    case gatewayID, sensorID, firstEventTime, lastArrival, finalThrough, quantities
    case lastEventTime, interval, lastStatus
    case quantity(Quantity)
    case faults, latitude, longitude, timeQuality, isSimulated

    /// The primary key.
    static let key: [SensorColumn] = [.gatewayID, .sensorID]
    /// What changes without a newer reading.
    static let state: [SensorColumn] = [.firstEventTime, .lastArrival, .finalThrough, .quantities]
    /// What the newest reading says.
    static let latest: [SensorColumn] =
        [.lastEventTime, .interval, .lastStatus] + Quantity.all.map { .quantity($0) }
        + [.faults, .latitude, .longitude, .timeQuality, .isSimulated]

    var name: String {
        switch self {
        case .gatewayID: "gateway_id"
        case .sensorID: "sensor_id"
        case .firstEventTime: "first_event_time"
        case .lastArrival: "last_arrival"
        case .finalThrough: "final_through"
        case .quantities: "quantities"
        case .lastEventTime: "last_event_time"
        case .interval: "interval_ms"
        case .lastStatus: "last_status"
        case .quantity(let quantity): quantity.name
        case .faults: "faults"
        case .latitude: "latitude"
        case .longitude: "longitude"
        case .timeQuality: "time_quality"
        case .isSimulated: "simulated"
        }
    }

    /// The faults of a sensor come as one text: an array of arrays would have to be rectangular.
    var type: String {
        switch self {
        case .gatewayID, .sensorID, .lastStatus, .timeQuality, .faults: "text"
        case .firstEventTime, .lastArrival, .finalThrough, .lastEventTime: "timestamptz"
        case .quantities: "int2"
        case .interval: "int4"
        case .quantity, .latitude, .longitude: "float8"
        case .isSimulated: "bool"
        }
    }

    /// One array with the values of this column for some sensors.
    fileprivate func parameter(of sensors: [SensorState]) -> PostgresParameter {
        func times(_ milliseconds: (SensorState) -> Int64) -> PostgresParameter {
            .array(sensors.map { PostgresTimestamp(milliseconds: milliseconds($0)) })
        }
        func latest<Value: PostgresValue>(_ value: (LatestReading) -> Value?) -> PostgresParameter {
            .array(sensors.map { sensor in sensor.latest.flatMap { value($0) } })
        }
        return switch self {
        case .gatewayID: .array(sensors.map(\.gatewayID))
        case .sensorID: .array(sensors.map(\.sensorID))
        case .firstEventTime: times(\.firstEventTime)
        case .lastArrival: times(\.lastArrival)
        case .finalThrough: times(\.windows.finalThrough)
        case .quantities: .array(sensors.map { Int16(truncatingIfNeeded: $0.quantities.rawValue) })
        case .lastEventTime: latest { PostgresTimestamp(milliseconds: $0.row.eventTime) }
        case .interval: latest { Int32(clamping: $0.row.interval) }
        case .lastStatus: latest(\.status.name)
        case .quantity(let quantity): latest { $0.row.values[quantity] }
        case .faults: latest { $0.faults?.joined(separator: " ") }
        case .latitude: latest(\.row.latitude)
        case .longitude: latest(\.row.longitude)
        case .timeQuality: latest(\.row.timeQuality.rawValue)
        case .isSimulated: latest(\.row.isSimulated)
        }
    }
}

/// Reads and writes `sensor`.
struct SensorTable {
    let connection: PostgresConnection
    let policy: WindowPolicy

    // MARK: Reading

    /// Loads the sensors of some gateways, with the panes of their open windows from the raw rows.
    func load(_ gateways: [String: GatewayState]) throws {
        let columns: [SensorColumn] =
            SensorColumn.key + [
                .firstEventTime, .lastEventTime, .lastArrival, .finalThrough, .quantities, .interval,
            ]
        let rows = ResultRows(
            try connection.query(
                prepared: "SELECT \(columns.names) FROM sensor WHERE gateway_id = ANY ($1)",
                [.array(gateways.keys)]), of: SensorColumn.self)
        guard !rows.isEmpty else { return }
        var panes = try loadPanes(gateways)
        for row in rows {
            let name = SensorName(gatewayID: try row.value(.gatewayID), sensorID: try row.value(.sensorID))
            let windows = SensorWindows(
                restoring: panes.removeValue(forKey: name) ?? [], largestEventTime: try row.time(.lastEventTime),
                finalThrough: try row.time(.finalThrough))
            gateways[name.gatewayID]?.sensors[name.sensorID] = SensorState(
                gatewayID: name.gatewayID, sensorID: name.sensorID, windows: windows,
                quantities: QuantitySet(
                    rawValue: UInt16(truncatingIfNeeded: try row.value(.quantities, as: Int16.self))),
                firstEventTime: try row.time(.firstEventTime), lastArrival: try row.time(.lastArrival),
                interval: Int64(try row.value(.interval, as: Int32.self)))
        }
    }

    private struct SensorName: Hashable {
        var gatewayID: String
        var sensorID: String
    }

    /// The columns of the panes that raw rows add up to.
    private enum PaneColumn: ResultColumn {
        case gatewayID, sensorID, start, readingCount, warningCount, failureCount, lateCount, coveredTime
        case statistic(Statistic, Quantity)

        enum Statistic: String, CaseIterable {
            case count
            case mean = "avg"
            case squaredDeviations = "squared_deviations"
            case minimum = "min"
            case maximum = "max"
        }

        /// What the raw rows `d` add up to, in SQL.
        static let aggregates: [(column: PaneColumn, expression: String)] =
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
            case .gatewayID: "gateway_id"
            case .sensorID: "sensor_id"
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

    /// Adds up the panes of every open window from the raw rows.
    private func loadPanes(_ gateways: [String: GatewayState]) throws -> [SensorName: [SensorWindows.Pane]] {
        let aggregates = PaneColumn.aggregates.map { "\($0.expression) AS \($0.column.name)" }
        // LATERAL, so that each sensor's rows are found by the index in the few days that they can be in: a join would
        // read the whole table.
        let result = try connection.query(
            prepared: """
                SELECT s.gateway_id, s.sensor_id, p.*
                FROM sensor s CROSS JOIN LATERAL (
                    SELECT date_bin($2 * interval '1 millisecond', d.event_time, timestamptz 'epoch') AS pane,
                        \(aggregates.joined(separator: ", "))
                    FROM sensor_data d WHERE d.sensor_id = s.sensor_id AND d.gateway_id = s.gateway_id
                        AND d.event_time >= s.final_through - $3 * interval '1 millisecond'
                    GROUP BY pane) p
                WHERE s.gateway_id = ANY ($1)
                """, [.array(gateways.keys), .value(policy.paneSize), .value(policy.longestWindow + policy.paneSize)])
        var panes: [SensorName: [SensorWindows.Pane]] = [:]
        for row in ResultRows(result, of: PaneColumn.self) {
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
            let name = SensorName(gatewayID: try row.value(.gatewayID), sensorID: try row.value(.sensorID))
            panes[name, default: []].append(SensorWindows.Pane(start: try row.time(.start), totals: totals))
        }
        return panes
    }

    // MARK: Writing

    /// Writes sensors: all facts of those with a new latest reading, else only what the windows need.
    func save(_ sensors: [SensorState]) throws {
        let seen = sensors.filter { $0.latest != nil }
        if !seen.isEmpty {
            _ = try connection.query(prepared: SensorTable.upsert, SensorTable.upserted.map { $0.parameter(of: seen) })
        }
        let rest = sensors.filter { $0.latest == nil }
        if !rest.isEmpty {
            let columns = SensorColumn.key + SensorColumn.state
            _ = try connection.query(
                prepared: """
                    UPDATE sensor t SET \(SensorColumn.state.assignments(from: "s"))
                    FROM \(columns.unnest(as: "s")) WHERE \(SensorColumn.key.matches("t", "s"))
                    """, columns.map { $0.parameter(of: rest) })
        }
        for sensor in sensors { sensor.latest = nil }
    }

    private static let upserted = SensorColumn.key + SensorColumn.state + SensorColumn.latest

    private static let upsert: String = {
        let values = upserted.map { $0 == .faults ? "string_to_array(faults, ' ')" : $0.name }
        return """
            INSERT INTO sensor (\(upserted.names))
            SELECT \(values.joined(separator: ", ")) FROM \(upserted.unnest(as: "s"))
            ON CONFLICT (\(SensorColumn.key.names)) DO UPDATE SET
            \((SensorColumn.state + SensorColumn.latest).assignments(from: "excluded"))
            """
    }()

    /// A final window of a sensor that is to become due again.
    struct Reopened {
        var gatewayID: String
        var sensorID: String
        /// The beginning of the window, milliseconds since 1970.
        var start: Int64
    }

    /// Makes final windows due once more. Copies of the sensors in memory are to be dropped afterwards.
    func reopen(_ windows: [Reopened]) throws {
        guard !windows.isEmpty else { return }
        _ = try connection.query(
            prepared: """
                UPDATE sensor s SET final_through = least(s.final_through, w.start)
                FROM (SELECT gateway_id, sensor_id, min(start) AS start
                    FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS w (gateway_id, sensor_id, start)
                    GROUP BY gateway_id, sensor_id) AS w
                WHERE \(SensorColumn.key.matches("s", "w"))
                """,
            [
                .array(windows.map(\.gatewayID)), .array(windows.map(\.sensorID)),
                .array(windows.map { PostgresTimestamp(milliseconds: $0.start) }),
            ])
    }
}
