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
    case readingCount, warningCount, failureCount, lateCount, coveredTime, coverage
    case count(Quantity)
    case statistic(WindowStatistic, Quantity)
    case isFinal, revision, commitNumber, updatedAt

    /// The primary key.
    static let key: [WindowColumn] = [.sensorID, .gatewayID, .windowSize, .windowStart]
    /// What the statistics of quantities are.
    static let statistics: [WindowColumn] = Quantity.aggregated.flatMap { quantity in
        WindowStatistic.allCases.map { .statistic($0, quantity) }
    }
    /// What the counts of quantities are.
    static let counts: [WindowColumn] = Quantity.aggregated.map { .count($0) }
    /// What adds up when readings do.
    static let sums: [WindowColumn] =
        [.readingCount, .warningCount, .failureCount, .lateCount, .coveredTime] + counts
    /// All of them, as a row is written.
    static let all: [WindowColumn] =
        key + [.windowEnd] + sums + [.coverage] + statistics + [.isFinal, .revision, .commitNumber, .updatedAt]

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
        case .coveredTime: "covered_ms"
        case .coverage: "coverage"
        case .count(let quantity): "\(quantity.name)_count"
        case .statistic(let statistic, let quantity): "\(quantity.name)_\(statistic.rawValue)"
        case .isFinal: "is_final"
        case .revision: "revision"
        case .commitNumber: "commit_number"
        case .updatedAt: "updated_at"
        }
    }

    var type: String {
        switch self {
        case .sensorID, .gatewayID: "text"
        case .windowSize: "interval"
        case .windowStart, .windowEnd, .updatedAt: "timestamptz"
        case .readingCount, .warningCount, .failureCount, .lateCount, .coveredTime, .count, .commitNumber: "int8"
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
        case .coveredTime: "sum(d.interval_ms)"
        case .coverage: "least(1, sum(d.interval_ms)::float8 / \(size))"
        case .count(let quantity): "count(d.\(quantity.name))"
        case .statistic(let statistic, let quantity): statistic.aggregate("d.\(quantity.name)")
        default: nil
        }
    }
}

/// Windows on their way to `sensor_data_agg`.
struct WindowRows {
    /// A window of a sensor.
    private struct Row {
        var name: SensorName
        var result: WindowResult
        /// The number of the transaction, up to which the window holds all readings.
        var commitNumber: Int64
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
    mutating func append(_ result: WindowResult, of name: SensorName, commitNumber: Int64) {
        guard cutoff.keepsWindow(from: result.start) else { return }
        rows.append(Row(name: name, result: result, commitNumber: commitNumber))
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
        for portion in WindowTable.portions(of: known) { try WindowRows.upsert(portion, connection, now: now) }
    }

    private static func copy(_ row: Row, to writer: inout BinaryCopyWriter, now: PostgresTimestamp) throws {
        let (result, totals) = (row.result, row.result.totals)
        let size = result.specification.size
        try writer.beginRow(fields: Int16(WindowColumn.all.count))
        for column in WindowColumn.all {
            switch column {
            case .sensorID: writer.append(row.name.sensorID)
            case .gatewayID: writer.append(row.name.gatewayID)
            case .windowSize:
                // interval_send(): microseconds, days, months.
                withUnsafeBytes(of: ((size * 1000).bigEndian, Int64(0))) { writer.append($0) }
            case .windowStart: writer.append(PostgresTimestamp(milliseconds: result.start))
            case .windowEnd: writer.append(PostgresTimestamp(milliseconds: result.start + size))
            case .coverage: writer.append(totals.coverage(of: size))
            case .statistic(let statistic, let quantity):
                writer.append(statistic.value(of: totals.summaries[quantity]))
            case .isFinal: writer.append(result.isFinal)
            case .revision: writer.append(Int32(0))
            case .commitNumber: writer.append(row.commitNumber)
            case .updatedAt: writer.append(now)
            default: writer.append(column.sum(of: totals))
            }
        }
    }

