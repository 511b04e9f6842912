import PostgresClient

/// A column of a result, by which its rows are read: never by its position.
protocol ResultColumn: Hashable, Sendable {
    /// Its name in SQL.
    var name: String { get }
}

/// A column of a table. Each table has one enumeration of its columns, and every statement on it is put together from
/// that: what is encoded, what is selected and what is read cannot drift apart.
protocol TableColumn: ResultColumn {
    /// Its type in SQL.
    var type: String { get }
}

extension ResultColumn where Self: RawRepresentable<String> {
    var name: String { rawValue }
}

extension Sequence where Element: ResultColumn {
    /// `a, b`
    var names: String { map(\.name).joined(separator: ", ") }

    /// `t.a, t.b`
    func names(of table: String) -> String { map { "\(table).\($0.name)" }.joined(separator: ", ") }

    /// `a = t.a, b = t.b`
    func assignments(from table: String) -> String {
        map { "\($0.name) = \(table).\($0.name)" }.joined(separator: ", ")
    }

    /// `s.a = t.a AND s.b = t.b`
    func matches(_ left: String, _ right: String) -> String {
        map { "\(left).\($0.name) = \(right).\($0.name)" }.joined(separator: " AND ")
    }
}

extension Collection where Element: TableColumn {
    /// `unnest($1::text[], $2::int8[]) AS t (a, b)`: rows from one array a column, in this order.
    /// - Parameter first: the number of the first parameter.
    func unnest(as table: String, from first: Int = 1) -> String {
        let arrays = enumerated().map { "$\(first + $0.offset)::\($0.element.type)[]" }.joined(separator: ", ")
        return "unnest(\(arrays)) AS \(table) (\(names))"
    }

    /// The rows `t` of a table that have the values of a row of `unnest` in these columns, which begin its primary key. They
    /// are found by its index, however many others there are and whatever the planner thinks: OFFSET keeps it from turning
    /// the look-up around.
    func lookUp(in table: String) -> String {
        """
        \(unnest(as: "n")) CROSS JOIN LATERAL (SELECT * FROM \(table) t WHERE \(matches("t", "n")) OFFSET 0) AS t
        """
    }

    /// The number of the first parameter after those of `unnest`.
    var nextParameter: String { "$\(count + 1)" }
}

/// The rows of a result, read by the names of their columns.
struct ResultRows<Column: ResultColumn>: RandomAccessCollection {
    private let result: PostgresResult
    private let positions: ColumnPositions<Column>

    init(_ result: PostgresResult, of _: Column.Type = Column.self) {
        self.result = result
        positions = ColumnPositions(result)
    }

    var startIndex: Int { 0 }
    var endIndex: Int { result.rowCount }
    subscript(row: Int) -> ResultRow<Column> { ResultRow(result: result, row: row, positions: positions) }
}

/// Where the columns of a result are. Each name is made and looked up once a result, not once a row.
private final class ColumnPositions<Column: ResultColumn> {
    private let byName: [String: Int]
    private var known: [Column: Int] = [:]

    init(_ result: PostgresResult) {
        byName = Dictionary(
            (0..<result.columnCount).map { (result.columnName($0), $0) }, uniquingKeysWith: { first, _ in first })
    }

    func position(of column: Column) -> Int? {
        if let position = known[column] { return position }
        let position = byName[column.name]
        known[column] = position
        return position
    }
}

/// One row of a result.
struct ResultRow<Column: ResultColumn> {
    fileprivate let result: PostgresResult
    fileprivate let row: Int
    fileprivate let positions: ColumnPositions<Column>

    /// The value of a column.
    /// - Throws: as `PostgresResult.value`, also if the result has no such column.
    func value<Value: PostgresValue>(_ column: Column, as _: Value.Type = Value.self) throws(PostgresError) -> Value {
        try result.value(row, try position(column))
    }

    /// The value of a column, nil if it is NULL.
    func optional<Value: PostgresValue>(
        _ column: Column, as _: Value.Type = Value.self
    ) throws(PostgresError) -> Value? {
        try result.optional(row, try position(column))
    }

    /// The array in a column, nil if it is NULL as a whole.
    func array<Value: PostgresValue>(
        _ column: Column, of _: Value.Type = Value.self
    ) throws(PostgresError) -> [Value?]? {
        try result.array(row, try position(column))
    }

    /// The time in a column, milliseconds since 1970.
    func time(_ column: Column) throws(PostgresError) -> Int64 {
        try value(column, as: PostgresTimestamp.self).milliseconds
    }

    /// The time in a column, milliseconds since 1970; nil if it is NULL.
    func optionalTime(_ column: Column) throws(PostgresError) -> Int64? {
        try optional(column, as: PostgresTimestamp.self)?.milliseconds
    }

    private func position(_ column: Column) throws(PostgresError) -> Int {
        guard let position = positions.position(of: column) else {
            throw PostgresError(sqlState: "42703", message: "the result has no column \(column.name)")
        }
        return position
    }
}

extension PostgresTimestamp {
    /// A time, milliseconds since 1970; nil of nil.
    init?(milliseconds: Int64?) {
        guard let milliseconds else { return nil }
        self.init(milliseconds: milliseconds)
    }
}
