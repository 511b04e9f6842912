import CPlatform
import Glibc
import Platform
import Synchronization

/// A proxy in front of a PostgreSQL server's local socket that can swallow everything without closing anything, as a network does
/// behind which a machine has vanished, or a proxy that has lost its server.
public final class BlackHole: Sendable {
    private struct State {
        var isSwallowing = false
        var isStopped = false
        var accepted = 0
        var connections: [Int: Connection] = [:]
    }

    private struct Connection {
        var client: Int32
        var server: Int32
        /// Bytes were swallowed, so that it can never be of use again.
        var isBroken: Bool
    }

    /// Where it listens: what libpq takes as `host`, with the server's own port.
    public let folder: String
    private let listener: Int32
    private let socketPath: String
    private let target: String
    private let state = Mutex(State())

    /// Listens in a folder of its own.
    /// - Parameters:
    ///   - folders: the server's setting unix_socket_directories; the first one counts.
    ///   - port: its setting port.
    public init(inFrontOf folders: String, port: String) throws {
        let first = folders.split(separator: ",").first.map(String.init) ?? ""
        let folder = "/tmp/vigie-hole-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        let path = "\(folder)/.s.PGSQL.\(port)"
        try systemCall("mkdir", folder) { mkdir(folder, 0o755) }
        let listener = try systemCall("socket") { vigie_local_stream_socket() }
        try systemCall("bind", path) { withLocalAddress(path) { bind(listener, $0, $1) } }
        try systemCall("listen", path) { listen(listener, 64) }
        self.folder = folder
        self.listener = listener
        socketPath = path
        target = "\(first)/.s.PGSQL.\(port)"
        startThread(name: "black-hole") { [self] in accept() }
    }

    /// From now on everything is swallowed; new connections are taken and get no answer.
    public func swallow() { state.withLock { $0.isSwallowing = true } }

    /// From now on what comes is passed on; connections of which something was swallowed stay dead.
    public func release() { state.withLock { $0.isSwallowing = false } }

    /// Makes the connections that there are now dead without closing them; new ones work.
    public func breakConnections() {
        state.withLock { state in
            for key in state.connections.keys { state.connections[key]?.isBroken = true }
        }
    }

    /// How many connections were made so far.
    public var accepted: Int { state.withLock { $0.accepted } }

    /// Closes the socket and all connections, and removes the folder.
    public func stop() {
        state.withLock { state in
            if state.isStopped { return }
            state.isStopped = true
            unlink(socketPath)
            rmdir(folder)
            shutdown(listener, Int32(SHUT_RDWR))
            for connection in state.connections.values {
                shutdown(connection.client, Int32(SHUT_RDWR))
                if connection.server >= 0 { shutdown(connection.server, Int32(SHUT_RDWR)) }
            }
        }
    }

    private func accept() {
        while true {
            let client = Glibc.accept(listener, nil, nil)
            if client < 0, errno == EINTR { continue }
            let isStopped = state.withLock { $0.isStopped }
            if client < 0 || isStopped {
                if client >= 0 { close(client) }
                break
            }
            let isSwallowing = state.withLock { $0.isSwallowing }
            let server = isSwallowing ? -1 : connectToTarget()
            let key = state.withLock { state in
                state.accepted += 1
                state.connections[state.accepted] = Connection(client: client, server: server, isBroken: server < 0)
                return state.accepted
            }
            startThread(name: "black-hole-pair") { [self] in pass(key, client, server) }
        }
        close(listener)
    }

    private func connectToTarget() -> Int32 {
        let server = vigie_local_stream_socket()
        let status = withLocalAddress(target) { connect(server, $0, $1) }
        if status == 0 { return server }
        close(server)
        return -1
    }

    private func pass(_ key: Int, _ client: Int32, _ server: Int32) {
        var buffer = [UInt8](repeating: 0, count: 64 * 1024)
        passing: while true {
            var ends = [pollfd(fd: client, events: Int16(POLLIN), revents: 0)]
            if server >= 0 { ends.append(pollfd(fd: server, events: Int16(POLLIN), revents: 0)) }
            if poll(&ends, nfds_t(ends.count), -1) < 0 {
                if errno == EINTR { continue }
                break
            }
            for end in ends where end.revents != 0 {
                let count = recv(end.fd, &buffer, buffer.count, 0)
                // A connection in the hole does not end for its other side.
                if count <= 0 {
                    if end.fd == server, isBroken(key) {
                        waitForEnd(of: client, &buffer)
                    }
                    break passing
                }
                if isBroken(key) { continue }
                let other = end.fd == client ? server : client
                var sent = 0
                while sent < count {
                    let step = buffer[sent..<count].withUnsafeBytes { vigie_send(other, $0.baseAddress, $0.count) }
                    if step <= 0 { break passing }
                    sent += step
                }
            }
        }
        state.withLock { state in
            state.connections[key] = nil
            close(client)
            if server >= 0 { close(server) }
        }
    }

    /// Whether what has come now is swallowed, and all that follows on this connection.
    private func isBroken(_ key: Int) -> Bool {
        state.withLock { state in
            if state.isSwallowing { state.connections[key]?.isBroken = true }
            return state.connections[key]?.isBroken ?? true
        }
    }

    private func waitForEnd(of client: Int32, _ buffer: inout [UInt8]) {
        while recv(client, &buffer, buffer.count, 0) > 0 {}
    }
}

private func withLocalAddress<Result>(
    _ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
) -> Result {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    precondition(bytes.count < MemoryLayout.size(ofValue: address.sun_path), "too long for a socket: \(path)")
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    return withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
        }
    }
}
