import CSQLite
import Glibc

/// Looks at a file and its log before SQLite does, which takes some kinds of damage for something else: it deletes the log
/// of a file that is empty, passes over a log whose header is damaged, and ends at the first damaged page of a log without
/// a word about the transactions behind it.
enum FileCheck {
    /// - Parameter path: the file; it need not be there.
    /// - Throws: `OutboxError` with `isDamage` if SQLite would lose what can be salvaged, or cannot use the file.
    static func run(_ path: String) throws(OutboxError) {
        var status = stat()
        let isThere = stat(path, &status) == 0
        // It is nobody's to move away.
        if isThere, [S_IFCHR, S_IFBLK, S_IFSOCK].contains(status.st_mode & S_IFMT) {
            throw OutboxError(
                code: SQLITE_CANTOPEN, message: "it is a device or a socket, no file", path: path,
                remedy: "set outbox.path to a file")
        }
        // A connection would wait for ever on a pipe and fails on a folder in the words of a lack of rights.
        if isThere, status.st_mode & S_IFMT != S_IFREG { throw damage("it is no file", path) }
        var logStatus = stat()
        let isLogThere = stat(path + "-wal", &logStatus) == 0
        if isLogThere, logStatus.st_mode & S_IFMT != S_IFREG { throw damage("its log is no file", path) }
        let hasLog = isLogThere && Int64(logStatus.st_size) > headerOfLog + headerOfFrame
        guard isThere, status.st_size > 0 else {
            guard !hasLog else { throw damage("it is empty and its log is not", path) }
            return
        }
        if hasLog {
            try checkLog(path)
        } else {
            try checkHeader(path)
        }
    }

    /// Makes an empty file if there is none.
    static func makeIfMissing(_ path: String) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        if descriptor >= 0 { close(descriptor) }
    }

    private static func damage(_ message: String, _ path: String) -> OutboxError {
        OutboxError(code: SQLITE_NOTADB, message: message, path: path)
    }

    /// The file's first bytes (https://www.sqlite.org/fileformat2.html, section 1.3). With a log they may stand there.
    private static func checkHeader(_ path: String) throws(OutboxError) {
        guard let file = File(path), let header = file.bytes(at: 0, count: 24) else { return }
        let pageSize = Int64(header[16]) << 8 | Int64(header[17])
        guard header[..<16].elementsEqual("SQLite format 3\0".utf8), pageSize == OutboxFile.pageSize else {
            throw damage("its header is damaged", path)
        }
        // SQLite opens a file that an unknown release may read only, and says that it has no right to write.
        guard (1...2).contains(header[18]), (1...2).contains(header[19]), header[20] == 0 else {
            throw damage("its header is of no known format", path)
        }
    }

    // MARK: The log (sections 4.1 and 4.2)

    private static let headerOfLog: Int64 = 32
    private static let headerOfFrame: Int64 = 24

    private static func checkLog(_ path: String) throws(OutboxError) {
        guard let log = File(path + "-wal"), let header = log.bytes(at: 0, count: Int(headerOfLog)) else { return }
        let magic = number(header[0..<4])
        var sum = Checksum(isBigEndian: magic & 1 == 1)
        sum.add(header[..<24])
        // The header is synced before anything is written behind it: no power cut leaves a damaged one.
        guard magic & ~1 == 0x377F_0682, number(header[8..<12]) == UInt32(OutboxFile.pageSize),
            sum.equals(header[24..<32])
        else { throw damage("its log's header is damaged", path) }
        let salts = header[16..<24]
        var position = headerOfLog
        var isWhole = true
        var commitsBehind = 0
        while let frame = log.bytes(at: position, count: Int(headerOfFrame)), frame[8..<16].elementsEqual(salts) {
            if isWhole {
                let content = log.bytes(at: position + headerOfFrame, count: Int(OutboxFile.pageSize))
                sum.add(frame[..<8])
                if let content { sum.add(content[...]) }
                isWhole = content != nil && sum.equals(frame[16..<24])
            }
            if !isWhole, number(frame[4..<8]) != 0 { commitsBehind += 1 }
            position += headerOfFrame + OutboxFile.pageSize
        }
        // A power cut may leave the last transaction in parts. Those before it had been synced.
        if commitsBehind > 1 { throw damage("a page of its log is damaged", path) }
    }

    private static func number(_ bytes: ArraySlice<UInt8>) -> UInt32 { bytes.reduce(0) { $0 << 8 | UInt32($1) } }

    /// The sum that each header and page of a log adds to.
    private struct Checksum {
        let isBigEndian: Bool
        private var first: UInt32 = 0
        private var second: UInt32 = 0

        init(isBigEndian: Bool) {
            self.isBigEndian = isBigEndian
        }

        /// - Parameter bytes: a multiple of eight.
        mutating func add(_ bytes: ArraySlice<UInt8>) {
            bytes.withUnsafeBytes { bytes in
                for offset in stride(from: 0, to: bytes.count - 7, by: 8) {
                    first &+= word(bytes, offset) &+ second
                    second &+= word(bytes, offset + 4) &+ first
                }
            }
        }

        private func word(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> UInt32 {
            let word = bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)
            return isBigEndian ? UInt32(bigEndian: word) : UInt32(littleEndian: word)
        }

        func equals(_ bytes: ArraySlice<UInt8>) -> Bool {
            number(bytes.prefix(4)) == first && number(bytes.suffix(4)) == second
        }
    }

    /// A file that is read at any place.
    private final class File {
        private let descriptor: Int32

        init?(_ path: String) {
            descriptor = open(path, O_RDONLY | O_CLOEXEC)
            if descriptor < 0 { return nil }
        }

        deinit { close(descriptor) }

        /// Nil if so much cannot be read.
        func bytes(at position: Int64, count: Int) -> [UInt8]? {
            var bytes = [UInt8](repeating: 0, count: count)
            let got = bytes.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, count, off_t(position)) }
            return got == count ? bytes : nil
        }
    }
}
