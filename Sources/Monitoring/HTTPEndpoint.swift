import CMicrohttpd
import Glibc
import Platform

/// The answer to one request.
public struct HTTPResponse: Sendable {
    /// The content type of UTF-8 text.
    public static let plainText = "text/plain; charset=utf-8"
    /// The content type of JSON.
    public static let json = "application/json"

    /// The status code (RFC 9110, section 15).
    public var status: Int
    /// The Content-Type field.
    public var contentType: String
    /// The content.
    public var body: [UInt8]
    /// More fields, such as a Content-Security-Policy.
    public var fields: [(name: String, value: String)]

    /// Makes an answer.
    public init(
        status: Int = 200, contentType: String = HTTPResponse.plainText, body: [UInt8],
        fields: [(name: String, value: String)] = []
    ) {
        self.status = status
        self.contentType = contentType
        self.body = body
        self.fields = fields
    }
}

/// Why an endpoint could not be opened.
public enum HTTPEndpointError: ErrorWithExitStatus, Equatable, Sendable, CustomStringConvertible {
    /// `address` is neither an IPv4 nor an IPv6 address in text.
    case notAnAddress(String)
    /// Other machines reach it, and nothing protects it.
    case exposed(HTTPEndpointSettings.Address)
    /// Nobody could show the token.
    case token(TokenFile.Problem)
    /// Another program listens there already.
    case portInUse(address: String, port: UInt16)
    /// Another program listens on the socket already.
    case socketInUse(path: String)
    /// The kernel refused for another reason.
    case cannotListen(HTTPEndpointSettings.Address, SystemError)
    /// libmicrohttpd did not start: no memory or no thread.
    case cannotStart

    /// A setting that is wrong is so after a restart, too.
    public var exitStatus: Int32 {
        switch self {
        case .notAnAddress, .exposed, .token: ExitStatus.configuration
        case .portInUse, .socketInUse, .cannotListen, .cannotStart: ExitStatus.failure
        }
    }

    /// What failed and what to do, in one line.
    public var description: String {
        switch self {
        case .notAnAddress(let text):
            "\"\(text)\" is not an IP address to listen on; use one such as 127.0.0.1 or ::1"
        case .exposed(let address):
            """
            other machines reach \(address): set token_file, or listen on 127.0.0.1 or a Unix socket; \
            unprotected: true if something else protects it
            """
        case .token(let problem):
            "monitoring.token_file: \(problem)"
        case .portInUse(let address, let port):
            "port \(port) of \(address) is in use by another program; choose another port, or 0 for any free one"
        case .socketInUse(let path):
            "\(path) is another program's socket, or no socket; end that program, or choose another path"
        case .cannotListen(.network(let host, let port), let error):
            "cannot listen on port \(port) of \(host): \(error)"
        case .cannotListen(.socket(let path), let error):
            "cannot listen on \(path): \(error); its folder must be there and this program's own, as RuntimeDirectory= makes it"
        case .cannotStart:
            "the HTTP server did not start: no memory or no thread is left"
        }
    }
}

/// A small HTTP server for a program's own state: `/metrics`, `/healthz`, `/readyz` and the program's own paths.
///
/// It answers GET and HEAD alone, on one thread of its own, to a bounded number of connections. It speaks no TLS. Whom it
/// answers is in its settings: who calls it by a name of its own, and shows the token if there is one. Without the token
/// `/healthz` and `/readyz` say whether all is well, and no more. It serves from its creation until `stop()` or deinit.
public final class HTTPEndpoint: Sendable {
    /// Makes the answer for one path. Called on the endpoint's thread, so it must be quick and must not block.
    public typealias Handler = @Sendable () -> HTTPResponse

    /// Where it listens; its port is never 0.
    public let address: HTTPEndpointSettings.Address

    private let daemon: Daemon
    private let socketFile: SocketFile?

