import CSQLite

/// SQLite refused something on the outbox's file.
public struct OutboxError: Error, Sendable, Equatable, CustomStringConvertible {
    /// SQLite's extended result code (https://www.sqlite.org/rescode.html).
    public var code: Int32
    /// SQLite's message.
    public var message: String
    /// The statement, without its values; empty if no statement is concerned.
    public var sql: String
    /// The file.
    public var path: String
    /// Who has the outbox, if another process has.
    var holder: OutboxInUse?
    /// What to do, if the code does not say it.
    private var advice: String?

    /// Makes the error.
    /// - Parameter remedy: what to do; nil: what the code says.
    init(code: Int32, message: String, sql: String = "", path: String, remedy: String? = nil) {
        advice = remedy
        self.code = code
        self.message = message
        self.sql = sql
        self.path = path
    }

    /// What to do about it; nil if only the message can say.
    public var remedy: String? {
        if let advice { return advice }
        return switch code & 0xFF {
        case SQLITE_FULL: "free space on the file system, or lower outbox.size"
        case SQLITE_READONLY, SQLITE_PERM, SQLITE_AUTH:
            "give the gateway's user write access to the file and its folder, or make the file system writable"
        case SQLITE_CANTOPEN:
            "make the folder, and give the gateway's user write access to it; no folder may stand where the file, its -wal,"
                + " -journal or .lock belongs"
        case SQLITE_BUSY, SQLITE_LOCKED: "stop the other program that has the file open"
        case SQLITE_CORRUPT, SQLITE_NOTADB:
            "a gateway that starts on it sets it aside and goes on with what can be read of it"
        case SQLITE_IOERR: "check the storage: dmesg, and the card's health"
        default: nil
        }
    }

    /// Whether what stands in the file is at fault, not the way to it. A number that is greater than all others is found
    /// to be there already (SQLITE_CONSTRAINT) only in a damaged table.
    var isDamage: Bool {
        [SQLITE_CORRUPT, SQLITE_NOTADB, SQLITE_CONSTRAINT].contains(code & 0xFF) || code == Self.unreadableSector
    }

    /// SQLITE_IOERR_CORRUPTFS: the storage cannot read a part of the file (EIO).
    private static let unreadableSector: Int32 = SQLITE_IOERR | 33 << 8

    /// One line for a person.
    public var description: String {
        let statement = sql.isEmpty ? "" : " [\(sql)]"
        let advice = remedy.map { ": \($0)" } ?? ""
        return "outbox \(path): \(message) (SQLite \(code))\(statement)\(advice)"
    }
}
