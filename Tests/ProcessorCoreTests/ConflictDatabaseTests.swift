import Alerting
import Foundation
import PostgresClient
import ReadingDecoding
import Readings
import Testing
import Windowing

@testable import ProcessorCore

private let server = ProcessInfo.processInfo.environment["VIGIE_POSTGRES"]

/// Two readings under one number, on a real PostgreSQL, each test in a schema of its own.
@Suite(.enabled(if: server != nil, "VIGIE_POSTGRES names no PostgreSQL: run `make test`"))
final class ConflictDatabaseTests {
    private let connection: PostgresConnection
    private let policy: WindowPolicy
    private let start = Timestamp(milliseconds: 1_795_478_400_000)  // 2026-11-24T00:00:00Z
    private var offset: Int64 = 0
    private var cache: [String: GatewayState] = [:]
    private var announced: Set<StreamName> = []
    /// What went to the rejected topic.
    private var sent: [SequenceConflict] = []

    init() throws {
        connection = try makeDatabase(partitions: 1)
        let minute = try #require(WindowSpecification(size: 60_000, slide: 60_000))
        policy = try #require(WindowPolicy(specifications: [minute], lateness: 120_000))
    }

    private func reading(
        _ number: Int64, _ temperature: Double? = 20, at seconds: Int64? = nil, stream: UInt64 = 1,
        sensor: String = "s", co2: Double? = nil, quality: TimeQuality = .synced, interval: Int64 = 1000
    ) throws -> Reading {
        Reading(
            gatewayID: Identifier(constant: "g"), sensorID: try #require(Identifier(sensor)),
            streamID: StreamID(bits: stream), sequence: number,
            eventTime: Timestamp(milliseconds: start.milliseconds + (seconds ?? number) * 1000),
            timeQuality: quality, intervalMilliseconds: interval,
            values: [.temperature: temperature, .co2: co2])
    }

    private func batch(_ messages: [[UInt8]]) throws -> ReadingBatch {
        try ReadingBatch(decoding: messages, from: offset, start: start, connection)
    }

    /// Writes a batch as the writer does: conflicts go to the rejected topic, then the batch is tried again.
    @discardableResult
    private func write(_ messages: [[UInt8]], rules: AlertRules = AlertRules()) throws -> BatchSummary {
        let batch = try batch(messages)
        while true {
            do {
                var transaction = BatchTransaction(
                    connection: connection, topic: "t", policy: policy, rules: rules,
                    now: Timestamp(milliseconds: start.milliseconds + offset * 1000), updateInterval: 0)
                transaction.announced = announced
                let summary = try transaction.write(batch, cache: &cache)
                offset += Int64(messages.count)
                return summary
            } catch let found as UnannouncedConflicts {
                cache = [:]
                sent += found.conflicts
                announced.formUnion(found.conflicts.map(\.ownName))
            }
        }
    }

    @discardableResult
    private func write(_ readings: [Reading], rules: AlertRules = AlertRules()) throws -> BatchSummary {
        try write(readings.map { $0.encoded() }, rules: rules)
    }

    private func text(_ sql: String) throws -> String {
        try connection.query("SELECT coalesce((\(sql))::text, 'null')").value(0, 0)
    }

    private func verify() throws -> Certificate {
        try Verification(connection: connection, windows: policy.specifications).run()
    }

    /// Each way in which a second reading can be the same one or another one, in the batch of the first and after it.
    @Test(arguments: [false, true])
    func aSecondReadingIsADuplicateOrAConflict(inOneBatch: Bool) throws {
        let first = try (1...9).map { try reading($0) }
        let second = [
            // The same, and what an older program did not know of it.
            try reading(1), try reading(2, co2: 400), try reading(3, nil),
            // Intervals, faults and places are no quantities.
            try reading(4, interval: 2000),
            // Another value, sensor, time, and a time that a copy of the file may have estimated otherwise.
            try reading(5, 20.000000000000004), try reading(6, sensor: "other"), try reading(7, at: 8),
            try reading(8, at: 100, quality: .estimated), try reading(9, 21, at: 9),
        ]
        var summary: BatchSummary
        if inOneBatch {
            summary = try write(first + second)
        } else {
            try write(first)
            summary = try write(second)
        }
        #expect(summary.duplicates == 5 && summary.conflicts == 4)
        #expect(summary.rejectedByReason == [.sequenceConflict: 4])
        #expect(sent.map(\.sequence) == [5, 6, 7, 9])
        #expect(try text("SELECT string_agg(seq::text, ',' ORDER BY seq) FROM sensor_data") == "1,2,3,4,5,6,7,8,9")
        #expect(try text("SELECT string_agg(seq::text, ',' ORDER BY seq) FROM sequence_conflict") == "5,6,7,9")
        let certificate = try verify()
        #expect(!certificate.isGood && certificate.conflicts == 4 && certificate.openConflicts == 4)
        #expect(certificate.mismatches.isEmpty && "\(certificate)".contains("redrive --reason sequence_conflict"))
        // Again, by a processor that has nothing in memory: nothing new, and the rejected topic has them.
        cache = [:]
        announced = []
        summary = try write(second)
        #expect(summary.duplicates == 5 && summary.conflicts == 4 && sent.count == 4)
        #expect(summary.rejected == 0 && summary.rejectedByReason.isEmpty, "nothing went to the rejected topic")
        #expect(try text("SELECT count(*) FROM sequence_conflict") == "4")
    }

