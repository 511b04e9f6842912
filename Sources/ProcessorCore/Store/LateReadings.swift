import PostgresClient
import Readings
import Synchronization
import Windowing

/// What late readings of a transaction add to final windows.
///
/// A window's row has the counts, means and deviations that make it mergeable, so nearly always a statement for thousands
/// of windows folds them in and no raw row is read. A window that has no row yet, or one of an older release without
/// counts, is computed from the raw rows once, which are found by the index: one range for windows that touch.
struct LateReadings {
    private struct Row {
        var name: SensorName
        var window: LateWindow
        var commitNumber: Int64
    }

    /// Windows that it does not keep stay as they are.
    let cutoff: RetentionCutoff
    private var rows: [Row] = []

    init(cutoff: RetentionCutoff) {
        self.cutoff = cutoff
    }

    /// How many windows they fell into.
    var count: Int { rows.count }

    /// Adds what late readings of a sensor add to a window.
    mutating func append(_ window: LateWindow, of name: SensorName, commitNumber: Int64) {
        guard cutoff.keepsWindow(from: window.start) else { return }
        rows.append(Row(name: name, window: window, commitNumber: commitNumber))
    }

    /// Writes the windows, after the raw rows of the transaction.
    func write(_ connection: PostgresConnection, policy: WindowPolicy, now: PostgresTimestamp) throws {
        let rest = try WindowTable.portions(of: rows).flatMap { try LateReadings.fold($0, connection, now: now) }
        if rest.isEmpty { return }
        try recompute(rest, policy: policy, connection).write(connection, now: now)
    }

    // MARK: Folding

    /// The statements by the quantities that late readings have: what they lack is neither sent nor merged.
    private static let statements = Mutex<[QuantitySet: String]>([:])

    private static func statement(_ quantities: QuantitySet) -> String {
        statements.withLock { known in
            if let statement = known[quantities] { return statement }
            let statement = makeStatement(quantities)
            known[quantities] = statement
            return statement
        }
    }

    /// The columns of what late readings add up to.
    private static func columns(_ quantities: QuantitySet) -> [WindowColumn] {
        let ofQuantities = quantities.members.flatMap { quantity -> [WindowColumn] in
            [.count(quantity)] + WindowStatistic.allCases.map { .statistic($0, quantity) }
        }
        return WindowColumn.key + WindowColumn.sums.filter { !WindowColumn.counts.contains($0) } + ofQuantities
            + [.commitNumber]
    }

    /// Folds late readings into rows, with one statement.
    /// - Returns: the windows for which that is not possible.
    private static func fold(
        _ rows: ArraySlice<Row>, _ connection: PostgresConnection, now: PostgresTimestamp
    ) throws -> [Row] {
        enum Answer: String, ResultColumn { case position }
        // Each once, as every column goes through them.
        let (names, totals) = (rows.map(\.name), rows.map(\.window.totals))
        let (sizes, starts) = (rows.map(\.window.specification.size), rows.map(\.window.start))
        let quantities = totals.reduce(into: QuantitySet()) { $0.formUnion($1.quantities) }
        let parameters = columns(quantities).map { column -> PostgresParameter in
            if case .commitNumber = column { return .array(rows.map(\.commitNumber)) }
            return WindowTable.parameter(column, names: names, sizes: sizes, starts: starts, totals: totals)
        }
        let answer = try connection.query(prepared: statement(quantities), parameters + [.value(now)])
        if answer.rowCount == rows.count { return [] }
        var isFolded = [Bool](repeating: false, count: rows.count)
        for row in ResultRows(answer, of: Answer.self) {
            isFolded[Int(try row.value(.position, as: Int64.self)) - 1] = true
        }
        return zip(rows, isFolded).filter { !$1 }.map(\.0)
    }

    /// Merges by the formula of Chan, Golub and LeVeque, as `Summary` does.
    private static func makeStatement(_ quantities: QuantitySet) -> String {
        let folded = columns(quantities)
        let summed = folded.filter { WindowColumn.sums.contains($0) }
        let sums = summed.map { "\($0.name) = a.\($0.name) + w.\($0.name)" }
        let statistics = quantities.members.flatMap { quantity -> [String] in
            let name = quantity.name
            let (known, late) = ("a.\(name)_count", "w.\(name)_count")
            let difference = "(w.\(name)_avg - a.\(name)_avg)"
            func squaredDeviations(_ table: String) -> String {
                "coalesce(\(table).\(name)_stddev ^ 2 * (\(table).\(name)_count - 1), 0)"
            }
            func merged(_ statistic: String, _ expression: String) -> String {
                """
                \(name)_\(statistic) = CASE WHEN \(late) = 0 THEN a.\(name)_\(statistic)
                    WHEN \(known) = 0 THEN w.\(name)_\(statistic) ELSE \(expression) END
                """
            }
            return [
                merged("avg", "a.\(name)_avg + \(difference) * (\(late)::float8 / (\(known) + \(late)))"),
                "\(name)_min = least(a.\(name)_min, w.\(name)_min)",
                "\(name)_max = greatest(a.\(name)_max, w.\(name)_max)",
                merged(
                    "stddev",
                    """
                    sqrt((\(squaredDeviations("a")) + \(squaredDeviations("w"))
                        + \(difference) ^ 2 * (\(known)::float8 * \(late) / (\(known) + \(late))))
                        / (\(known) + \(late) - 1))
                    """),
            ]
        }
        let isMergeable = summed.map { "a.\($0.name) IS NOT NULL" }
        return """
            UPDATE sensor_data_agg a SET \((sums + statistics).joined(separator: ", ")),
                coverage = least(1, (a.covered_ms + w.covered_ms)::float8 / w.window_size),
                revision = a.revision + 1, commit_number = w.commit_number, updated_at = $\(folded.count + 1)
            FROM \(WindowTable.unnest(folded))
            WHERE a.sensor_id = w.sensor_id AND a.gateway_id = w.gateway_id
                AND a.window_size = \(WindowTable.size("w.window_size")) AND a.window_start = w.window_start
                AND \(isMergeable.joined(separator: " AND "))
            RETURNING w.position
            """
    }

    // MARK: From raw rows

    /// Computes windows from raw rows.
    private func recompute(
        _ rows: [Row], policy: WindowPolicy, _ connection: PostgresConnection
    ) throws -> WindowRows {
        var ranges: [PaneQuery.Range] = []
        let bySensor = Dictionary(grouping: rows, by: \.name)
        for (name, rows) in bySensor {
            for window in rows.map(\.window).sorted(by: { $0.start < $1.start }) {
                let end = window.start + window.specification.size
                if let last = ranges.last, last.name == name, window.start <= last.to {
                    ranges[ranges.count - 1].to = max(last.to, end)
                } else {
                    ranges.append(PaneQuery.Range(name: name, from: window.start, to: end))
                }
            }
        }
        let panes = try PaneQuery(connection: connection, paneSize: policy.paneSize).panes(of: ranges)
        var found: [SensorName: [Pane]] = [:]
        for (range, panes) in zip(ranges, panes) { found[range.name, default: []] += panes }
        var windows = WindowRows(cutoff: cutoff)
        for (name, rows) in bySensor {
            let panes = PaneList(found[name] ?? [])
            for row in rows {
                let (start, size) = (row.window.start, row.window.specification.size)
                windows.append(
                    WindowResult(
                        specification: row.window.specification, start: start, isFinal: true, isNew: false,
                        totals: panes.totals(from: start, to: start + size)),
                    of: name, commitNumber: row.commitNumber)
            }
        }
        return windows
    }
}
