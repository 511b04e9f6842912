import CSQLite

/// One SQLite connection. It belongs to the outbox's actor and is used on its thread alone, which Swift 6.0 does not see in
/// closures inside the actor.
final class Database: @unchecked Sendable {
    private let handle: OpaquePointer
    let path: String
    /// Statements that are compiled once for the connection's life, by their text.
    private var statements: [String: Statement] = [:]

    /// Opens or makes the file.
    /// - Parameters:
    ///   - isReadOnly: whether to leave it as it is, and to fail if it is not there.
    ///   - isImmutable: whether to read the file alone, without locks and without its log, which is then not even looked at.
    ///   - fileSystem: the name of a registered SQLite VFS (https://www.sqlite.org/vfs.html); nil: the usual one.
    init(
        path: String, isReadOnly: Bool = false, isImmutable: Bool = false, fileSystem: String? = nil
    ) throws(OutboxError) {
        var opened: OpaquePointer?
        let access = isReadOnly || isImmutable ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
        var flags = access | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE
        // `:memory:` and `file:` at the beginning mean something to SQLite that no path does.
        var name = path.hasPrefix("/") || fileSystem != nil ? path : "./" + path
        if isImmutable {
            flags |= SQLITE_OPEN_URI
            // Two slashes go before an absolute path, which may itself begin with two.
            name = "file:\(path.hasPrefix("/") ? "//" : "")\(Self.escaped(path))?immutable=1"
        }
        let code = sqlite3_open_v2(name, &opened, flags, fileSystem)
        guard let handle = opened, code == SQLITE_OK else {
            let message = String(cString: sqlite3_errstr(code))
            // Even a failed open gives a handle that must be closed, except without memory.
            sqlite3_close_v2(opened)
            throw OutboxError(code: code, message: message, path: path)
        }
        self.handle = handle
        self.path = path
    }

    deinit {
        // close_v2 waits for statements that are still held elsewhere.
        sqlite3_close_v2(handle)
    }

    /// A path in a URI (RFC 3986, section 2.1): SQLite takes `%`, `?` and `#` for something else.
    private static func escaped(_ path: String) -> String {
        path.map { $0 == "%" ? "%25" : $0 == "?" ? "%3f" : $0 == "#" ? "%23" : String($0) }.joined()
    }

    /// Runs statements that take no values and whose rows are of no interest.
    func execute(_ sql: String) throws(OutboxError) {
        let code = sqlite3_exec(handle, sql, nil, nil, nil)
        if code != SQLITE_OK { throw error(code, sql) }
    }

    /// Compiles a statement that is kept for the connection's life.
    func prepare(_ sql: String) throws(OutboxError) -> Statement {
        var statement: OpaquePointer?
        let code = sqlite3_prepare_v3(handle, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &statement, nil)
        guard code == SQLITE_OK, let statement else { throw error(code, sql) }
        return Statement(statement, sql: sql, database: self)
    }

    /// A statement that is compiled when it is first asked for. Its text holds no number: each text is kept.
    func statement(_ sql: String) throws(OutboxError) -> Statement {
        if let statement = statements[sql], !statement.isRunning { return statement }
        let statement = try prepare(sql)
        statements[sql] = statement
        return statement
    }

    /// Runs a statement that gives one number. It is compiled anew: several pragmas read their value while they are.
    func integer(_ sql: String) throws(OutboxError) -> Int64? {
        try prepare(sql).integer()
    }

    /// Runs `body` in one transaction that is committed when it returns, and rolled back when it throws.
    func transaction<Result>(_ body: () throws(OutboxError) -> Result) throws(OutboxError) -> Result {
        try statement("BEGIN IMMEDIATE").run()
        do {
            let result = try body()
            try statement("COMMIT").run()
            return result
        } catch {
            // Some errors have rolled back already (https://www.sqlite.org/lang_transaction.html); that is no error.
            if sqlite3_get_autocommit(handle) == 0 { sqlite3_exec(handle, "ROLLBACK", nil, nil, nil) }
            throw error
        }
    }

    /// Runs `body`, whose statements are interrupted once `isOverdue` says so.
    func bounded<Result>(
        by isOverdue: @escaping () -> Bool, _ body: () throws(OutboxError) -> Result
    ) throws(OutboxError) -> Result {
        let bound = Bound(isOverdue)
        // Asked every few milliseconds: so many of SQLite's instructions take about that.
        let instructions: Int32 = 100_000
        sqlite3_progress_handler(
            handle, instructions,
            { context in
                guard let context else { return 0 }
                return Unmanaged<Bound>.fromOpaque(context).takeUnretainedValue().isOverdue() ? 1 : 0
            }, Unmanaged.passUnretained(bound).toOpaque())
        defer { withExtendedLifetime(bound) { sqlite3_progress_handler(handle, 0, nil, nil) } }
        return try body()
    }