    @Test func whatIsOlderThanTheRetentionIsADuplicate() throws {
        try write([reading(1), reading(2, at: 100)])
        try connection.execute(
            "UPDATE retention SET readings_since = '2026-11-24T00:00:50Z'; DELETE FROM sensor_data WHERE seq = 1")
        cache = [:]
        let summary = try write([reading(1, 99), reading(2, 99, at: 49), reading(2, 99, at: 51)])
        #expect(
            summary.duplicates == 2 && summary.conflicts == 1 && sent.map(\.eventTime) == [start.milliseconds + 51_000])
    }

    /// Numbers that only differ in their sign of zero are equal, and so are those of older releases without a quantity.
    @Test func zeroIsZero() throws {
        try write([reading(1, 0.0), reading(2, nil, co2: nil)])
        #expect(try write([reading(1, -0.0), reading(2, 5, co2: 7)]).duplicates == 2)
        let plus = SequenceConflict.ownStream(
            gatewayID: "g", streamID: StreamID(bits: 1), sequence: 1, sensorID: "s", eventTime: 0,
            values: [.temperature: 0.0])
        let minus = SequenceConflict.ownStream(
            gatewayID: "g", streamID: StreamID(bits: 1), sequence: 1, sensorID: "s", eventTime: 0,
            values: [.temperature: -0.0])
        #expect(plus == minus)
    }

    /// What redrive sends: a report, and the reading under the stream that was made for it.
    private func redriven(_ conflict: SequenceConflict, _ reading: Reading) throws -> [[UInt8]] {
        var own = reading
        (own.streamID, own.sequence) = (conflict.ownStream, SequenceConflict.ownSequence)
        let report = GatewayReport(
            gatewayID: reading.gatewayID, streams: [.init(streamID: conflict.ownStream, first: 1, last: 1)])
        return report.encoded() + [own.encoded()]
    }

    @Test func aConflictIsSettledWhenItsRowIsThereHoweverOftenItComes() throws {
        var rules = AlertRules()
        rules.conflict = ConflictRule(severity: .critical)
        let alerts =
            "SELECT string_agg(concat_ws(' ', kind, severity, worst_value, closed_at IS NOT NULL), ', ' ORDER BY id) FROM alert"
        let others = [try reading(1, 30), try reading(2, 40)]
        try write([reading(1), reading(2)], rules: rules)
        #expect(try write([others[0]], rules: rules).alertsOpened == 1)
        cache = [:]
        #expect(try write([others[1], others[0]], rules: rules).alertsOpened == 0)
        #expect(try text(alerts) == "conflict critical 2 f")
        #expect(sent.count == 2)
        // Its report alone makes nothing of it.
        try write(Array(try redriven(sent[0], others[0]).prefix(1)), rules: rules)
        #expect(try verify().openConflicts == 2)
        for _ in 1...2 {
            cache = [:]
            try write(try redriven(sent[0], others[0]) + [others[0].encoded()], rules: rules)
        }
        #expect(try verify().openConflicts == 1)
        #expect(try text(alerts) == "conflict critical 2 f")
        #expect(try write(try redriven(sent[1], others[1]), rules: rules).alertsClosed == 1)
        #expect(try text(alerts) == "conflict critical 2 t" && text("SELECT count(*) FROM alert_state") == "0")
        #expect(
            try text("SELECT string_agg(temperature::text, ',' ORDER BY temperature) FROM sensor_data") == "20,20,30,40"
        )
        let certificate = try verify()
        #expect(certificate.isGood && certificate.conflicts == 2 && certificate.openConflicts == 0, "\(certificate)")
        // What is said to be settled and is not is found.
        try connection.execute("DELETE FROM stream_progress WHERE stream_id = '\(sent[0].ownStream)'")
        #expect(try verify().mismatches.contains { $0.contains("are said to be settled") })
    }

    /// The row may be there before the table knows of the conflict: redrive read the topic while the batch was tried again.
    @Test func aConflictWhoseRowIsThereAlreadyIsSettledAtOnce() throws {
        try write([reading(1)])
        let other = try reading(1, 30)
        let conflict = try #require(
            batch([other.encoded()]).rows.first.map { SequenceConflict($0, of: try batch([other.encoded()])) })
        try write(try redriven(conflict, other))
        #expect(try write([other]).conflicts == 1)
        #expect(try text("SELECT settled_at IS NOT NULL FROM sequence_conflict") == "true")
        #expect(try verify().isGood)
    }

    /// The look-up of 2,000 candidates reads their rows and no others, by the index.
    @Test func candidatesAreFoundByTheIndexInOneQuery() throws {
        try connection.execute("SET track_functions = 'none'")
        let readings = try (1...4000).map { try reading(Int64($0)) }
        try write(readings)
        try connection.execute("ANALYZE sensor_data")
        let again = try batch(readings[0..<2000].map { $0.encoded() })
        let table = ConflictTable(connection: connection)
        let reads = """
            SELECT coalesce(sum(pg_stat_get_xact_tuples_returned(relid)), 0)::int8
            FROM pg_partition_tree('sensor_data') WHERE isleaf
            """
        try connection.transaction {
            let before = try connection.query(reads).value(0, 0, as: Int64.self)
            #expect(try table.different(Array(0..<2000), of: again).isEmpty)
            let after = try connection.query(reads).value(0, 0, as: Int64.self)
            #expect(after == before, "rows were read without the index")
        }
    }
}
