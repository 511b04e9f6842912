import Foundation
import Platform
import TestSupport
import Testing

@testable import NetworkProbe

/// The probes block: on a thread of their own they hold none of the pool's.
@Suite(.timeLimit(.minutes(5))) actor NetworkProbeTests {
    private let thread = ThreadExecutor(name: "test")
    nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

    @Test func namesAreLookedUp() throws {
        #expect(try NetworkProbe.resolve("127.0.0.1", port: 9092).texts == ["127.0.0.1"])
        #expect(try NetworkProbe.resolve("::1", port: 9092).texts == ["::1"])
        // A label of more than 63 letters is no name, whatever the name server says (RFC 1035, 2.3.4).
        #expect(throws: NetworkProbe.Failure.self) {
            try NetworkProbe.resolve(String(repeating: "x", count: 70) + ".example", port: 9092)
        }
    }

    /// A port of loopback on which nobody listens: one that was free just now.
    private func freePort() throws -> UInt16 {
        let server = try Server("nothing", arguments: [])
        return server.port
    }

    @Test func aPortWithoutAServerRefuses() throws {
        let addresses = try NetworkProbe.resolve("127.0.0.1", port: try freePort())
        #expect(throws: NetworkProbe.Failure("Connection refused")) {
            try NetworkProbe.connect(addresses, bound: .seconds(60))
        }
        #expect(throws: Never.self) { try NetworkProbe.tryListening(addresses) }
        // An address of documentation (RFC 5737) is no machine's own.
        let foreign = try NetworkProbe.resolve("192.0.2.1", port: 9464)
        #expect(throws: NetworkProbe.Failure("Cannot assign requested address")) {
            try NetworkProbe.tryListening(foreign)
        }
    }

    @Test func aCertificateIsRead() throws {
        let folder = try Certificates()
        let certificate = try NetworkProbe.certificate(in: folder.path("server.pem"))
        #expect(certificate.subject == "/CN=broker" && certificate.issuer == "/CN=authority")
        let length = certificate.validity.upperBound - certificate.validity.lowerBound
        #expect(length == 20 * 86_400)
        for (file, reason) in [("none.pem", "No such file or directory"), ("server.key", "no start line")] {
            do throws(NetworkProbe.Failure) {
                _ = try NetworkProbe.certificate(in: folder.path(file))
                Issue.record("\(file) was read")
            } catch {
                #expect(error.description.contains(reason), "\(file)")
            }
        }
    }

    private func handshake(
        _ server: Server, host: String, authorities: String?, certificate: String? = nil, key: String? = nil,
        question: [UInt8] = []
    ) throws -> NetworkProbe.Handshake {
        let connection = try NetworkProbe.connect(
            NetworkProbe.resolve("127.0.0.1", port: server.port), bound: .seconds(60))
        return NetworkProbe.handshake(
            on: connection, host: host, authorities: authorities, certificate: certificate, key: key,
            question: question)
    }

    @Test func aHandshakeShowsAndJudgesTheCertificate() throws {
        let folder = try Certificates()
        let server = try Server(
            "openssl",
            arguments: [
                "s_server", "-accept", "127.0.0.1:0", "-cert", folder.path("server.pem"), "-key",
                folder.path("server.key"),
            ])
        let good = try handshake(server, host: "broker", authorities: folder.path("authority.pem"))
        #expect(good.problem == nil && good.version == "TLSv1.3" && good.certificate?.subject == "/CN=broker")
        #expect(good.isAttempted && !good.wantsCertificate && good.verification == 0 && good.refusal == nil)
        let other = try handshake(server, host: "another", authorities: folder.path("authority.pem"))
        #expect(other.problem?.lowercased() == "hostname mismatch" && other.certificate != nil)
        let number = try handshake(server, host: "127.0.0.1", authorities: folder.path("authority.pem"))
        #expect(number.problem?.lowercased() == "ip address mismatch")
        let unknown = try handshake(server, host: "broker", authorities: folder.path("other.pem"))
        #expect(unknown.problem?.contains("unable to get local issuer certificate") == true)
        #expect(unknown.version != nil, "it is judged, and not insisted on")
        // X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY.
        #expect(other.verification == 62 && unknown.verification == 20)
        let missing = try handshake(server, host: "broker", authorities: folder.path("none.pem"))
        #expect(missing.version == nil && missing.problem != nil && !missing.isAttempted)
    }

    /// In TLS 1.3 the server judges the client after the handshake, in TLS 1.2 within it.
    @Test(arguments: ["-tls1_3", "-tls1_2"]) func aServerThatWantsACertificateIsRecognised(version: String) throws {
        let folder = try Certificates()
        let server = try Server(
            "openssl",
            arguments: [
                "s_server", "-accept", "127.0.0.1:0", "-cert", folder.path("server.pem"), "-key",
                folder.path("server.key"), "-Verify", "1", "-verify_return_error", "-CAfile",
                folder.path("authority.pem"), version, "-rev",
            ])
        let question = Array("who is there\n".utf8)
        let authority = folder.path("authority.pem")
        let without = try handshake(server, host: "broker", authorities: authority, question: question)
        #expect(without.wantsCertificate && without.isAttempted)
        #expect(without.version == nil || without.refusal != nil, "\(without)")
        // handshake_failure before TLS 1.3, certificate_required from it on.
        #expect(without.alert == (version == "-tls1_3" ? 116 : 40), "\(without)")
        let with = try handshake(
            server, host: "broker", authorities: authority, certificate: folder.path("server.pem"),
            key: folder.path("server.key"), question: question)
        #expect(with.wantsCertificate && with.problem == nil && with.refusal == nil && with.alert == nil, "\(with)")
    }

    @Test func whoDoesNotSpeakTLSIsToldApart() throws {
        let folder = try Certificates()
        // It reads what comes and says nothing, and goes at the first byte.
        let server = try Server("python", arguments: ["closes"])
        let result = try handshake(server, host: "broker", authorities: folder.path("authority.pem"))
        #expect(result.version == nil && result.certificate == nil && result.problem != nil)
    }

    @Test func aPathIsAskedFor() throws {
        let server = try Server("python", arguments: ["answers"])
        let connection = try NetworkProbe.connect(
            NetworkProbe.resolve("127.0.0.1", port: server.port), bound: .seconds(60))
        let answer = try NetworkProbe.get("/healthz", on: connection)
        #expect(answer.status == 503 && answer.body == "part one\r\n\r\npart two\n")
        let rude = try NetworkProbe.connect(
            NetworkProbe.resolve("127.0.0.1", port: server.port), bound: .seconds(60))
        #expect(throws: NetworkProbe.Failure("it does not speak HTTP")) { try NetworkProbe.get("/rude", on: rude) }
    }
}

