import Foundation
import HTTPClient
import Monitoring
import Platform
import TestSupport
import Testing

@Suite
actor HTTPClientTests {
    /// The tests wait in calls that block: on a thread of their own they do not hold one of the pool's.
    private let thread = ThreadExecutor(name: "test")
    nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

    private func address(_ port: UInt16, _ path: String = "/") throws -> HTTPAddress {
        try #require(HTTPAddress("http://127.0.0.1:\(port)\(path)"))
    }

    /// Why a request fails; nil if it does not.
    private func failure(_ body: () throws(HTTPClientError) -> HTTPClient.Answer) -> HTTPClientError? {
        do throws(HTTPClientError) {
            _ = try body()
            return nil
        } catch {
            return error
        }
    }

    @Test func aPageOfTheProgramsOwnEndpointIsRead() throws {
        let metrics = MetricsRegistry()
        metrics.counter("a_total", "A.").increment(by: 7)
        let endpoint = try HTTPEndpoint(port: 0, metrics: metrics, health: Health())
        let client = try HTTPClient()
        let answer = try client.get(address(endpoint.port, "/metrics"))
        #expect(answer.isSuccess && String(decoding: answer.body, as: UTF8.self).contains("a_total 7\n"))
        let refused = try client.post(address(endpoint.port, "/metrics"), body: [])
        #expect(refused.status == 405 && !refused.isSuccess)
    }

    @Test func aPostArrivesAsItWasSent() throws {
        let server = try TestServer { .answer(201, body: $0.body) }
        defer { server.stop() }
        let client = try HTTPClient()
        for content in ["{\"a\":\"é\"}", "", String(repeating: "x", count: 300_000)] {
            let answer = try client.post(
                address(server.port, "/hook?a=1"),
                headers: [.init("Content-Type", "application/json"), .init("Authorization", "Bearer s")],
                body: Array(content.utf8))
            #expect(answer.status == 201 && answer.body == Array(content.utf8))
            let request = try #require(server.requests.last)
            #expect(request.method == "POST" && request.path == "/hook?a=1" && request.body == content)
            #expect(request.headers["content-type"] == "application/json")
            #expect(request.headers["authorization"] == "Bearer s" && request.headers["expect"] == nil)
        }
        // What one request set is not in the next.
        _ = try client.get(address(server.port))
        #expect(server.requests.last?.method == "GET" && server.requests.last?.headers["authorization"] == nil)
    }

    @Test func aServerThatIsSilentTimesOut() throws {
        let server = try TestServer { _ in .silence }
        defer { server.stop() }
        let client = try HTTPClient(limits: .init(total: .milliseconds(100)))
        let place = try address(server.port)
        guard case .timedOut(place, _) = failure({ () throws(HTTPClientError) in try client.get(place) }) else {
            Issue.record("no time-out")
            return
        }
    }

    @Test func aServerThatIsGoneIsUnreachable() throws {
        let server = try TestServer { _ in .hangUp }
        let place = try address(server.port)
        let client = try HTTPClient()
        guard case .failed(place, _, _) = failure({ () throws(HTTPClientError) in try client.get(place) }) else {
            Issue.record("an empty answer was taken for one")
            return
        }
        server.stop()
        // Bound and not listening: refuses, and nobody else can take the port.
        let held = try HeldPort()
        let closed = try address(held.port)
        guard case .unreachable(closed, _) = failure({ () throws(HTTPClientError) in try client.get(closed) }) else {
            Issue.record("a closed port was reached")
            return
        }
    }

    @Test func anAnswerIsBounded() throws {
        let server = try TestServer { .answer(200, body: String(repeating: "x", count: Int($0.path.dropFirst()) ?? 0)) }
        defer { server.stop() }
        let client = try HTTPClient(limits: .init(answerSize: 1000))
        #expect(try client.get(address(server.port, "/1000")).body.count == 1000)
        let large = try address(server.port, "/1001")
        #expect(
            failure { () throws(HTTPClientError) in try client.get(large) }
                == .answerTooLarge(large, limit: 1000))
        #expect(try client.get(address(server.port, "/10")).body.count == 10, "the next request is not harmed")
    }

    @Test func aRedirectionIsNotFollowed() throws {
        let server = try TestServer { _ in .answer(302, headers: ["Location: file:///etc/passwd"]) }
        defer { server.stop() }
        #expect(try HTTPClient().get(address(server.port)).status == 302)
        #expect(server.requests.count == 1)
    }

    @Test(arguments: [
        "", "example.org/x", "ftp://example.org/", "file:///etc/passwd", "http://", "http://a b/", "https://h/\r\nX: y",
        "gopher://h/", "http://h:99999/",
    ])
    func anAddressMustBeHTTPAndComplete(_ text: String) {
        #expect(HTTPAddress(text) == nil)
    }

    @Test func anAddressShowsNoSecret() throws {
        let address = try #require(HTTPAddress("https://user:secret@example.org/services/secret?token=secret"))
        #expect("\(address)" == "https://example.org:443")
        #expect(!HTTPClientError.unreachable(address, reason: "x").description.contains("secret"))
    }

    @Test(arguments: [("X-A", "b\r\nX-C: d"), ("X A", "b"), ("", "b"), ("X-A:", "b"), ("X-A", "")])
    func aHeaderCannotSmuggleAnother(name: String, value: String) throws {
        let client = try HTTPClient()
        let place = try address(1)
        #expect(
            failure { () throws(HTTPClientError) in try client.get(place, headers: [.init(name, value)]) }
                == .invalidHeader(name))
    }

    @Test func aCertificateMustBeTrusted() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("vigie-tls-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let server = try SecureServer(in: folder)
        defer { server.stop() }
        let byName = try #require(HTTPAddress("https://localhost:\(server.port)/"))
        let byNumber = try #require(HTTPAddress("https://127.0.0.1:\(server.port)/"))

        let strangers = try HTTPClient()
        guard case .insecure(byName, _) = failure({ () throws(HTTPClientError) in try strangers.get(byName) }) else {
            Issue.record("a certificate that nobody vouches for was taken")
            return
        }
        let friends = try HTTPClient(authorities: server.certificate)
        #expect(try friends.get(byName).status == 200)
        guard case .insecure(byNumber, _) = failure({ () throws(HTTPClientError) in try friends.get(byNumber) }) else {
            Issue.record("a certificate for another name was taken")
            return
        }
    }
}

