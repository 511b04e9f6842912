import Foundation
import KafkaClient
import Testing

/// Both programs with Apache Kafka as it is reached over a network: by TLS, with certificates on both sides and a password
/// inside, on Kafka's own listener.
@Suite(Servers.areThere, .requiresKafkaNodes) struct BrokerTLSTests {
    /// A node with such a listener, and what vouches for both sides.
    private struct Scene {
        let kafka: ApacheKafka
        let site: Site
        let certificates: Certificates
        /// The password of user `cellar` at the start.
        let password: String
        private let mechanism: KafkaConfiguration.Mechanism
        private let folder: URL
        private let passwordFile: String
        private let client: Certificates.Pair

        init() async throws {
            folder = FileManager.default.temporaryDirectory.appendingPathComponent("vigie-tls-\(UUID())")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            certificates = try Certificates(in: folder)
            client = try certificates.client("cellar")
            password = "first-\(UUID())"
            mechanism = KafkaConfiguration.Mechanism.scramSHA512.isUnderstoodByKafka4 ? .scramSHA512 : .plain
            passwordFile = folder.appendingPathComponent("password").path
            try Scene.write(password: password, to: passwordFile)
            kafka = try await ApacheKafka(
                ApacheKafka.Options(
                    arguments: [
                        "--tls", "--client-certificates", "--sasl=\(mechanism == .plain ? "plain" : "scram")",
                        "--user=cellar:\(passwordFile)",
                    ],
                    properties: [
                        "listener.name.client.ssl.keystore.location": try certificates.keyStore(
                            certificates.server("localhost")),
                        "listener.name.client.ssl.truststore.location": certificates.authority,
                    ]))
            // The test itself comes by the nodes' own listener.
            site = try await Site(partitions: 2, broker: kafka.innerBootstrap)
        }

        private static func write(password: String, to file: String) throws {
            try "\(password)\n".write(toFile: file, atomically: true, encoding: .utf8)
            try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: file)
        }

        /// Where clients reach it: by the name in its certificate.
        var bootstrap: String { kafka.bootstrap.replacingOccurrences(of: "127.0.0.1", with: "localhost") }

        /// Starts the node anew with another certificate.
        func show(_ server: Certificates.Pair) async throws {
            try await kafka.stop(1)
            try await kafka.configure([
                "listener.name.client.ssl.keystore.location": certificates.keyStore(server)
            ])
            try await kafka.start(1)
        }

        /// Gives the user another password, and ends the connections of before.
        func change(password: String) async throws {
            if mechanism == .plain {
                let module = "org.apache.kafka.common.security.plain.PlainLoginModule"
                try await kafka.configure([
                    "listener.name.client.plain.sasl.jaas.config":
                        "\(module) required user_cellar=\"\(password)\";"
                ])
            } else {
                let file = folder.appendingPathComponent("changed").path
                try Scene.write(password: password, to: file)
                try await kafka.changePassword(of: "cellar", to: file)
            }
            try await kafka.stop(1)
            try await kafka.start(1)
        }

        /// Writes the password that the programs are to use.
        func use(password: String) throws { try Scene.write(password: password, to: passwordFile) }

        /// The client's certificate under a name that another one can take.
        func copyOfClient() throws -> Certificates.Pair {
            let own = (
                certificate: folder.appendingPathComponent("own.pem").path,
                key: folder.appendingPathComponent("own.key").path
            )
            try put(client, at: own)
            return own
        }

