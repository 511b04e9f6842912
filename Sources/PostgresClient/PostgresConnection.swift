import CPostgres
import Glibc

/// One connection to PostgreSQL. Every call blocks; use it from one thread at a time, such as inside an actor with a
/// `ThreadExecutor`. No call waits for a server that is gone: see `PostgresWaits`.
public final class PostgresConnection {
    private let pointer: OpaquePointer
    private let settings: ConnectionSettings
    private let waits: PostgresWaits
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
    ///   - waits: bounds every wait, also this one.
    ///   - notice: called with the server's notices, while a call runs.
    /// - Throws: SQLSTATE 08001 if the server cannot be reached or refuses; 22023 if the string is not valid.
    public convenience init(
        connectionString: String, applicationName: String, preparesStatements: Bool = true,
        waits: PostgresWaits = PostgresWaits(), notice: @escaping (Notice) -> Void = { _ in }
    ) throws(PostgresError) {
        try self.init(
            settings: ConnectionSettings(connectionString: connectionString, applicationName: applicationName),
            preparesStatements: preparesStatements, waits: waits, notice: notice)
    }

    /// Connects as settings say.
    init(
        settings: ConnectionSettings, preparesStatements: Bool = true, waits: PostgresWaits,
        notice: @escaping (Notice) -> Void = { _ in }
    ) throws(PostgresError) {
        let (dialled, trouble) = try dial(settings, waits)
        guard let pointer = dialled else {
            throw PostgresError(sqlState: "53200", severity: "FATAL", message: "no memory for a connection")
        }
        guard PQstatus(pointer) == CONNECTION_OK, PQsetnonblocking(pointer, 1) == 0 else {
            defer { PQfinish(pointer) }
            throw trouble ?? PostgresError(sqlState: "08001", severity: "FATAL", message: errorText(of: pointer))
        }
        self.settings = settings
        self.waits = waits
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

    // MARK: Statements

    /// Runs one or more statements without parameters; several run in one transaction unless they say otherwise.
    /// - Returns: how many rows the last one selected, inserted, updated or deleted.
    @discardableResult
    public func execute(_ sql: String) throws(PostgresError) -> Int {
        try answer(sql) { PQsendQuery(pointer, sql) }.affectedRows
    }

    /// Runs one statement with parameters `$1`, `$2` ...
    public func query(_ sql: String, _ parameters: [PostgresParameter] = []) throws(PostgresError) -> PostgresResult {
        try answer(sql) {
            withNative(parameters) { count, types, values, lengths, formats in
                PQsendQueryParams(pointer, sql, count, types, values, lengths, formats, 1)
            }
        }
    }

    /// Runs one statement that is prepared on this connection the first time and kept by its text, if the connection
    /// prepares statements.
    public func query(
        prepared sql: String, _ parameters: [PostgresParameter] = []
    ) throws(PostgresError) -> PostgresResult {
        guard preparesStatements else { return try query(sql, parameters) }
        let name = try prepare(sql, parameters)
        return try answer(sql) {
            withNative(parameters) { count, _, values, lengths, formats in
                PQsendQueryPrepared(pointer, name, count, values, lengths, formats, 1)
            }
        }
    }

    private func prepare(_ sql: String, _ parameters: [PostgresParameter]) throws(PostgresError) -> String {
        let key = StatementKey(sql: sql, types: parameters.map(\.typeIdentifier))
        if let name = statements[key] { return name }
        let name = "vigie_\(statements.count + 1)"
        _ = try answer(sql) { PQsendPrepare(pointer, name, sql, Int32(parameters.count), key.types) }
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
        let commit = try answer("COMMIT") { PQsendQuery(pointer, "COMMIT") }
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
    public func dryRun<Result>(_ body: () throws -> Result) rethrows -> Result {
        isRehearsing = true
        defer { isRehearsing = false }
        return try body()
    }

    /// Ends a transaction without its effects.
    private func rollBack() {
        if isAlive { _ = try? answer("ROLLBACK") { PQsendQuery(pointer, "ROLLBACK") } }
        // If that failed, the connection is lost and the server rolls back by itself; anything else cannot be trusted.
        if PQtransactionStatus(pointer) != PQTRANS_IDLE { shutdown(PQsocket(pointer), Int32(SHUT_RDWR)) }
    }

    // MARK: COPY

    /// Runs `COPY table (columns) FROM STDIN (FORMAT binary)` with the rows that `body` writes. If `body` throws, no row
    /// is kept and the connection stays usable.
    /// - Returns: how many rows were copied.
    @discardableResult
    public func copyIn(_ sql: String, _ body: (inout BinaryCopyWriter) throws -> Void) throws -> Int {
        let begun = try lastResult(sql) { PQsendQuery(pointer, sql) }
        guard PQresultStatus(begun) == PGRES_COPY_IN else {
            _ = try result(begun, sql)
            throw PostgresError(sqlState: "42601", message: "the statement is not COPY ... FROM STDIN", sql: sql)
        }
        PQclear(begun)
        do {
            var writer = BinaryCopyWriter(connection: self)
            try body(&writer)
            try writer.finish()
        } catch {
            PQputCopyEnd(pointer, "the client gave up")
            drain(sql)
            throw error
        }
        guard PQputCopyEnd(pointer, nil) == 1 else {
            let error = PostgresError(connection: pointer, sql: sql)
            drain(sql)
            throw error
        }
        let raw = try flushAndTakeResult(sql)
        defer { drain(sql) }
        return try result(raw, sql).affectedRows
    }

    /// Sends a part of what is copied, and returns when the kernel has taken all of it.
    func sendCopyData(_ bytes: UnsafeRawBufferPointer) throws(PostgresError) {
        // libpq takes all of it into its memory, 1, unless the connection is lost.
        let status = PQputCopyData(
            pointer, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(bytes.count))
        guard status == 1, try flush("COPY") else { throw PostgresError(connection: pointer, sql: "COPY") }
    }

    /// Takes every result that is still to come, so that the next statement can be sent.
    private func drain(_ sql: String) {
        while let rest = try? flushAndTakeResult(sql) {
            // A connection that is stuck in COPY would give the same result for ever.
            let isStuck = isCopy(PQresultStatus(rest))
            PQclear(rest)
            if isStuck {
                shutdown(PQsocket(pointer), Int32(SHUT_RDWR))
                PQputCopyEnd(pointer, nil)
                return
            }
        }
    }

    // MARK: Waiting

    /// How often a wait looks whether it is to end, milliseconds.
    static let slice: Int32 = 200
    /// How long an answer that the server has given may still be on its way.
    private static let grace = Duration.seconds(2)

    /// Sends a statement and waits for its last result, as PQexec does.
    private func answer(_ sql: String, _ send: () -> Int32) throws(PostgresError) -> PostgresResult {
        try result(try lastResult(sql, send), sql)
    }

    private func lastResult(_ sql: String, _ send: () -> Int32) throws(PostgresError) -> OpaquePointer? {
        guard send() == 1 else { throw PostgresError(connection: pointer, sql: sql) }
        var last: OpaquePointer?
        do throws(PostgresError) {
            while let next = try flushAndTakeResult(sql) {
                PQclear(last)
                last = next
                if isCopy(PQresultStatus(next)) || PQstatus(pointer) != CONNECTION_OK { break }
            }
        } catch {
            PQclear(last)
            throw error
        }
        return last
    }

    private func isCopy(_ status: ExecStatusType) -> Bool {
        status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH
    }

    /// The next result; nil if there is none left.
    private func flushAndTakeResult(_ sql: String) throws(PostgresError) -> OpaquePointer? {
        if try flush(sql) {
            while PQisBusy(pointer) == 1 {
                try wait(for: Int32(POLLIN), sql)
                // A failure is in the result that PQgetResult makes of it.
                if PQconsumeInput(pointer) == 0 { break }
            }
        }
        return PQgetResult(pointer)
    }

    /// Sends what libpq holds; takes what comes meanwhile, as the server may wait for that.
    /// - Returns: whether all was sent; false if the connection is lost, of which libpq knows more.
    private func flush(_ sql: String) throws(PostgresError) -> Bool {
        while true {
            let status = PQflush(pointer)
            if status <= 0 { return status == 0 }
            try wait(for: Int32(POLLIN | POLLOUT), sql)
            if PQconsumeInput(pointer) == 0 { return false }
        }
    }

    /// Waits until the socket is ready, or a while of silence is over that proves nothing.
    /// - Throws: SQLSTATE 08006, with the connection closed, if the wait is in vain or is to end.
    private func wait(for events: Int32, _ sql: String) throws(PostgresError) {
        // What TLS has decrypted already is not to be seen on the socket.
        if PQsslInUse(pointer) == 1, events == Int32(POLLIN) {
            if PQconsumeInput(pointer) == 0 || PQisBusy(pointer) == 0 { return }
        }
        // Closed: libpq says so when it is asked to read.
        if PQsocket(pointer) < 0 { return }
        let began = ContinuousClock.now
        var probe: AsideCall<ServerProbe.Answer>?
        var nextProbe = waits.silence.map { began + $0 }
        var doubt: (reason: String, since: ContinuousClock.Instant)?
        while true {
            var descriptor = pollfd(fd: PQsocket(pointer), events: Int16(events), revents: 0)
            let count = poll(&descriptor, 1, PostgresConnection.slice)
            if count > 0 || (count < 0 && errno != EINTR) { return }
            if let reason = waits.verdict(of: began) { throw abandon(reason, sql) }
            if let doubt, .now - doubt.since >= PostgresConnection.grace { throw abandon(doubt.reason, sql) }
            if let answer = probe?.value {
                probe = nil
                if case .gone(let reason) = answer {
                    let silence = began.duration(to: .now).components.seconds
                    doubt = ("no answer for \(silence) s, and \(reason)", .now)
                }
            }
            if probe == nil, doubt == nil, let due = nextProbe, .now >= due {
                nextProbe = waits.silence.map { .now + $0 }
                let (settings, process) = (settings, backendProcess)
                probe = AsideCall(thread: "database-probe") { ServerProbe.ask(settings, about: process) }
            }
        }
    }

    /// Gives the connection up: nothing can be expected of it any more.
    private func abandon(_ reason: String, _ sql: String) -> PostgresError {
        if waits.isStopping { cancel() }
        shutdown(PQsocket(pointer), Int32(SHUT_RDWR))
        // What had come is dropped, until libpq finds the connection closed.
        while PQstatus(pointer) == CONNECTION_OK, PQconsumeInput(pointer) == 1 {}
        while PQstatus(pointer) != CONNECTION_OK, let rest = PQgetResult(pointer) { PQclear(rest) }
        return PostgresError(sqlState: "08006", severity: "FATAL", message: reason, sql: sql)
    }

    /// Asks the server to give up what it works on, so that it holds no lock for nobody, if it can be reached soon.
    private func cancel() {
        guard let ticket = PQgetCancel(pointer) else { return }
        let number = UInt(bitPattern: ticket)
        let call = AsideCall(thread: "database-cancel") {
            guard let ticket = OpaquePointer(bitPattern: number) else { return true }
            var reason = [CChar](repeating: 0, count: 256)
            PQcancel(ticket, &reason, Int32(reason.count))
            PQfreeCancel(ticket)
            return true
        }
        let end = ContinuousClock.now + .milliseconds(500)
        _ = call?.wait { ContinuousClock.now < end }
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

/// PQconnectdbParams, which blocks, on a thread of its own: only so the look-up of a name has a bound too.
/// - Returns: a connection that may have failed, and then why; nil without memory or descriptors.
private func dial(
    _ settings: ConnectionSettings, _ waits: PostgresWaits
) throws(PostgresError) -> (connection: OpaquePointer?, trouble: PostgresError?) {
    func failure(_ reason: String) -> PostgresError {
        PostgresError(sqlState: "08001", severity: "FATAL", message: reason)
    }
    let began = ContinuousClock.now
    if let reason = waits.verdict(of: began) { throw failure(reason) }
    let call = AsideCall(thread: "database-connect") {
        let made = settings.withNative { PQconnectdbParams($0, $1, 0) }
        // Looks at files and at the server again, so it is for this thread as well.
        let trouble = made.flatMap { PQstatus($0) == CONNECTION_OK ? nil : PostgresError(failed: $0) }
        return (number: UInt(bitPattern: made), trouble: trouble)
    } discard: {
        PQfinish(OpaquePointer(bitPattern: $0.number))
    }
    guard let call else { return (nil, nil) }
    var reason: String?
    let made = call.wait {
        reason = waits.verdict(of: began)
        return reason == nil
    }
    guard let made else { throw failure(reason ?? "no connection was made") }
    return (OpaquePointer(bitPattern: made.number), made.trouble)
}
