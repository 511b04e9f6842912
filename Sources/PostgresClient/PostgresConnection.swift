import CPostgres
import Glibc

/// One connection to PostgreSQL. Every call blocks; use it from one thread at a time, such as inside an actor with a
/// `ThreadExecutor`.
public final class PostgresConnection {
    private let pointer: OpaquePointer
    private let notices: NoticeReceiver
    private let preparesStatements: Bool
    private var statements: [StatementKey: String] = [:]
    private var isRehearsing = false

    /// A notice or warning of the server.
    public struct Notice: Sendable, Equatable {
        /// `WARNING`, `NOTICE`, `INFO`, `LOG` or `DEBUG`.
        public var severity: String
        /// Its SQLSTATE.
        public var sqlState: String
        /// Its text.
        public var message: String
    }

    /// The same statement with other parameter types is another one.
    private struct StatementKey: Hashable {
        var sql: String
        var types: [UInt32]
    }

    private final class NoticeReceiver {
        let body: (Notice) -> Void

        init(_ body: @escaping (Notice) -> Void) {
            self.body = body
        }
    }

    /// Connects.
    ///
    /// What the connection string leaves out comes from libpq's environment variables and password file (PGHOST,
    /// PGPASSFILE ...), then from these defaults: connect_timeout 10 s, keepalives after 30 s of silence, tcp_user_timeout
    /// 30 s, so that a server that vanished is noticed. The encoding is always UTF-8.
    /// - Parameters:
    ///   - connectionString: keywords (`host=... dbname=...`) or a URI (PostgreSQL manual, "Connection Strings"). It is
    ///     never part of an error.
    ///   - applicationName: shown in pg_stat_activity unless the string or PGAPPNAME says otherwise.
    ///   - preparesStatements: whether `query(prepared:)` keeps statements in the session; not behind a pooler that gives
    ///     every transaction another session.
    ///   - notice: called with the server's notices, while a call runs.
    /// - Throws: SQLSTATE 08001 if the server cannot be reached or refuses; 22023 if the string is not valid.
    public init(
        connectionString: String, applicationName: String, preparesStatements: Bool = true,
        notice: @escaping (Notice) -> Void = { _ in }
    ) throws(PostgresError) {
        guard let options = PQconninfoParse(connectionString, nil) else {
            // libpq's reason may quote a part of the string, which may be the password.
            throw PostgresError(sqlState: "22023", message: "the connection string is not valid")
        }
        defer { PQconninfoFree(options) }
        var settings = [("client_encoding", "UTF8"), ("fallback_application_name", applicationName)]
        var defaults = [
            ("keepalives", "1"), ("keepalives_idle", "30"), ("keepalives_interval", "10"), ("keepalives_count", "3"),
            ("tcp_user_timeout", "30000"),
        ]
        if getenv("PGCONNECT_TIMEOUT") == nil { defaults.append(("connect_timeout", "10")) }
        var option = options
        while let keyword = option.pointee.keyword {
            let name = String(cString: keyword)
            if let value = option.pointee.val, name != "client_encoding" {
                defaults.removeAll { $0.0 == name }
                settings.removeAll { $0.0 == name }
                settings.append((name, String(cString: value)))
            }
            option += 1
        }
        settings += defaults

        guard let pointer = connect(settings) else {
            throw PostgresError(sqlState: "53200", severity: "FATAL", message: "no memory for a connection")
        }
        guard PQstatus(pointer) == CONNECTION_OK else {
            defer { PQfinish(pointer) }
            throw PostgresError(sqlState: "08001", severity: "FATAL", message: errorText(of: pointer))
        }
        self.pointer = pointer
        self.preparesStatements = preparesStatements
        notices = NoticeReceiver(notice)
        // Unretained: `notices` lives until after PQfinish in deinit, and as long as any result, which libpq gives the
        // receiver of its connection too.
        PQsetNoticeReceiver(
            pointer,
            { argument, result in
                guard let argument else { return }
                func field(_ character: Unicode.Scalar) -> String {
                    PQresultErrorField(result, Int32(character.value)).map { String(cString: $0) } ?? ""
                }
                let notice = Notice(severity: field("V"), sqlState: field("C"), message: field("M"))
                Unmanaged<NoticeReceiver>.fromOpaque(argument).takeUnretainedValue().body(notice)
            }, Unmanaged.passUnretained(notices).toOpaque())
    }

