import CMicrohttpd
import Glibc
import Synchronization

/// What the daemon's callback reads: who gets an answer, and which.
final class HTTPRoutes: Sendable {
    private let handlers: [String: HTTPEndpoint.Handler]
    /// Of the paths that need no token: what is answered to who has none.
    private let open: [String: HTTPEndpoint.Handler]
    private let hosts: HostRule?
    private let tokenFile: TokenFile?

    /// - Parameters:
    ///   - handlers: each path with what answers it.
    ///   - open: the paths that need no token, with what is answered to who has none.
    ///   - hosts: the names by which a request may call the endpoint; nil for any.
    ///   - tokenFile: the token that a request must have; nil for none.
    init(
        _ handlers: [String: HTTPEndpoint.Handler], open: [String: HTTPEndpoint.Handler], hosts: HostRule?,
        tokenFile: TokenFile?
    ) {
        self.handlers = handlers
        self.open = open
        self.hosts = hosts
        self.tokenFile = tokenFile
    }

    /// What a request said of itself.
    struct Request {
        var method: String
        var path: String
        var host: String?
        /// The Authorization field.
        var authorization: String?
        /// The password of Basic authentication, if there is one.
        var password: () -> [UInt8]?
    }

    func answer(_ request: Request) -> HTTPResponse {
        guard request.method == "GET" || request.method == "HEAD" else {
            return HTTPResponse(status: 405, body: Array("only GET and HEAD\n".utf8), fields: [("Allow", "GET, HEAD")])
        }
        if let hosts, !hosts.allows(request.host) {
            return HTTPResponse(
                status: 403, body: Array("this is not called so: add the name to monitoring.allowed_hosts\n".utf8))
        }
        if let tokenFile {
            let token: [UInt8]
            do {
                token = try tokenFile.read()
            } catch {
                // Which file it is and why is for who reads the log and runs `check`.
                return open[request.path]?()
                    ?? HTTPResponse(status: 503, body: Array("the token cannot be read: run check\n".utf8))
            }
            guard let presented = presented(request), TokenFile.areEqual(presented, token) else {
                return open[request.path]?()
                    ?? HTTPResponse(
                        status: 401, body: Array("a token is needed\n".utf8),
                        fields: [
                            ("WWW-Authenticate", "Bearer realm=\"vigie\""),
                            ("WWW-Authenticate", "Basic realm=\"vigie\", charset=\"UTF-8\""),
                        ])
            }
        }
        return handlers[request.path]?() ?? HTTPResponse(status: 404, body: Array("not found\n".utf8))
    }

    /// The token that a request shows: a program's by Bearer (RFC 6750), a person's as the password in a browser.
    private func presented(_ request: Request) -> [UInt8]? {
        guard let field = request.authorization, let space = field.firstIndex(of: " ") else { return nil }
        switch field[..<space].lowercased() {
        case "bearer": return Array(field[space...].drop { $0 == " " }.utf8)
        case "basic": return request.password()
        default: return nil
        }
    }
}

/// libmicrohttpd's daemon: the owner of its handle and of what its callback reads.
final class Daemon: Sendable {
    /// The handle as a number, because a Mutex gives out no pointer; nil after the stop.
    private let handle: Mutex<UInt?>
    /// Kept alive here: libmicrohttpd holds an unmanaged reference to it.
    private let routes: HTTPRoutes

    /// Starts the daemon's thread, which owns `descriptor` from then on. Nil if it does not start.
    init?(listeningOn descriptor: Int32, routes: HTTPRoutes) {
        let callback: MHD_AccessHandlerCallback = { context, connection, path, method, _, _, _, _ in
            guard let context, let connection, let path, let method else { return .NO }
            let routes = Unmanaged<HTTPRoutes>.fromOpaque(context).takeUnretainedValue()
            let request = HTTPRoutes.Request(
                method: String(cString: method), path: String(cString: path), host: field("Host", of: connection),
                authorization: field("Authorization", of: connection), password: { password(of: connection) })
            return send(routes.answer(request), on: connection)
        }
        guard let daemon = vigie_http_start(descriptor, callback, Unmanaged.passUnretained(routes).toOpaque()) else {
            return nil
        }
        self.routes = routes
        handle = Mutex(UInt(bitPattern: daemon))
    }

    deinit {
        stop()
    }

    /// Closes every connection and joins the thread.
    /// - Returns: whether this call did so, and not an earlier one.
    @discardableResult
    func stop() -> Bool {
        let taken = handle.withLock { handle -> UInt? in
            defer { handle = nil }
            return handle
        }
        guard let taken, let daemon = OpaquePointer(bitPattern: taken) else { return false }
        MHD_stop_daemon(daemon)
        return true
    }
}

/// The first field of a name.
private func field(_ name: String, of connection: OpaquePointer) -> String? {
    vigie_http_field(connection, name).map { String(cString: $0) }
}

private func password(of connection: OpaquePointer) -> [UInt8]? {
    var buffer = [CChar](repeating: 0, count: 1100)
    let length = vigie_http_password(connection, &buffer, buffer.count)
    return length < 0 ? nil : buffer[..<Int(length)].map { UInt8(bitPattern: $0) }
}

// For HEAD libmicrohttpd sends the same fields without the content.
private func send(_ answer: HTTPResponse, on connection: OpaquePointer) -> MHD_Result {
    let response = answer.body.withUnsafeBytes { vigie_http_response($0.baseAddress, $0.count) }
    guard let response else { return .NO }
    defer { MHD_destroy_response(response) }
    MHD_add_response_header(response, "Content-Type", answer.contentType)
    MHD_add_response_header(response, "Cache-Control", "no-store")
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff")
    for field in answer.fields { MHD_add_response_header(response, field.name, field.value) }
    return MHD_queue_response(connection, UInt32(answer.status), response)
}
