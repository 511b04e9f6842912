import PostgresClient
import Readings
import Windowing

/// What a window says of each aggregated quantity.
enum WindowStatistic: String, CaseIterable {
    case mean = "avg"
    case minimum = "min"
    case maximum = "max"
    case standardDeviation = "stddev"

    /// The statistic of a column of raw rows, in SQL.
    func aggregate(_ column: String) -> String {
        self == .standardDeviation ? "stddev_samp(\(column))" : "\(rawValue)(\(column))"
    }

    /// The statistic; nil if there are too few values for it.
    func value(of summary: Summary) -> Double? {
        switch self {
        case .mean: summary.mean
        case .minimum: summary.minimum
        case .maximum: summary.maximum
        case .standardDeviation: summary.standardDeviation
        }
    }
}

/// The columns of `sensor_data_agg`.
enum WindowColumn: TableColumn {
    case sensorID, gatewayID, windowSize, windowStart, windowEnd
    case readingCount, warningCount, failureCount, lateCount, coverage
    case statistic(WindowStatistic, Quantity)
    case isFinal, revision, updatedAt

    /// The primary key.
    static let key: [WindowColumn] = [.sensorID, .gatewayID, .windowSize, .windowStart]
    /// What the statistics of quantities are.
    static let statistics: [WindowColumn] = Quantity.aggregated.flatMap { quantity in
        WindowStatistic.allCases.map { .statistic($0, quantity) }
    }
    /// What the readings of a window add up to.
    static let totals: [WindowColumn] =
        [.readingCount, .warningCount, .failureCount, .lateCount, .coverage] + statistics
    /// All of them, as a row is written.
    static let all: [WindowColumn] = key + [.windowEnd] + totals + [.isFinal, .revision, .updatedAt]

    var name: String {
        switch self {
        case .sensorID: "sensor_id"
        case .gatewayID: "gateway_id"
        case .windowSize: "window_size"
        case .windowStart: "window_start"
        case .windowEnd: "window_end"
        case .readingCount: "reading_count"
        case .warningCount: "warning_count"
        case .failureCount: "failure_count"
        case .lateCount: "late_count"
        case .coverage: "coverage"
        case .statistic(let statistic, let quantity): "\(quantity.name)_\(statistic.rawValue)"
        case .isFinal: "is_final"
        case .revision: "revision"
        case .updatedAt: "updated_at"
        }
    }

    var type: String {
        switch self {
        case .sensorID, .gatewayID: "text"
        case .windowSize: "interval"
        case .windowStart, .windowEnd, .updatedAt: "timestamptz"
        case .readingCount, .warningCount, .failureCount, .lateCount: "int8"
        case .coverage, .statistic: "float8"
        case .isFinal: "bool"
        case .revision: "int4"
        }
    }

    /// What the raw rows `d` of a window add up to, in SQL, by the rules of `Totals`; nil of what they do not say.
    /// - Parameter size: the size of the window in milliseconds, in SQL.
    func aggregate(sizeInMilliseconds size: String) -> String? {
        switch self {
        case .readingCount: "count(*)"
        case .warningCount: "count(*) FILTER (WHERE d.status = 'warning')"
        case .failureCount: "count(*) FILTER (WHERE d.status = 'failure')"
        case .lateCount: "count(*) FILTER (WHERE d.late)"
        case .coverage: "least(1, sum(d.interval_ms)::float8 / \(size))"
        case .statistic(let statistic, let quantity): statistic.aggregate("d.\(quantity.name)")
        default: nil
        }
    }
}

/// Windows on their way to `sensor_data_agg`.
struct WindowRows {
    /// A window of a sensor.
    private struct Row {
        var sensorID: String
        var gatewayID: String
        var result: WindowResult
    }

    /// Windows that it does not keep are not written.
    let cutoff: RetentionCutoff
    private var rows: [Row] = []

    init(cutoff: RetentionCutoff) {
        self.cutoff = cutoff
    }

    /// How many windows.
    var count: Int { rows.count }

    /// Adds a window of a sensor.
    mutating func append(_ result: WindowResult, of sensor: SensorState) {
        guard cutoff.keepsWindow(from: result.start) else { return }
        rows.append(Row(sensorID: sensor.sensorID, gatewayID: sensor.gatewayID, result: result))
    }

    /// Writes them all. COPY takes a third of the time of an upsert, and most windows of a busy stream are new.
    func write(_ connection: PostgresConnection, now: PostgresTimestamp) throws {
        let new = rows.filter(\.result.isNew)
        if !new.isEmpty {
            try connection.copyIn(WindowTable.copy) { writer in
                for row in new { try WindowRows.copy(row, to: &writer, now: now) }
            }
        }
        let known = rows.filter { !$0.result.isNew }
        if !known.isEmpty { try WindowRows.upsert(known, connection, now: now) }
    }

