import Alerting
import PostgresClient

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
        Quantity.allCases.flatMap { quantity in
            let rule = rules[quantity]
            return [(Severity.warning, rule.warning), (.critical, rule.critical)].flatMap { severity, bounds in
                [(Side.below, bounds.below), (.above, bounds.above)].filter { $0.1.isFinite }.map { side, bound in
                    Row(
                        quantity: quantity.rawValue, severity: severity.rawValue, side: side.rawValue, bound: bound,
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
            _ = try connection.query(
                """
                INSERT INTO alert_rule (quantity, severity, side, bound, hysteresis, minimum_duration_ms)
                SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::float8[], $5::float8[], $6::int8[])
                """,
                [
                    .array(rows.map(\.quantity)), .array(rows.map(\.severity)), .array(rows.map(\.side)),
                    .array(rows.map(\.bound)), .array(rows.map(\.hysteresis)), .array(rows.map(\.minimumDuration)),
                ])
            return true
        }
    }

    /// What the table says.
    func read() throws(PostgresError) -> [Row] {
        let rows = try connection.query(
            "SELECT quantity, severity, side, bound, hysteresis, minimum_duration_ms FROM alert_rule")
        var found: [Row] = []
        for row in 0..<rows.rowCount {
            found.append(
                Row(
                    quantity: try rows.value(row, 0), severity: try rows.value(row, 1), side: try rows.value(row, 2),
                    bound: try rows.value(row, 3), hysteresis: try rows.value(row, 4),
                    minimumDuration: try rows.value(row, 5)))
        }
        return found
    }
}
