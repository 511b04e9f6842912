import Foundation
import PostgresClient
import Testing

/// Whatever happens to PostgreSQL, the processor stays, waits and goes on, and every reading is there once.
@Suite(Servers.areThere, PrivateCluster.isPossible, .serialized) struct DatabaseTroubleTests {
    /// What a processor says whose server is gone: it was told so, it finds the connection closed, or finds nobody.
    private static let gone = ["57P01", "57P02", "57P03", "08006", "08001"]

    /// Port 9 of loopback, the discard service, which nobody runs. libpq says it on two lines, the second with a tab.
    @Test(.timeLimit(.minutes(5)), arguments: ["verify", "redrive", "status"])
    func aCommandThatDoesNotWaitSaysWhatToDo(command: String) async throws {
        let site = try await Site(partitions: 1)
        let configuration = try site.writeProcessorConfiguration(connection: "host=127.0.0.1 port=9 dbname=none")
        let (ending, output) = try await BuiltProgram.processor.run(
            [command, "--config", configuration], in: site.folder)
        #expect(ending == .status(1))
        let line = try #require(output.split(separator: "\n").first { $0.contains("Connection refused") }, "\(output)")
        #expect(line.hasPrefix("vigie-processor \(command): the database cannot be asked: connection to server at"))
        #expect(line.hasSuffix("; check that PostgreSQL runs and takes connections there, and postgres.connection"))
        #expect(!output.contains("\t"))
        try await site.remove()
    }

    @Test(.timeLimit(.minutes(5))) func aMigrationWaitsForItsTimeOnly() async throws {
        let site = try await Site(partitions: 1)
        let configuration = try site.writeProcessorConfiguration(connection: "host=127.0.0.1 port=9 dbname=none")
        let (ending, output) = try await BuiltProgram.processor.run(
            ["migrate", "--config", configuration, "--wait=1"], in: site.folder)
        #expect(ending == .status(1))
        let lines = output.split(separator: "\n")
        #expect(lines.count { $0.contains("the database is away, waiting for it reason=") } == 1, "\(output)")
        #expect(lines.last?.contains("vigie-processor migrate: the database cannot be asked: ") == true, "\(output)")
        try await site.remove()
    }

    @Test(.timeLimit(.minutes(10)))
    func theProcessorLivesThroughWhatServersDo() async throws {
        let cluster = try await PrivateCluster()
        let site = try await Site(partitions: 2, server: cluster.connection)
        let stream = try await SteadyStream(site, configuration: try site.writeProcessorConfiguration())
        try await stream.waitForProgress("the start")

        try await stream.trouble("a restart", signs: Self.gone) {
            try await cluster.stop()
        } mend: {
            try await cluster.start()
        }
        try await stream.trouble("the crash of a session, and so of all", signs: Self.gone) {
            try await waitUntil("there is a session", within: .seconds(120)) { try !cluster.sessions().isEmpty }
            if let session = try cluster.sessions().first { kill(session, SIGKILL) }
        } mend: {
            try await cluster.start()
        }
        try await stream.trouble("sessions that an administrator ends", signs: Self.gone) {
            // One that is at rest is replaced without a word.
            for _ in 0..<50 {
                try cluster.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'vigie'")
                try await Task.sleep(for: .milliseconds(10))
            }
        } mend: {
        }
        try await aServerIsDeadForAWhile(cluster, stream)
        try await aServerRefuses(cluster, stream)
        try await transactionsFail(cluster, stream)
        try await stream.finish()
        try await site.remove()
        try await cluster.remove()
    }

