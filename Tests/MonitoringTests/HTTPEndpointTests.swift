import Configuration
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
        guard case .cannotListen(_, let cause) = refusal(address: "192.0.2.1", port: 0, isUnprotected: true) else {
            Issue.record("an address of another machine was not refused")
            return
        }
        #expect(cause.code == EADDRNOTAVAIL)
    }

    /// Why no endpoint opens here; nil if one does.
    private func refusal(
        address: String = "127.0.0.1", port: UInt16, isUnprotected: Bool = false
    ) -> HTTPEndpointError? {
        refusal(
            HTTPEndpointSettings(address: .network(host: address, port: port), isUnprotected: isUnprotected))
    }

    private func refusal(_ settings: HTTPEndpointSettings) -> HTTPEndpointError? {
        do throws(HTTPEndpointError) {
            _ = try HTTPEndpoint(settings, metrics: metrics, health: health)
            return nil
        } catch {
            return error
        }
    }

    // MARK: Who gets an answer

    @Test func whatOtherMachinesReachIsProtectedOrMeantToBeOpen() throws {
        for host in ["0.0.0.0", "::", "192.0.2.1", "::ffff:127.0.0.1"] {
            let refused = refusal(address: host, port: 0)
            #expect(refused == .exposed(.network(host: host, port: 0)), "\(host)")
            #expect(refused?.description.contains("set token_file") == true)
        }
        let token = try TokenScene()
        for settings in [
            HTTPEndpointSettings(address: .network(host: "0.0.0.0", port: 0), isUnprotected: true),
            HTTPEndpointSettings(address: .network(host: "0.0.0.0", port: 0), tokenFile: token.file),
            HTTPEndpointSettings(address: .network(host: "127.0.0.2", port: 0)),
        ] {
            #expect(refusal(settings) == nil, "\(settings)")
        }
    }

    @Test func onLoopbackNoNameButItsOwnIsAnswered() throws {
        let endpoint = try HTTPEndpoint(
            HTTPEndpointSettings(address: .network(host: "127.0.0.1", port: 0), allowedHosts: ["vigie.example"]),
            metrics: metrics, health: health)
        func status(_ host: String?) throws -> Int {
            try request("GET /metrics HTTP/1.\(host == nil ? 0 : 1)", endpoint.port, host: host).status
        }
        let port = endpoint.port
        for host in [
            "localhost", "LOCALHOST.", "localhost:\(port)", "127.0.0.1", "127.0.0.1:\(port)", "[::1]:\(port)",
            "localhost:8080", "vigie.example", "Vigie.Example:443", nil,
        ] {
            #expect(try status(host) == 200, "\(host ?? "no Host field")")
        }
        for host in [
            "attacker.example", "attacker.example:\(port)", "127.0.0.1.attacker.example", "localhost.attacker.example",
            "192.0.2.7", "[2001:db8::1]", "vigie.example.attacker.example", "127.0.0.1:80:80", "[::1", "x@localhost",
            HostRule.machineName,
        ] where host != "localhost" {
            #expect(try status(host) == 403, "\(host)")
        }
    }

    /// An address cannot be turned about by a name server, so any is the endpoint's.
    @Test func beyondLoopbackItsNameAndAddressesAreAnswered() throws {
        let settings = HTTPEndpointSettings(
            address: .network(host: "0.0.0.0", port: 9464), allowedHosts: ["proxy"], isUnprotected: true)
        let rule = HostRule(settings, machine: "Board-7")
        for host in ["192.0.2.7:9464", "[2001:db8::1]:9464", "board-7:9464", "proxy", "localhost", "10.0.0.1"] {
            #expect(rule.allows(host), "\(host)")
        }
        for host in ["board-8", "board-7.attacker.example", "", ":9464", "10.0.0.1.example"] {
            #expect(!rule.allows(host), "\(host)")
        }
    }

    @Test func withATokenOnlyWhoShowsItLearnsMoreThanWhetherAllIsWell() throws {
        let token = try TokenScene()
        health.report("kafka", .degraded("no broker at kafka-1.internal"))
        let endpoint = try HTTPEndpoint(
            HTTPEndpointSettings(address: .network(host: "127.0.0.1", port: 0), tokenFile: token.file),
            metrics: metrics, health: health, routes: ["/status": { HTTPResponse(body: Array("all".utf8)) }])
        func ask(_ path: String, _ authorization: String?) throws -> Answer {
            try request("GET \(path) HTTP/1.1", endpoint.port, authorization: authorization)
        }
        let basic = "Basic " + base64("anybody:\(token.text)")
        for authorization in ["Bearer \(token.text)", "bearer  \(token.text)", basic] {
            #expect(try ask("/status", authorization).body == "all", "\(authorization)")
            #expect(try ask("/readyz", authorization).body.contains("kafka-1.internal"))
        }
        for authorization in [
            nil, "Bearer", "Bearer ", "Bearer \(token.text.dropLast())", "Bearer \(token.text)x", token.text,
            "Bearer \(token.text.uppercased())", "Digest \(token.text)", "Basic \(token.text)",
            "Basic " + base64("anybody:"), "Basic " + base64(token.text),
        ] {
            for path in ["/status", "/metrics", "/", "/nowhere"] {
                let answer = try ask(path, authorization)
                #expect(answer.status == 401 && !answer.body.contains("all"), "\(path) \(authorization ?? "")")
                #expect(answer.head.contains("WWW-Authenticate: Bearer realm=\"vigie\"\r\n"))
            }
            #expect(try ask("/healthz", authorization).body == "ok\n")
            #expect(try ask("/readyz", authorization).body == "ok\n")
        }
        health.report("bus", .failed("no such device"))
        let ill = try ask("/healthz", nil)
        #expect(ill.status == 503 && ill.body == "unavailable\n")
    }

    @Test func aTokenThatChangesCountsAtOnceAndOneThatIsLostLetsNobodyIn() throws {
        let token = try TokenScene()
        let endpoint = try HTTPEndpoint(
            HTTPEndpointSettings(address: .network(host: "127.0.0.1", port: 0), tokenFile: token.file),
            metrics: metrics, health: health)
        func status(_ token: String) throws -> Int {
            try request("GET /metrics HTTP/1.1", endpoint.port, authorization: "Bearer \(token)").status
        }
        #expect(try status(token.text) == 200)
        try token.write("another-token-of-the-endpoint")
        #expect(try status(token.text) == 401)
        #expect(try status("another-token-of-the-endpoint") == 200)
        try token.setMode(0o644)
        #expect(try status("another-token-of-the-endpoint") == 503)
        try token.setMode(0o640)
        #expect(try status("another-token-of-the-endpoint") == 200)
        try token.remove()
        #expect(try status("another-token-of-the-endpoint") == 503)
        #expect(try status("") == 503)
        #expect(try request("GET /healthz HTTP/1.1", endpoint.port).status == 200)
    }

    @Test func aTokenThatIsNoneIsRefusedWithWhatToDo() throws {
        let token = try TokenScene()
        func problem() -> String? {
            let settings = HTTPEndpointSettings(
                address: .network(host: "0.0.0.0", port: 0), tokenFile: token.file)
            return refusal(settings)?.description
        }
        for text in ["", "short", "with a space in it, and long", String(repeating: "x", count: 1025)] {
            try token.write(text)
            #expect(problem()?.contains("openssl rand -hex 32 > \(token.file)") == true, "\(text)")
            #expect(text.isEmpty || problem()?.contains(text) == false)
        }
        try token.write(token.text)
        for mode: mode_t in [0o604, 0o620, 0o644, 0o666, 0o602] {
            try token.setMode(mode)
            #expect(problem()?.contains("mode is 0\(String(mode, radix: 8)): chmod 0640") == true)
        }
        try token.setMode(0o600)
        #expect(problem() == nil)
        try token.remove()
        #expect(problem()?.contains("cannot be read: No such file or directory; make one") == true)
    }

    @Test func equalTokensAreEqualAndNoOthers() {
        let token = Array("0123456789abcdef".utf8)
        #expect(TokenFile.areEqual(token, token))
        for other in [[], Array(token.dropLast()), token + [0], token + token, Array(token.reversed())] {
            #expect(!TokenFile.areEqual(other, token))
        }
        #expect(!TokenFile.areEqual([], []))
    }

    // MARK: A Unix socket

    @Test func aSocketServesItsOwnerAndGroup() throws {
        let scene = try TokenScene()
        let path = scene.folder + "/vigie.sock"
        let settings = HTTPEndpointSettings(address: .socket(path: path))
        let endpoint = try HTTPEndpoint(settings, metrics: metrics, health: health)
        #expect(endpoint.url == "unix:\(path)" && endpoint.port == 0)
        var status = stat()
        #expect(lstat(path, &status) == 0 && status.st_mode & 0o7777 == 0o660)
        // Whatever name it is asked by: no browser comes by a socket.
        #expect(try request("GET /healthz HTTP/1.1", to: path, host: "any.example").status == 200)
        #expect(refusal(settings) == .socketInUse(path: path))
        endpoint.stop()
        #expect(lstat(path, &status) != 0)
    }

    @Test func aSocketThatACrashLeftIsReplacedAndAnythingElseIsNot() throws {
        let scene = try TokenScene()
        let path = scene.folder + "/vigie.sock"
        let left = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        try #require(onSocketAddress(path) { bind(left, $0, $1) } == 0)
        close(left)
        let endpoint = try HTTPEndpoint(
            HTTPEndpointSettings(address: .socket(path: path)), metrics: metrics, health: health)
        #expect(try request("GET /healthz HTTP/1.1", to: path).status == 200)
        // Another program's file in the same place stays when this one stops.
        try #require(unlink(path) == 0)
        try scene.write("not a socket", to: path)
        endpoint.stop()
        var status = stat()
        #expect(lstat(path, &status) == 0)
        #expect(refusal(HTTPEndpointSettings(address: .socket(path: path))) != nil)
        #expect(lstat(path, &status) == 0, "a file that is no socket was removed")
        let nowhere = refusal(HTTPEndpointSettings(address: .socket(path: scene.folder + "/none/vigie.sock")))
        #expect(nowhere?.description.contains("No such file or directory; its folder must be there") == true)
    }

    // MARK: The configuration

    private func problems(_ text: String) -> [String] {
        do throws(ConfigurationError) {
            let document = try ConfigurationDocument(text: text, name: "x.yaml")
            _ = try document.decode { $0.optionalSection("monitoring")?.httpEndpoint(checkingFiles: true) }
            return []
        } catch {
            return error.problems.map { "\($0.line):\($0.column) \($0.path.joined(separator: " ")): \($0.message)" }
        }
    }

    @Test func theConfigurationSaysWhereWhatIsWrong() throws {
        let token = try TokenScene()
        for good in [
            "{}", "{listen: \"127.0.0.1:1\"}", "{listen: \"localhost:1\"}", "{listen: \"[::1]:1\"}",
            "{listen: \"0.0.0.0:1\", token_file: \(token.file), allowed_hosts: [board-7.example, proxy]}",
            "{listen: \"0.0.0.0:1\", unprotected: true}", "{listen: \"unix:/run/vigie/x.sock\"}",
            "{listen: \"unix:/run/x\", token_file: \(token.file)}",
        ] {
            #expect(problems("monitoring: \(good)") == [], "\(good)")
        }
        let wrong: [(String, String)] = [
            ("{listen: \"0.0.0.0:1\"}", "1:14 monitoring listen: other machines reach 0.0.0.0:1: set token_file"),
            ("{listen: \"[::]:1\"}", "1:14 monitoring listen: other machines reach [::]:1: set token_file"),
            ("{listen: \"board-7:1\"}", "1:22 monitoring listen: expected an IP address and a port"),
            ("{listen: \"127.0.0.1\"}", "1:22 monitoring listen: expected an IP address and a port"),
            ("{listen: \"::1:1\"}", "1:22 monitoring listen: expected an IP address and a port"),
            ("{listen: \"unix:run/x\"}", "1:22 monitoring listen: expected an IP address and a port"),
            (
                "{listen: \"unix:/\(String(repeating: "x", count: 107))\"}",
                "1:22 monitoring listen: expected an IP address and a port"
            ),
            ("{allowed_hosts: [\"http://x\"]}", "1:30 monitoring allowed_hosts[1]: expected a host's name"),
            ("{allowed_hosts: [\"x:80\"]}", "1:30 monitoring allowed_hosts[1]: expected a host's name"),
            (
                "{token_file: \(token.file)x}",
                "1:14 monitoring token_file: the token in \(token.file)x cannot be read: No such file"
            ),
            (
                "{unprotected: true, token_file: \(token.file)}",
                "1:14 monitoring unprotected: token_file and unprotected exclude each other"
            ),
        ]
        for (text, expected) in wrong {
            let found = problems("monitoring: \(text)")
            #expect(found.count == 1 && found[0].hasPrefix(expected), "\(text): \(found)")
        }
    }

    // MARK: To ask

    /// A folder with a file that holds a token.
    private final class TokenScene {
        let folder: String
        let file: String
        let text = "0123456789-abcdefghijklmnopqrstuvwxyz_ABCDEF"

        init() throws {
            var template = Array("/tmp/vigie-http-XXXXXX".utf8CString)
            try #require(mkdtemp(&template) != nil)
            folder = String(decoding: template.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            file = folder + "/token"
            try write(text)
        }

        deinit {
            for name in ["token", "vigie.sock"] { unlink("\(folder)/\(name)") }
            rmdir(folder)
        }

        /// Writes a file of mode 0600: the token's, or another one.
        func write(_ text: String, to path: String? = nil) throws {
            let descriptor = open(path ?? file, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
            try #require(descriptor >= 0)
            defer { close(descriptor) }
            let bytes = Array((text + "\n").utf8)
            try #require(Glibc.write(descriptor, bytes, bytes.count) == bytes.count)
        }

        func setMode(_ mode: mode_t) throws { try #require(chmod(file, mode) == 0) }

        func remove() throws { try #require(unlink(file) == 0) }
    }

    /// RFC 4648, for short texts of ASCII.
    private func base64(_ text: String) -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
        let bytes = Array(text.utf8)
        var result = ""
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = Array(bytes[start..<min(start + 3, bytes.count)])
            let bits = (0..<3).reduce(0) { $0 << 8 | ($1 < group.count ? Int(group[$1]) : 0) }
            for index in 0..<4 {
                result += index <= group.count ? String(alphabet[bits >> (18 - 6 * index) & 63]) : "="
            }
        }
        return result
    }

    private struct Answer {
        var status: Int
        var head: String
        var body: String
    }

    /// One request on one connection.
    private func request(
        _ line: String, _ port: UInt16 = 0, to socket: String? = nil, host: String? = "localhost",
        authorization: String? = nil
    ) throws -> Answer {
        var lines = [line, "Connection: close"]
        if let host { lines.append("Host: \(host)") }
        if let authorization { lines.append("Authorization: \(authorization)") }
        let text = try exchange(lines.joined(separator: "\r\n") + "\r\n\r\n", port, socket)
        let end = try #require(text.firstRange(of: "\r\n\r\n"))
        let head = text[..<end.lowerBound] + "\r\n"
        let status = try #require(Int(head.split(separator: " ")[1]))
        return Answer(status: status, head: String(head), body: String(text[end.upperBound...]))
    }

    /// Sends `text` and reads until the server closes.
    private func exchange(_ text: String, _ port: UInt16, _ path: String? = nil) throws -> String {
        let descriptor = socket(path == nil ? AF_INET : AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        try #require(descriptor >= 0)
        defer { close(descriptor) }
        var timeout = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        let connected =
            if let path {
                onSocketAddress(path) { connect(descriptor, $0, $1) }
            } else {
                withUnsafePointer(to: &address) {
                    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                    }
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

/// Calls with the address of a Unix socket.
private func onSocketAddress(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    return withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
    }
}