    /// Opens the port or the socket and starts to serve.
    /// - Parameters:
    ///   - settings: where, and for whom.
    ///   - metrics: what `/metrics` shows.
    ///   - health: what `/healthz` and `/readyz` show.
    ///   - routes: more paths, such as `/status`, each with what answers it.
    public init(
        _ settings: HTTPEndpointSettings, metrics: MetricsRegistry, health: Health, routes: [String: Handler] = [:]
    ) throws(HTTPEndpointError) {
        if case .network(let host, _) = settings.address, !isAddress(host) { throw .notAnAddress(host) }
        if settings.isExposed { throw .exposed(settings.address) }
        let tokenFile = settings.tokenFile.map { TokenFile($0) }
        do throws(TokenFile.Problem) {
            _ = try tokenFile?.read()
        } catch {
            throw .token(error)
        }
        var handlers = routes
        handlers["/metrics"] = {
            HTTPResponse(contentType: MetricsRegistry.contentType, body: Array(metrics.exposition().utf8))
        }
        handlers["/healthz"] = { health.report(good: health.isAlive) }
        handlers["/readyz"] = { health.report(good: health.isReady) }
        let open: [String: Handler] = [
            "/healthz": { health.verdict(good: health.isAlive) }, "/readyz": { health.verdict(good: health.isReady) },
        ]

        let descriptor: Int32
        let bound: HTTPEndpointSettings.Address
        var hosts: HostRule?
        switch settings.address {
        case .network(let host, let port):
            let (opened, boundPort) = try listeningSocket(host, port)
            descriptor = opened
            bound = .network(host: host, port: boundPort)
            hosts = HostRule(settings)
            socketFile = nil
        case .socket(let path):
            // No browser comes by a socket, so its Host field says nothing.
            (descriptor, socketFile) = try SocketFile.listen(path)
            bound = settings.address
        }
        let served = HTTPRoutes(handlers, open: open, hosts: hosts, tokenFile: tokenFile)
        guard let daemon = Daemon(listeningOn: descriptor, routes: served) else {
            close(descriptor)
            socketFile?.remove()
            throw .cannotStart
        }
        self.daemon = daemon
        address = bound
    }

    /// The same on an address without a token.
    public convenience init(
        address: String = "127.0.0.1", port: UInt16, metrics: MetricsRegistry, health: Health,
        routes: [String: Handler] = [:]
    ) throws(HTTPEndpointError) {
        try self.init(
            HTTPEndpointSettings(address: .network(host: address, port: port)), metrics: metrics, health: health,
            routes: routes)
    }

    deinit {
        stop()
    }

    /// The port that it listens on; 0 for a socket.
    public var port: UInt16 {
        guard case .network(_, let port) = address else { return 0 }
        return port
    }

    /// Where it answers: `http://127.0.0.1:9464/`, or `unix:` and the path of a socket.
    public var url: String {
        switch address {
        case .network: "http://\(address)/"
        case .socket: "\(address)"
        }
    }

    /// Closes the port and every connection, and waits for the thread. More calls do nothing.
    public func stop() {
        if daemon.stop() { socketFile?.remove() }
    }
}

/// The file of a Unix socket that this program listens on.
private struct SocketFile: Sendable {
    private let path: String
    private let device: dev_t
    private let inode: ino_t

