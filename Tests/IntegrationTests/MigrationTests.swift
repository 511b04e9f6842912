import Foundation
import PostgresClient
import Testing

/// The schema as the real program makes it.
@Suite(Servers.areThere) struct MigrationTests {
    private func relations(_ site: Site) throws -> String {
        try site.value(
            """
            SELECT coalesce(string_agg(relname || ' ' || relkind::text, ',' ORDER BY relname), '') FROM pg_class
            WHERE relnamespace = 'public'::regnamespace
            """)
    }

    @Test func anOlderProgramRefusesANewerSchemaAndChangesNothing() async throws {
        let site = try await Site(partitions: 1)
        let configuration = try site.writeProcessorConfiguration()
        let first = try await BuiltProgram.processor.run(["migrate", "--config", configuration], in: site.folder)
        try #require(first.ending == .status(0), "\(first.output)")
        try site.database.execute(
            "CREATE TABLE of_the_future (n integer); INSERT INTO schema_migration VALUES (999, 'of the future')")
        let before = try relations(site)
        for command in ["migrate", "run"] {
            let refused = try await BuiltProgram.processor.run([command, "--config", configuration], in: site.folder)
            #expect(refused.ending == .status(1), "\(refused.output)")
            #expect(refused.output.contains("the database has schema 999, this program knows schemas up to"))
            #expect(refused.output.contains("run the vigie-processor that made it, or a newer one"))
        }
        #expect(try relations(site) == before)
        #expect(try site.value("SELECT count(*) FROM consumed_offset", as: Int64.self) == 0)
        try await site.remove()
    }

    @Test func aMigrationThatFailsLeavesNothing() async throws {
        let site = try await Site(partitions: 1)
        // The last table of the first step is there already.
        try site.database.execute("CREATE TABLE consumed_offset (mine integer)")
        let before = try relations(site)
        let configuration = try site.writeProcessorConfiguration()
        let failed = try await BuiltProgram.processor.run(["migrate", "--config", configuration], in: site.folder)
        #expect(failed.ending == .status(1))
        #expect(failed.output.contains("42P07") && failed.output.contains("consumed_offset"), "\(failed.output)")
        #expect(try relations(site) == before)
        try site.database.execute("DROP TABLE consumed_offset")
        let again = try await BuiltProgram.processor.run(["migrate", "--config", configuration], in: site.folder)
        #expect(again.ending == .status(0), "\(again.output)")
        try await site.remove()
    }

    @Test(.timeLimit(.minutes(10))) func ofTwoThatStartAtOnceOneMigratesAndBothRun() async throws {
        let site = try await Site(partitions: 2)
        var processors: [(process: ChildProcess, folder: URL)] = []
        for name in ["one", "two"] {
            let folder = site.folder.appendingPathComponent(name)
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
            let configuration = try site.writeProcessorConfiguration(instance: name)
            processors.append(
                (try BuiltProgram.processor.start(["run", "--config", configuration], in: folder), folder))
        }
        for (process, _) in processors {
            try await waitUntil("both are in the group", within: .seconds(120)) {
                try #require(process.isRunning, "\(process.output)")
                return process.output.contains("partitions assigned")
            }
        }
        let migrated = processors.map { $0.process.output.contains("migrated step=") }
        #expect(migrated.filter { $0 }.count == 1, "\(processors.map(\.process.output))")
        let steps: Int64 = try site.value("SELECT count(*) FROM schema_migration")
        #expect(try site.value("SELECT max(number) FROM schema_migration", as: Int64.self) == steps)
        for (process, _) in processors {
            process.send(SIGTERM)
            #expect(await process.ending() == .status(0), "\(process.output)")
        }
        try await site.remove()
    }

    /// What the documentation tells a superuser to run is all that a processor and a dashboard need.
    @Test(PrivateCluster.isPossible) func theDocumentedRolesAreEnough() async throws {
        let cluster = try await PrivateCluster()
        try cluster.execute("DROP ROLE vigie")
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let script = try String(contentsOf: root.appendingPathComponent("documentation/roles.sql"), encoding: .utf8)
        // One by one, as psql does: a database is not made inside a transaction.
        for statement in script.components(separatedBy: ";\n") { try cluster.execute(statement) }
        let folder = cluster.folder
        let configuration = folder.appendingPathComponent("processor.yaml")
        try """
        kafka: {bootstrap: "\(try #require(Servers.kafka))"}
        postgres: {connection: "host=\(folder.path) user=vigie dbname=vigie"}
        rules: {co2: {warning: {above: 1500}}}

        """.write(to: configuration, atomically: true, encoding: .utf8)
        let migration = try await BuiltProgram.processor.run(["migrate", "--config", configuration.path], in: folder)
        #expect(migration.ending == .status(0), "\(migration.output)")
        #expect(migration.output.contains("the role vigie_reader may read everything"), "\(migration.output)")

        let dashboard = try PostgresConnection(
            connectionString: "host=\(folder.path) user=vigie_dashboard dbname=vigie", applicationName: "vigie-tests")
        for table in ["sensor_data", "sensor_data_agg", "sensor", "loss", "gateway", "stream_progress", "expired"] {
            _ = try dashboard.query("SELECT * FROM \(table)")
        }
        #expect(try dashboard.query("SELECT bound FROM alert_rule").value(0, 0, as: Double.self) == 1500)
        try dashboard.execute("SET default_transaction_read_only = off")
        for statement in ["CREATE TABLE t ()", "CREATE TEMPORARY TABLE t ()", "DELETE FROM sensor", "CREATE SCHEMA s"] {
            do {
                try dashboard.execute(statement)
                Issue.record("a dashboard may run \(statement)")
            } catch {
                #expect(error.sqlState == "42501", "\(error)")
            }
        }
        // Without the group the program says what is to be run, and has migrated all the same.
        try cluster.execute("DROP OWNED BY vigie_reader", database: "vigie")
        try cluster.execute("DROP OWNED BY vigie_reader; DROP ROLE vigie_reader")
        let without = try await BuiltProgram.processor.run(["migrate", "--config", configuration.path], in: folder)
        #expect(without.ending == .status(0), "\(without.output)")
        #expect(without.output.contains("CREATE ROLE vigie_reader NOLOGIN"), "\(without.output)")
        try await cluster.remove()
    }
}
