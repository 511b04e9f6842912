import Foundation
import Outbox
import Testing

/// Both programs with a broker that is reached as one over a network is: by TLS, with certificates on both sides and a
/// password inside. The broker is the tests' own behind a TLS listener of the tests' own, as it speaks no TLS.
@Suite(Servers.areThere, .enabled(if: PrivateBroker.program != nil, "VIGIE_NOIDA names the tests' broker"))
struct BrokerTLSTests {
    /// A broker, the listener before it, and what vouches for both sides.
    private struct Scene {
        let broker: PrivateBroker
        let site: Site
        let certificates: Certificates
        let gate: TLSGate
        private let users: String
        private let passwordFile: String
        private let client: (certificate: String, key: String)

        init() async throws {
            broker = try PrivateBroker()
            try await broker.start()
            site = try await Site(partitions: 2, broker: broker.bootstrap)
            certificates = try Certificates(in: site.makeFolder("certificates"))
            client = try certificates.client("cellar")
            users = try site.write("users", "")
            passwordFile = try site.write("password", "")
            gate = try TLSGate(
                before: broker.port, authority: certificates.authority, passwordFile: users, folder: site.folder)
        }

        /// The one that the listener takes from its next start on.
        func expect(password: String) throws {
            _ = try site.write("users", "cellar:\(password)\n")
        }

        /// The one that the programs know when they are started.
        func give(password: String) throws {
            _ = try site.write("password", "\(password)\n")
            try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: passwordFile)
        }

        /// Lines of a section `kafka`, as an operator writes them.
        func security(withCertificate: Bool = true) -> [String] {
            var lines = [
                "security: sasl_ssl", "ca_file: \(certificates.authority)", "mechanism: PLAIN", "username: cellar",
                "password_file: \(passwordFile)",
            ]
            if withCertificate { lines += ["certificate_file: \(client.certificate)", "key_file: \(client.key)"] }
            return lines
        }

        func writeGatewayConfiguration(_ security: [String], name: String = "gateway") throws -> String {
            try site.write(
                "\(name).yaml",
                """
                gateway: {id: cellar}
                mode: simulated
                clock: {policy: trust}
                outbox: {path: outbox.sqlite}
                kafka:
                  bootstrap: "\(gate.bootstrap)"
                  topic: \(site.topic)
                  drain_time: 60s
                \(security.map { "  \($0)\n" }.joined())
                stations: [{sensor_id: air, interval: 100ms, chips: [{type: bme280}]}]

                """)
        }

