import Foundation
import PostgresClient
import Readings
import Testing

@testable import ProcessorCore

private let server = ProcessInfo.processInfo.environment["VIGIE_POSTGRES"]

/// Not a closure in the suite's traits: Swift 6.0 crashes on those.
@Sendable private func isSuperuser() throws -> Bool {
    guard let server else { return false }
    return try PostgresConnection(connectionString: server, applicationName: "test")
        .query("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").value(0, 0)
}

/// Roles against a real PostgreSQL. They are the whole cluster's, so they have names of their own.
@Suite(.enabled("VIGIE_POSTGRES names no PostgreSQL in which the tests are superuser", isSuperuser))
struct ReaderRoleTests {
    private let connection: PostgresConnection
    private let name = "test_\(UInt64.random(in: 0...UInt64.max))"
    private var owner: String { "\(name)_owner" }
    private var reader: String { "\(name) \"reader\"" }
    private var quotedReader: String { "\"\(name) \"\"reader\"\"\"" }

    init() throws {
        connection = try PostgresConnection(connectionString: try #require(server), applicationName: "test")
        try connection.execute(
            """
            CREATE ROLE \(owner); CREATE SCHEMA \(name) AUTHORIZATION \(owner);
            SET search_path = \(name); SET SESSION AUTHORIZATION \(owner)
            """)
        _ = try Migrator.migrate(connection)
    }

    private func remove() throws {
        try connection.execute("RESET SESSION AUTHORIZATION; DROP SCHEMA \(name) CASCADE; DROP OWNED BY \(owner)")
        try connection.execute("DROP ROLE \(owner); DROP ROLE IF EXISTS \(quotedReader)")
    }

    private func tables() throws -> [String] {
        let rows = try connection.query(
            "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind IN ('r', 'p')",
            [.value(name)])
        return try (0..<rows.rowCount).map { try rows.value($0, 0) }
    }

    private func isRefused(_ sql: String) -> Bool {
        do {
            try connection.execute(sql)
            return false
        } catch {
            return error.sqlState == "42501"
        }
    }

    @Test func aReaderReadsEverythingThereIsAndWillBeAndDoesNothingElse() throws {
        let role = ReaderRole(connection: connection, name: reader)
        #expect(try role.grant(creating: true) == .missing, "the owner may not make roles")
        try connection.execute("RESET SESSION AUTHORIZATION; CREATE ROLE \(quotedReader) NOLOGIN")
        try connection.execute("SET SESSION AUTHORIZATION \(owner)")
        let count = try tables().count
        #expect(try role.grant(creating: true) == .reads(newTables: count))
        #expect(try role.grant(creating: false) == .reads(newTables: 0))
        // As maintenance and migrations will.
        #expect(try DayPartitions.prepare(daysAhead: 1, now: SystemWallClock().now(), connection) == 2)
        #expect(try role.grant(creating: false) == .reads(newTables: 0), "partitions are granted as they are made")

        try connection.execute("SET SESSION AUTHORIZATION \(quotedReader)")
        let all = try tables()
        #expect(all.count == count + 2)
        for table in all {
            _ = try connection.query("SELECT * FROM \(table)")
            #expect(isRefused("INSERT INTO \(table) DEFAULT VALUES"), "\(table)")
            #expect(isRefused("DELETE FROM \(table)"), "\(table)")
            #expect(isRefused("TRUNCATE \(table)"), "\(table)")
            #expect(isRefused("DROP TABLE \(table)"), "\(table)")
        }
        #expect(isRefused("CREATE TABLE mine (n integer)"))
        #expect(isRefused("UPDATE stream_progress SET last_seq = 0"))
        #expect(try Verification(connection: connection, windows: []).run().isGood, "a reader may verify")
        try remove()
    }

    @Test func whoMayMakeRolesMakesIt() throws {
        try connection.execute("RESET SESSION AUTHORIZATION; ALTER ROLE \(owner) CREATEROLE")
        try connection.execute("SET SESSION AUTHORIZATION \(owner)")
        let role = ReaderRole(connection: connection, name: reader)
        #expect(try role.grant(creating: false) == .missing)
        #expect(try role.grant(creating: true) == .reads(newTables: tables().count))
        let canLogIn: Bool = try connection.query(
            "SELECT rolcanlogin OR rolsuper OR rolcreatedb OR rolcreaterole FROM pg_roles WHERE rolname = $1",
            [.value(reader)]
        ).value(0, 0)
        #expect(!canLogIn)
        try remove()
    }
}
