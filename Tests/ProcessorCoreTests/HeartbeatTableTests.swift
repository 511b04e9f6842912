import Foundation
import PostgresClient
import ProcessorStatus
import Readings
import Testing

@testable import ProcessorCore

private let server = ProcessInfo.processInfo.environment["VIGIE_POSTGRES"]

/// Heartbeats in a real PostgreSQL, each test in a schema of its own.
@Suite(.enabled(if: server != nil, "VIGIE_POSTGRES names no PostgreSQL: run `make test`"))
struct HeartbeatTableTests {
    private let connection: PostgresConnection
    private let table: HeartbeatTable

    init() throws {
        connection = try makeDatabase()
        table = HeartbeatTable(connection: connection)
    }

    private func member(_ instance: String, worker: Int32 = 1, process: Int32 = 1, lag: Int64? = 5) -> ProcessorMember {
        ProcessorMember(
            instance: instance, worker: worker, host: "h", processID: process, version: "1", partitions: [3, 1],
            endpoint: "http://127.0.0.1:9465/", lag: lag, messagesPerSecond: 1.5, state: "healthy",
            startedAt: Timestamp(milliseconds: 1_795_478_400_000), age: 0)
    }

    private func beat(_ members: ProcessorMember...) throws {
        try table.write(members, topic: "t", group: "g")
    }

    private func names() throws -> [String] {
        try table.members().map { "\($0.instance)#\($0.worker)\($0.isGone ? " gone" : "")" }
    }

    @Test func aHeartbeatIsReadBackAsItWas() throws {
        try beat(member("b", lag: nil))
        try beat(member("a"), member("a", worker: 2))
        var found = try table.members()
        #expect(found.allSatisfy { $0.age >= 0 && $0.age < ProcessorMember.heartbeatTimeout })
        for index in found.indices { found[index].age = 0 }
        #expect(found == [member("a"), member("a", worker: 2), member("b", lag: nil)])
    }

    @Test func whoIsSilentIsGoneAndThenForgotten() throws {
        try beat(member("a"), member("a", worker: 2))
        try beat(member("b"))
        try connection.execute("UPDATE processor SET updated_at = now() - interval '1 minute' WHERE instance = 'b'")
        #expect(try names() == ["a#1", "a#2", "b#1 gone"])
        // One that starts again with fewer workers takes the others' rows away.
        try beat(member("a", process: 2))
        #expect(try names() == ["a#1", "b#1 gone"])
        try connection.execute("UPDATE processor SET updated_at = now() - interval '2 hours' WHERE instance = 'b'")
        try beat(member("a", process: 2))
        #expect(try names() == ["a#1"])
    }

    @Test func whoLeavesTakesOnlyItsOwnRowsAway() throws {
        try beat(member("a"), member("a", worker: 2))
        try beat(member("b"))
        try table.leave(instance: "a", processID: 99)
        #expect(try names() == ["a#1", "a#2", "b#1"])
        try table.leave(instance: "a", processID: 1)
        #expect(try names() == ["b#1"])
    }

    @Test func whatOnlyTheDatabaseKnowsIsAddedUp() throws {
        #expect(try table.view().missing == 0)
        try connection.execute(
            """
            INSERT INTO stream_progress SELECT 'g', to_hex(n), 9, now(), n, now() FROM generate_series(1, 3) n
            """)
        #expect(try table.view().missing == 6)
        // What is read of the alerts, whatever else their table holds.
        let schema = "test_\(UInt64.random(in: 0...UInt64.max))"
        let path: String = try connection.query("SHOW search_path").value(0, 0)
        try connection.execute(
            """
            CREATE SCHEMA \(schema); SET search_path = \(schema), \(path);
            CREATE TABLE alert (kind text, severity text, closed_at timestamptz);
            INSERT INTO alert VALUES ('silence', 'critical', NULL), ('silence', 'critical', NULL),
                ('silence', 'critical', now()), ('battery', 'warning', NULL)
            """)
        #expect(
            try table.view().alerts == [
                OpenAlerts(kind: "battery", severity: "warning", count: 1),
                OpenAlerts(kind: "silence", severity: "critical", count: 2),
            ])
    }
}
