import CPlatform
import Glibc
import Outbox
import Platform
import Presentation

/// The outbox's file and the file system that it is on.
struct StorageExamination: Examination {
    /// What there is of the outbox.
    enum File: Sendable, Equatable {
        /// The gateway makes it when it first starts.
        case absent
        case readable(OutboxInspection)
        case unreadable(OutboxError)
    }

    /// A file system (statfs(2)).
    struct FileSystem: Sendable, Equatable {
        /// Its kind's magic number.
        var kind: Int
        var isReadOnly: Bool
        /// Bytes that a program without privileges may still write.
        var free: Int64
    }

    var path: String
    /// The most bytes of the outbox.
    var bound: Int64
    /// Bytes that the file, and its log, have now.
    var size: Int64
    /// nil if the folder is not there.
    var fileSystem: FileSystem?
    /// Whether this user may make files in the folder.
    var isWritable: Bool
    var file: File
    var user: SystemUser

    private var folder: String { StorageExamination.folder(of: path) }

    private static func folder(of path: String) -> String {
        path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
    }

    static func gather(
        path: String, bound: Int64, user: SystemUser, isOverdue: @escaping () -> Bool
    ) -> StorageExamination {
        let folder = folder(of: path)
        var kind = 0
        var isReadOnly: Int32 = 0
        var free: UInt64 = 0
        let fileSystem =
            vigie_file_system(folder, &kind, &isReadOnly, &free) == 0
            ? FileSystem(kind: kind, isReadOnly: isReadOnly != 0, free: Int64(clamping: free)) : nil
        var file = File.absent
        var size: Int64 = 0
        for suffix in ["", "-wal"] {
            var status = stat()
            if stat(path + suffix, &status) == 0 { size += Int64(status.st_size) }
        }
        if access(path, F_OK) == 0 {
            do throws(OutboxError) {
                file = .readable(try OutboxInspection(path: path, mostBytes: bound, isOverdue: isOverdue))
            } catch {
                file = .unreadable(error)
            }
        }
        return StorageExamination(
            path: path, bound: bound, size: size, fileSystem: fileSystem,
            isWritable: access(folder, W_OK | X_OK) == 0, file: file, user: user)
    }

    var checks: [Check] {
        guard let fileSystem else {
            return [
                Check(
                    .storage, folder, .failure, "no such folder",
                    remedy: "sudo mkdir -p \(folder), and give it to the gateway's user; or set outbox.path")
            ]
        }
        return [writing(fileSystem), kind(fileSystem), space(fileSystem), content]
    }

    private func writing(_ fileSystem: FileSystem) -> Check {
        if fileSystem.isReadOnly {
            return Check(
                .storage, folder, .failure, "the file system is mounted read-only",
                remedy: "sudo mount -o remount,rw on it; if the kernel made it so, the card may be failing: sudo dmesg")
        }
        guard isWritable else {
            return Check(
                .storage, folder, .failure, "\(user.name) may not write there",
                remedy: "sudo chown \(user.name) \(folder); in a unit StateDirectory= makes such a folder")
        }
        return Check(.storage, folder, .ok, "writable")
    }

    private func kind(_ fileSystem: FileSystem) -> Check {
        let subject = "file system"
        // linux/magic.h, and fs/smb/client for the last two.
        switch fileSystem.kind {
        case 0x0102_1994, 0x8584_58F6:
            return Check(
                .storage, subject, .warning, "it is in memory: a power cut loses every reading that was not sent",
                remedy: "set outbox.path to a folder on the card or disk, such as /var/lib/vigie-gateway/outbox.sqlite")
        case 0x794C_7630:
            return Check(
                .storage, subject, .warning, "an overlay: what is written may be in memory alone",
                remedy: "set outbox.path to a folder on a file system that lasts")
        case 0x6969, 0xFF53_4D42, 0xFE53_4D42:
            return Check(
                .storage, subject, .failure, "it is on another machine, where SQLite's log does not work",
                remedy: "set outbox.path to a folder on the board itself")
        case 0xEF53: return Check(.storage, subject, .ok, "ext4, ext3 or ext2")
        case 0x9123_683E: return Check(.storage, subject, .ok, "btrfs")
        case 0x5846_5342: return Check(.storage, subject, .ok, "xfs")
        case 0xF2F5_2010: return Check(.storage, subject, .ok, "f2fs")
        case 0x4D44:
            return Check(
                .storage, subject, .warning, "FAT: a power cut can damage it",
                remedy: "set outbox.path to a folder on ext4 or f2fs")
        default: return Check(.storage, subject, .ok, "kind 0x" + String(fileSystem.kind, radix: 16))
        }
    }

    private func space(_ fileSystem: FileSystem) -> Check {
        let needed = max(0, bound - size)
        let free = PlainNumbers.bytes(Double(fileSystem.free))
        let seen = "\(free) free; the outbox may still grow by \(PlainNumbers.bytes(Double(needed)))"
        if fileSystem.free < 16 << 20 {
            return Check(
                .storage, "space", .failure, seen,
                remedy: "free some: sudo apt clean; sudo journalctl --vacuum-size=50M")
        }
        guard fileSystem.free >= needed else {
            let mebibytes = max(1, (fileSystem.free / 10 * 9 + size) >> 20)
            return Check(.storage, "space", .warning, seen, remedy: "free some, or outbox: {size: \(mebibytes)MiB}")
        }
        return Check(.storage, "space", .ok, seen)
    }

    private var content: Check {
        switch file {
        case .absent: return Check(.storage, path, .ok, "not there yet: the gateway makes it when it first starts")
        case .unreadable(let error):
            return Check(
                .storage, path, .failure, "\(error.message) (SQLite \(error.code))",
                remedy: error.remedy ?? "sudo journalctl -u vigie-gateway says what the gateway makes of it")
        case .readable(let inspection):
            var seen = "\(PlainNumbers.count(inspection.depth)) readings wait"
            if let oldest = inspection.oldest { seen += ", the oldest of \(oldest)" }
            if inspection.quarantined > 0 {
                seen += "; \(PlainNumbers.count(inspection.quarantined)) can never be sent"
            }
            if inspection.dropped > 0 { seen += "; \(PlainNumbers.count(inspection.dropped)) dropped for want of room" }
            if !inspection.damage.isEmpty {
                return Check(
                    .storage, path, .failure, "damaged: \(inspection.damage.joined(separator: "; "))",
                    remedy: "leave it there: the gateway sets it aside when it meets the damage, and goes on with what"
                        + " can be read; look at the card: sudo dmesg")
            }
            return inspection.isChecked
                ? Check(.storage, path, .ok, "sound; " + seen)
                : Check(
                    .storage, path, .warning, "too large to be checked to the end; " + seen,
                    remedy: "sqlite3 -readonly \(path) 'PRAGMA quick_check'")
        }
    }
}
