import Alerting
import Foundation
import PostgresClient
import Readings
import ReadingDecoding
import Testing
import Windowing

@testable import ProcessorCore

private let server = ProcessInfo.processInfo.environment["VIGIE_POSTGRES"]

/// The transaction of a batch against a real PostgreSQL, each test in a schema of its own.
@Suite(.enabled(if: server != nil, "VIGIE_POSTGRES names no PostgreSQL: run `make test`"))
struct DatabaseTests {
    private let connection: PostgresConnection
    private let policy: WindowPolicy
    private let start = Timestamp(milliseconds: 1_795_478_400_000)  // 2026-11-24T00:00:00Z

    init() throws {
        connection = try makeDatabase(partitions: 4)
        let minute = try #require(WindowSpecification(size: 60_000, slide: 60_000))
        policy = try #require(WindowPolicy(specifications: [minute], lateness: 120_000))
    }

    /// A transaction of a processor that has read everything since long ago.
    private func transaction(at seconds: Int64 = 0) -> BatchTransaction {
        let now = start.milliseconds + seconds * 1000
        return BatchTransaction(
            connection: connection, topic: "t", policy: policy, rules: AlertRules(), now: Timestamp(milliseconds: now),
            updateInterval: 0, caughtUp: CaughtUpTracker(stretches: [0: .init(since: 0, through: now)]))
    }

    /// A batch of one partition: `(seq, seconds after start)` of one stream.
    private func batch(
        _ readings: [(Int64, Int64)], partition: Int32 = 0, from offset: Int64, stream: UInt64 = 1,
        sensor: String = "s", co2: Double? = 500, values: Values? = nil
    ) throws -> ReadingBatch {
        var batch = ReadingBatch()
        let decoder = ReadingDecoder()
        for (index, reading) in readings.enumerated() {
            let value = Reading(
                gatewayID: try #require(Identifier("g")), sensorID: try #require(Identifier(sensor)),
                streamID: StreamID(bits: stream), sequence: reading.0,
                eventTime: Timestamp(milliseconds: start.milliseconds + reading.1 * 1000), intervalMilliseconds: 10_000,
                values: values ?? [.temperature: Double(reading.0), .co2: co2])
            let now = Timestamp(milliseconds: start.milliseconds + 86_400_000)
            try value.encoded().withUnsafeBytes {
                batch.append(try decoder.decode($0, now: now), partition: partition, offset: offset + Int64(index))
            }
        }
        batch.count(
            messages: readings.count, partition: partition, through: offset + Int64(readings.count), from: offset)
        var days = DayPartitions()
        try days.prepare(for: batch.rows, now: start, connection)
        return batch
    }

    @Test func gatewaysOfPartitionsThatAreGoneBelongToTheFirstOne() throws {
        let table = GatewayTable(connection: connection)
        let partitions: [Int32] = [-1, 0, 1, 2, 9]
        try table.insert(partitions.map { GatewayTable.Use(gatewayID: "g\($0)", partition: $0) })
        #expect(try table.moveToFirstPartition(beyond: 2) == ["g-1", "g2", "g9"])
        #expect(try table.moveToFirstPartition(beyond: 2) == [])
        #expect(try table.gateways(of: [0]) == ["g-1", "g0", "g2", "g9"])
        #expect(try table.gateways(of: [1]) == ["g1"])
    }

    private func text(_ sql: String) throws -> String {
        try connection.query("SELECT coalesce((\(sql))::text, 'null')").value(0, 0)
    }

    @Test func aReadingBecomesOneRowHoweverOftenItComes() throws {
        var cache: [String: GatewayState] = [:]
        let first = try transaction().write(batch([(1, 0), (2, 10), (2, 10), (1, 0)], from: 0), cache: &cache)
        #expect(first.rows == 2 && first.duplicates == 2 && first.missing == 0)
        let again = try transaction().write(batch([(1, 0), (2, 10), (3, 20)], from: 4), cache: &cache)
        #expect(again.rows == 1 && again.duplicates == 2)
        #expect(try text("SELECT string_agg(seq::text, ',' ORDER BY seq) FROM sensor_data") == "1,2,3")
        #expect(try text("SELECT next_offset FROM consumed_offset WHERE kafka_partition = 0") == "7")
        #expect(try Verification(connection: connection, windows: policy.specifications).run().isGood)
    }

