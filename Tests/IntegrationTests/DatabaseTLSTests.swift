import Foundation
import PostgresClient
import Testing

/// PostgreSQL as it is reached over a network: by TLS, with a password or a certificate.
@Suite(Servers.areThere, PrivateCluster.isPossible) struct DatabaseTLSTests {
    /// The server's name. No name server knows it: the connection string says the address.
    private let host = "db.example"

    /// A cluster with a network, what vouches for both sides, and the password of role `vigie` in a file.
    private struct Scene {
        let folder: URL
        let certificates: Certificates
        let cluster: PrivateCluster
        let passwordFile: URL
        var network: PrivateCluster.Network

        init(host: String, password: String) async throws {
            folder = FileManager.default.temporaryDirectory.appendingPathComponent("vigie-tls-\(UUID())")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            certificates = try Certificates(in: folder)
            network = PrivateCluster.Network(
                server: try certificates.server(host), authority: certificates.authority,
                access: ["hostssl all vigie 127.0.0.1/32 scram-sha-256"])
            cluster = try await PrivateCluster(network: network)
            passwordFile = folder.appendingPathComponent("passwords")
            try cluster.execute("ALTER ROLE vigie PASSWORD '\(password)'")
            try writePassword(password)
        }

        func writePassword(_ password: String) throws {
            try "*:\(cluster.port):*:vigie:\(password)\n".write(to: passwordFile, atomically: true, encoding: .utf8)
            try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: passwordFile.path)
        }

        /// A connection string as an operator writes it.
        func connection(host: String, database: String, _ more: String) -> String {
            """
            host=\(host) hostaddr=127.0.0.1 port=\(cluster.port) user=vigie dbname=\(database) sslmode=verify-full \
            sslrootcert=\(certificates.authority) \(more)
            """
        }

