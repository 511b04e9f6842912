import Alerting
import Foundation
import PostgresClient
import Readings
import Testing
import Windowing

@testable import ProcessorCore

private let server = ProcessInfo.processInfo.environment["VIGIE_POSTGRES"]

/// Where partitions are read, and of which log, in a real PostgreSQL.
@Suite(.enabled(if: server != nil, "VIGIE_POSTGRES names no PostgreSQL: run `make test`"))
struct OffsetTableTests {
    private let connection: PostgresConnection
    private let table: OffsetTable

    init() throws {
        connection = try makeDatabase()
        table = OffsetTable(connection: connection, topic: "t")
        try table.insert([0, 1])
    }

    private func write(_ batch: ReadingBatch, at milliseconds: Int64) throws -> BatchSummary {
        let minute = try #require(WindowSpecification(size: 60_000, slide: 60_000))
        var cache: [String: GatewayState] = [:]
        return try BatchTransaction(
            connection: connection, topic: "t",
            policy: #require(WindowPolicy(specifications: [minute], lateness: 120_000)), rules: AlertRules(),
            now: Timestamp(milliseconds: milliseconds), updateInterval: 0, notifies: true
        ).write(batch, cache: &cache)
    }

    private func batch(_ partition: Int32, from: LogPosition, to: LogPosition) -> ReadingBatch {
        var batch = ReadingBatch()
        batch.count(messages: 1, partition: partition, through: to, from: from)
        return batch
    }

    private func text(_ sql: String) throws -> String {
        try connection.query("SELECT coalesce((\(sql))::text, 'null')").value(0, 0)
    }

    @Test func whatIsWrittenIsRead() throws {
        #expect(try table.positions() == [0: LogPosition(next: 0), 1: LogPosition(next: 0)])
        // Whatever a broker may say, at the edges of its types.
        let first = LogPosition(
            next: .max, generation: 0,
            last: MessageMark(offset: .max - 1, timestamp: .min, size: 1 << 31, checksum: .max))
        _ = try write(batch(0, from: LogPosition(next: 0), to: first), at: 0)
        let second = LogPosition(
            next: 7, generation: 1, last: MessageMark(offset: 6, timestamp: nil, size: 0, checksum: 0))
        _ = try write(batch(1, from: LogPosition(next: 0), to: second), at: 0)
        #expect(try table.positions() == [0: first, 1: second])
        #expect(try table.positions(of: [1, 2]) == [1: second])
    }

    /// The offset is the same again after the topic was made anew.
    @Test func anOwnerOfAnEarlierGenerationWritesNothing() throws {
        let old = LogPosition(next: 5, last: MessageMark(offset: 4, size: 1, checksum: 1))
        let new = LogPosition(next: 5, generation: 1, last: MessageMark(offset: 4, size: 1, checksum: 2))
        _ = try write(batch(0, from: LogPosition(next: 0), to: old), at: 0)
        _ = try write(batch(0, from: old, to: LogPosition(next: 0, generation: 1)), at: 0)
        _ = try write(batch(0, from: LogPosition(next: 0, generation: 1), to: new), at: 0)
        #expect(throws: StaleOffsets.self) {
            try write(batch(0, from: old, to: old.moved(to: 9)), at: 0)
        }
        #expect(try table.positions(of: [0]) == [0: new])
        #expect(new.moved(to: 4).generation == 2 && new.moved(to: 5).generation == 1)
    }

    @Test func anotherLogOpensAnAlertThatItsEndCloses() throws {
        let alerts = AlertTables(connection: connection, notifies: true)
        var position = LogPosition(next: 0)
        func step(_ next: Int64, generation: Int64, at time: Int64, _ note: (inout ReadingBatch) -> Void) throws {
            let to = LogPosition(next: next, generation: generation)
            var batch = batch(0, from: position, to: to)
            note(&batch)
            position = to
            let summary = try write(batch, at: time)
            #expect(summary.logsChanged == (generation > 1 || next == 0 ? 1 : 0))
        }
        try step(9, generation: 0, at: 1000) { _ in }
        #expect(try text("SELECT count(*) FROM alert") == "0")
        try step(0, generation: 1, at: 2000) { $0.noteAnotherLog(of: 0, detail: "read up to offset 9") }
        #expect(try alerts.partitionsWithAnotherLog(of: "t", among: [0, 1]) == [0])
        #expect(try alerts.partitionsWithAnotherLog(of: "other", among: [0, 1]).isEmpty)
        // Once more before it was read: there is one alert.
        try step(0, generation: 2, at: 3000) { $0.noteAnotherLog(of: 0, detail: "again") }
        #expect(try text("SELECT count(*) FROM alert") == "1")
        let alert = "kind || ' ' || gateway_id || ' ' || variable || ' ' || severity || ' ' || detail"
        #expect(try text("SELECT \(alert) FROM alert") == "log  t[0] warning read up to offset 9")
        // In one batch it is found and read.
        try step(4, generation: 3, at: 5000) { batch in
            batch.noteAnotherLog(of: 0, detail: "third")
            batch.noteReadAgain(0)
        }
        #expect(try text("SELECT extract(epoch FROM closed_at - opened_at)::int FROM alert") == "3")
        #expect(try text("SELECT count(*) FROM alert_state") == "0")
        #expect(
            try text(
                "SELECT string_agg(event || ' ' || (payload::json->>'variable'), ', ' ORDER BY id) "
                    + "FROM alert_notification") == "opened t[0], closed t[0]")
    }
}