/// A port that is taken and refuses connections.
private final class HeldPort {
    let port: UInt16
    private let descriptor: Int32

    init() throws {
        let descriptor = socket(AF_INET, 1, 0)
        self.descriptor = descriptor
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let status = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) + getsockname(descriptor, $0, &length)
            }
        }
        port = UInt16(bigEndian: address.sin_port)
        try #require(status == 0)
    }

    deinit { close(descriptor) }
}

/// Python's HTTPS server, with a certificate for localhost that signed itself.
private final class SecureServer: Sendable {
    let port: UInt16
    let certificate: String
    private let process = Process()

    private static let script = """
        import http.server, ssl, sys
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[1], sys.argv[2])
        server.socket = context.wrap_socket(server.socket, server_side=True)
        print(server.server_port, flush=True)
        server.serve_forever()
        """

    init(in folder: URL) throws {
        let key = folder.appendingPathComponent("key.pem").path
        certificate = folder.appendingPathComponent("certificate.pem").path
        let maker = try SecureServer.start(
            Process(), "/usr/bin/openssl",
            [
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out",
                certificate,
            ])
        _ = maker.readDataToEndOfFile()
        let output = try SecureServer.start(
            process, "/usr/bin/python3", ["-c", SecureServer.script, certificate, key])
        let line = String(decoding: output.availableData, as: UTF8.self)
        port = try #require(UInt16(line.prefix(while: \.isNumber)), "the server did not start: \(line)")
    }

    func stop() {
        // Foundation's threads block the other signals, and so do their children.
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
    }

    private static func start(_ process: Process, _ program: String, _ arguments: [String]) throws -> FileHandle {
        let pipe = Pipe()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        process.standardOutput = pipe
        process.standardError = FileHandle.nullDevice
        process.standardInput = FileHandle.nullDevice
        try ChildStarts.allowed { try process.run() }
        return pipe.fileHandleForReading
    }
}