    /// Makes a socket that its owner and group may come to. One that an earlier life of the program has left behind is
    /// replaced.
    static func listen(_ path: String) throws(HTTPEndpointError) -> (descriptor: Int32, file: SocketFile?) {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { bytes in
            bytes.copyBytes(from: path.utf8.prefix(bytes.count - 1))
        }
        let size = socklen_t(MemoryLayout<sockaddr_un>.size)
        func with(_ call: (UnsafePointer<sockaddr>) -> Int32) -> Int32 {
            withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { call($0) }
            }
        }
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        var opened: Int32?
        do throws(SystemError) {
            let descriptor = try systemCall("socket") { socket(AF_UNIX, type, 0) }
            opened = descriptor
            // So the file has no other mode for a moment; the mask of the process takes more away.
            try systemCall("fchmod") { fchmod(descriptor, 0o660) }
            if with({ bind(descriptor, $0, size) }) != 0 {
                guard errno == EADDRINUSE else { throw SystemError("bind", path, code: errno) }
                let probe = try systemCall("socket") { socket(AF_UNIX, type, 0) }
                // Anything else than a socket refuses too, and is not ours to remove.
                var status = stat()
                let isLeft =
                    with { connect(probe, $0, size) } != 0 && errno == ECONNREFUSED
                    && lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFSOCK
                close(probe)
                if !isLeft { throw SystemError("bind", path, code: EADDRINUSE) }
                try systemCall("unlink", path) { unlink(path) }
                try systemCall("bind", path) { with { bind(descriptor, $0, size) } }
            }
            try systemCall("chmod", path) { chmod(path, 0o660) }
            try systemCall("listen", path) { Glibc.listen(descriptor, 16) }
            var status = stat()
            try systemCall("stat", path) { lstat(path, &status) }
            return (descriptor, SocketFile(path: path, device: status.st_dev, inode: status.st_ino))
        } catch {
            if let opened { close(opened) }
            throw error.code == EADDRINUSE ? .socketInUse(path: path) : .cannotListen(.socket(path: path), error)
        }
    }

    /// Removes the file, unless another program's has taken its place.
    func remove() {
        var status = stat()
        if lstat(path, &status) == 0, status.st_dev == device, status.st_ino == inode { unlink(path) }
    }
}

/// A socket that listens on `address`, and the port that it got.
private func listeningSocket(
    _ address: String, _ port: UInt16
) throws(HTTPEndpointError) -> (descriptor: Int32, port: UInt16) {
    var storage = sockaddr_storage()
    guard let length = vigie_socket_address(address, port, &storage) else { throw .notAnAddress(address) }
    var opened: Int32?
    do throws(SystemError) {
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        let descriptor = try systemCall("socket") { socket(Int32(storage.ss_family), type, 0) }
        opened = descriptor
        var one: Int32 = 1
        try systemCall("setsockopt") {
            setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
        }
        try systemCall("bind") { withSocketAddress(&storage) { bind(descriptor, $0, length) } }
        try systemCall("listen") { listen(descriptor, 16) }
        var boundLength = length
        try systemCall("getsockname") { withSocketAddress(&storage) { getsockname(descriptor, $0, &boundLength) } }
        return (descriptor, portNumber(&storage))
    } catch {
        if let opened { close(opened) }
        throw error.code == EADDRINUSE
            ? .portInUse(address: address, port: port)
            : .cannotListen(.network(host: address, port: port), error)
    }
}

private func withSocketAddress<Result>(
    _ storage: inout sockaddr_storage, _ body: (UnsafeMutablePointer<sockaddr>) -> Result
) -> Result {
    withUnsafeMutablePointer(to: &storage) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0) }
    }
}

/// Fills `storage` with the address; nil if `text` is not one.
private func vigie_socket_address(_ text: String, _ port: UInt16, _ storage: inout sockaddr_storage) -> socklen_t? {
    withUnsafeMutableBytes(of: &storage) { bytes -> socklen_t? in
        guard let base = bytes.baseAddress else { return nil }
        let four = base.assumingMemoryBound(to: sockaddr_in.self)
        if inet_pton(AF_INET, text, &four.pointee.sin_addr) == 1 {
            four.pointee.sin_family = sa_family_t(AF_INET)
            four.pointee.sin_port = port.bigEndian
            return socklen_t(MemoryLayout<sockaddr_in>.size)
        }
        let six = base.assumingMemoryBound(to: sockaddr_in6.self)
        if inet_pton(AF_INET6, text, &six.pointee.sin6_addr) == 1 {
            six.pointee.sin6_family = sa_family_t(AF_INET6)
            six.pointee.sin6_port = port.bigEndian
            return socklen_t(MemoryLayout<sockaddr_in6>.size)
        }
        return nil
    }
}

/// The port is at the same place in IPv4's and IPv6's structure.
private func portNumber(_ storage: inout sockaddr_storage) -> UInt16 {
    withUnsafeBytes(of: &storage) { bytes in
        UInt16(
            bigEndian: bytes.load(
                fromByteOffset: MemoryLayout<sockaddr_in>.offset(of: \.sin_port) ?? 2, as: UInt16.self))
    }
}
