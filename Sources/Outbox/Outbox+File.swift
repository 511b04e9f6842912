import CSQLite
import Glibc
import Platform
import Readings

// Opening the file, and what happens when it is damaged or gone while it is open.
extension Outbox {
    /// The open file. Opens it if it is not, and puts it back if it is gone.
    func file() throws(OutboxError) -> OutboxFile {
        if fileSystem == nil, lock?.isLost ?? true { lock = try OutboxLock(path: path) }
        if let opened {
            guard opened.isReplaced else { return opened }
            return try putBack(opened)
        }
        var cause: OutboxError?
        let file: OutboxFile
        do throws(OutboxError) {
            file = try openFile()
        } catch {
            guard error.isDamage, fileSystem == nil else { throw error }
            cause = error
            try moveAside(Self.damaged)
            file = try openFile()
        }
        try adopt(file)
        if fileSystem == nil { try salvage(into: file, because: cause) }
        return file
    }

    func openFile() throws(OutboxError) -> OutboxFile {
        do throws(OutboxError) {
            return try OutboxFile(
                path: path, fileSystem: fileSystem, mostBytes: limits.bytes, hold: hold, sync: sync)
        } catch {
            // What SQLite says of a statement that it does not understand (a table or column is not there), and of a row
            // that is longer than any of an outbox.
            guard [SQLITE_ERROR, SQLITE_TOOBIG].contains(error.code) else { throw error }
            throw asDamage(error)
        }
    }

    /// Takes over a file that was opened: its numbers go on, and what runs in it has ended.
    func adopt(_ file: OutboxFile) throws(OutboxError) {
        lastNumber = max(lastNumber ?? 0, try file.lastNumber())
        notedNumber = try file.database.integer("SELECT last_number FROM outbox") ?? 0
        rows = RowCount(
            stored: try file.database.integer("SELECT readings FROM outbox"),
            first: try file.database.integer("SELECT min(seq) FROM reading"),
            last: try file.database.integer("SELECT max(seq) FROM reading"))
        stream = nil
        ledger.forget()
        opened = file
        hold = file.hold
    }

    /// What an error says of the open file if that is damaged. One that SQLite does not explain (SQLITE_ERROR) is damage if
    /// the file is not what it was, such as without a table that another program has dropped.
    private func damage(behind error: OutboxError) -> OutboxError? {
        if error.isDamage { return error }
        // No row of an outbox is so long.
        if error.code == SQLITE_TOOBIG { return asDamage(error) }
        guard error.code & 0xFF == SQLITE_ERROR, let opened else { return nil }
        do throws(OutboxError) {
            try opened.check()
            return nil
        } catch let found {
            guard found.isDamage || found.code & 0xFF == SQLITE_ERROR else { return nil }
            return asDamage(error)
        }
    }

    private func asDamage(_ error: OutboxError) -> OutboxError {
        var damage = error
        damage.code = SQLITE_NOTADB
        return damage
    }

    /// Runs statements on the file. Damage that shows then is mended, and they run once more on the new file.
    func withFile<Result>(
        _ body: (OutboxFile) throws(OutboxError) -> Result
    ) throws(OutboxError) -> Result {
        do throws(OutboxError) {
            return try body(try file())
        } catch {
            guard fileSystem == nil, opened != nil, let cause = damage(behind: error) else { throw error }
            opened?.database.keepsLog(true)
            opened = nil
            try moveAside(Self.damaged)
            knowsNumbers = true
            let file = try openFile()
            try adopt(file)
            try salvage(into: file, because: cause)
            return try body(file)
        }
    }

    /// Puts back a file that was deleted or replaced while it was open: the connection still has it.
    func putBack(_ old: OutboxFile) throws(OutboxError) -> OutboxFile {
        // Another file in its place may be an older copy of it, or something else. Nothing in it is newer than what is here.
        var found: String?
        var status = stat()
        if lstat(path, &status) == 0 { found = try moveAside("found", withLog: false) }
        for suffix in ["-wal", "-shm"] { unlink(path + suffix) }
        do throws(OutboxError) {
            let file = try openFile()
            try copy(old, to: file)
            try adopt(file)
            isEndKnown = true
            observer.putBack(found)
            return file
        } catch {
            // A part of it is of no use; the whole is tried again.
            for suffix in ["", "-wal", "-shm"] { unlink(path + suffix) }
            throw error
        }
    }

    /// Copies all that is not acknowledged, in portions.
    private func copy(_ old: OutboxFile, to file: OutboxFile) throws(OutboxError) {
        var after = acknowledgedThrough
        while true {
            let records = try old.readings(after: after, limit: 500).records
            guard let last = records.last?.reading.sequence else { break }
            try file.database.transaction { () throws(OutboxError) in
                for record in records { try file.insert(record) }
            }
            after = last
        }
        let streams = try StreamTable.all(in: old.database)
        let gaps = try GapTable.select(through: .max, limit: .max, from: old.database)
        let quarantined = try old.quarantined(after: 0, limit: .max, onlyRequeued: false)
        let dropped = try old.database.integer("SELECT dropped FROM outbox") ?? 0
        let last = lastNumber ?? 0
        try file.database.transaction { () throws(OutboxError) in
            for stream in streams { try StreamTable.insert(stream, into: file.database) }
            for gap in gaps { try GapTable.insert(gap.gap, into: file.database) }
            for reading in quarantined { try file.insertQuarantined(reading) }
            try file.database.statement("UPDATE outbox SET last_number = ?, dropped = ?")
                .run([.integer(last), .integer(dropped)])
        }
    }

    /// Renames what stands under the path.
    /// - Parameter withLog: whether the log beside it belongs to it, and not to the file that was open.
    /// - Returns: the new name.
    @discardableResult
    func moveAside(_ word: String, withLog: Bool = true) throws(OutboxError) -> String {
        let base = "\(path).\(word)-"
        let time = "\(wallClock.now())".filter { $0 != ":" && $0 != "-" }.prefix(15)
        var aside = base + time
        var status = stat()
        var copy = 1
        while lstat(aside, &status) == 0 {
            copy += 1
            aside = "\(base)\(time)-\(copy)"
        }
        // What is left may be the log alone; it stands beside a file.
        FileCheck.makeIfMissing(path)
        do throws(SystemError) {
            let (old, new) = (path, aside)
            try systemCall("rename", old) { rename(old, new) }
        } catch {
            throw OutboxError(
                code: error.code == EROFS ? SQLITE_READONLY : SQLITE_IOERR,
                message: "cannot be set aside: \(error)", path: path)
        }
        if withLog { rename(path + "-wal", aside + "-wal") }
        unlink(path + "-shm")
        return aside
    }
}
