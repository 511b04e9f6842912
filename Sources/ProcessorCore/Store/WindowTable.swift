import PostgresClient
import Windowing

/// Windows on their way to `sensor_data_agg`, as columns.
struct WindowRows {
    /// Windows that it does not keep are not written.
    let cutoff: RetentionCutoff
    private var sensorIDs: [String] = []
    private var gatewayIDs: [String] = []
    private var results: [WindowResult] = []

    init(cutoff: RetentionCutoff) {
        self.cutoff = cutoff
    }

    /// How many windows.
    var count: Int { results.count }

    /// Adds a window of a sensor.
    mutating func append(_ result: WindowResult, of sensor: SensorState) {
        guard cutoff.keepsWindow(from: result.start) else { return }
        sensorIDs.append(sensor.sensorID)
        gatewayIDs.append(sensor.gatewayID)
        results.append(result)
    }

    /// Writes them all. COPY takes a third of the time of an upsert, and most windows of a busy stream are new.
    func write(_ connection: PostgresConnection, now: PostgresTimestamp) throws {
        let (new, known) = results.indices.reduce(into: ([Int](), [Int]())) { parts, index in
            if results[index].isNew { parts.0.append(index) } else { parts.1.append(index) }
        }
        if !new.isEmpty {
            try connection.copyIn(WindowTable.copy) { writer in
                for index in new { try copy(index, to: &writer, now: now) }
            }
        }
        if !known.isEmpty { try subset(known).upsert(connection, now: now) }
    }

    private func subset(_ indices: [Int]) -> WindowRows {
        var rows = WindowRows(cutoff: cutoff)
        rows.sensorIDs = indices.map { sensorIDs[$0] }
        rows.gatewayIDs = indices.map { gatewayIDs[$0] }
        rows.results = indices.map { results[$0] }
        return rows
    }

    private func copy(_ index: Int, to writer: inout BinaryCopyWriter, now: PostgresTimestamp) throws {
        let result = results[index]
        let totals = result.totals
        let size = result.specification.size
        try writer.beginRow(fields: Int16(WindowTable.columnCount))
        writer.append(sensorIDs[index])
        writer.append(gatewayIDs[index])
        // interval_send(): microseconds, days, months.
        withUnsafeBytes(of: ((size * 1000).bigEndian, Int64(0))) { writer.append($0) }
        writer.append(PostgresTimestamp(milliseconds: result.start))
        writer.append(totals.readingCount)
        writer.append(totals.warningCount)
        writer.append(totals.failureCount)
        writer.append(totals.lateCount)
        writer.append(totals.coverage(of: size))
        writer.append(result.isFinal)
        writer.append(PostgresTimestamp(milliseconds: result.start + size))
        writer.append(Int32(0))
        writer.append(now)
        for path in WindowTable.summaries {
            let summary = totals[keyPath: path]
            writer.append(summary.mean)
            writer.append(summary.minimum)
            writer.append(summary.maximum)
            writer.append(summary.standardDeviation)
        }
    }

    private func upsert(_ connection: PostgresConnection, now: PostgresTimestamp) throws {
        var parameters: [PostgresParameter] = [
            .array(sensorIDs), .array(gatewayIDs), .array(results.lazy.map(\.specification.size)),
            .array(results.lazy.map { PostgresTimestamp(milliseconds: $0.start) }),
            .array(results.lazy.map(\.totals.readingCount)), .array(results.lazy.map(\.totals.warningCount)),
            .array(results.lazy.map(\.totals.failureCount)), .array(results.lazy.map(\.totals.lateCount)),
            .array(results.lazy.map { $0.totals.coverage(of: $0.specification.size) }),
            .array(results.lazy.map(\.isFinal)), .value(now),
        ]
        for summary in WindowTable.summaries {
            let summaries = results.lazy.map { $0.totals[keyPath: summary] }
            parameters.append(.array(summaries.map(\.mean)))
            parameters.append(.array(summaries.map(\.minimum)))
            parameters.append(.array(summaries.map(\.maximum)))
            parameters.append(.array(summaries.map(\.standardDeviation)))
        }
        _ = try connection.query(prepared: WindowTable.upsert, parameters)
    }
}

