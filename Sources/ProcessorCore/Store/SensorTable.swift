import PostgresClient
import Readings
import Windowing

/// The columns of `sensor`.
enum SensorColumn: TableColumn {
    case gatewayID, sensorID, firstEventTime, lastArrival, finalThrough, quantities, lastCommit
    case lastEventTime, interval, lastStatus
    case quantity(Quantity)
    case faults, latitude, longitude, timeQuality, isSimulated

    /// The primary key.
    static let key: [SensorColumn] = [.gatewayID, .sensorID]
    /// What changes without a newer reading.
    static let state: [SensorColumn] = [.firstEventTime, .lastArrival, .finalThrough, .quantities, .lastCommit]
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
        case .lastCommit: "last_commit"
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
        case .lastCommit: "int8"
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
        case .lastCommit: .array(sensors.map(\.lastCommit))
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

    private static let loaded: [SensorColumn] =
        SensorColumn.key + SensorColumn.state + [.lastEventTime, .interval]

    /// The sensors of some that have a row, without their panes.
    func load(_ names: [SensorName]) throws -> [SensorState] {
        try sensors(
            try connection.query(
                prepared: """
                    SELECT \(SensorTable.loaded.names(of: "t")) FROM \(SensorColumn.key.lookUp(in: "sensor"))
                    """, [.array(names.map(\.gatewayID)), .array(names.map(\.sensorID))]))
    }

    /// The sensors of gateways that time may make due: those that may have readings in open windows, and those that may
    /// become silent.
    /// - Parameters:
    ///   - gateways: each with the name of a sensor after which to look.
    ///   - limit: the most of each gateway; those that come first by their names.
    ///   - lookingForSilence: whether silence means anything.
    func loadDue(
        of gateways: [(gatewayID: String, after: String)], atMost limit: Int, lookingForSilence: Bool
    ) throws -> [SensorState] {
        try sensors(
            try connection.query(
                prepared: """
                    SELECT \(SensorTable.loaded.names(of: "t"))
                    FROM unnest($1::text[], $2::text[]) AS n (gateway_id, after) CROSS JOIN LATERAL (
                        SELECT * FROM sensor t WHERE t.gateway_id = n.gateway_id AND t.sensor_id > n.after
                            AND (t.last_event_time + $3 * interval '1 millisecond' > t.final_through
                                OR $4 AND NOT EXISTS (SELECT FROM alert_state a WHERE a.gateway_id = t.gateway_id
                                    AND a.sensor_id = t.sensor_id AND a.kind = 'silence'))
                        ORDER BY t.sensor_id LIMIT $5) t
                    """,
                [
                    .array(gateways.map(\.gatewayID)), .array(gateways.map(\.after)), .value(policy.longestWindow),
                    .value(lookingForSilence), .value(Int64(limit)),
                ]))
    }

    private func sensors(_ result: PostgresResult) throws -> [SensorState] {
        try ResultRows(result, of: SensorColumn.self).map { row in
            SensorState(
                gatewayID: try row.value(.gatewayID), sensorID: try row.value(.sensorID),
                windows: SensorWindows(
                    largestEventTime: try row.time(.lastEventTime), finalThrough: try row.time(.finalThrough),
                    policy: policy),
                quantities: QuantitySet(
                    rawValue: UInt16(truncatingIfNeeded: try row.value(.quantities, as: Int16.self))),
                firstEventTime: try row.time(.firstEventTime), lastArrival: try row.time(.lastArrival),
                interval: Int64(try row.value(.interval, as: Int32.self)), lastCommit: try row.value(.lastCommit))
        }
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
}