        /// Puts a certificate and its key into the place of others.
        func put(_ pair: Certificates.Pair, at place: Certificates.Pair) throws {
            for (source, target) in [(pair.certificate, place.certificate), (pair.key, place.key)] {
                try Data(contentsOf: URL(fileURLWithPath: source))
                    .write(to: URL(fileURLWithPath: target), options: .atomic)
                try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: target)
            }
        }

        /// Lines of a section `kafka`, as an operator writes them.
        func security() -> [String] { security(client) }

        /// The same with another certificate of the client, or with none.
        func security(_ client: Certificates.Pair?) -> [String] {
            var lines = [
                "security: sasl_ssl", "ca_file: \(certificates.authority)", "mechanism: \(mechanism.rawValue)",
                "username: cellar", "password_file: \(passwordFile)",
            ]
            if let client { lines += ["certificate_file: \(client.certificate)", "key_file: \(client.key)"] }
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
                  bootstrap: "\(bootstrap)"
                  topic: \(site.topic)
                  drain_time: 60s
                \(security.map { "  \($0)\n" }.joined())
                stations: [{sensor_id: air, interval: 100ms, chips: [{type: bme280}]}]

                """)
        }

        func remove() async throws {
            try await site.remove()
            try await kafka.remove()
            try FileManager.default.removeItem(at: folder)
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
        try await report(
            of: BuiltProgram.gateway.start(
                ["doctor", "--json", "--config", configuration], in: scene.site.makeFolder("doctor-\(UUID())")))
    }

    /// What a `doctor` that was started says of the broker.
    private func report(of doctor: ChildProcess) async throws -> [Report.Check] {
        await doctor.ending()
        let line = try #require(doctor.output.split(separator: "\n").first, "\(doctor.output)")
        return try JSONDecoder().decode(Report.self, from: Data(line.utf8)).checks.filter { $0.area == "broker" }
    }

    /// What fails.
    private func failure(_ scene: Scene, _ configuration: String, _ what: String) async throws -> Report.Check {
        let began = ContinuousClock.now
        let checks = try await diagnose(scene, configuration)
        print("  doctor: \(what) in \(began.duration(to: .now))")
        return try #require(checks.first { $0.state == "failure" }, "\(what): \(checks)")
    }

    @Test(.timeLimit(.minutes(10))) func bothProgramsInsistOnTheBrokerThatIsMeant() async throws {
        let scene = try await Scene()
        let (site, certificates) = (scene.site, scene.certificates)
        let own = try scene.copyOfClient()
        let gatewayFile = try scene.writeGatewayConfiguration(scene.security(own))
        let processorFile = try site.writeProcessorConfiguration(bootstrap: scene.bootstrap, kafka: scene.security())
        let fine = try await diagnose(scene, gatewayFile)
        #expect(fine.allSatisfy { $0.state == "ok" }, "\(fine)")
        #expect(fine.contains { $0.subject.hasSuffix("TLS") }, "\(fine)")
        #expect(fine.last?.seen.hasPrefix("2 partitions") == true, "\(fine)")

        let gateway = try BuiltProgram.gateway.start(["run", "--config", gatewayFile], in: site.folder)
        let processor = try BuiltProgram.processor.start(["run", "--config", processorFile], in: site.folder)
        try await site.waitForProgress([gateway, processor], "the start")

        var before: Int64?
        for (name, server, remedy) in [
            ("another authority", try certificates.server("localhost", by: "other"), "kafka.ca_file"),
            ("another name", try certificates.server("another.example"), "kafka.bootstrap to a name"),
            (
                "an expired certificate", try certificates.server("localhost", valid: .past),
                "renew the broker's certificate"
            ),
        ] {
            if before == nil {
                try await trouble(name, signs: ["certificate"], [gateway, processor]) { try await scene.show(server) }
                before = try site.value("SELECT count(*) FROM sensor_data", as: Int64.self)
            } else {
                // To the programs it is the same trouble still, which they say once.
                try await scene.show(server)
            }
            let wrong = try await failure(scene, gatewayFile, name)
            let said = "\(wrong.seen) \(wrong.remedy ?? "")"
            #expect(wrong.subject.hasSuffix("TLS") && said.contains(remedy), "\(name): \(wrong)")
        }
        // To where the configuration says all is well; not to the address that Kafka then tells its clients to use.
        try await scene.show(try certificates.server("localhost", hasAddress: false))
        let unnamed = try await failure(scene, gatewayFile, "a certificate without the advertised address")
        #expect(unnamed.subject == "\(scene.kafka.bootstrap) TLS", "\(unnamed)")
        #expect(unnamed.seen.hasPrefix("the cluster sends its clients there: "), "\(unnamed)")
        #expect(unnamed.remedy?.contains("advertised.listeners of that broker to a name") == true, "\(unnamed)")
        let after = try site.value("SELECT count(*) FROM sensor_data", as: Int64.self)
        #expect(after == before, "somebody else's broker was read")
        try await scene.show(try certificates.server("localhost"))
        try await site.waitForProgress([gateway, processor], "after a certificate was renewed")

        // The gateway's own certificate expires, and is renewed.
        try await trouble("an expired certificate of the gateway", signs: ["own.pem"], [gateway]) {
            try scene.put(try certificates.client("cellar", valid: .past), at: own)
        }
        try await recovery(of: gateway, "a renewed certificate") {
            try scene.put(try certificates.client("cellar"), at: own)
        }
        try await site.waitForProgress([gateway, processor], "after the gateway's certificate was renewed")

        // A client is refused by the broker, after its own part of the handshake.
        let good = try certificates.client("cellar")
        let clients: [(name: String, pair: Certificates.Pair?, sign: String)] = [
            ("none", nil, "wants a certificate of its clients, and none is configured"),
            ("expired", try certificates.client("cellar", valid: .past), "which expired on 2020-07-01 00:00 UTC"),
            ("other", try certificates.client("cellar", by: "other"), "for /CN=cellar by /CN=other"),
        ]
        let mismatched = (certificate: good.certificate, key: try certificates.client("cellar").key)
        let processors = try (clients + [("mismatched", mismatched, "kafka.key_file")]).map { name, client, sign in
            let file = try site.writeProcessorConfiguration(
                instance: name, bootstrap: scene.bootstrap, kafka: scene.security(client))
            return (name, sign, try BuiltProgram.processor.start(["run", "--config", file], in: site.folder))
        }
        for (name, sign, processor) in processors {
            try await waitUntil("a processor says what is wrong: \(name)", within: .seconds(120)) {
                if !processor.isRunning { return true }
                return processor.output.contains(sign)
            }
            print("  processor, \(name): \(processor.output)")
            #expect(processor.output.contains(sign), "\(name): \(processor.output)")
            processor.send(SIGTERM)
            await processor.ending()
        }
        let doctors = try clients.map { name, client, _ -> (String, ChildProcess) in
            let file = try scene.writeGatewayConfiguration(scene.security(client), name: "client-\(name)")
            let doctor = try BuiltProgram.gateway.start(
                ["doctor", "--json", "--config", file], in: site.makeFolder("client-\(name)"))
            return (name, doctor)
        }
        for (name, doctor) in doctors {
            let checks = try await report(of: doctor)
            let refused = try #require(checks.first { $0.state == "failure" }, "\(name): \(checks)")
            let said = "\(refused.subject) \(refused.remedy ?? "")"
            #expect(said.contains("kafka.certificate_file"), "\(name): \(refused)")
        }

        let next = "second-\(UUID())"
        try await trouble("another password", signs: ["uthentication failed"], [gateway, processor]) {
            try await scene.change(password: next)
        }
        let unknown = try await failure(scene, gatewayFile, "another password")
        #expect(unknown.remedy?.contains("kafka.password_file") == true, "\(unknown)")
        // The gateway takes the new one up by itself.
        try await recovery(of: gateway, "a rotated password") { try scene.use(password: next) }
        try scene.use(password: scene.password)
        try await scene.change(password: scene.password)
        try await site.waitForProgress([gateway, processor], "after another password")

        try await site.expectEverythingOnce(gateway, processor)
        for process in [gateway, processor] {
            #expect(![scene.password, next].contains { process.output.contains($0) }, "a log tells a password")
        }
        try await scene.remove()
    }

    /// A gateway that waits goes on without a restart.
    private func recovery(of gateway: ChildProcess, _ name: String, cause: () throws -> Void) async throws {
        let seen = gateway.output.utf8.count
        let began = ContinuousClock.now
        try cause()
        try await waitUntil("the gateway goes on with \(name)", within: .seconds(60)) {
            try #require(gateway.isRunning, "\(name): \(gateway.output.suffix(4000))")
            let new = String(decoding: Array(gateway.output.utf8.dropFirst(seen)), as: UTF8.self)
            return new.contains("takes readings again")
        }
        print("  gateway: \(name) is taken up in \(began.duration(to: .now))")
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
}