    /// Killed with much to do behind it: what waits is left in Kafka.
    private func aServerIsDeadForAWhile(_ cluster: PrivateCluster, _ stream: SteadyStream) async throws {
        // The tests' broker answers a fetch with all that it has, so what is in memory depends on it as well.
        let count = 150_000
        try await stream.trouble("a server that is dead while \(count) readings come", signs: Self.gone) {
            await cluster.kill()
            let before = try residentMemory(of: stream.processor.identifier)
            try await stream.burst(count)
            let tries = try await stream.site.metric("vigie_batch_retries_total", of: stream.processor)
            // Until its pauses between two tries are the longest: ten seconds, shortened by up to a half.
            try await waitUntil("it waits for long", within: .seconds(120)) {
                try await stream.site.metric("vigie_batch_retries_total", of: stream.processor) >= tries + 8
            }
            let after = try residentMemory(of: stream.processor.identifier)
            print("  resident: \(before) MiB before, \(after) MiB while \(count) readings wait")
            #expect(after - before < 100)
        } mend: {
            try await cluster.start()
        }
    }

    private func aServerRefuses(_ cluster: PrivateCluster, _ stream: SteadyStream) async throws {
        func set(_ setting: String, _ value: String?) throws {
            let connection = try cluster.connect()
            try connection.execute(
                value.map { "ALTER SYSTEM SET \(setting) = '\($0)'" } ?? "ALTER SYSTEM RESET \(setting)")
            try connection.execute("SELECT pg_reload_conf()")
        }
        try await stream.trouble("a server that only reads", signs: ["25006"]) {
            try set("default_transaction_read_only", "on")
        } mend: {
            try set("default_transaction_read_only", nil)
        }
        try await stream.trouble("too many connections", signs: ["too many connections"]) {
            try cluster.execute("ALTER ROLE vigie CONNECTION LIMIT 0")
            try cluster.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'vigie'")
        } mend: {
            try cluster.execute("ALTER ROLE vigie CONNECTION LIMIT -1")
        }
        try await stream.trouble("a password that is refused", signs: ["not permitted to log in"]) {
            try cluster.execute("ALTER ROLE vigie NOLOGIN")
            try cluster.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'vigie'")
        } mend: {
            try cluster.execute("ALTER ROLE vigie LOGIN")
        }
        try await stream.trouble("sessions that are ended whenever they are idle", signs: []) {
            try set("idle_session_timeout", "100ms")
            stream.pause()
            try await waitUntil("the server ends some", within: .seconds(120)) {
                cluster.output.contains("idle-session timeout")
            }
            stream.resume()
            try await stream.waitForProgress("in spite of it")
        } mend: {
            try set("idle_session_timeout", nil)
        }
    }

    private func transactionsFail(_ cluster: PrivateCluster, _ stream: SteadyStream) async throws {
        let database = stream.site.databaseName
        // As the server would: each code three times, in the middle of a batch.
        for code in ["40001", "40P01", "53200", "53100", "57014", "55P03", "58030", "25P03"] {
            try await stream.trouble("transactions that fail with \(code)", signs: [code]) {
                try cluster.execute(
                    """
                    CREATE SEQUENCE trouble;
                    GRANT ALL ON trouble TO vigie;
                    CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                        IF nextval('trouble') <= 3 THEN RAISE 'made by a test' USING ERRCODE = '\(code)'; END IF;
                        RETURN NULL;
                    END $$;
                    CREATE TRIGGER trouble BEFORE UPDATE ON stream_progress EXECUTE FUNCTION trouble();
                    """, database: database)
            } mend: {
                try cluster.execute("DROP FUNCTION trouble CASCADE; DROP SEQUENCE trouble", database: database)
            }
        }
        let other = try cluster.connect(database: database)
        // Who has waited for this long looks for a circle, once, and gives way: the processor, not the test. The time is
        // for the test to close the circle in, and below the processor's lock_timeout; should it be too late, it tries
        // again.
        try cluster.execute("ALTER SYSTEM SET deadlock_timeout = '8s'")
        try cluster.execute("SELECT pg_reload_conf()")
        try other.execute("SET deadlock_timeout = '1h'")
        try await stream.trouble("a deadlock", signs: ["40P01"]) {
            while true {
                try other.execute("BEGIN; SELECT FROM gateway FOR UPDATE")
                try await waitUntil("a batch waits for its gateways", within: .seconds(120)) {
                    try cluster.connect().query(
                        "SELECT FROM pg_stat_activity WHERE usename = 'vigie' AND wait_event_type = 'Lock'"
                    ).rowCount > 0
                }
                try other.execute("UPDATE consumed_offset SET next_offset = next_offset")
                if cluster.output.contains("deadlock detected") { break }
                try other.execute("ROLLBACK")
            }
        } mend: {
            try other.execute("ROLLBACK")
        }
        try cluster.execute("ALTER SYSTEM RESET deadlock_timeout")
        try cluster.execute("SELECT pg_reload_conf()")
    }

