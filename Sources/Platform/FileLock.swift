import Glibc

/// Advisory locks on open files (flock(2)): they say to programs that ask who uses a file or a device, and go with the
/// descriptor, whatever ends the process.
public enum FileLock {
    /// Takes a lock without waiting.
    /// - Parameters:
    ///   - descriptor: an open file of any kind.
    ///   - isShared: whether others may have a shared one too.
    ///   - subject: the file, for the error.
    /// - Returns: false if another open file has a lock that excludes this one.
    public static func take(_ descriptor: Int32, isShared: Bool, _ subject: String) throws(SystemError) -> Bool {
        do throws(SystemError) {
            try systemCall("flock", subject) { flock(descriptor, (isShared ? LOCK_SH : LOCK_EX) | LOCK_NB) }
            return true
        } catch {
            if error.code == EWOULDBLOCK { return false }
            throw error
        }
    }

    /// The processes that have a lock on the same file, as the kernel lists them; empty if it does not tell.
    ///
    /// The kernel gives its list a page at a time, by the place in it: a lock is missed when one before it goes between two
    /// pages. So the list is read again, a few times, while the lock that is known to be there is not in it.
    public static func holders(of descriptor: Int32) -> [Int32] {
        var status = stat()
        return fstat(descriptor, &status) == 0 ? holders(of: status, looks: 20) : []
    }

    /// The processes that have a lock on the file under a path, if there is one. The file is not opened: closing it would
    /// end the locks that this process has on it by fcntl(2), as SQLite does.
    public static func holders(ofFile path: String) -> [Int32] {
        var status = stat()
        return stat(path, &status) == 0 ? holders(of: status, looks: 3) : []
    }

    private static func holders(of status: stat, looks: Int) -> [Int32] {
        for _ in 0..<looks {
            guard let bytes = try? readFile("/proc/locks", limit: 16 << 20) else { return [] }
            let processes = holders(
                in: String(decoding: bytes, as: UTF8.self), device: UInt64(status.st_dev),
                inode: UInt64(status.st_ino))
            if !processes.isEmpty { return processes }
        }
        return []
    }

    /// Reads the form of /proc/locks (proc_locks(5)): `1: FLOCK ADVISORY READ 1234 00:06:345 0 EOF`; who waits for a
    /// lock has `->` behind the number.
    static func holders(in locks: String, device: UInt64, inode: UInt64) -> [Int32] {
        // The kernel's new encoding of a device number (makedev(3)).
        let major = (device >> 8 & 0xFFF) | (device >> 32 & ~0xFFF)
        let minor = (device & 0xFF) | (device >> 12 & ~0xFF)
        func hexadecimal(_ number: UInt64) -> String {
            let digits = String(number, radix: 16)
            return digits.utf8.count < 2 ? "0" + digits : digits
        }
        let file = "\(hexadecimal(major)):\(hexadecimal(minor)):\(inode)"
        var processes: [Int32] = []
        for line in locks.split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count > 5, words[1] == "FLOCK", words[5] == file, let process = Int32(words[4]) else {
                continue
            }
            if !processes.contains(process) { processes.append(process) }
        }
        return processes
    }
}
