import CPostgres

/// A failure that PostgreSQL, libpq or the decoding of a result reported.
public struct PostgresError: Error, Equatable, Sendable {
    /// The five characters of the SQLSTATE (PostgreSQL manual, appendix A). libpq gives none for what it finds itself:
    /// then `08001` (cannot connect), `08006` (connection lost) or a code of class 22 (a result that does not decode).
    public var sqlState: String
    /// `ERROR`, `FATAL`, `PANIC`, as the server says untranslated.
    public var severity: String
    /// The server's or libpq's text. May quote a value if the SQLSTATE is of class 22.
    public var message: String
    /// The server's detail, often with values: not part of `description`.
    public var detail: String?
    /// The server's advice.
    public var hint: String?
    /// The constraint that was violated.
    public var constraint: String?
    /// The statement without its parameters, empty if there is none.
    public var sql: String
    /// What a person is to do about it, in the words of the configuration; nil if that is not known.
    public var remedy: String?

    /// Makes an error.
    public init(
        sqlState: String, severity: String = "ERROR", message: String, detail: String? = nil, hint: String? = nil,
        constraint: String? = nil, sql: String = "", remedy: String? = nil
    ) {
        self.sqlState = sqlState
        self.severity = severity
        self.message = message
        self.detail = detail
        self.hint = hint
        self.constraint = constraint
        self.sql = sql
        self.remedy = remedy
    }

    /// The same transaction may succeed when it is tried again on a new connection, as the cause lies in the server and
    /// not in what it was asked: see PostgreSQL manual, appendix A.
    public var isTransient: Bool {
        switch sqlState {
        // Serialisation failure, outcome unknown, deadlock, lock not available.
        case "40001", "40003", "40P01", "55P03": true
        // Read-only: a standby, or a primary that is being replaced; another host may take over.
        case "25006": true
        // A transaction that was idle or open for longer than the server allows.
        case "25P03", "25P04": true
        // Cancelled, by an administrator or by a statement time-out of the server: nobody here cancels.
        case "57014": true
        // A malformed message, such as a COPY row with a field of the wrong width: as wrong the next time.
        case "08P01": false
        // The database was dropped.
        case "57P04": false
        // Connections, resources such as disk and memory, a server that stops or starts, its input and output.
        default: ["08", "53", "58"].contains(sqlState.prefix(2)) || sqlState.hasPrefix("57P0")
        }
    }

    /// Another session held a lock for longer than `lock_timeout`.
    public var isLockTimeout: Bool { sqlState == "55P03" }
}

extension PostgresError {
    /// The server may accept the same transaction without some of its rows (PostgreSQL manual, appendix A): data
    /// exceptions (22), constraints (23), views' checks (44), what functions and triggers raise by themselves (P0, 38,
    /// 39, and classes that the standard leaves to users: 5 to 9 and I to Z where PostgreSQL has none), and rows that
    /// are beyond the server's limits (54). Everything else is about the schema, rights, the program or the server, and
    /// never the fault of a row.
    public var mayBeTheFaultOfARow: Bool {
        if isTransient { return false }
        let category = sqlState.prefix(2)
        if ["22", "23", "38", "39", "44", "54", "P0"].contains(category) { return true }
        // 53, 55, 57, 58 and XX are PostgreSQL's, HV is SQL/MED's.
        guard let first = category.utf8.first, !["53", "55", "57", "58", "XX"].contains(category) else { return false }
        return (UInt8(ascii: "5")...UInt8(ascii: "9")).contains(first)
            || (UInt8(ascii: "I")...UInt8(ascii: "Z")).contains(first)
    }
}

extension PostgresError: CustomStringConvertible, CustomDebugStringConvertible {
    /// One line for a person, without values.
    public var description: String {
        // Messages of class 22 (data exception) end in the value: `invalid input syntax for type integer: "x"`.
        let text =
            sqlState.hasPrefix("22") ? message.split(separator: ": ", maxSplits: 1).first.map(String.init) : message
        var line = "PostgreSQL \(severity) \(sqlState): \(text ?? "")"
        if let constraint { line += " (constraint \(constraint))" }
        // Every statement that is executed was prepared on the same connection, so somebody has changed the session.
        if sqlState == "26000" || sqlState == "42P05" {
            line += "; behind a pooler in transaction mode statements must not be prepared, unless it keeps them itself"
        }
        if !sql.isEmpty { line += " in: \(sql)" }
        if let remedy { line += "; \(remedy)" }
        return line
    }

    /// Everything, the server's detail with its values included.
    public var debugDescription: String {
        var text = "PostgreSQL \(severity) \(sqlState): \(message)"
        if let detail { text += "\ndetail: \(detail)" }
        if let hint { text += "\nhint: \(hint)" }
        if let remedy { text += "\nremedy: \(remedy)" }
        if let constraint { text += "\nconstraint: \(constraint)" }
        if !sql.isEmpty { text += "\nin: \(sql)" }
        return text
    }
}

extension PostgresError {
    /// From a failed result, or from the connection if the result says nothing.
    init(result: OpaquePointer?, connection: OpaquePointer, sql: String) {
        func field(_ character: Unicode.Scalar) -> String? {
            PQresultErrorField(result, Int32(character.value)).map { String(cString: $0) }
        }
        // Letters: postgres_ext.h, PG_DIAG_*.
        if let sqlState = field("C") {
            self.init(
                sqlState: sqlState, severity: field("V") ?? field("S") ?? "ERROR", message: field("M") ?? "",
                detail: field("D"), hint: field("H"), constraint: field("n"), sql: sql)
        } else {
            self.init(connection: connection, sql: sql)
        }
    }

    /// What libpq itself found wrong.
    init(connection: OpaquePointer, sql: String) {
        let isLost = PQstatus(connection) != CONNECTION_OK
        self.init(
            sqlState: isLost ? "08006" : "HV000", severity: isLost ? "FATAL" : "ERROR",
            message: errorText(of: connection), sql: sql)
    }
}

/// libpq's text of the last failure, on one line.
func errorText(of connection: OpaquePointer) -> String {
    oneLine(String(cString: PQerrorMessage(connection)))
}

/// Joins the lines of a text; libpq begins those that follow the first with a tab.
func oneLine(_ text: String) -> String {
    text.split(whereSeparator: \.isNewline).map { line in
        String(line.drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
    }.joined(separator: "; ")
}
