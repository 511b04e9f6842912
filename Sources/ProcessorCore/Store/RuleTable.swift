import Alerting
import PostgresClient
import Readings

/// The columns of `alert_rule`.
enum RuleColumn: String, TableColumn, CaseIterable {
    case quantity, severity, side, bound, hysteresis
    case minimumDuration = "minimum_duration_ms"

    var type: String {
        switch self {
        case .quantity, .severity, .side: "text"
        case .bound, .hysteresis: "float8"
        case .minimumDuration: "int8"
        }
    }
}

/// The table that tells readers the bounds of the rules. No processor reads it: each has its own settings.
struct RuleTable {
    let connection: PostgresConnection

    /// One bound of one quantity.
    struct Row: Hashable {
        var quantity: String
        var severity: String
        var side: String
        /// In the quantity's unit, as the hysteresis.
        var bound: Double
        var hysteresis: Double
        /// Milliseconds.
        var minimumDuration: Int64
    }

    /// All bounds that there are.
    static func rows(of rules: AlertRules) -> [Row] {
        Quantity.aggregated.flatMap { quantity in
            let rule = rules[quantity]
            return [(Severity.warning, rule.warning), (.critical, rule.critical)].flatMap { severity, bounds in
                [(Side.below, bounds.below), (.above, bounds.above)].filter { $0.1.isFinite }.map { side, bound in
                    Row(
                        quantity: quantity.name, severity: severity.rawValue, side: side.rawValue, bound: bound,
                        hysteresis: rule.hysteresis, minimumDuration: rule.minimumDuration)
                }
            }
        }
    }

    /// Makes the table say what the rules say; nothing is written if it does already.
    /// - Returns: whether it said something else.
    @discardableResult
    func replace(with rules: AlertRules) throws -> Bool {
        let rows = RuleTable.rows(of: rules)
        return try connection.transaction {
            // Processors that start at once look one after the other; readers are not held up.
            try connection.execute("LOCK TABLE alert_rule IN SHARE ROW EXCLUSIVE MODE")
            guard try Set(read()) != Set(rows) else { return false }
            try connection.execute("DELETE FROM alert_rule")
            let columns = RuleColumn.allCases
            let parameters = columns.map { column -> PostgresParameter in
                switch column {
                case .quantity: .array(rows.map(\.quantity))
                case .severity: .array(rows.map(\.severity))
                case .side: .array(rows.map(\.side))
                case .bound: .array(rows.map(\.bound))
                case .hysteresis: .array(rows.map(\.hysteresis))
                case .minimumDuration: .array(rows.map(\.minimumDuration))
                }
            }
            _ = try connection.query(
                "INSERT INTO alert_rule (\(columns.names)) SELECT \(columns.names) FROM \(columns.unnest(as: "n"))",
                parameters)
            return true
        }
    }

    /// What the table says.
    func read() throws(PostgresError) -> [Row] {
        let rows = ResultRows(
            try connection.query("SELECT \(RuleColumn.allCases.names) FROM alert_rule"), of: RuleColumn.self)
        var found: [Row] = []
        for row in rows {
            found.append(
                Row(
                    quantity: try row.value(.quantity), severity: try row.value(.severity),
                    side: try row.value(.side), bound: try row.value(.bound),
                    hysteresis: try row.value(.hysteresis), minimumDuration: try row.value(.minimumDuration)))
        }
        return found
    }
}