    deinit {
        PQfinish(pointer)
    }

    /// The server's version as a number: 150004 is 15.4.
    public var serverVersion: Int { Int(PQserverVersion(pointer)) }

    /// The server process, as pg_terminate_backend() takes it.
    public var backendProcess: Int32 { PQbackendPID(pointer) }

    /// Whether the connection is up as far as can be known without a round trip; notices that the server closed it.
    public var isAlive: Bool {
        PQstatus(pointer) == CONNECTION_OK && PQconsumeInput(pointer) == 1 && PQstatus(pointer) == CONNECTION_OK
    }

    /// Whether a transaction is open, be it failed or not.
    public var isInTransaction: Bool {
        let status = PQtransactionStatus(pointer)
        return status == PQTRANS_INTRANS || status == PQTRANS_INERROR || status == PQTRANS_ACTIVE
    }

    /// Closes the connection and opens it again with the same settings; prepared statements are forgotten.
    public func reset() throws(PostgresError) {
        statements = [:]
        PQreset(pointer)
        if PQstatus(pointer) != CONNECTION_OK {
            throw PostgresError(sqlState: "08001", severity: "FATAL", message: errorText(of: pointer))
        }
    }

    // MARK: Statements

    /// Runs one or more statements without parameters; several run in one transaction unless they say otherwise.
    /// - Returns: how many rows the last one selected, inserted, updated or deleted.
    @discardableResult
    public func execute(_ sql: String) throws(PostgresError) -> Int {
        try result(PQexec(pointer, sql), sql).affectedRows
    }

    /// Runs one statement with parameters `$1`, `$2` ...
    public func query(_ sql: String, _ parameters: [PostgresParameter] = []) throws(PostgresError) -> PostgresResult {
        let raw = withNative(parameters) { count, types, values, lengths, formats in
            PQexecParams(pointer, sql, count, types, values, lengths, formats, 1)
        }
        return try result(raw, sql)
    }

    /// Runs one statement that is prepared on this connection the first time and kept by its text, if the connection
    /// prepares statements.
    public func query(
        prepared sql: String, _ parameters: [PostgresParameter] = []
    ) throws(PostgresError) -> PostgresResult {
        guard preparesStatements else { return try query(sql, parameters) }
        let name = try prepare(sql, parameters)
        let raw = withNative(parameters) { count, _, values, lengths, formats in
            PQexecPrepared(pointer, name, count, values, lengths, formats, 1)
        }
        return try result(raw, sql)
    }

    private func prepare(_ sql: String, _ parameters: [PostgresParameter]) throws(PostgresError) -> String {
        let key = StatementKey(sql: sql, types: parameters.map(\.typeIdentifier))
        if let name = statements[key] { return name }
        let name = "vigie_\(statements.count + 1)"
        _ = try result(PQprepare(pointer, name, sql, Int32(parameters.count), key.types), sql)
        statements[key] = name
        return name
    }

    /// Runs `body` in a transaction: commits if it returns, rolls back if it throws.
    /// - Parameter statement: runs first, in the same round trip as BEGIN.
    /// - Throws: what `body` threw, or why the transaction could not be committed. If the connection is lost during
    ///   COMMIT (`isTransient`, class 08) it is unknown whether the transaction happened.
    public func transaction<Result>(
        beginningWith statement: String? = nil, _ body: () throws -> Result
    ) throws -> Result {
        let value: Result
        do {
            try execute(statement.map { "BEGIN; \($0)" } ?? "BEGIN")
            value = try body()
        } catch {
            rollBack()
            throw error
        }
        if isRehearsing {
            defer { rollBack() }
            // What is deferred is only checked by a COMMIT.
            try execute("SET CONSTRAINTS ALL IMMEDIATE")
            return value
        }
        let commit = try result(PQexec(pointer, "COMMIT"), "COMMIT")
        // The server answers ROLLBACK, not an error, if a statement failed and the body hid it.
        if String(cString: PQcmdStatus(commit.pointer)) != "COMMIT" {
            throw PostgresError(
                sqlState: "25P02", message: "the transaction was rolled back as one of its statements had failed",
                sql: "COMMIT")
        }
        return value
    }

    /// Runs `body` with every transaction in it rolled back after all of its constraints were checked, so that it shows
    /// what the server would say and changes nothing.
    public func rehearse<Result>(_ body: () throws -> Result) rethrows -> Result {
        isRehearsing = true
        defer { isRehearsing = false }
        return try body()
    }

