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
                "certificate verify failed"
            ),
            (
                "a certificate for another name", try scene.certificates.server("another.example"),
                "does not match host name"
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
}