    private static func copy(_ row: Row, to writer: inout BinaryCopyWriter, now: PostgresTimestamp) throws {
        let (result, totals) = (row.result, row.result.totals)
        let size = result.specification.size
        try writer.beginRow(fields: Int16(WindowColumn.all.count))
        for column in WindowColumn.all {
            switch column {
            case .sensorID: writer.append(row.sensorID)
            case .gatewayID: writer.append(row.gatewayID)
            case .windowSize:
                // interval_send(): microseconds, days, months.
                withUnsafeBytes(of: ((size * 1000).bigEndian, Int64(0))) { writer.append($0) }
            case .windowStart: writer.append(PostgresTimestamp(milliseconds: result.start))
            case .windowEnd: writer.append(PostgresTimestamp(milliseconds: result.start + size))
            case .readingCount: writer.append(totals.readingCount)
            case .warningCount: writer.append(totals.warningCount)
            case .failureCount: writer.append(totals.failureCount)
            case .lateCount: writer.append(totals.lateCount)
            case .coverage: writer.append(totals.coverage(of: size))
            case .statistic(let statistic, let quantity):
                writer.append(statistic.value(of: totals.summaries[quantity]))
            case .isFinal: writer.append(result.isFinal)
            case .revision: writer.append(Int32(0))
            case .updatedAt: writer.append(now)
            }
        }
    }

    private static func upsert(_ rows: [Row], _ connection: PostgresConnection, now: PostgresTimestamp) throws {
        let results = rows.lazy.map(\.result)
        let parameters = WindowTable.upserted.map { column -> PostgresParameter in
            switch column {
            case .sensorID: .array(rows.lazy.map(\.sensorID))
            case .gatewayID: .array(rows.lazy.map(\.gatewayID))
            case .windowSize: .array(results.map { $0.specification.size })
            case .windowStart: .array(results.map { PostgresTimestamp(milliseconds: $0.start) })
            case .windowEnd:
                .array(results.map { PostgresTimestamp(milliseconds: $0.start + $0.specification.size) })
            case .readingCount: .array(results.map(\.totals.readingCount))
            case .warningCount: .array(results.map(\.totals.warningCount))
            case .failureCount: .array(results.map(\.totals.failureCount))
            case .lateCount: .array(results.map(\.totals.lateCount))
            case .coverage: .array(results.map { $0.totals.coverage(of: $0.specification.size) })
            case .statistic(let statistic, let quantity):
                .array(results.map { statistic.value(of: $0.totals.summaries[quantity]) })
            case .isFinal: .array(results.map(\.isFinal))
            case .revision: .array(results.map { _ in Int32(0) })
            case .updatedAt: .array(results.map { _ in now })
            }
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

    static let copy = "COPY sensor_data_agg (\(WindowColumn.all.names)) FROM STDIN (FORMAT binary)"

    private static let onConflict = """
        ON CONFLICT (\(WindowColumn.key.names)) DO UPDATE SET
        \(WindowColumn.all.dropFirst(WindowColumn.key.count).map { column in
            column == .revision
                ? "revision = sensor_data_agg.revision + sensor_data_agg.is_final::integer"
                : "\(column.name) = excluded.\(column.name)"
        }.joined(separator: ", "))
        """

    /// The columns of an upsert, in the order of its parameters. The size comes in milliseconds.
    static let upserted = WindowColumn.all

    private static func size(_ milliseconds: String) -> String { "\(milliseconds) * interval '1 millisecond'" }

    static let upsert: String = {
        let arrays = upserted.enumerated().map { index, column in
            "$\(index + 1)::\(column == .windowSize ? "int8" : column.type)[]"
        }
        let values = upserted.map { $0 == .windowSize ? size("w.window_size") : "w.\($0.name)" }
        return """
            INSERT INTO sensor_data_agg (\(upserted.names))
            SELECT \(values.joined(separator: ", "))
            FROM unnest(\(arrays.joined(separator: ", "))) AS w (\(upserted.names))
            \(onConflict)
            """
    }()

    /// A window that is computed again.
    struct Named {
        var gatewayID: String
        var sensorID: String
        /// Milliseconds.
        var size: Int64
        /// Milliseconds since 1970.
        var start: Int64
    }

    /// Computes final windows again from the raw rows, those of this transaction included.
    /// - Returns: how many windows that were.
    static func recompute(_ windows: [Named], now: PostgresTimestamp, _ connection: PostgresConnection) throws -> Int {
        guard !windows.isEmpty else { return 0 }
        return try connection.query(
            prepared: recomputation,
            [
                .array(windows.map(\.sensorID)), .array(windows.map(\.gatewayID)), .array(windows.map(\.size)),
                .array(windows.map { PostgresTimestamp(milliseconds: $0.start) }), .value(now),
            ]
        ).affectedRows
    }

    private static let recomputation: String = {
        let values = WindowColumn.all.map { column -> String in
            switch column {
            case .sensorID, .gatewayID, .windowStart: "w.\(column.name)"
            case .windowSize: size("w.size_ms")
            case .windowEnd: "w.window_start + \(size("w.size_ms"))"
            case .isFinal: "true"
            case .revision: "0"
            case .updatedAt: "$5::timestamptz"
            default: column.aggregate(sizeInMilliseconds: "w.size_ms") ?? "NULL"
            }
        }
        return """
            INSERT INTO sensor_data_agg (\(WindowColumn.all.names))
            SELECT \(values.joined(separator: ", "))
            FROM unnest($1::text[], $2::text[], $3::int8[], $4::timestamptz[])
                AS w (sensor_id, gateway_id, size_ms, window_start)
            JOIN sensor_data d ON d.sensor_id = w.sensor_id AND d.gateway_id = w.gateway_id
                AND d.event_time >= w.window_start AND d.event_time < w.window_start + \(size("w.size_ms"))
            GROUP BY w.sensor_id, w.gateway_id, w.size_ms, w.window_start
            \(onConflict)
            """
    }()
}