    /// Ends a transaction without its effects.
    private func rollBack() {
        PQclear(PQexec(pointer, "ROLLBACK"))
        // If that failed, the connection is lost and the server rolls back by itself; anything else cannot be trusted.
        if PQtransactionStatus(pointer) != PQTRANS_IDLE { shutdown(PQsocket(pointer), Int32(SHUT_RDWR)) }
    }

    // MARK: COPY

    /// Runs `COPY table (columns) FROM STDIN (FORMAT binary)` with the rows that `body` writes. If `body` throws, no row
    /// is kept and the connection stays usable.
    /// - Returns: how many rows were copied.
    @discardableResult
    public func copyIn(_ sql: String, _ body: (inout BinaryCopyWriter) throws -> Void) throws -> Int {
        let begun = PQexec(pointer, sql)
        guard PQresultStatus(begun) == PGRES_COPY_IN else {
            if PQresultStatus(begun) == PGRES_COMMAND_OK || PQresultStatus(begun) == PGRES_TUPLES_OK {
                PQclear(begun)
                throw PostgresError(sqlState: "42601", message: "the statement is not COPY ... FROM STDIN", sql: sql)
            }
            _ = try result(begun, sql)
            return 0
        }
        PQclear(begun)
        do {
            var writer = BinaryCopyWriter(connection: pointer)
            try body(&writer)
            try writer.finish()
        } catch {
            PQputCopyEnd(pointer, "the client gave up")
            drain()
            throw error
        }
        if PQputCopyEnd(pointer, nil) != 1 {
            let error = PostgresError(connection: pointer, sql: sql)
            drain()
            throw error
        }
        let raw = PQgetResult(pointer)
        defer { drain() }
        return try result(raw, sql).affectedRows
    }

    /// Takes every result that is still to come, so that the next statement can be sent.
    private func drain() {
        while let rest = PQgetResult(pointer) {
            // A connection that is stuck in COPY would give the same result for ever.
            let status = PQresultStatus(rest)
            PQclear(rest)
            if status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH {
                shutdown(PQsocket(pointer), Int32(SHUT_RDWR))
                PQputCopyEnd(pointer, nil)
                return
            }
        }
    }

    // MARK: Plumbing

    private func result(_ raw: OpaquePointer?, _ sql: String) throws(PostgresError) -> PostgresResult {
        guard let raw else { throw PostgresError(connection: pointer, sql: sql) }
        switch PQresultStatus(raw) {
        case PGRES_COMMAND_OK, PGRES_TUPLES_OK, PGRES_EMPTY_QUERY, PGRES_SINGLE_TUPLE:
            return PostgresResult(raw, sql: sql, notices: notices)
        default:
            defer { PQclear(raw) }
            throw PostgresError(result: raw, connection: pointer, sql: sql)
        }
    }

    private func withNative<Result>(
        _ parameters: [PostgresParameter],
        _ body: (
            Int32, UnsafePointer<Oid>?, UnsafePointer<UnsafePointer<CChar>?>?, UnsafePointer<Int32>?,
            UnsafePointer<Int32>?
        ) -> Result
    ) -> Result {
        let types = parameters.map(\.typeIdentifier)
        let values = parameters.map { $0.field?.bytes.baseAddress?.assumingMemoryBound(to: CChar.self) }
        let lengths = parameters.map { Int32(clamping: $0.field?.bytes.count ?? 0) }
        let formats = [Int32](repeating: 1, count: parameters.count)
        // The values point into the parameters.
        return withExtendedLifetime(parameters) {
            types.withUnsafeBufferPointer { types in
                values.withUnsafeBufferPointer { values in
                    lengths.withUnsafeBufferPointer { lengths in
                        formats.withUnsafeBufferPointer { formats in
                            body(
                                Int32(clamping: parameters.count), types.baseAddress, values.baseAddress,
                                lengths.baseAddress, formats.baseAddress)
                        }
                    }
                }
            }
        }
    }
}

/// PQconnectdbParams with the settings as C strings.
private func connect(_ settings: [(String, String)]) -> OpaquePointer? {
    let keywords = settings.map { strdup($0.0) } + [nil]
    let values = settings.map { strdup($0.1) } + [nil]
    defer { for text in keywords + values { free(text) } }
    return PQconnectdbParams(keywords.map { UnsafePointer($0) }, values.map { UnsafePointer($0) }, 0)
}