        func remove() async throws {
            try await cluster.remove()
            try FileManager.default.removeItem(at: folder)
        }
    }

    /// Whether a connection comes about.
    private func works(_ connection: String) -> Bool {
        (try? PostgresConnection(connectionString: connection, applicationName: "vigie-tests")) != nil
    }

    @Test(.timeLimit(.minutes(10))) func onlyTheServerThatIsMeantGetsReadings() async throws {
        let password = "correct-\(UUID())"
        let scene = try await Scene(host: host, password: password)
        let cluster = scene.cluster
        let site = try await Site(partitions: 2, server: cluster.connection)
        let connection = scene.connection(
            host: host, database: site.databaseName, "passfile=\(scene.passwordFile.path) channel_binding=require")
        let stream = try await SteadyStream(
            site, configuration: try site.writeProcessorConfiguration(connection: connection))
        try await stream.waitForProgress("the start")
        let sessions = try cluster.connect().query(
            """
            SELECT count(*), count(*) FILTER (WHERE s.ssl AND s.version LIKE 'TLSv1.%') FROM pg_stat_activity a
            JOIN pg_stat_ssl s USING (pid) WHERE a.usename = 'vigie' AND a.application_name <> 'vigie-tests'
            """)
        #expect(try sessions.value(0, 0, as: Int64.self) > 0)
        #expect(try sessions.value(0, 0, as: Int64.self) == sessions.value(0, 1, as: Int64.self))

        for (name, server, sign) in [
            (
                "a certificate of another authority", try scene.certificates.server(host, by: "other"),
                "certificate verify failed: nobody who is trusted vouches for it; set sslrootcert"
            ),
            (
                "a certificate for another name", try scene.certificates.server("another.example"),
                "does not match host name"
            ),
            (
                "an expired certificate", try scene.certificates.server(host, valid: .past),
                "certificate verify failed: it has expired; renew the server's certificate"
            ),
        ] {
            try await stream.trouble(name, signs: [sign]) {
                var network = scene.network
                network.server = server
                try await cluster.change(network) { !works(connection) }
            } mend: {
                try await cluster.change(scene.network) { works(connection) }
            }
        }
        let next = "next-\(UUID())"
        try await stream.trouble("a password that is not the right one any more", signs: ["authentication failed"]) {
            try cluster.execute("ALTER ROLE vigie PASSWORD '\(next)'")
            try cluster.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'vigie'")
        } mend: {
            // It is read again for every connection.
            try scene.writePassword(next)
        }
        let words = try String(contentsOfFile: "/proc/\(stream.processor.identifier)/cmdline", encoding: .utf8)
        try await stream.finish()

        try await aCertificateLetsInToo(scene, site, stream.configuration)
        for file in try FileManager.default.contentsOfDirectory(at: site.folder, includingPropertiesForKeys: nil)
        where file.pathExtension == "log" {
            let text = try String(contentsOf: file, encoding: .utf8)
            #expect(!text.contains(password) && !text.contains(next), "\(file.path) tells a password")
        }
        #expect(words.contains("run") && !words.contains(password))
        try await site.remove()
        try await scene.remove()
    }

    /// In place of the password, and nobody gets in by a password then.
    private func aCertificateLetsInToo(_ scene: Scene, _ site: Site, _ withPassword: String) async throws {
        let client = try scene.certificates.client("vigie")
        let connection = scene.connection(
            host: host, database: site.databaseName, "sslcert=\(client.certificate) sslkey=\(client.key)")
        let withCertificate = try site.writeProcessorConfiguration(instance: "certified", connection: connection)
        var network = scene.network
        network.access = ["hostssl all vigie 127.0.0.1/32 cert"]
        try await scene.cluster.change(network) { works(connection) }

        let verified = try await BuiltProgram.processor.run(["verify", "--config", withCertificate], in: site.folder)
        #expect(verified.ending == .status(0), "\(verified.output)")
        let refused = try await BuiltProgram.processor.run(["verify", "--config", withPassword], in: site.folder)
        #expect(refused.ending == .status(1))
        #expect(refused.output.contains("valid client certificate"), "\(refused.output)")
    }

    /// A command ends and says what is wrong and what to do; a processor that runs says the same and waits.
    @Test(.timeLimit(.minutes(10))) func eachThingThatIsWrongHasItsOwnRemedy() async throws {
        let password = "correct-\(UUID())"
        let scene = try await Scene(host: host, password: password)
        let site = try await Site(partitions: 1, server: scene.cluster.connection)
        func says(_ name: String, _ connection: String, _ expected: String...) async throws {
            let file = try site.writeProcessorConfiguration(
                instance: name.replacingOccurrences(of: " ", with: "-"), connection: connection)
            let began = ContinuousClock.now
            let (ending, output) = try await BuiltProgram.processor.run(["verify", "--config", file], in: site.folder)
            print("  \(name) in \(began.duration(to: .now)): \(output)")
            #expect(ending == .status(name == "a mode that is none" ? 78 : 1), "\(name): \(output)")
            for text in expected { #expect(output.contains(text), "\(name): \(output)") }
            #expect(!output.contains(password))
        }
        func connection(_ more: String) -> String { scene.connection(host: host, database: site.databaseName, more) }
        func connection(_ client: Certificates.Pair) -> String {
            connection("sslcert=\(client.certificate) sslkey=\(client.key)")
        }
        let withPassword = "passfile=\(scene.passwordFile.path)"

        try await says("no password", connection("passfile=/dev/null"), "no password supplied; name a file")
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: scene.passwordFile.path)
        try await says("an open password file", connection(withPassword), "no password supplied; name a file", "0600")
        try scene.writePassword("wrong-\(UUID())")
        try await says(
            "a wrong password", connection(withPassword), "password authentication failed", "; check user in postgres")
        try scene.writePassword(password)
        let noAuthority = connection("\(withPassword) sslrootcert=\(scene.folder.path)/none.pem")
        try await says("no authority", noAuthority, "none.pem\" does not exist", "; set sslrootcert in postgres")
        try await says(
            "without TLS", connection("\(withPassword) sslmode=disable"), "no encryption; set sslmode=verify-full")
        try await says(
            "a mode that is none", connection("\(withPassword) sslmode=verify-fool"),
            "22023: invalid sslmode value; correct it in postgres.connection")

        var network = scene.network
        network.access = ["hostssl all vigie 127.0.0.1/32 cert"]
        let good = try scene.certificates.client("vigie")
        try await scene.cluster.change(network) { works(connection(good)) }
        let other = try scene.certificates.client("vigie", by: "other")
        let expired = try scene.certificates.client("vigie", valid: .past)
        let named = try scene.certificates.client("somebody")
        try await says(
            "no certificate", connection(withPassword), "valid client certificate; set sslcert and sslkey in postgres")
        try await says(
            "a certificate of another authority", connection(other),
            "the server refuses the certificate in \(other.certificate), for /CN=vigie by /CN=other; let"
        )
        try await says(
            "an expired certificate", connection(expired),
            "the server refuses the certificate in \(expired.certificate), which expired on 2020-07-01 00:00 UTC;"
        )
        try await says(
            "a certificate for another role", connection(named),
            "certificate authentication failed for user \"vigie\", with a certificate for /CN=somebody; set sslcert")
        try await says(
            "another key", connection((good.certificate, named.key)),
            "; check sslcert and sslkey in postgres.connection, and that they belong together")
        let key = named.certificate + ".open.key"
        try FileManager.default.copyItem(atPath: named.key, toPath: key)
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: key)
        try await says("an open key", connection((named.certificate, key)), "; make its mode 0600; check sslcert")

        try await aProcessorWaitsForItsCertificate(site, expired, good) { connection($0) }
        try await site.remove()
        try await scene.remove()
    }

    /// One whose certificate has expired waits, and goes on when there is another one in its place; one whose settings
    /// libpq refuses ends.
    private func aProcessorWaitsForItsCertificate(
        _ site: Site, _ expired: Certificates.Pair, _ good: Certificates.Pair,
        _ connection: (Certificates.Pair) -> String
    ) async throws {
        let used = (certificate: expired.certificate + ".used", key: expired.key + ".used")
        func use(_ pair: Certificates.Pair) throws {
            for (source, target) in [(pair.certificate, used.certificate), (pair.key, used.key)] {
                try Data(contentsOf: URL(fileURLWithPath: source)).write(to: URL(fileURLWithPath: target))
                try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: target)
            }
        }
        try use(expired)
        let file = try site.writeProcessorConfiguration(instance: "waiting", connection: connection(used))
        let processor = try BuiltProgram.processor.start(["run", "--config", file], in: site.folder)
        try await waitUntil("it says what is wrong", within: .seconds(120)) {
            try #require(processor.isRunning, "\(processor.output)")
            return processor.output.contains("which expired on 2020-07-01 00:00 UTC; renew it (sslcert in postgres")
        }
        try use(good)
        try await waitUntil("it goes on", within: .seconds(120)) {
            try #require(processor.isRunning, "\(processor.output)")
            return processor.output.contains("migrated")
        }
        processor.send(SIGTERM)
        #expect(await processor.ending() == .status(0))

        let wrong = try site.writeProcessorConfiguration(
            instance: "refused", connection: connection(good) + " sslmode=verify-fool")
        let refused = try await BuiltProgram.processor.run(["run", "--config", wrong], in: site.folder)
        #expect(refused.ending == .status(78) && refused.output.contains("invalid sslmode value"), "\(refused.output)")
    }
}
