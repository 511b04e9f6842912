import CSQLite
import Glibc
import Platform

/// What can be said of a path before an outbox is opened under it: whether it can be one's at all.
///
/// A gateway samples whatever its storage is, so a file that was an outbox, or may have been one, is never a reason not to
/// start: the outbox sets it aside and salvages it. A path that names something else is a mistake in the configuration,
/// and to set that aside would take it from whoever needs it.
public enum OutboxPath {
    /// Why there can never be an outbox under a path.
    ///
    /// Blocks for as long as the disk takes. Nothing is changed.
    /// - Returns: nil if there may be one, or if that cannot be found out: the folder is not there yet, say.
    public static func refusal(of path: String) -> String? {
        let file = withoutLinks(path)
        if let problem = problem(ofName: file) { return problem }
        var status = stat()
        guard stat(file, &status) == 0 else {
            return switch errno {
            case ENOTDIR: "a part of it is a file and no folder"
            case ELOOP: "its links lead in a circle"
            case ENAMETOOLONG: "it is too long"
            default: nil
            }
        }
        switch status.st_mode & S_IFMT {
        case S_IFREG: return status.st_size > 0 ? problem(ofContent: file) : nil
        case S_IFDIR: return "it is a folder: name a file in it, such as \(file)/outbox.sqlite"
        case S_IFIFO: return "it is a pipe and no file"
        case S_IFSOCK: return "it is a socket and no file"
        default: return "it is a device and no file"
        }
    }

    /// How many names a file has; 0 if there is none. SQLite keeps its log by the name that it was opened by, so a file
    /// must be used by one of them alone.
    public static func names(of path: String) -> Int {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG ? Int(status.st_nlink) : 0
    }

    /// Whether a path is that of the outbox or of a file beside it: SQLite's log, its index, the journal that it deletes, the
    /// lock.
    /// - Parameters:
    ///   - other: the path; the file need not be there.
    ///   - path: the outbox's.
    public static func isTaken(_ other: String, byOutbox path: String) -> Bool {
        let other = withoutLinks(other)
        return ["", "-wal", "-shm", "-journal", ".lock"].contains { suffix in
            let own = withoutLinks(path) + suffix
            // One that is not there has a name and a folder.
            return FileIdentity(path: own).map { $0 == FileIdentity(path: other) }
                ?? (name(own) == name(other)
                    && FileIdentity(path: folder(of: own)) == FileIdentity(path: folder(of: other)))
        }
    }

    private static func name(_ path: String) -> Substring {
        path.split(separator: "/", omittingEmptySubsequences: false).last ?? ""
    }

    // MARK: The name

    /// The most bytes that are put behind a name: those of a file that is set aside, and of its log.
    private static let longestSuffix = ".salvaged-20260101T000000-99-wal".utf8.count

    private static func problem(ofName path: String) -> String? {
        let name = name(path)
        guard !name.isEmpty else { return "it is a folder: name a file in it" }
        let most = Int(NAME_MAX) - longestSuffix
        guard name.utf8.count <= most else { return "its name is too long: at most \(most) bytes are allowed" }
        // Without the zero at its end, and less than PATH_MAX.
        let longest = Int(sqlite3_vfs_find(nil)?.pointee.mxPathname ?? PATH_MAX) - 1 - longestSuffix
        guard absolute(path).utf8.count <= longest else {
            return "it is too long: at most \(longest) bytes are allowed, with all of its folders"
        }
        return nil
    }

    private static func absolute(_ path: String) -> String {
        guard !path.hasPrefix("/"), let folder = getcwd(nil, 0) else { return path }
        defer { free(folder) }
        return String(cString: folder) + "/" + path
    }

    // MARK: The content

    private static func problem(ofContent path: String) -> String? {
        // Whoever has the lock has found out, and its file is not opened here for nothing.
        guard !isInUse(path), let start = start(of: path) else { return nil }
        if start.starts(with: "SQLite format 3\0".utf8) {
            return isOfAnotherProgram(path) ? "it is a database of another program" : nil
        }
        // A text, whole: somebody wrote it. A card that damages an outbox gives zeros, noise, or pages of other files, but
        // does not take away all zeros, which every page of an outbox has. What is no text, and not even damaged in a way
        // that is known here, may be all that is left of an outbox: that is set aside, never deleted, and sampling begins.
        guard isText(start), !Salvage.recognises(path) else { return nil }
        return "it is a text and no outbox"
    }

    private static func isInUse(_ path: String) -> Bool { !FileLock.holders(ofFile: path + ".lock").isEmpty }

    /// The file's first 64 KiB; nil if they cannot be read.
    private static func start(of path: String) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 65_536)
        let count = pread(descriptor, &bytes, bytes.count, 0)
        return count > 0 ? Array(bytes.prefix(count)) : nil
    }

    /// Whether bytes are the beginning of a text in UTF-8 that is not blank.
    private static func isText(_ bytes: [UInt8]) -> Bool {
        let blanks: [UInt8] = [0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x20]
        guard bytes.allSatisfy({ $0 >= 0x20 && $0 != 0x7F || blanks.contains($0) }),
            !bytes.allSatisfy(blanks.contains)
        else { return false }
        // The last character may be cut off.
        return (0...min(3, bytes.count - 1)).contains {
            String(validating: bytes.dropLast($0), as: UTF8.self) != nil
        }
    }

    /// Whether a file is a sound database in which no table is an outbox's.
    private static func isOfAnotherProgram(_ path: String) -> Bool {
        do throws(OutboxError) {
            // Without its log, which another program may be writing to.
            let tables = try OutboxSchema.tables(in: Database(path: path, isImmutable: true))
            if !tables.names.isEmpty { return !tables.isOutbox }
        } catch {
            // A damaged one is salvaged.
            return false
        }
        // The tables may be in the log alone.
        var names: Set<String> = []
        try? PageScan.run(path) { row in
            if row.fields.count == 5, row.text(at: 0) == "table", let name = row.text(at: 1) { names.insert(name) }
        }
        return !names.isEmpty && !OutboxSchema.Tables(names: names).isOutbox
    }
}