    /// Each in its columns, over all ways on which windows are written: new, again, and computed from the rows.
    @Test func everyQuantityIsStoredAndSummarised() throws {
        var cache: [String: GatewayState] = [:]
        func write(_ sequence: Int64, at seconds: Int64, add: Double) throws {
            var values = Values()
            for (index, quantity) in Quantity.all.enumerated() { values[quantity] = Double(10 + index) + add }
            _ = try transaction().write(
                batch([(sequence, seconds)], from: sequence - 1, values: values), cache: &cache)
        }
        try write(1, at: 50, add: 0)
        try write(2, at: 55, add: 1)
        try write(3, at: 400, add: 2)
        // Late, for the window that is final.
        try write(4, at: 30, add: 5)
        for (index, quantity) in Quantity.all.enumerated() {
            let (name, base) = (quantity.name, 10 + index)
            #expect(
                try text("SELECT string_agg(\(name)::text, ' ' ORDER BY seq) FROM sensor_data")
                    == "\(base) \(base + 1) \(base + 2) \(base + 5)")
            #expect(try text("SELECT \(name) FROM sensor") == "\(base + 2)")
            guard quantity.isAggregated else { continue }
            let statistics = "concat_ws(' ', \(name)_avg, \(name)_min, \(name)_max)"
            #expect(
                try text("SELECT \(statistics) FROM sensor_data_agg WHERE is_final")
                    == "\(base + 2) \(base) \(base + 5)")
        }
        #expect(try text("SELECT quantities FROM sensor") == "\(QuantitySet.aggregated.rawValue)")
        #expect(try Verification(connection: connection, windows: policy.specifications).run().isGood)
        cache = [:]
        try write(5, at: 401, add: 3)
        #expect(try text("SELECT count(*) FROM sensor_data WHERE status = 'ok'") == "5", "its quantities are known")
    }

    /// Its first and its newest reading by event time, of two at one time the one that came last; and, by the clock, when
    /// anything came.
    @Test func aSensorsRowIsOfItsReadingsInWhateverOrder() throws {
        var cache: [String: GatewayState] = [:]
        _ = try transaction(at: 100).write(batch([(3, 30), (1, 10), (2, 30)], from: 0), cache: &cache)
        _ = try transaction(at: 200).write(batch([(4, 20)], from: 3), cache: &cache)
        let facts = """
            SELECT concat_ws(' ', first_event_time - start, last_event_time - start, last_arrival - start, temperature)
            FROM sensor, to_timestamp(\(start.milliseconds / 1000)) start
            """
        #expect(try text(facts) == "00:00:10 00:00:30 00:03:20 2")
    }

    @Test func aHoleIsRecordedShrinksAndCloses() throws {
        var cache: [String: GatewayState] = [:]
        #expect(try transaction().write(batch([(1, 0), (6, 50)], from: 0), cache: &cache).missing == 4)
        let holes = "SELECT string_agg(first_seq || '-' || last_seq, ',' ORDER BY first_seq) FROM loss"
        #expect(try text(holes) == "2-5")
        // From another partition, as after partitions were added.
        #expect(try transaction().write(batch([(4, 30)], partition: 1, from: 0), cache: &cache).missing == -1)
        #expect(try text(holes) == "2-3,5-5")
        // By a processor that has nothing in memory.
        cache = [:]
        let rest = try transaction().write(batch([(2, 10), (3, 20), (5, 40), (4, 30)], from: 2), cache: &cache)
        #expect(rest.missing == -3 && rest.duplicates == 1)
        #expect(try text(holes) == "null")
        #expect(try text("SELECT lost FROM stream_progress") == "0")
    }

    @Test func aStaleOwnerWritesNothing() throws {
        var (mine, other): ([String: GatewayState], [String: GatewayState]) = ([:], [:])
        _ = try transaction().write(batch([(1, 0)], from: 0), cache: &mine)
        _ = try transaction().write(batch([(2, 10)], from: 1), cache: &other)
        #expect(throws: StaleOffsets.self) {
            try transaction().write(batch([(2, 10), (3, 20)], from: 1), cache: &mine)
        }
        #expect(try text("SELECT count(*) FROM sensor_data") == "2")
    }

    @Test func aCopyInMemoryThatIsOutOfDateIsNoticed() throws {
        var (mine, other): ([String: GatewayState], [String: GatewayState]) = ([:], [:])
        _ = try transaction().write(batch([(1, 0)], from: 0), cache: &mine)
        // Two processors, two partitions, one stream: each knows what the other has admitted.
        _ = try transaction().write(batch([(2, 10), (3, 20)], partition: 1, from: 0), cache: &other)
        let summary = try transaction().write(batch([(3, 20), (4, 30)], from: 1), cache: &mine)
        #expect(summary.rows == 1 && summary.duplicates == 1 && summary.missing == 0)
        #expect(try text("SELECT reading_count FROM sensor_data_agg") != "4", "no batch waits for panes")
        #expect(try Verification(connection: connection, windows: policy.specifications).run().isGood)
        _ = try transaction().onProcessingTime(["g"], idleTimeout: 60_000, cache: &mine)
        #expect(try text("SELECT reading_count FROM sensor_data_agg") == "4")
        #expect(try Verification(connection: connection, windows: policy.specifications).run().isGood)
    }

    /// As when a standby takes over that has not received the last commits.
    @Test func whatTheDatabaseHasForgottenIsNotTakenFromMemory() throws {
        var cache: [String: GatewayState] = [:]
        _ = try transaction().write(batch([(1, 0), (2, 10)], from: 0), cache: &cache)
        try connection.execute(
            """
            TRUNCATE sensor_data, sensor_data_agg, sensor, stream_progress, gateway;
            UPDATE consumed_offset SET next_offset = 0
            """)
        #expect(try transaction().onProcessingTime(["g"], idleTimeout: 0, cache: &cache).windows == 0)
        #expect(cache.isEmpty)
        let summary = try transaction().write(batch([(1, 0), (2, 10), (3, 20)], from: 0), cache: &cache)
        #expect(summary.rows == 3 && summary.duplicates == 0)
        #expect(try Verification(connection: connection, windows: policy.specifications).run().isGood)
    }

    @Test func aLateReadingComputesItsFinalWindowAgain() throws {
        var cache: [String: GatewayState] = [:]
        _ = try transaction().write(batch([(1, 0), (2, 300)], from: 0), cache: &cache)
        let window =
            "SELECT reading_count || ' ' || is_final || ' ' || revision || ' ' || late_count || ' ' || "
            + "temperature_avg FROM sensor_data_agg ORDER BY window_start LIMIT 1"
        #expect(try text(window) == "1 true 0 0 1")
        let late = try transaction(at: 1).write(batch([(3, 10)], from: 2), cache: &cache)
        #expect(late.late == 1)
        #expect(try text(window) == "2 true 1 1 2")
        #expect(try text("SELECT late FROM sensor_data WHERE seq = 3") == "true")
        #expect(try Verification(connection: connection, windows: policy.specifications).run().isGood)
    }

    /// Two processors write for one gateway, and the one whose clock is behind commits last.
    @Test func aFinalWindowIsComparedWithAllItsRowsWhateverTheClocksSaid() throws {
        var cache: [String: GatewayState] = [:]
        _ = try transaction(at: 1).write(batch([(1, 0), (2, 300)], from: 0), cache: &cache)
        _ = try transaction(at: 0).write(batch([(3, 10)], from: 2), cache: &cache)
        let newer = "SELECT count(*) FROM sensor_data JOIN sensor_data_agg w ON ingested_at > w.updated_at"
        #expect(try text(newer) != "0")
        #expect(try Verification(connection: connection, windows: policy.specifications).run().isGood)
        try connection.execute("DELETE FROM sensor_data WHERE seq = 1")
        let certificate = try Verification(connection: connection, windows: policy.specifications).run()
        #expect(certificate.mismatches.contains { $0.contains("windows with a wrong number of readings") })
    }

    @Test func aLateReadingWhoseWindowIsHeldBackComputesItLater() throws {
        var cache: [String: GatewayState] = [:]
        _ = try transaction().write(batch([(1, 0), (2, 300)], from: 0), cache: &cache)
        try connection.execute("ALTER TABLE sensor_data_agg ADD CONSTRAINT few CHECK (reading_count < 2)")
        var holding = transaction(at: 1)
        holding.held = ["g"]
        _ = try holding.write(batch([(3, 10), (4, 310)], from: 2), cache: &cache)
        #expect(try text("SELECT count(*) FROM sensor_data") == "4")
        #expect(try text("SELECT max(reading_count) FROM sensor_data_agg") == "1")
        // As the writer does after a batch that held windows back.
        cache = [:]
        try connection.execute("ALTER TABLE sensor_data_agg DROP CONSTRAINT few")
        _ = try transaction(at: 2).write(batch([(5, 320)], from: 4), cache: &cache)
        _ = try transaction(at: 2).onProcessingTime(["g"], idleTimeout: 60_000, cache: &cache)
        let windows =
            "SELECT string_agg(reading_count || ' ' || is_final || ' ' || revision, ', ' ORDER BY window_start)"
        #expect(try text("\(windows) FROM sensor_data_agg") == "2 true 1, 3 false 0")
        #expect(try Verification(connection: connection, windows: policy.specifications).run().isGood)
    }

    @Test func aRehearsalChecksEverythingAndChangesNothing() throws {
        var cache: [String: GatewayState] = [:]
        let batch = try batch([(1, 0)], from: 0)
        let summary = try connection.dryRun { try transaction().write(batch, cache: &cache) }
        #expect(summary.rows == 1)
        #expect(try text("SELECT count(*) FROM sensor_data") == "0")
        #expect(try text("SELECT next_offset FROM consumed_offset WHERE kafka_partition = 0") == "0")
        cache = [:]
        #expect(try transaction().write(batch, cache: &cache).rows == 1)
    }

    @Test func aLateReadingLeavesItsFinalWindowAloneIfThatIsThePolicy() throws {
        var cache: [String: GatewayState] = [:]
        var transaction = transaction()
        transaction.latePolicy = .drop
        _ = try transaction.write(batch([(1, 0), (2, 300)], from: 0), cache: &cache)
        var later = self.transaction(at: 1)
        later.latePolicy = .drop
        let summary = try later.write(batch([(3, 10), (4, -600)], from: 2), cache: &cache)
        #expect(
            try text("SELECT string_agg(in_windows::text, ' ' ORDER BY seq) FROM sensor_data")
                == "true true false false")
        #expect(summary.late == 2 && summary.rows == 2)
        #expect(
            try text(
                "SELECT string_agg(reading_count || ' ' || revision, ',' ORDER BY window_start) FROM sensor_data_agg")
                == "1 0,1 0")
        #expect(try Verification(connection: connection, windows: policy.specifications).run().isGood)
        // History keeps what was true then, also for a processor that takes over with the other policy.
        cache = [:]
        _ = try self.transaction(at: 2).write(batch([(5, 310), (6, 20)], from: 4), cache: &cache)
        #expect(try text("SELECT in_windows FROM sensor_data WHERE seq = 6") == "true")
        #expect(try Verification(connection: connection, windows: policy.specifications).run().isGood)
    }

    @Test func silenceMakesWindowsFinalByTheClock() throws {
        var cache: [String: GatewayState] = [:]
        _ = try transaction().write(batch([(1, 0)], from: 0), cache: &cache)
        #expect(try text("SELECT is_final FROM sensor_data_agg") == "false")
        _ = try transaction(at: 179).onProcessingTime(["g"], idleTimeout: 60_000, cache: &cache)
        #expect(try text("SELECT is_final FROM sensor_data_agg") == "false", "a minute and the lateness are not over")
        // By a processor that has nothing in memory.
        cache = [:]
        _ = try transaction(at: 180).onProcessingTime(["g"], idleTimeout: 60_000, cache: &cache)
        #expect(try text("SELECT is_final FROM sensor_data_agg") == "true")
        #expect(try Verification(connection: connection, windows: policy.specifications).run().isGood)
    }

    /// Two workers of one gateway, as after partitions were added: one writes open windows as time passes, the other
    /// must know that their rows are there.
    @Test func windowsThatTimeMadeDueAreKnownToOthers() throws {
        var (mine, other): ([String: GatewayState], [String: GatewayState]) = ([:], [:])
        func patient() -> BatchTransaction {
            BatchTransaction(
                connection: connection, topic: "t", policy: policy, rules: AlertRules(), now: start,
                updateInterval: 1_000_000)
        }
        _ = try patient().write(batch([(1, 0)], from: 0), cache: &mine)
        _ = try patient().write(batch([(2, 70), (3, 71)], from: 1), cache: &mine)
        #expect(try text("SELECT count(*) FROM sensor_data_agg") == "1", "it is not time yet")
        _ = try transaction(at: 5).onProcessingTime(["g"], idleTimeout: 60_000, cache: &other)
        _ = try transaction(at: 6).write(batch([(4, 400)], from: 3), cache: &mine)
        _ = try transaction(at: 6).onProcessingTime(["g"], idleTimeout: 60_000, cache: &mine)
        #expect(
            try text("SELECT string_agg(reading_count::text, ',' ORDER BY window_start) FROM sensor_data_agg")
                == "1,2,1")
        #expect(try Verification(connection: connection, windows: policy.specifications).run().isGood)
    }

    @Test func aRestartTakesUpOpenWindows() throws {
        var cache: [String: GatewayState] = [:]
        _ = try transaction().write(batch([(1, 0), (2, 20), (3, 70)], from: 0), cache: &cache)
        cache = [:]
        _ = try transaction(at: 1).write(batch([(4, 40), (5, 400)], from: 3), cache: &cache)
        #expect(
            try Verification(connection: connection, windows: policy.specifications).run().isGood,
            "open windows may be behind")
        _ = try transaction(at: 1).onProcessingTime(["g"], idleTimeout: 60_000, cache: &cache)
        #expect(
            try text("SELECT string_agg(reading_count::text, ',' ORDER BY window_start) FROM sensor_data_agg")
                == "3,1,1")
        #expect(try text("SELECT quantities FROM sensor") == "5")
        #expect(try Verification(connection: connection, windows: policy.specifications).run().isGood)
    }

    @Test func aMissingQuantityIsAFailureAfterItWasKnown() throws {
        var cache: [String: GatewayState] = [:]
        _ = try transaction().write(batch([(1, 0)], from: 0), cache: &cache)
        _ = try transaction().write(batch([(2, 10)], from: 1, co2: nil), cache: &cache)
        #expect(try text("SELECT string_agg(status, ',' ORDER BY seq) FROM sensor_data") == "ok,failure")
    }

    @Test(arguments: [
        "UPDATE sensor_data_agg SET temperature_avg = temperature_avg + 0.001",
        "UPDATE sensor_data_agg SET reading_count = reading_count + 1",
        "UPDATE sensor_data_agg SET is_final = NOT is_final",
        "DELETE FROM sensor_data_agg WHERE is_final",
        "DELETE FROM sensor_data WHERE seq = 1",
        "INSERT INTO sensor_data SELECT * FROM sensor_data WHERE seq = 2",
        "UPDATE stream_progress SET last_seq = last_seq + 1",
        "INSERT INTO loss SELECT gateway_id, stream_id, 1, 1, null, null, now() FROM stream_progress",
    ])
    func verifySeesWhatDoesNotAgree(damage: String) throws {
        var cache: [String: GatewayState] = [:]
        _ = try transaction().write(batch([(1, 0), (2, 300)], from: 0), cache: &cache)
        #expect(try Verification(connection: connection, windows: policy.specifications).run().isGood)
        try connection.execute(damage)
        #expect(try !Verification(connection: connection, windows: policy.specifications).run().isGood)
    }

    @Test func migratingTwiceChangesNothingAndANewerSchemaIsRefused() throws {
        #expect(try Migrator.migrate(connection).isEmpty)
        try connection.execute("INSERT INTO schema_migration VALUES (\(Migration.latest + 1), 'from the future')")
        #expect(throws: SchemaTooNew.self) { try Migrator.migrate(connection) }
    }
}
