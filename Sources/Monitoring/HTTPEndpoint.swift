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
public enum HTTPEndpointError: Error, Equatable, Sendable, CustomStringConvertible {
    /// `address` is neither an IPv4 nor an IPv6 address in text.
    case notAnAddress(String)
    /// Another program listens there already.
    case portInUse(address: String, port: UInt16)
    /// The kernel refused for another reason.
    case cannotListen(address: String, port: UInt16, SystemError)
    /// libmicrohttpd did not start: no memory or no thread.
    case cannotStart

    /// What failed and what to do, in one line.
    public var description: String {
        switch self {
        case .notAnAddress(let text):
            "\"\(text)\" is not an IP address to listen on; use one such as 127.0.0.1 or ::1"
        case .portInUse(let address, let port):
            "port \(port) of \(address) is in use by another program; choose another port, or 0 for any free one"
        case .cannotListen(let address, let port, let error):
            "cannot listen on port \(port) of \(address): \(error)"
        case .cannotStart:
            "the HTTP server did not start: no memory or no thread is left"
        }
    }
}

/// A small HTTP server for a program's own state: `/metrics`, `/healthz`, `/readyz` and the program's own paths.
///
/// It answers GET and HEAD alone, on one thread of its own, to a bounded number of connections, and speaks neither TLS
/// nor authentication: it belongs on loopback or behind a proxy. It serves from its creation until `stop()` or deinit.
public final class HTTPEndpoint: Sendable {
    /// Makes the answer for one path. Called on the endpoint's thread, so it must be quick and must not block.
    public typealias Handler = @Sendable () -> HTTPResponse

    /// The address that it listens on.
    public let address: String
    /// The port that it listens on; never 0.
    public let port: UInt16

    private let daemon: Daemon

    /// Opens the port and starts to serve.
    /// - Parameters:
    ///   - address: an IPv4 or IPv6 address in text.
    ///   - port: the port, or 0 for any free one.
    ///   - metrics: what `/metrics` shows.
    ///   - health: what `/healthz` and `/readyz` show.
    ///   - routes: more paths, such as `/status`, each with what answers it.
    public init(
        address: String = "127.0.0.1", port: UInt16, metrics: MetricsRegistry, health: Health,
        routes: [String: Handler] = [:]
    ) throws(HTTPEndpointError) {
        var routes = routes
        routes["/metrics"] = {
            HTTPResponse(contentType: MetricsRegistry.contentType, body: Array(metrics.exposition().utf8))
        }
        routes["/healthz"] = { health.report(good: health.isAlive) }
        routes["/readyz"] = { health.report(good: health.isReady) }

        let (descriptor, boundPort) = try listeningSocket(address, port)
        guard let daemon = Daemon(listeningOn: descriptor, routes: routes) else {
            close(descriptor)
            throw .cannotStart
        }
        self.daemon = daemon
        self.address = address
        self.port = boundPort
    }

    /// Where it answers.
    public var url: String { address.contains(":") ? "http://[\(address)]:\(port)/" : "http://\(address):\(port)/" }

    /// Closes the port and every connection, and waits for the thread. More calls do nothing.
    public func stop() {
        daemon.stop()
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
            ? .portInUse(address: address, port: port) : .cannotListen(address: address, port: port, error)
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
