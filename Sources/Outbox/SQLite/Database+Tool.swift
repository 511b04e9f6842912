import CSQLite
import Glibc
import Platform

extension Database {
    /// Opens an outbox's file for a tool. A gateway may be running on it, or have left it damaged: it and its log are what
    /// the gateway, or a salvage, needs. So the file must be there and be an outbox, nothing is opened of which SQLite
    /// would delete the log or begin it anew, and the log stays as it is when the connection is closed.
    /// - Throws: `OutboxError`, with what a person can do.
    convenience init(ofTool path: String, isReadOnly: Bool) throws(OutboxError) {
        try FileCheck.runForTool(path)
        try self.init(path: path, isReadOnly: isReadOnly)
        keepsLog(true)
        // What is written goes into the log, and the gateway puts that into the file.
        try execute("PRAGMA wal_autocheckpoint = 0")
        guard try OutboxSchema.tables(in: self).isOutbox else {
            throw OutboxError(
                code: SQLITE_NOTADB, message: "it is a database of another program", path: path,
                remedy: "set outbox.path to the outbox, or look at another configuration")
        }
    }
}

extension FileCheck {
    /// Looks at a file before a tool opens it.
    fileprivate static func runForTool(_ path: String) throws(OutboxError) {
        let file = withoutLinks(path)
        var status = stat()
        guard stat(file, &status) == 0 else {
            let code = errno
            throw OutboxError(
                code: SQLITE_CANTOPEN, message: String(cString: strerror(code)), path: path,
                remedy: code == EACCES
                    ? "run this as the gateway's user or as root"
                    : "the gateway makes it when it first starts; if it has run, this is not its configuration")
        }
        let gateways = FileLock.holders(ofFile: file + ".lock")
        if !gateways.isEmpty, status.st_mode & S_IFMT == S_IFREG {
            // The gateway looks at its log itself, and writes to it meanwhile. Neither file is opened here: it may be a
            // gateway of this process, as in tests.
            try checkInUse(file, size: Int64(status.st_size), by: gateways)
            return
        }
        try run(file)
        guard status.st_size > 0 else {
            throw unusable(
                path, "it is empty", remedy: "a gateway that starts on it goes on with what SQLite's log has")
        }
    }

    private static func checkInUse(_ path: String, size: Int64, by gateways: [Int32]) throws(OutboxError) {
        let name = "process \(gateways.map { "\($0)" }.joined(separator: ", "))"
        guard FileLock.holders(ofFile: path).contains(where: gateways.contains) else {
            throw unusable(
                path, "it was put in the place of the file that a gateway has open (\(name))", remedy: mended)
        }
        guard size > 0 else {
            throw unusable(
                path, "it was emptied while a gateway has it open (\(name))",
                remedy: "restart the gateway: it goes on with what SQLite's log has")
        }
        guard FileIdentity(path: path + "-wal") != nil else {
            throw unusable(path, "its log was deleted while a gateway has it open (\(name))", remedy: mended)
        }
    }

    private static let mended = "the gateway puts its own back with its next readings"

    private static func unusable(_ path: String, _ message: String, remedy: String) -> OutboxError {
        OutboxError(code: SQLITE_CORRUPT, message: message, path: path, remedy: remedy)
    }
}
