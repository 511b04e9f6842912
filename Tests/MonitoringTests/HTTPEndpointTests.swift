import Glibc
import Testing

@testable import Monitoring

@Suite struct HTTPEndpointTests {
    private let metrics = MetricsRegistry()
    private let health = Health()

    @Test func metricsAreServedWithTheirContentType() throws {
        metrics.counter("a_total", "A.").increment()
        let endpoint = try HTTPEndpoint(port: 0, metrics: metrics, health: health)
        let answer = try request("GET /metrics HTTP/1.1", endpoint.port)
        #expect(answer.status == 200)
        #expect(answer.head.contains("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"))
        #expect(answer.body == "# HELP a_total A.\n# TYPE a_total counter\na_total 1\n")
    }

    @Test func headHasTheFieldsWithoutTheContent() throws {
        let endpoint = try HTTPEndpoint(port: 0, metrics: metrics, health: health)
        let answer = try request("HEAD /healthz HTTP/1.1", endpoint.port)
        #expect(answer.status == 200)
        #expect(answer.head.contains("Content-Length: 3\r\n"))
        #expect(answer.body.isEmpty)
    }

    @Test func healthAndReadinessFollowTheParts() throws {
        let endpoint = try HTTPEndpoint(port: 0, metrics: metrics, health: health)
        func status(_ path: String) throws -> Int { try request("GET \(path) HTTP/1.1", endpoint.port).status }
        health.report("kafka", .starting)
        #expect(try status("/healthz") == 200)
        #expect(try status("/readyz") == 503)
        health.report("kafka", .degraded("the disk is full"))
        #expect(try status("/healthz") == 200)
        #expect(try request("GET /readyz HTTP/1.1", endpoint.port).body == "ok\nkafka: degraded: the disk is full\n")
        health.report("bus", .failed("no such device"))
        #expect(try status("/healthz") == 503)
        #expect(try status("/readyz") == 503)
        health.report("bus", .healthy)
        #expect(try status("/readyz") == 200)
    }

    @Test func ownPathsAnswerWithWhatTheirClosureGives() throws {
        let endpoint = try HTTPEndpoint(
            port: 0, metrics: metrics, health: health,
            routes: ["/status": { HTTPResponse(status: 203, contentType: HTTPResponse.json, body: Array("{}".utf8)) }])
        let answer = try request("GET /status?verbose=1 HTTP/1.1", endpoint.port)
        #expect(answer.status == 203)
        #expect(answer.head.contains("Content-Type: application/json\r\n"))
        #expect(answer.body == "{}")
    }

    @Test(arguments: ["POST /metrics HTTP/1.1", "DELETE / HTTP/1.1", "PUT /healthz HTTP/1.1"])
    func otherMethodsAreRefused(_ line: String) throws {
        let endpoint = try HTTPEndpoint(port: 0, metrics: metrics, health: health)
        let answer = try request(line, endpoint.port)
        #expect(answer.status == 405)
        #expect(answer.head.contains("Allow: GET, HEAD\r\n"))
    }

    @Test func unknownPathsAreNotFound() throws {
        let endpoint = try HTTPEndpoint(port: 0, metrics: metrics, health: health)
        #expect(try request("GET /metrics/x HTTP/1.1", endpoint.port).status == 404)
    }

    @Test func whatIsNotHTTPDoesNotHarmTheNextRequest() throws {
        let endpoint = try HTTPEndpoint(port: 0, metrics: metrics, health: health)
        _ = try exchange("\u{1}\u{2} nonsense\r\n\r\n", endpoint.port)
        _ = try exchange("GET /" + String(repeating: "a", count: 100_000) + " HTTP/1.1\r\n\r\n", endpoint.port)
        #expect(try request("GET /healthz HTTP/1.1", endpoint.port).status == 200)
    }

    @Test func aPortInUseIsNamed() throws {
        let endpoint = try HTTPEndpoint(port: 0, metrics: metrics, health: health)
        let port = endpoint.port
        #expect(refusal(port: port) == .portInUse(address: "127.0.0.1", port: port))
        #expect(refusal(port: port)?.description.contains("port \(port) of 127.0.0.1 is in use") == true)
    }

    @Test func stopFreesThePort() throws {
        let first = try HTTPEndpoint(port: 0, metrics: metrics, health: health)
        _ = try request("GET /healthz HTTP/1.1", first.port)
        first.stop()
        first.stop()
        let second = try HTTPEndpoint(port: first.port, metrics: metrics, health: health)
        #expect(try request("GET /healthz HTTP/1.1", second.port).status == 200)
    }

    @Test func anAddressMustBeOne() {
        #expect(refusal(address: "localhost:80", port: 0) == .notAnAddress("localhost:80"))
        // An address of documentation (RFC 5737) is nobody's own.
        guard case .cannotListen(_, _, let cause) = refusal(address: "192.0.2.1", port: 0) else {
            Issue.record("an address of another machine was not refused")
            return
        }
        #expect(cause.code == EADDRNOTAVAIL)
    }

    /// Why no endpoint opens here; nil if one does.
    private func refusal(address: String = "127.0.0.1", port: UInt16) -> HTTPEndpointError? {
        do throws(HTTPEndpointError) {
            _ = try HTTPEndpoint(address: address, port: port, metrics: metrics, health: health)
            return nil
        } catch {
            return error
        }
    }

    private struct Answer {
        var status: Int
        var head: String
        var body: String
    }

    /// One request on one connection.
    private func request(_ line: String, _ port: UInt16) throws -> Answer {
        let text = try exchange(line + "\r\nHost: localhost\r\nConnection: close\r\n\r\n", port)
        let end = try #require(text.firstRange(of: "\r\n\r\n"))
        let head = text[..<end.lowerBound] + "\r\n"
        let status = try #require(Int(head.split(separator: " ")[1]))
        return Answer(status: status, head: String(head), body: String(text[end.upperBound...]))
    }

    /// Sends `text` and reads until the server closes.
    private func exchange(_ text: String, _ port: UInt16) throws -> String {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        try #require(descriptor >= 0)
        defer { close(descriptor) }
        var timeout = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        try #require(connected == 0)
        let bytes = Array(text.utf8)
        _ = send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
        var received: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = recv(descriptor, &chunk, chunk.count, 0)
            guard count > 0 else { break }
            received += chunk[..<count]
        }
        return String(decoding: received, as: UTF8.self)
    }
}
