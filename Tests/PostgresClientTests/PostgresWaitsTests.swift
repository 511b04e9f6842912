import Glibc
import Platform
import TestSupport
import Testing

@testable import PostgresClient

/// A server that is connected and does not answer: noticed, told from one that works, and left when the program stops.
@Suite(.enabled(if: postgresServer != nil), .serialized) struct PostgresWaitsTests {
    /// A proxy in front of the tests' server, and how to connect through it.
    private final class Way {
        let hole: BlackHole
        let connectionString: String

        init() throws {
            let server = try PostgresClientTests.connect()
            let folders: String = try server.query("SHOW unix_socket_directories").value(0, 0)
            let port: String = try server.query("SHOW port").value(0, 0)
            hole = try BlackHole(inFrontOf: folders, port: port)
            let original = try #require(postgresServer)
            try #require(!original.contains("://"), "these tests need keywords in VIGIE_POSTGRES")
            // Two seconds are libpq's least.
            connectionString = "\(original) host=\(hole.folder) port=\(port) connect_timeout=2"
        }

        deinit { hole.stop() }

        func connect(_ waits: PostgresWaits) throws -> PostgresConnection {
            try PostgresConnection(connectionString: connectionString, applicationName: "vigie-tests", waits: waits)
        }
    }

    /// So long as a machine under load may take for what takes a few seconds.
    private let generous = Duration.seconds(30)

    private func elapsed(_ body: () throws -> Void) rethrows -> Duration {
        try ContinuousClock().measure(body)
    }

    @Test func aServerThatAnswersNobodyIsLost() throws {
        let way = try Way()
        let connection = try way.connect(PostgresWaits(silence: .milliseconds(200)))
        way.hole.swallow()
        let duration = try elapsed {
            let error = try postgresError { _ = try connection.query("SELECT 1") }
            #expect(error.sqlState == "08006")
            #expect(error.isTransient)
            #expect(error.message.contains("a second connection fails"), "\(error)")
        }
        #expect(duration < generous)
        #expect(!connection.isAlive)
        #expect(try postgresError { try connection.execute("SELECT 1") }.isTransient)
    }

    @Test func aConnectionThatAloneIsDeadIsLost() throws {
        let way = try Way()
        let connection = try way.connect(PostgresWaits(silence: .milliseconds(200)))
        way.hole.breakConnections()
        let error = try postgresError { try connection.transaction { _ = try connection.query("SELECT 1") } }
        #expect(error.sqlState == "08006")
        #expect(error.message.contains("finds the session not working"), "\(error)")
        #expect(!connection.isInTransaction)
        #expect(try way.connect(PostgresWaits()).query("SELECT 1").value(0, 0) == Int32(1))
    }

    /// Ends a session on its own thread once the server was asked several times: what waited for its lock goes on.
    private func end(_ holder: Int32, whenAskedThrough hole: BlackHole) {
        startThread(name: "release") {
            let patience = ContinuousClock.now + .seconds(60)
            while hole.accepted <= 3, ContinuousClock.now < patience { usleep(10_000) }
            guard let connection = try? connect() else { return }
            _ = try? connection.query("SELECT pg_terminate_backend($1)", [.value(holder)])
        }
    }

    @Test func aLongStatementIsWaitedFor() throws {
        let way = try Way()
        let (holder, other) = (try connect(), try way.connect(PostgresWaits(silence: .milliseconds(200))))
        try holder.execute("SELECT pg_advisory_lock(4712)")
        end(holder.backendProcess, whenAskedThrough: way.hole)
        try other.execute(
            "DO $$ BEGIN WHILE NOT pg_try_advisory_lock(4712) LOOP PERFORM pg_sleep(0.02); END LOOP; END $$")
        #expect(other.isAlive)
        #expect(way.hole.accepted > 3, "the server was asked several times")
    }

    @Test func aStatementThatWaitsForALockIsWaitedFor() throws {
        let way = try Way()
        let (holder, other) = (try connect(), try way.connect(PostgresWaits(silence: .milliseconds(200))))
        try holder.execute("SELECT pg_advisory_lock(4711)")
        let process = other.backendProcess
        end(holder.backendProcess, whenAskedThrough: way.hole)
        try other.execute("SELECT pg_advisory_lock(4711)")
        #expect(other.backendProcess == process)
        #expect(way.hole.accepted > 3)
    }

    @Test func aCopyThatIsNotTakenIsLost() throws {
        let way = try Way()
        let connection = try way.connect(PostgresWaits(silence: .milliseconds(200)))
        try connection.execute("CREATE TEMPORARY TABLE t (n int8)")
        let error = try postgresError {
            try connection.copyIn("COPY t FROM STDIN (FORMAT binary)") { writer in
                way.hole.swallow()
                for number in 0..<100_000 {
                    try writer.beginRow(fields: 1)
                    writer.append(Int64(number))
                }
            }
        }
        #expect(error.sqlState == "08006", "\(error)")
        #expect(!connection.isAlive)
    }

    @Test func aStopEndsWaitsForAServerThatDoesNotAnswer() throws {
        let way = try Way()
        let waits = PostgresWaits()
        let (first, second) = (try way.connect(waits), try way.connect(waits))
        way.hole.swallow()
        waits.stop(limit: .milliseconds(300), total: .seconds(60))
        let duration = try elapsed {
            let error = try postgresError { _ = try first.query("SELECT 1") }
            #expect(error.sqlState == "08006")
        }
        #expect(duration >= .milliseconds(300))
        // Nothing else waits as long again.
        let rest = try elapsed {
            let errors = (
                try postgresError { _ = try second.query("SELECT 1") }, try postgresError { _ = try way.connect(waits) }
            )
            #expect(errors.0.sqlState == "08006" && errors.1.sqlState == "08001", "\(errors)")
        }
        #expect(duration + rest < generous)
        #expect(try postgresError { _ = try way.connect(waits) }.message.contains("the program stops"))
    }

    @Test func aStopChangesNothingForAServerThatAnswers() throws {
        let waits = PostgresWaits()
        let connection = try PostgresConnection(
            connectionString: try #require(postgresServer), applicationName: "vigie-tests", waits: waits)
        waits.stop(limit: .seconds(20), total: .seconds(40))
        #expect(try connection.query("SELECT 1").value(0, 0) == Int32(1))
    }

    @Test func aConnectionThatIsNotAnsweredEndsWithTheProgram() throws {
        let way = try Way()
        way.hole.swallow()
        let waits = PostgresWaits()
        startThread(name: "stop") {
            usleep(300_000)
            waits.end()
        }
        let duration = try elapsed {
            let error = try postgresError { _ = try way.connect(waits) }
            #expect(error.sqlState == "08001")
        }
        #expect(duration < .milliseconds(1900), "libpq's own bound is two seconds")
    }

    /// Else it would hold its locks for as long as it works.
    @Test func whatIsGivenUpIsCancelledOnTheServer() throws {
        let waits = PostgresWaits()
        let connection = try PostgresConnection(
            connectionString: try #require(postgresServer), applicationName: "vigie-tests", waits: waits)
        waits.stop(limit: .milliseconds(300), total: .seconds(60))
        let process = connection.backendProcess
        #expect(try postgresError { _ = try connection.query("SELECT pg_sleep(600)") }.sqlState == "08006")
        let other = try connect()
        let deadline = ContinuousClock.now + generous
        while try other.query("SELECT FROM pg_stat_activity WHERE pid = $1", [.value(process)]).rowCount > 0 {
            try #require(ContinuousClock.now < deadline, "the session goes on")
            usleep(20_000)
        }
    }
}
