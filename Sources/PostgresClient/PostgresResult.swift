import CPostgres

/// The rows of one statement, in binary. Use it where its connection is used.
public final class PostgresResult {
    let pointer: OpaquePointer
    private let sql: String
    /// What libpq tells of a wrong use of the result; it may outlive the connection.
    private let notices: AnyObject

    init(_ pointer: OpaquePointer, sql: String, notices: AnyObject) {
        self.pointer = pointer
        self.sql = sql
        self.notices = notices
    }

    deinit {
        PQclear(pointer)
    }

    /// How many rows were returned.
    public var rowCount: Int { Int(PQntuples(pointer)) }

    /// How many columns a row has.
    public var columnCount: Int { Int(PQnfields(pointer)) }

    /// How many rows were selected, inserted, updated, deleted, merged or copied; 0 for other statements.
    public var affectedRows: Int { Int(String(cString: PQcmdTuples(pointer))) ?? 0 }

    /// The name of a column, empty if there is none at this index.
    public func columnName(_ column: Int) -> String {
        PQfname(pointer, Int32(clamping: column)).map { String(cString: $0) } ?? ""
    }

    /// The value at a row and column (both from 0), nil if it is NULL.
    /// - Throws: SQLSTATE 22P03 if there is no such field, its column's type is another one, or its bytes do not decode.
    public func optional<Value: PostgresValue>(
        _ row: Int, _ column: Int, as type: Value.Type = Value.self
    ) throws(PostgresError) -> Value? {
        guard let bytes = try bytes(row, column, { Value.canDecode($0) }, "\(Value.self)") else { return nil }
        guard let value = Value(postgresBytes: bytes) else {
            throw failure(row, column, "\(bytes.count) bytes do not make a value of \(Value.self)")
        }
        return value
    }

    /// The value at a row and column (both from 0).
    /// - Throws: as `optional`, and SQLSTATE 22004 if it is NULL.
    public func value<Value: PostgresValue>(
        _ row: Int, _ column: Int, as type: Value.Type = Value.self
    ) throws(PostgresError) -> Value {
        guard let value = try optional(row, column, as: type) else {
            throw failure(row, column, "NULL where \(Value.self) is expected", sqlState: "22004")
        }
        return value
    }

    /// The one-dimensional array at a row and column (both from 0), nil if it is NULL as a whole.
    /// - Throws: as `optional`, also for an array of more dimensions.
    public func array<Value: PostgresValue>(
        _ row: Int, _ column: Int, of type: Value.Type = Value.self
    ) throws(PostgresError) -> [Value?]? {
        guard let bytes = try bytes(row, column, { $0 == Value.arrayTypeIdentifier }, "[\(Value.self)]") else {
            return nil
        }
        var rest = bytes[...]
        func next() -> Int32? {
            guard rest.count >= 4 else { return nil }
            defer { rest = rest.dropFirst(4) }
            return Int32(bigEndian: UnsafeRawBufferPointer(rebasing: rest).loadUnaligned(as: Int32.self))
        }
        // The layout that PostgresParameter.array writes.
        guard let dimensions = next(), next() != nil, next() != nil else {
            throw failure(row, column, "an array without a header")
        }
        if dimensions == 0 { return [] }
        guard dimensions == 1, let count = next(), count >= 0, next() != nil, Int(count) <= rest.count / 4 else {
            throw failure(row, column, "an array of \(dimensions) dimensions where 1 is expected")
        }
        var elements: [Value?] = []
        elements.reserveCapacity(Int(count))
        for _ in 0..<count {
            guard let length = next(), length >= -1, Int(length) <= rest.count else {
                throw failure(row, column, "an array that ends early")
            }
            if length == -1 {
                elements.append(nil)
                continue
            }
            let field = UnsafeRawBufferPointer(rebasing: rest.prefix(Int(length)))
            guard let value = Value(postgresBytes: field) else {
                throw failure(row, column, "\(length) bytes do not make a value of \(Value.self)")
            }
            elements.append(value)
            rest = rest.dropFirst(Int(length))
        }
        return elements
    }

    private func bytes(
        _ row: Int, _ column: Int, _ accepts: (UInt32) -> Bool, _ wanted: @autoclosure () -> String
    ) throws(PostgresError) -> UnsafeRawBufferPointer? {
        guard row >= 0, row < rowCount, column >= 0, column < columnCount else {
            throw failure(row, column, "there are \(rowCount) rows and \(columnCount) columns")
        }
        let (row, column) = (Int32(row), Int32(column))
        guard accepts(PQftype(pointer, column)), PQfformat(pointer, column) == 1 else {
            throw failure(
                Int(row), Int(column), "the type with oid \(PQftype(pointer, column)) where \(wanted()) is expected")
        }
        if PQgetisnull(pointer, row, column) != 0 { return nil }
        return UnsafeRawBufferPointer(
            start: PQgetvalue(pointer, row, column), count: Int(PQgetlength(pointer, row, column)))
    }

    private func failure(_ row: Int, _ column: Int, _ message: String, sqlState: String = "22P03") -> PostgresError {
        PostgresError(
            sqlState: sqlState, message: "row \(row), column \(column) (\(columnName(column))) has \(message)", sql: sql
        )
    }
}