        func remove() async throws {
            await gate.stop()
            try await site.remove()
            try await broker.remove()
        }
    }

    private struct Report: Decodable {
        struct Check: Decodable {
            var area: String
            var subject: String
            var state: String
            var seen: String
            var remedy: String?
        }

        var checks: [Check]
    }

    /// What `doctor` says of the broker.
    private func diagnose(_ scene: Scene, _ configuration: String) async throws -> [Report.Check] {
        let (_, output) = try await BuiltProgram.gateway.run(
            ["doctor", "--json", "--config", configuration], in: scene.site.folder)
        let line = try #require(output.split(separator: "\n").first, "\(output)")
        return try JSONDecoder().decode(Report.self, from: Data(line.utf8)).checks.filter { $0.area == "broker" }
    }

    @Test(.timeLimit(.minutes(10))) func bothProgramsInsistOnTheBrokerThatIsMeant() async throws {
        let scene = try await Scene()
        let site = scene.site
        let passwords = ["first-\(UUID())", "second-\(UUID())"]
        try scene.give(password: passwords[0])
        try scene.expect(password: passwords[0])
        let good = try scene.certificates.server("localhost")
        try await scene.gate.start(good)

        let gatewayFile = try scene.writeGatewayConfiguration(scene.security())
        let processorFile = try site.writeProcessorConfiguration(
            bootstrap: scene.gate.bootstrap, kafka: scene.security())
        let fine = try await diagnose(scene, gatewayFile)
        #expect(fine.allSatisfy { $0.state == "ok" }, "\(fine)")
        #expect(fine.contains { $0.subject.hasSuffix("TLS") }, "\(fine)")
        #expect(fine.last?.seen.hasPrefix("2 partitions") == true, "\(fine)")

        let gateway = try BuiltProgram.gateway.start(["run", "--config", gatewayFile], in: site.folder)
        let processor = try BuiltProgram.processor.start(["run", "--config", processorFile], in: site.folder)
        try await waitForProgress(site, [gateway, processor], "the start")

        for (name, server, remedy) in [
            ("another authority", try scene.certificates.server("localhost", by: "other"), "kafka.ca_file"),
            ("another name", try scene.certificates.server("another.example"), "kafka.bootstrap to a name"),
        ] {
            try await trouble(name, signs: ["broker certificate could not be verified"], [gateway, processor]) {
                try await scene.gate.start(server)
            }
            let checks = try await diagnose(scene, gatewayFile)
            let wrong = try #require(checks.first { $0.state == "failure" }, "\(name): \(checks)")
            #expect(wrong.subject.hasSuffix("TLS") && wrong.remedy?.contains(remedy) == true, "\(name): \(wrong)")
            try await scene.gate.start(good)
            try await waitForProgress(site, [gateway, processor], "after \(name)")
        }

        // A client without a certificate is refused by the listener, after its own part of the handshake.
        let bare = try scene.writeGatewayConfiguration(scene.security(withCertificate: false), name: "bare")
        let refusedChecks = try await diagnose(scene, bare)
        let refused = try #require(refusedChecks.first { $0.state == "failure" }, "\(refusedChecks)")
        #expect(refused.remedy?.contains("kafka.certificate_file") == true, "\(refused)")

        try scene.expect(password: passwords[1])
        try await trouble("another password", signs: ["wrong user or password"], [gateway, processor]) {
            try await scene.gate.start(good)
        }
        let unknownChecks = try await diagnose(scene, gatewayFile)
        let unknown = try #require(unknownChecks.first { $0.state == "failure" }, "\(unknownChecks)")
        #expect(unknown.remedy?.contains("kafka.password_file") == true, "\(unknown)")
        #expect(unknown.seen.contains("wrong user or password"), "\(unknown)")
        try scene.expect(password: passwords[0])
        try await scene.gate.start(good)
        try await waitForProgress(site, [gateway, processor], "after another password")

        try await expectEverythingOnce(site, gateway, processor)
        for process in [gateway, processor] {
            #expect(!passwords.contains { process.output.contains($0) }, "a log tells a password")
        }
        try await scene.remove()
    }

    /// Waits until more rows are there than now.
    private func waitForProgress(_ site: Site, _ programs: [ChildProcess], _ what: String) async throws {
        var before: Int64?
        try await waitUntil("rows go on: \(what)", within: .seconds(120)) {
            for program in programs { try #require(program.isRunning, "\(what): \(program.output.suffix(4000))") }
            guard let now = try? site.value("SELECT count(*) FROM sensor_data", as: Int64.self) else { return false }
            if before == nil { before = now }
            return now > (before ?? now)
        }
    }

    /// Something happens to the broker, and each program says so.
    private func trouble(
        _ name: String, signs: [String], _ programs: [ChildProcess], cause: () async throws -> Void
    ) async throws {
        let seen = programs.map { $0.output.utf8.count }
        try await cause()
        try await waitUntil("both notice \(name)", within: .seconds(120)) {
            try zip(programs, seen).allSatisfy { program, seen in
                try #require(program.isRunning, "\(name): \(program.output.suffix(4000))")
                let new = String(decoding: Array(program.output.utf8.dropFirst(seen)), as: UTF8.self)
                return signs.contains { new.contains($0) }
            }
        }
    }

    private func expectEverythingOnce(_ site: Site, _ gateway: ChildProcess, _ processor: ChildProcess) async throws {
        gateway.send(SIGTERM)
        #expect(await gateway.ending() == .status(0), "\(gateway.output.suffix(4000))")
        let outbox = try await Outbox.open(path: site.folder.appendingPathComponent("outbox.sqlite").path)
        let status = try await outbox.status()
        #expect(status.depth == 0 && status.dropped == 0 && status.quarantined == 0)
        try await waitUntil("every reading is stored", within: .seconds(120)) {
            try site.value("SELECT count(*) FROM sensor_data", as: Int64.self) >= status.lastSequence
        }
        processor.send(SIGTERM)
        #expect(await processor.ending() == .status(0), "\(processor.output.suffix(4000))")
        let rows = try site.database.query("SELECT count(*), count(DISTINCT seq), max(seq) FROM sensor_data")
        let numbers = try (0..<3).map { try rows.value(0, $0, as: Int64.self) }
        #expect(numbers == [Int64](repeating: status.lastSequence, count: 3))
    }
}
