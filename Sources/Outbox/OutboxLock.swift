import CPlatform
import CSQLite
import Glibc
import Platform

/// Another process has the outbox.
public struct OutboxInUse: Error, Sendable, Equatable, CustomStringConvertible {
    /// The outbox's file.
    public var path: String
    /// The processes that have it, as the kernel lists them; empty if it does not tell.
    public var processes: [Int32]

    /// One line for a person.
    public var description: String {
        let holders = processes.map { "process \($0)" }.joined(separator: ", ")
        return "outbox \(path): another gateway has it\(holders.isEmpty ? "" : " (\(holders))"):"
            + " stop that one, or set another outbox.path"
    }
}

/// The lock that one process at a time has on an outbox: on a file beside it, since SQLite's own locks go when any
/// descriptor of the same file is closed, and since the file itself may be replaced.
final class OutboxLock {
    private let descriptor: Int32
    private let name: String
    /// Which file it is, as long as the descriptor is open.
    private let identity: FileIdentity?

    /// Whether the lock's file was deleted or replaced, so that it keeps nobody away.
    var isLost: Bool { identity == nil || FileIdentity(path: name) != identity }

    /// - Throws: `OutboxError`, with `holder` if another process has it.
    init(path: String) throws(OutboxError) {
        let name = path + ".lock"
        let descriptor = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            let code = [EROFS: SQLITE_READONLY, EACCES: SQLITE_PERM, ENOSPC: SQLITE_FULL][errno] ?? SQLITE_CANTOPEN
            throw OutboxError(code: code, message: "\(name): \(String(cString: strerror(errno)))", path: path)
        }
        try takeLock(descriptor, name, of: path)
        self.descriptor = descriptor
        self.name = name
        identity = FileIdentity(descriptor: descriptor)
    }

    deinit {
        close(descriptor)
    }
}

/// The lock that one process at a time has on an outbox's file itself, by whatever name that is reached: a hard link gives
/// it a second name, and each name has a lock's file and a log of its own.
///
/// It is taken with flock(2), which SQLite does not use. To close any descriptor of a file ends the locks of fcntl(2) that
/// the process has on that file, SQLite's among them. So this descriptor stays open until the connection is closed.
final class FileHold {
    private let descriptor: Int32

    /// Which file it is.
    var identity: FileIdentity? { FileIdentity(descriptor: descriptor) }

    /// - Returns: nil if no file is there, or one that cannot be opened or locked, which SQLite will say, too. NFS, where
    ///   SQLite's log does not work either, has no such lock for a file that is open for reading.
    /// - Throws: `OutboxError` with `holder` if another process has it.
    init?(path: String) throws(OutboxError) {
        // A pipe would be waited for, and to open a device may do something.
        var status = stat()
        guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        let descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        do throws(OutboxError) {
            try takeLock(descriptor, path, of: path)
        } catch {
            // takeLock has closed the descriptor.
            if error.holder != nil { throw error }
            return nil
        }
        self.descriptor = descriptor
    }

    deinit {
        close(descriptor)
    }
}

/// Takes a lock on an open file, or closes that.
/// - Throws: `OutboxError`, with `holder` if another process has the lock.
private func takeLock(_ descriptor: Int32, _ name: String, of path: String) throws(OutboxError) {
    let isTaken: Bool
    do throws(SystemError) {
        isTaken = try FileLock.take(descriptor, isShared: false, name)
    } catch {
        close(descriptor)
        throw OutboxError(code: SQLITE_IOERR, message: "\(error)", path: path)
    }
    guard !isTaken else { return }
    let holder = OutboxInUse(path: path, processes: FileLock.holders(of: descriptor))
    close(descriptor)
    var error = OutboxError(code: SQLITE_BUSY, message: holder.description, path: path)
    error.holder = holder
    throw error
}

/// Which file it is.
struct FileIdentity: Equatable {
    private let device: UInt64
    private let inode: UInt64
    /// How long it is.
    let bytes: Int64

    static func == (one: FileIdentity, other: FileIdentity) -> Bool {
        one.device == other.device && one.inode == other.inode
    }

    /// Nil if there is none under the path.
    init?(path: String) {
        self.init(AT_FDCWD, path, 0)
    }

    /// What stands under the path itself, be it a link; nil if nothing does.
    init?(itself path: String) {
        self.init(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW)
    }

    /// Nil if the descriptor is closed.
    init?(descriptor: Int32) {
        self.init(descriptor, "", Int32(VIGIE_EMPTY_PATH))
    }

    private init?(_ descriptor: Int32, _ path: String, _ flags: Int32) {
        var (device, inode, bytes) = (UInt64(), UInt64(), UInt64())
        guard vigie_file(descriptor, path, flags, &device, &inode, &bytes) == 0 else { return nil }
        self.device = device
        self.inode = inode
        self.bytes = Int64(clamping: bytes)
    }
}

/// The file that a path leads to by symbolic links, also if it is not there: SQLite puts its log beside that.
func withoutLinks(_ path: String) -> String {
    var path = path
    // As many as the kernel follows (path_resolution(7)).
    for _ in 0..<40 {
        var target = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
        let length = readlink(path, &target, Int(PATH_MAX))
        guard length > 0 else { return path }
        let name = String(decoding: target.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
        path = name.hasPrefix("/") ? name : folder + name
    }
    return path
}

/// The files that were set aside with a word in their names, the oldest first.
func filesSetAside(beside path: String, word: String) -> [String] {
    let parts = path.split(separator: "/", omittingEmptySubsequences: false)
    let folder = path.contains("/") ? parts.dropLast().joined(separator: "/") + "/" : "./"
    let prefix = "\(parts.last ?? "").\(word)-"
    guard let directory = opendir(folder) else { return [] }
    defer { closedir(directory) }
    var files: [String] = []
    while let entry = readdir(directory) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) {
            $0.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) { String(cString: $0) }
        }
        if name.hasPrefix(prefix), !name.hasSuffix("-wal") { files.append((path.contains("/") ? folder : "") + name) }
    }
    return files.sorted()
}