/// A folder with an authority, a server's certificate and its key.
private final class Certificates {
    private let folder: URL

    init() throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("vigie-certificates-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        func key(_ name: String, _ arguments: [String]) throws {
            try openssl(
                [
                    "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "20",
                    "-keyout", path("\(name).key"), "-out", path("\(name).pem"),
                ] + arguments)
        }
        try key("authority", ["-subj", "/CN=authority"])
        try key("other", ["-subj", "/CN=other"])
        try key(
            "server",
            [
                "-subj", "/CN=broker", "-addext", "subjectAltName=DNS:broker", "-addext", "basicConstraints=CA:FALSE",
                "-CA", path("authority.pem"), "-CAkey", path("authority.key"),
            ])
    }

    deinit {
        try? FileManager.default.removeItem(at: folder)
    }

    func path(_ name: String) -> String { folder.appendingPathComponent(name).path }

    private func openssl(_ arguments: [String]) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
        process.arguments = arguments
        process.standardError = FileHandle.nullDevice
        try ChildStarts.allowed { try process.run() }
        process.waitUntilExit()
        try #require(process.terminationStatus == 0)
    }
}

/// A child process that listens on a port of loopback.
private final class Server {
    let port: UInt16
    private let process: Process?

    private static let script = """
        import socket, sys
        server = socket.create_server(("127.0.0.1", 0))
        print("ACCEPT 127.0.0.1:%d" % server.getsockname()[1], flush=True)
        while True:
            client, _ = server.accept()
            request = client.recv(1000)
            if sys.argv[1] == "answers":
                client.sendall(
                    b"what?" if b"/rude" in request else
                    b"HTTP/1.0 503 Service Unavailable\\r\\nX: y\\r\\n\\r\\npart one\\r\\n\\r\\npart two\\n")
            client.close()
        """

    init(_ kind: String, arguments: [String]) throws {
        guard kind != "nothing" else {
            // Bound and let go again: the kernel does not hand it out soon.
            let socket = try #require(try? Server("python", arguments: ["closes"]))
            port = socket.port
            process = nil
            return
        }
        let process = Process()
        let output = Pipe()
        process.executableURL = URL(fileURLWithPath: kind == "openssl" ? "/usr/bin/openssl" : "/usr/bin/python3")
        process.arguments = kind == "openssl" ? arguments : ["-c", Server.script] + arguments
        process.standardOutput = output
        process.standardError = output
        // openssl's server ends with its input.
        process.standardInput = Pipe()
        try ChildStarts.allowed { try process.run() }
        self.process = process
        var text = ""
        var port: UInt16?
        while port == nil {
            let data = output.fileHandleForReading.availableData
            guard !data.isEmpty else { break }
            text += String(decoding: data, as: UTF8.self)
            port = text.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
                .first { $0.hasPrefix("ACCEPT ") }?.split(separator: ":").last.flatMap { UInt16($0) }
        }
        self.port = try #require(port, "\(text)")
    }

    deinit {
        // Swift's threads block SIGTERM, and a child inherits that.
        guard let process else { return }
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
    }
}
