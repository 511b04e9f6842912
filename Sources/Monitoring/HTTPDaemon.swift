import CMicrohttpd
import Glibc
import Synchronization

/// libmicrohttpd's daemon: the owner of its handle and of what its callback reads.
final class Daemon: Sendable {
    /// What the callback reads, kept alive by the daemon that holds an unmanaged reference to it.
    private final class Routes: Sendable {
        let handlers: [String: HTTPEndpoint.Handler]
        init(_ handlers: [String: HTTPEndpoint.Handler]) { self.handlers = handlers }
    }

    /// The handle as a number, because a Mutex gives out no pointer; nil after the stop.
    private let handle: Mutex<UInt?>
    private let routes: Routes

    /// Starts the daemon's thread, which owns `descriptor` from then on. Nil if it does not start.
    init?(listeningOn descriptor: Int32, routes handlers: [String: HTTPEndpoint.Handler]) {
        let routes = Routes(handlers)
        let callback: MHD_AccessHandlerCallback = { context, connection, path, method, _, _, _, _ in
            guard let context, let connection, let path, let method else { return .NO }
            let routes = Unmanaged<Routes>.fromOpaque(context).takeUnretainedValue()
            return answer(connection, String(cString: method), routes.handlers[String(cString: path)])
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
    func stop() {
        let taken = handle.withLock { handle -> UInt? in
            defer { handle = nil }
            return handle
        }
        guard let taken, let daemon = OpaquePointer(bitPattern: taken) else { return }
        MHD_stop_daemon(daemon)
    }
}

private func answer(_ connection: OpaquePointer, _ method: String, _ handler: HTTPEndpoint.Handler?) -> MHD_Result {
    guard method == "GET" || method == "HEAD" else {
        return send(HTTPResponse(status: 405, body: Array("only GET and HEAD\n".utf8)), on: connection)
    }
    // For HEAD libmicrohttpd sends the same fields without the content.
    return send(handler?() ?? HTTPResponse(status: 404, body: Array("not found\n".utf8)), on: connection)
}

private func send(_ answer: HTTPResponse, on connection: OpaquePointer) -> MHD_Result {
    let response = answer.body.withUnsafeBytes { vigie_http_response($0.baseAddress, $0.count) }
    guard let response else { return .NO }
    defer { MHD_destroy_response(response) }
    MHD_add_response_header(response, "Content-Type", answer.contentType)
    MHD_add_response_header(response, "Cache-Control", "no-store")
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff")
    for field in answer.fields { MHD_add_response_header(response, field.name, field.value) }
    if answer.status == 405 { MHD_add_response_header(response, "Allow", "GET, HEAD") }
    return MHD_queue_response(connection, UInt32(answer.status), response)
}
