import Foundation
import Glibc
import Testing

/// A real file system of some megabytes (tmpfs), which goes with the test. Needs the right to mount.
final class SmallFileSystem {
    let path: String
    private let bytes: Int

    /// - Returns: nil, with the reason printed, where mounting is not allowed.
    init?(bytes: Int) throws {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent("vigie-small-\(UUID())")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        path = url.path
        self.bytes = bytes
        guard mount("tmpfs", path, "tmpfs", UInt(MS_NOSUID | MS_NODEV), "size=\(bytes)") == 0 else {
            print("skipped: a tmpfs cannot be mounted here: \(String(cString: strerror(errno)))")
            rmdir(path)
            return nil
        }
    }

    deinit {
        umount2(path, Int32(MNT_DETACH))
        rmdir(path)
    }

    var file: String { path + "/outbox.sqlite" }

    /// Bytes that can still be written.
    var free: Int {
        var status = statvfs()
        statvfs(path, &status)
        return Int(status.f_bavail) * Int(status.f_frsize)
    }

    /// Fills the file system with a file of zeros, or takes it away again.
    /// - Parameter left: how many bytes are left; nil: no such file.
    func fill(left: Int?) throws {
        let ballast = path + "/ballast"
        unlink(ballast)
        guard let left else { return }
        let descriptor = open(ballast, O_WRONLY | O_CREAT, 0o600)
        try #require(descriptor >= 0)
        defer { close(descriptor) }
        try #require(posix_fallocate(descriptor, 0, off_t(max(free - left, 4096))) == 0)
    }

    /// Mounts it read-only or for writing too; no file may be open for writing then.
    func setReadOnly(_ isReadOnly: Bool) throws {
        let flags = MS_REMOUNT | MS_NOSUID | MS_NODEV | (isReadOnly ? MS_RDONLY : 0)
        try #require(mount("tmpfs", path, "tmpfs", UInt(flags), "size=\(bytes)") == 0)
    }
}