    private static func upsert(_ rows: ArraySlice<Row>, _ connection: PostgresConnection, now: PostgresTimestamp) throws
    {
        let results = rows.map(\.result)
        let (names, totals) = (rows.map(\.name), results.map(\.totals))
        let (sizes, starts) = (results.map(\.specification.size), results.map(\.start))
        let parameters = WindowColumn.all.map { column -> PostgresParameter in
            switch column {
            case .windowEnd:
                .array(results.map { PostgresTimestamp(milliseconds: $0.start + $0.specification.size) })
            case .coverage: .array(results.map { $0.totals.coverage(of: $0.specification.size) })
            case .isFinal: .array(results.map(\.isFinal))
            case .revision: .array(rows.map { _ in Int32(0) })
            case .commitNumber: .array(rows.map(\.commitNumber))
            case .updatedAt: .array(rows.map { _ in now })
            default:
                WindowTable.parameter(column, names: names, sizes: sizes, starts: starts, totals: totals)
            }
        }
        _ = try connection.query(prepared: WindowTable.upsert, parameters)
    }
}

extension WindowColumn {
    /// The value of one of `sums`; 0 of another column.
    fileprivate func sum(of totals: Totals) -> Int64 {
        switch self {
        case .readingCount: totals.readingCount
        case .warningCount: totals.warningCount
        case .failureCount: totals.failureCount
        case .lateCount: totals.lateCount
        case .coveredTime: totals.coveredTime
        case .count(let quantity): totals.summaries[quantity].count
        default: 0
        }
    }
}

/// The statements on `sensor_data_agg`.
enum WindowTable {
    /// Whether a statement writes windows.
    static func isWritten(by statement: String) -> Bool {
        ["COPY", "INSERT INTO", "UPDATE"].contains { statement.hasPrefix("\($0) sensor_data_agg") }
    }

    /// Divides windows into what one statement takes. libpq moves what it has not sent yet after each packet that the kernel
    /// takes, so tens of megabytes of parameters would be moved over and over; and the server goes through them faster if
    /// they are near each other.
    static func portions<Row>(of rows: [Row]) -> [ArraySlice<Row>] {
        stride(from: 0, to: rows.count, by: 4096).map { rows[$0..<min($0 + 4096, rows.count)] }
    }

    static let copy = "COPY sensor_data_agg (\(WindowColumn.all.names)) FROM STDIN (FORMAT binary)"

    static func size(_ milliseconds: String) -> String { "\(milliseconds) * interval '1 millisecond'" }

    /// `unnest($1::text[], ...) AS w (...)`. Sizes come in milliseconds.
    static func unnest(_ columns: [WindowColumn]) -> String {
        let arrays = columns.enumerated().map { index, column in
            "$\(index + 1)::\(column == .windowSize ? "int8" : column.type)[]"
        }
        return "unnest(\(arrays.joined(separator: ", "))) WITH ORDINALITY AS w (\(columns.names), position)"
    }

    /// One array with the values of a column of the key or of what readings add up to.
    static func parameter(
        _ column: WindowColumn, names: [SensorName], sizes: [Int64], starts: [Int64], totals: [Totals]
    ) -> PostgresParameter {
        switch column {
        case .sensorID: .array(names.map(\.sensorID))
        case .gatewayID: .array(names.map(\.gatewayID))
        case .windowSize: .array(sizes)
        case .windowStart: .array(starts.map { PostgresTimestamp(milliseconds: $0) })
        case .statistic(let statistic, let quantity):
            .array(totals.map { statistic.value(of: $0.summaries[quantity]) })
        default: .array(totals.map { column.sum(of: $0) })
        }
    }

    static let upsert: String = {
        let values = WindowColumn.all.map { $0 == .windowSize ? size("w.window_size") : "w.\($0.name)" }
        return """
            INSERT INTO sensor_data_agg (\(WindowColumn.all.names))
            SELECT \(values.joined(separator: ", ")) FROM \(unnest(WindowColumn.all))
            ON CONFLICT (\(WindowColumn.key.names)) DO UPDATE SET
            \(WindowColumn.all.dropFirst(WindowColumn.key.count).map { column in
                column == .revision
                    ? "revision = sensor_data_agg.revision + sensor_data_agg.is_final::integer"
                    : "\(column.name) = excluded.\(column.name)"
            }.joined(separator: ", "))
            """
    }()

    /// A sensor whose final windows are open again.
    struct Reopened {
        var name: SensorName
        /// Those that end after this, milliseconds since 1970.
        var since: Int64
    }

    /// Opens final windows again. They stay as they are until they are written anew.
    static func reopen(
        _ sensors: [Reopened], policy: WindowPolicy, now: PostgresTimestamp, _ connection: PostgresConnection
    ) throws {
        guard !sensors.isEmpty else { return }
        let ranges = sensors.flatMap { sensor in
            Set(policy.specifications.map(\.size)).map { (name: sensor.name, size: $0, after: sensor.since - $0) }
        }
        _ = try connection.query(
            prepared: """
                UPDATE sensor_data_agg a SET is_final = false, revision = a.revision + 1, updated_at = $5
                FROM unnest($1::text[], $2::text[], $3::int8[], $4::timestamptz[])
                    AS w (sensor_id, gateway_id, window_size, after)
                WHERE a.sensor_id = w.sensor_id AND a.gateway_id = w.gateway_id
                    AND a.window_size = \(size("w.window_size")) AND a.window_start > w.after AND a.is_final
                """,
            [
                .array(ranges.map(\.name.sensorID)), .array(ranges.map(\.name.gatewayID)),
                .array(ranges.map(\.size)), .array(ranges.map { PostgresTimestamp(milliseconds: $0.after) }),
                .value(now),
            ])
    }
}