    /// Sets whether the file and its log stay as they are when the connection is closed, as a damaged file's must: SQLite
    /// otherwise writes the log into the file.
    func keepsLog(_ keeps: Bool) {
        vigie_keep_log(handle, keeps ? 1 : 0)
    }

    /// Whether the path leads to another file by now than the one that is open, or to none.
    var hasMoved: Bool { vigie_has_moved(handle) != 0 }

    /// Rows that the last statement changed.
    var changes: Int { Int(sqlite3_changes64(handle)) }

    func error(_ code: Int32, _ sql: String) -> OutboxError {
        OutboxError(code: code, message: String(cString: sqlite3_errmsg(handle)), sql: sql, path: path)
    }
}

/// A row whose fields are found by their place: of a query, or taken from a damaged file.
protocol StoredRow {
    /// How many fields it has. One of a query has those that are asked for, also if its row in the file ends earlier.
    var count: Int { get }
    /// A whole number; nil if the field holds something else.
    func integer(at column: Int32) -> Int64?
    /// A number; nil if the field is null.
    func real(at column: Int32) -> Double?
    /// A text; nil if the field is null.
    func text(at column: Int32) -> String?
    /// Bytes; nil if the field is null or has none.
    func blob(at column: Int32) -> [UInt8]?
}

/// When statements have run for long enough.
private final class Bound {
    let isOverdue: () -> Bool

    init(_ isOverdue: @escaping () -> Bool) {
        self.isOverdue = isOverdue
    }
}

/// A compiled statement.
final class Statement {
    /// A value that is bound.
    enum Value {
        case integer(Int64?)
        case real(Double?)
        case text(String?)
        case blob([UInt8]?)
    }

    private let handle: OpaquePointer
    private let sql: String
    private unowned let database: Database
    /// Whether `run` has not returned yet.
    private(set) var isRunning = false

    init(_ handle: OpaquePointer, sql: String, database: Database) {
        self.handle = handle
        self.sql = sql
        self.database = database
    }

    deinit {
        sqlite3_finalize(handle)
    }

    /// Runs the statement with values for its parameters in order, and hands each row to `row`.
    func run(_ values: [Value] = [], _ row: (Row) throws(OutboxError) -> Void = { _ in }) throws(OutboxError) {
        try run(count: values.count, { values[$0] }, row)
    }

    /// Runs the statement with values that are asked for one by one, and hands each row to `row`.
    func run(
        count: Int, _ value: (Int) -> Value, _ row: (Row) throws(OutboxError) -> Void = { _ in }
    ) throws(OutboxError) {
        isRunning = true
        defer {
            sqlite3_reset(handle)
            isRunning = false
        }
        for index in 0..<count {
            let code = bind(value(index), Int32(index + 1))
            if code != SQLITE_OK { throw database.error(code, sql) }
        }
        while true {
            switch sqlite3_step(handle) {
            case SQLITE_ROW: try row(Row(handle: handle))
            case SQLITE_DONE: return
            case let code: throw database.error(code, sql)
            }
        }
    }

    /// Runs a statement that gives one number.
    func integer(_ values: [Value] = []) throws(OutboxError) -> Int64? {
        var number: Int64?
        try run(values) { row in number = row.integer(at: 0) }
        return number
    }

    private func bind(_ value: Value, _ index: Int32) -> Int32 {
        switch value {
        case .integer(let number?): return sqlite3_bind_int64(handle, index, number)
        case .real(let number?): return sqlite3_bind_double(handle, index, number)
        case .text(var text?):
            return text.withUTF8 { bytes in
                bytes.withMemoryRebound(to: CChar.self) {
                    vigie_bind_text(handle, index, $0.baseAddress, Int32(clamping: $0.count))
                }
            }
        case .blob(let bytes?): return vigie_bind_blob(handle, index, bytes, Int32(clamping: bytes.count))
        case .real(nil), .text(nil), .blob(nil), .integer(nil): return sqlite3_bind_null(handle, index)
        }
    }

    /// The row at which the statement stands. Valid inside `run`'s closure only.
    struct Row: StoredRow {
        fileprivate let handle: OpaquePointer

        var count: Int { Int(sqlite3_column_count(handle)) }

        func integer(at column: Int32) -> Int64? {
            sqlite3_column_type(handle, column) == SQLITE_INTEGER ? sqlite3_column_int64(handle, column) : nil
        }

        func real(at column: Int32) -> Double? { isNull(column) ? nil : sqlite3_column_double(handle, column) }

        func text(at column: Int32) -> String? { sqlite3_column_text(handle, column).map { String(cString: $0) } }

        func blob(at column: Int32) -> [UInt8]? {
            guard let bytes = sqlite3_column_blob(handle, column) else { return nil }
            let count = Int(sqlite3_column_bytes(handle, column))
            return Array(UnsafeRawBufferPointer(start: bytes, count: count))
        }

        private func isNull(_ column: Int32) -> Bool { sqlite3_column_type(handle, column) == SQLITE_NULL }
    }
}
