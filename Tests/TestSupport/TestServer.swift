import CPlatform
import Glibc
import Platform
import Synchronization

/// A real HTTP server on loopback for tests, which answers as it is told: late, wrongly, or never.
public final class TestServer: Sendable {
    /// What came in.
    public struct Request: Sendable, Equatable {
        /// Such as `POST`.
        public var method: String
        /// With the query.
        public var path: String
        /// By their names in lower case.
        public var headers: [String: String]
        /// The content.
        public var body: String
    }

    /// What goes out.
    public enum Reply: Sendable {
        /// A status, more header lines and a content.
        case answer(Int, headers: [String] = [], body: String = "")
        /// Nothing, while the server runs.
        case silence
        /// The end of the connection.
        case hangUp
    }

    /// Where it listens.
    public let port: UInt16
    private let listener: Int32
    private let reply: @Sendable (Request) -> Reply
    private let state = Mutex(State())

    private struct State {
        var isStopped = false
        var connections: Set<Int32> = []
        var requests: [Request] = []
    }

    /// Starts a server.
    /// - Parameters:
    ///   - port: where to listen; 0 for any free port.
    ///   - reply: called for each request, on a thread of its connection.
    public init(port: UInt16 = 0, reply: @escaping @Sendable (Request) -> Reply) throws {
        let listener = try systemCall("socket") { socket(AF_INET, 1, 0) }
        var one: Int32 = 1
        setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        do {
            try withUnsafeMutablePointer(to: &address) { pointer in
                try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                    try systemCall("bind") { bind(listener, address, length) }
                    try systemCall("listen") { listen(listener, 64) }
                    try systemCall("getsockname") { getsockname(listener, address, &length) }
                }
            }
        } catch {
            close(listener)
            throw error
        }
        self.listener = listener
        self.port = UInt16(bigEndian: address.sin_port)
        self.reply = reply
        startThread(name: "test-server") { [self] in accept() }
    }

    /// What came in so far.
    public var requests: [Request] { state.withLock { $0.requests } }

    /// Closes the port and all connections.
    public func stop() {
        state.withLock { state in
            guard !state.isStopped else { return }
            state.isStopped = true
            shutdown(listener, Int32(SHUT_RDWR))
            for connection in state.connections { shutdown(connection, Int32(SHUT_RDWR)) }
        }
    }

    private func accept() {
        while true {
            let connection = Glibc.accept(listener, nil, nil)
            if connection < 0, errno == EINTR { continue }
            let isOpen = state.withLock { state in
                if connection >= 0, !state.isStopped { state.connections.insert(connection) }
                return !state.isStopped
            }
            guard connection >= 0, isOpen else {
                if connection >= 0 { close(connection) }
                break
            }
            startThread(name: "test-connection") { [self] in
                serve(connection)
                state.withLock { state in
                    _ = state.connections.remove(connection)
                    close(connection)
                }
            }
        }
        close(listener)
    }

    private func serve(_ connection: Int32) {
        var received: [UInt8] = []
        while let request = next(connection, &received) {
            state.withLock { $0.requests.append(request) }
            switch reply(request) {
            case .hangUp: return
            case .silence:
                var byte: UInt8 = 0
                while recv(connection, &byte, 1, 0) > 0 {}
                return
            case .answer(let status, let headers, let body):
                let lines = ["HTTP/1.1 \(status) As-Told", "Content-Length: \(body.utf8.count)"] + headers
                let bytes = Array((lines.joined(separator: "\r\n") + "\r\n\r\n" + body).utf8)
                var sent = 0
                while sent < bytes.count {
                    let count = bytes[sent...].withUnsafeBytes {
                        send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                    }
                    if count <= 0 { return }
                    sent += count
                }
            }
        }
    }

    /// Reads one request; nil at the end of the connection.
    private func next(_ connection: Int32, _ received: inout [UInt8]) -> Request? {
        var chunk = [UInt8](repeating: 0, count: 16 * 1024)
        while true {
            if let (request, length) = parse(received) {
                received.removeFirst(length)
                return request
            }
            let count = recv(connection, &chunk, chunk.count, 0)
            if count <= 0 { return nil }
            received += chunk[..<count]
        }
    }

    private func parse(_ bytes: [UInt8]) -> (Request, length: Int)? {
        let text = String(decoding: bytes, as: UTF8.self)
        guard let end = bytes.indices.first(where: { bytes[$0...].starts(with: Array("\r\n\r\n".utf8)) }) else {
            return nil
        }
        let lines = String(decoding: bytes[..<end], as: UTF8.self).split(separator: "\r\n")
        let words = (lines.first ?? "").split(separator: " ")
        guard words.count == 3 else { return (Request(method: text, path: "", headers: [:], body: ""), bytes.count) }
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { continue }
            let value = line[line.index(after: colon)...].drop { $0 == " " }
            headers[line[..<colon].lowercased()] = String(value)
        }
        let total = end + 4 + (headers["content-length"].flatMap(Int.init) ?? 0)
        guard bytes.count >= total else { return nil }
        return (
            Request(
                method: String(words[0]), path: String(words[1]), headers: headers,
                body: String(decoding: bytes[(end + 4)..<total], as: UTF8.self)), total
        )
    }
}