/// The statements on `sensor_data_agg`.
enum WindowTable {
    /// Whether a statement writes windows.
    static func isWritten(by statement: String) -> Bool {
        statement.hasPrefix("COPY sensor_data_agg") || statement.hasPrefix("INSERT INTO sensor_data_agg")
    }

    /// The quantities that are aggregated, as columns and as parts of `Totals`, in the same order.
    static let quantities = ["temperature", "humidity", "co2", "pressure", "battery_level"]
    static let summaries: [any WritableKeyPath<Totals, Summary> & Sendable] = [
        \Totals.temperature, \Totals.humidity, \Totals.co2, \Totals.pressure, \Totals.batteryLevel,
    ]

    private static let aggregateColumns = quantities.flatMap { quantity in
        ["avg", "min", "max", "stddev"].map { "\(quantity)_\($0)" }
    }

    private static let columns =
        [
            "sensor_id", "gateway_id", "window_size", "window_start", "reading_count", "warning_count",
            "failure_count", "late_count", "coverage", "is_final", "window_end", "revision", "updated_at",
        ] + aggregateColumns

    static let columnCount = columns.count

    static let copy = "COPY sensor_data_agg (\(columns.joined(separator: ", "))) FROM STDIN (FORMAT binary)"

    private static let onConflict = """
        ON CONFLICT (sensor_id, gateway_id, window_size, window_start) DO UPDATE SET
        \(columns.dropFirst(4).map { column in
            column == "revision"
                ? "revision = sensor_data_agg.revision + sensor_data_agg.is_final::integer"
                : "\(column) = excluded.\(column)"
        }.joined(separator: ", "))
        """

    static let upsert = """
        INSERT INTO sensor_data_agg (\(columns.joined(separator: ", ")))
        SELECT sensor_id, gateway_id, size_ms * interval '1 millisecond', window_start, reading_count, warning_count,
            failure_count, late_count, coverage, is_final, window_start + size_ms * interval '1 millisecond', 0,
            $11::timestamptz, \(aggregateColumns.joined(separator: ", "))
        FROM unnest($1::text[], $2::text[], $3::int8[], $4::timestamptz[], $5::int8[], $6::int8[], $7::int8[],
            $8::int8[], $9::float8[], $10::bool[],
            \(aggregateColumns.indices.map { "$\($0 + 12)::float8[]" }.joined(separator: ", ")))
        AS w (sensor_id, gateway_id, size_ms, window_start, reading_count, warning_count, failure_count, late_count,
            coverage, is_final, \(aggregateColumns.joined(separator: ", ")))
        \(onConflict)
        """

    /// The aggregates of `sensor_data d` by the rules of `Totals`; `sizeInMilliseconds` is an SQL expression.
    static func totals(sizeInMilliseconds: String) -> String {
        let summaries = quantities.map { "avg(d.\($0)), min(d.\($0)), max(d.\($0)), stddev_samp(d.\($0))" }
        return """
            count(*), count(*) FILTER (WHERE d.status = 'warning'), count(*) FILTER (WHERE d.status = 'failure'),
            count(*) FILTER (WHERE d.late), least(1, sum(d.interval_ms)::float8 / \(sizeInMilliseconds)),
            \(summaries.joined(separator: ", "))
            """
    }

    /// Computes final windows again from the raw rows, those of this transaction included.
    static let recompute = """
        INSERT INTO sensor_data_agg (sensor_id, gateway_id, window_size, window_start, reading_count, warning_count,
            failure_count, late_count, coverage, \(aggregateColumns.joined(separator: ", ")),
            is_final, window_end, revision, updated_at)
        SELECT w.sensor_id, w.gateway_id, w.size_ms * interval '1 millisecond', w.window_start,
            \(totals(sizeInMilliseconds: "w.size_ms")),
            true, w.window_start + w.size_ms * interval '1 millisecond', 0, $5::timestamptz
        FROM unnest($1::text[], $2::text[], $3::int8[], $4::timestamptz[])
            AS w (sensor_id, gateway_id, size_ms, window_start)
        JOIN sensor_data d ON d.sensor_id = w.sensor_id AND d.gateway_id = w.gateway_id
            AND d.event_time >= w.window_start
            AND d.event_time < w.window_start + w.size_ms * interval '1 millisecond'
        GROUP BY w.sensor_id, w.gateway_id, w.size_ms, w.window_start
        \(onConflict)
        """
}
