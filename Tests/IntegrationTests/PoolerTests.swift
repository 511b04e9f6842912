import Foundation
import PostgresClient
import Testing

private let pgBouncer = URL(fileURLWithPath: "/usr/sbin/pgbouncer")

/// The processor behind a real PgBouncer that gives every transaction another session.
@Suite(
    Servers.areThere, PrivateCluster.isPossible,
    .enabled(if: FileManager.default.isExecutableFile(atPath: pgBouncer.path), "PgBouncer is not installed"),
    .serialized)
struct PoolerTests {
    /// Starts it beside a cluster. Sessions live for a second, so that nothing can be kept in one for long.
    private func startPooler(_ cluster: PrivateCluster) async throws -> ChildProcess {
        let folder = cluster.folder.path
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

        """.write(to: configuration, atomically: true, encoding: .utf8)
        try "\"vigie\" \"\"\n".write(toFile: "\(folder)/users.txt", atomically: true, encoding: .utf8)
        let pooler = try cluster.child(
            pgBouncer, [configuration.path], log: cluster.folder.appendingPathComponent("pgbouncer.log"))
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
        let cluster = try await PrivateCluster()
        let pooler = try await startPooler(cluster)
        let site = try await Site(partitions: 2, server: cluster.connection)
        let configuration = try site.writeProcessorConfiguration(
            connection: pooled(cluster, site.databaseName), postgres: ["prepared_statements: false"])
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