    @Test(PrivateCluster.hasDisks, .timeLimit(.minutes(10)))
    func theProcessorLivesThroughFullDisks() async throws {
        let cluster = try await PrivateCluster(walDisk: 48)
        let space = try cluster.addDisk("space", size: 24)
        let site = try await Site(partitions: 2, server: cluster.connection)
        let stream = try await SteadyStream(site, configuration: try site.writeProcessorConfiguration())
        try await stream.waitForProgress("the start")

        let tables = space.appendingPathComponent("tables")
        try FileManager.default.createDirectory(at: tables, withIntermediateDirectories: false)
        try PrivateCluster.giveAway(tables)
        try cluster.execute("CREATE TABLESPACE small LOCATION '\(tables.path)'")
        let partitions = try cluster.connect(database: site.databaseName).query(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'sensor_data'::regclass")
        for row in 0..<partitions.rowCount {
            let name: String = try partitions.value(row, 0)
            try cluster.execute("ALTER TABLE \(name) SET TABLESPACE small", database: site.databaseName)
        }
        try await stream.trouble("no room for tables", signs: ["53100"]) {
            try fill(space)
        } mend: {
            try empty(space)
        }
        let wal = cluster.folder.appendingPathComponent("wal")
        try await stream.trouble("no room for the WAL, upon which the server panics", signs: Self.gone) {
            try fill(wal)
        } mend: {
            try empty(wal)
            try await cluster.start()
        }
        #expect(cluster.output.contains("PANIC"))
        try await stream.finish()
        try await site.remove()
        try await cluster.remove()
    }

    /// Leaves no byte free.
    private func fill(_ disk: URL) throws {
        let file = open(disk.appendingPathComponent("ballast").path, O_WRONLY | O_CREAT, 0o600)
        try #require(file >= 0)
        defer { close(file) }
        let block = [UInt8](repeating: 0, count: 4096)
        while write(file, block, block.count) > 0 {}
        try #require(errno == ENOSPC)
    }

    private func empty(_ disk: URL) throws {
        try FileManager.default.removeItem(at: disk.appendingPathComponent("ballast"))
    }

    /// The second host takes over, and has not received all that the first one had committed.
    @Test(.timeLimit(.minutes(10)))
    func anotherServerTakesOverWithoutTheLastCommits() async throws {
        let first = try await PrivateCluster()
        let second = try await PrivateCluster(following: first)
        let either = "host=\(first.folder.path),\(second.folder.path) target_session_attrs=read-write"
        let site = try await Site(partitions: 2, server: "\(either) user=vigie dbname=postgres")
        let stream = try await SteadyStream(site, configuration: try site.writeProcessorConfiguration())
        try await stream.waitForProgress("the start")

        var (had, has): (Int64, Int64) = (0, 0)
        try await stream.trouble("a takeover", signs: Self.gone + ["read-only"]) {
            try await second.cutOff()
            try await stream.waitForProgress("on the first server alone")
            had = try stream.rows()
            await first.kill()
        } mend: {
            has = try stream.rows("host=\(second.folder.path) user=vigie dbname=\(site.databaseName)")
            try second.promote()
        }
        #expect(has > 0 && has < had, "nothing was lost, so nothing was tried")
        print("  the second server lacked \(had - has) of \(had) rows")
        try await stream.finish()
        try await site.remove()
        try await second.remove()
        try await first.remove()
    }
}
