import CPlatform
import Glibc
import Platform

/// Where a running vigie-simbus takes requests: a Unix socket on which a client sends one line of words and gets `ok` or
/// `error`, a line feed, and what there is to print. Only the user that made it, and root, may connect.
public final class ControlSocket: Sendable {
    /// The usual path.
    public static let usualPath = "/run/vigie-simbus.sock"

    /// Why there is no answer.
    public enum Failure: Error, Sendable, Equatable, CustomStringConvertible {
        /// Somebody else answers at the path.
        case taken(path: String)
        /// Nobody does.
        case notRunning(path: String)
        /// A socket's path has room for 107 bytes (unix(7)).
        case pathTooLong(path: String)
        /// The request was refused, and why.
        case refused(String)
        /// A system call failed.
        case system(SystemError)

        /// One line for a person.
        public var description: String {
            switch self {
            case .taken(let path): "another vigie-simbus listens at \(path); end it, or name another --control"
            case .notRunning(let path):
                "no vigie-simbus listens at \(path): start 'vigie-simbus run', or name its --control"
            case .pathTooLong(let path): "\(path): too long for a socket, 107 bytes at most"
            case .refused(let why): why
            case .system(let error): "\(error)"
            }
        }
    }

    private let path: String
    private let listener: Int32

    private init(path: String, listener: Int32) {
        self.path = path
        self.listener = listener
    }

    deinit {
        unlink(path)
        shutdown(listener, Int32(SHUT_RDWR))
    }

    /// Listens, and answers one client after the other on a thread of its own.
    /// - Parameter execute: does what the words say; it returns what to print, or why it was not done.
    public static func listen(
        at path: String, execute: @escaping @Sendable ([String]) -> Result<String, Failure>
    ) throws(Failure) -> ControlSocket {
        var address = try socketAddress(path)
        if (try? connected(to: path)).map({ close($0) }) != nil { throw .taken(path: path) }
        do {
            let listener = try systemCall("socket") { vigie_local_stream_socket() }
            unlink(path)
            let mask = umask(0o177)
            defer { umask(mask) }
            try systemCall("bind", path) { withSocketAddress(&address) { bind(listener, $0, $1) } }
            try systemCall("listen", path) { Glibc.listen(listener, 8) }
            startThread(name: "control") { serve(listener, execute) }
            return ControlSocket(path: path, listener: listener)
        } catch {
            throw .system(error)
        }
    }

    /// Sends a request to a running vigie-simbus.
    /// - Returns: what to print.
    public static func send(_ words: [String], to path: String) throws(Failure) -> String {
        let socket = try connected(to: path)
        defer { close(socket) }
        guard sendAll(Array((words.joined(separator: " ") + "\n").utf8), socket) else {
            throw .system(SystemError("send", path, code: errno))
        }
        var answer: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16_384)
        while true {
            do {
                let count = try systemCall("read", path) { read(socket, &chunk, chunk.count) }
                if count == 0 { break }
                answer += chunk[..<count]
            } catch {
                throw .system(error)
            }
        }
        let text = String(decoding: answer, as: UTF8.self)
        if text.hasPrefix("ok\n") { return String(text.dropFirst(3)) }
        throw .refused(text.hasPrefix("error\n") ? String(text.dropFirst(6)) : "no answer at \(path)")
    }

    private static func serve(_ listener: Int32, _ execute: ([String]) -> Result<String, Failure>) {
        defer { close(listener) }
        while true {
            let client = accept(listener, nil, nil)
            if client < 0 && (errno == EINTR || errno == ECONNABORTED) { continue }
            guard client >= 0 else { return }
            defer { close(client) }
            // A client that says nothing does not keep the others waiting for long.
            var limit = timeval(tv_sec: 2, tv_usec: 0)
            setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
            setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
            guard let line = readLine(client) else { continue }
            let words = line.split(separator: " ").map(String.init)
            switch execute(words) {
            case .success(let text): sendAll(Array("ok\n\(text)".utf8), client)
            case .failure(let failure): sendAll(Array("error\n\(failure)".utf8), client)
            }
        }
    }

    private static func readLine(_ client: Int32) -> String? {
        var line: [UInt8] = []
        var byte: UInt8 = 0
        while line.count < ControlRequest.longestLine {
            let count = read(client, &byte, 1)
            if count < 0 && errno == EINTR { continue }
            guard count == 1 else { return nil }
            if byte == UInt8(ascii: "\n") { return String(decoding: line, as: UTF8.self) }
            line.append(byte)
        }
        return nil
    }

    private static func connected(to path: String) throws(Failure) -> Int32 {
        var address = try socketAddress(path)
        var socket: Int32 = -1
        do throws(SystemError) {
            socket = try systemCall("socket") { vigie_local_stream_socket() }
            try systemCall("connect", path) { withSocketAddress(&address) { connect(socket, $0, $1) } }
            return socket
        } catch {
            if socket >= 0 { close(socket) }
            switch error.code {
            case ENOENT, ECONNREFUSED: throw .notRunning(path: path)
            default: throw .system(error)
            }
        }
    }

    private static func socketAddress(_ path: String) throws(Failure) -> sockaddr_un {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { throw .pathTooLong(path: path) }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        return address
    }
}

/// Sends all bytes.
@discardableResult
func sendAll(_ bytes: [UInt8], _ socket: Int32) -> Bool {
    var rest = bytes[...]
    while !rest.isEmpty {
        let count = rest.withUnsafeBytes { vigie_send(socket, $0.baseAddress, $0.count) }
        if count < 0 && errno == EINTR { continue }
        guard count > 0 else { return false }
        rest = rest.dropFirst(count)
    }
    return true
}

private func withSocketAddress<Result>(
    _ address: inout sockaddr_un, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
) -> Result {
    withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
        }
    }
}
