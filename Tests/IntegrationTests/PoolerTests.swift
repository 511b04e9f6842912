import Foundation
import PostgresClient
import Testing

private enum PgBouncer {
    static let program = URL(fileURLWithPath: "/usr/sbin/pgbouncer")

    static var isInstalled: Bool { FileManager.default.isExecutableFile(atPath: program.path) }

    /// Whether it can keep prepared statements itself: from version 1.21 on, by what `pgbouncer --version` says.
    static let keepsStatements: Bool = {
        let output = Pipe()
        let process = Process()
        process.executableURL = program
        process.arguments = ["--version"]
        process.standardOutput = output
        guard isInstalled, (try? process.run()) != nil else { return false }
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        guard let version = text.firstMatch(of: /PgBouncer (\d+)\.(\d+)/), let major = Int(version.1),
            let minor = Int(version.2)
        else { return false }
        return (major, minor) >= (1, 21)
    }()
}

/// The processor behind a real PgBouncer that gives every transaction another session.
@Suite(
    Servers.areThere, PrivateCluster.isPossible,
    .enabled(if: PgBouncer.isInstalled, "PgBouncer is not installed"),
    .serialized)
struct PoolerTests {
    /// Starts it beside a cluster. Sessions live for a second, so that nothing can be kept in one for long.
    /// - Parameter keepsStatements: whether it prepares in a session what a client has prepared in another one.
    private func startPooler(_ cluster: PrivateCluster, keepsStatements: Bool = false) async throws -> ChildProcess {
        let folder = cluster.folder.path
        // Versions that cannot do it do not know the setting.
        let kept = PgBouncer.keepsStatements ? "max_prepared_statements = \(keepsStatements ? 200 : 0)" : ""
        let configuration = cluster.folder.appendingPathComponent("pgbouncer.ini")
        try """
        [databases]
        * = host=\(folder)
        [pgbouncer]
        unix_socket_dir = \(folder)
        listen_port = 6432
        auth_type = trust
        auth_file = \(folder)/users.txt
        pool_mode = transaction
        default_pool_size = 3
        server_lifetime = 1
        \(kept)

        """.write(to: configuration, atomically: true, encoding: .utf8)
        try "\"vigie\" \"\"\n".write(toFile: "\(folder)/users.txt", atomically: true, encoding: .utf8)
        let pooler = try cluster.child(
            PgBouncer.program, [configuration.path], log: cluster.folder.appendingPathComponent("pgbouncer.log"))
        try await waitUntil("PgBouncer answers", within: .seconds(120)) {
            try #require(pooler.isRunning, "\(pooler.output)")
            return
                (try? PostgresConnection(
                    connectionString: pooled(cluster, "postgres"), applicationName: "vigie-tests")) != nil
        }
        return pooler
    }

    private func pooled(_ cluster: PrivateCluster, _ database: String) -> String {
        "host=\(cluster.folder.path) port=6432 user=vigie dbname=\(database)"
    }

    @Test(.timeLimit(.minutes(10))) func withoutPreparedStatementsItWorksInTransactionMode() async throws {
        try await expectItWorks(keepsStatements: false, settings: ["prepared_statements: false"])
    }

    @Test(
        .enabled(if: PgBouncer.keepsStatements, "PgBouncer keeps prepared statements from version 1.21 on only"),
        .timeLimit(.minutes(10)))
    func withThemItWorksWhereThePoolerKeepsThem() async throws {
        try await expectItWorks(keepsStatements: true, settings: [])
    }

    private func expectItWorks(keepsStatements: Bool, settings: [String]) async throws {
        let cluster = try await PrivateCluster()
        let pooler = try await startPooler(cluster, keepsStatements: keepsStatements)
        let site = try await Site(partitions: 2, server: cluster.connection)
        let configuration = try site.writeProcessorConfiguration(
            connection: pooled(cluster, site.databaseName), postgres: settings)
        let stream = try await SteadyStream(site, configuration: configuration)
        try await stream.waitForProgress("the start")
        // Until the sessions of the start have long gone.
        let first = Set(try cluster.sessions())
        try await waitUntil("all sessions are others", within: .seconds(120)) {
            first.isDisjoint(with: try cluster.sessions())
        }
        try await stream.waitForProgress("in new sessions")
        #expect(!stream.processor.output.contains("trying again"), "\(stream.processor.output)")
        try await stream.finish()
        try await site.remove()
        pooler.send(SIGTERM)
        await pooler.ending()
        try await cluster.remove()
    }

    @Test(.timeLimit(.minutes(10))) func withThemItSaysWhatToDo() async throws {
        let cluster = try await PrivateCluster()
        let pooler = try await startPooler(cluster)
        let site = try await Site(partitions: 2, server: cluster.connection)
        let configuration = try site.writeProcessorConfiguration(connection: pooled(cluster, site.databaseName))
        let stream = try await SteadyStream(site, configuration: configuration)
        try await waitUntil("a statement is not found in a session", within: .seconds(120)) {
            stream.processor.output.contains("behind a pooler in transaction mode statements must not be prepared")
        }
        stream.processor.send(SIGKILL)
        await stream.processor.ending()
        pooler.send(SIGTERM)
        await pooler.ending()
        try await site.remove()
        try await cluster.remove()
    }
}
