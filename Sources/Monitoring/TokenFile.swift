import Glibc
import Platform

/// A token in the first line of a file, which nobody but its owner and its group may read. It is read for every request,
/// so that a new one counts at once.
public struct TokenFile: Sendable, Equatable {
    /// Why a token cannot be used. Never holds any of it.
    public enum Problem: Error, Equatable, Sendable, CustomStringConvertible {
        /// The file cannot be read.
        case unreadable(path: String, SystemError)
        /// Others than its owner and its group may read it, or others than its owner may change it.
        case open(path: String, mode: UInt32)
        /// The first line is shorter than 16 bytes, longer than 1024, or has other bytes than those of a token.
        case unusable(path: String)

        /// What is wrong and what to do, in one line.
        public var description: String {
            switch self {
            case .unreadable(let path, let error):
                "the token in \(path) cannot be read: \(String(cString: strerror(error.code)))"
                    + (error.code == ENOENT ? "; make one: (umask 027; openssl rand -hex 32 > \(path))" : "")
            case .open(let path, let mode):
                "the token in \(path) is not secret, as its file's mode is 0\(String(mode, radix: 8)): chmod 0640 \(path)"
            case .unusable(let path):
                """
                the first line of \(path) is no token, 16 to 1024 letters, digits and -._~+/=: \
                (umask 027; openssl rand -hex 32 > \(path))
                """
            }
        }
    }

    /// Where it is.
    public let path: String

    /// Names a file.
    public init(_ path: String) {
        self.path = path
    }

    /// The token's bytes.
    public func read() throws(Problem) -> [UInt8] {
        let (mode, content) = try statusAndContent()
        guard mode & 0o027 == 0 else { throw .open(path: path, mode: mode) }
        let line = content.prefix { $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: "\r") }
        guard (16...1024).contains(line.count), line.allSatisfy(TokenFile.isTokenByte) else {
            throw .unusable(path: path)
        }
        return Array(line)
    }

    /// The mode of the file, and its first bytes.
    private func statusAndContent() throws(Problem) -> (mode: UInt32, content: [UInt8]) {
        do throws(SystemError) {
            let descriptor = try systemCall("open", path) { open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) }
            defer { close(descriptor) }
            var status = stat()
            try systemCall("fstat", path) { fstat(descriptor, &status) }
            var bytes = [UInt8](repeating: 0, count: 1100)
            let count = try systemCall("read", path) { Glibc.read(descriptor, &bytes, bytes.count) }
            return (status.st_mode & 0o7777, Array(bytes[..<count]))
        } catch {
            throw .unreadable(path: path, error)
        }
    }

    /// What RFC 6750, section 2.1, allows.
    private static func isTokenByte(_ byte: UInt8) -> Bool {
        let isLetter = (0x61...0x7a).contains(byte | 0x20) && byte < 0x80
        return isLetter || (0x30...0x39).contains(byte) || Array("-._~+/=".utf8).contains(byte)
    }

    /// Whether two tokens are equal, in a time that depends on the length of the first one only.
    static func areEqual(_ presented: [UInt8], _ expected: [UInt8]) -> Bool {
        guard !expected.isEmpty else { return false }
        var difference: UInt8 = presented.count == expected.count ? 0 : 1
        for index in presented.indices { difference |= presented[index] ^ expected[index % expected.count] }
        return difference == 0
    }
}
