import Alerting
import Foundation
import PostgresClient
import ReadingDecoding
import Readings
import Testing
import Windowing

@testable import ProcessorCore

private let server = ProcessInfo.processInfo.environment["VIGIE_POSTGRES"]

/// Alerts in the transaction of their readings, against a real PostgreSQL, each test in a schema of its own.
@Suite(.enabled(if: server != nil, "VIGIE_POSTGRES names no PostgreSQL: run `make test`"))
final class AlertDatabaseTests {
    private let connection: PostgresConnection
    private let policy: WindowPolicy
    private let start = Timestamp(milliseconds: 1_795_478_400_000)  // 2026-11-24T00:00:00Z
    private var rules = AlertRules()
    private var offset: Int64 = 0
    private var cache: [String: GatewayState] = [:]

    init() throws {
        connection = try makeDatabase(partitions: 1)
        let minute = try #require(WindowSpecification(size: 60_000, slide: 60_000))
        policy = try #require(WindowPolicy(specifications: [minute], lateness: 120_000))
        rules[.co2] = QuantityRule(
            warning: Bounds(above: 1000), critical: Bounds(above: 2000), hysteresis: 50, minimumDuration: 20_000)
        rules.fault = FaultRule()
        rules.silence = SilenceRule(intervals: 3, least: 1000)
        rules.loss = LossRule(minimumDuration: 30_000, clearAfter: 600_000)
    }

    private func transaction(at seconds: Int64, caughtUp: CaughtUpTracker = CaughtUpTracker()) -> BatchTransaction {
        BatchTransaction(
            connection: connection, topic: "t", policy: policy, rules: rules,
            now: Timestamp(milliseconds: start.milliseconds + seconds * 1000), updateInterval: 0, caughtUp: caughtUp,
            notifies: true)
    }

    /// Writes readings `(seq, seconds, co2, fault)` in one transaction.
    @discardableResult
    private func write(_ readings: [(Int64, Int64, Double?, String?)], at seconds: Int64 = 0) throws -> BatchSummary {
        var batch = ReadingBatch()
        let decoder = ReadingDecoder()
        for (index, reading) in readings.enumerated() {
            let faults = try reading.3.map { fault in
                let parts = fault.split(separator: ":").map(String.init)
                return [Fault(chip: try #require(Identifier(parts[0])), kind: try #require(Identifier(parts[1])))]
            }
            let value = Reading(
                gatewayID: try #require(Identifier("g")), sensorID: try #require(Identifier("s")),
                streamID: StreamID(bits: 1), sequence: reading.0,
                eventTime: Timestamp(milliseconds: start.milliseconds + reading.1 * 1000), intervalMilliseconds: 10_000,
                values: [.co2: reading.2], faults: faults ?? [])
            let now = Timestamp(milliseconds: start.milliseconds + 86_400_000)
            try value.encoded().withUnsafeBytes {
                batch.append(try decoder.decode($0, now: now), partition: 0, offset: offset + Int64(index))
            }
        }
        batch.count(messages: readings.count, partition: 0, through: offset + Int64(readings.count), from: offset)
        var days = DayPartitions()
        try days.prepare(for: batch.rows, now: start, connection)
        let summary = try transaction(at: seconds).write(batch, cache: &cache)
        offset += Int64(readings.count)
        return summary
    }

    private func text(_ sql: String) throws -> String {
        try connection.query("SELECT coalesce((\(sql))::text, 'null')").value(0, 0)
    }

    /// `kind variable severity opened-escalated-closed worst`, in seconds after the start.
    private func alerts() throws -> String {
        let time = { (column: String) in
            "coalesce((extract(epoch FROM \(column)) - \(self.start.milliseconds / 1000))::int::text, '')"
        }
        return try text(
            """
            SELECT string_agg(concat(kind, ' ', variable, ' ', severity, ' ', \(time("opened_at")), '-',
                \(time("escalated_at")), '-', \(time("closed_at")), ' ', worst_value), ', ' ORDER BY id) FROM alert
            """)
    }

    private func told() throws -> String {
        try text("SELECT string_agg(alert_id || ' ' || event, ', ' ORDER BY id) FROM alert_notification")
    }

    @Test func anAlertLivesAcrossTakeoversAndOpensAndClosesOnce() throws {
        for (seq, reading) in [(0, 1100.0), (10, 2100), (20, 2200), (30, 2300), (40, 980), (50, 900), (60, 900)]
            .enumerated()
        {
            try write([(Int64(seq) + 1, Int64(reading.0), reading.1, nil)])
            // Each reading by a processor that has nothing in memory.
            cache = [:]
        }
        #expect(try alerts() == "threshold co2 critical 20-30-50 2300")
        #expect(try told() == "1 opened, 1 escalated, 1 closed")
        #expect(try text("SELECT count(*) FROM alert_state") == "0")
        #expect(try Verification(connection: connection, windows: policy.specifications).run().isGood)
    }

    @Test func theWorstValueIsKeptWhileNothingElseHappens() throws {
        try write([(1, 0, 1100, nil), (2, 20, 1100, nil)])
        try write([(3, 30, 1500, nil)])
        #expect(try alerts() == "threshold co2 warning 20-- 1500")
        cache = [:]
        try write([(4, 40, 1200, nil), (5, 50, 900, nil)])
        #expect(try alerts() == "threshold co2 warning 20--50 1500")
    }

    @Test func oneBatchMayHoldManyLives() throws {
        let values = [1100.0, 1100, 1100, 900, 1100, 1100, 1100, 900, 2100, 2100, 2100]
        let summary = try write(values.enumerated().map { (Int64($0) + 1, Int64($0) * 10, $1, nil) })
        #expect(summary.alertsOpened == 3 && summary.alertsClosed == 2)
        #expect(
            try alerts()
                == "threshold co2 warning 20--30 1100, threshold co2 warning 60--70 1100, threshold co2 critical 100-- 2100"
        )
        #expect(try told() == "1 opened, 1 closed, 2 opened, 2 closed, 3 opened")
        cache = [:]
        try write([(12, 110, 2500, nil), (13, 120, 100, nil)])
        #expect(try alerts().hasSuffix("threshold co2 critical 100--120 2500"))
        #expect(try Verification(connection: connection, windows: policy.specifications).run().isGood)
    }

    @Test func readingsThatAreOlderThanTheNewestChangeNothing() throws {
        try write([(1, 100, 500, nil), (2, 0, 1100, nil), (3, 50, 1100, nil)])
        #expect(try alerts() == "null" && text("SELECT count(*) FROM alert_state") == "0")
        try write([(4, 110, 1100, nil), (5, 130, 1100, nil), (6, 105, 500, nil)])
        #expect(try alerts() == "threshold co2 warning 130-- 1100")
    }

    @Test func aTransactionThatFailsLeavesNoAlert() throws {
        try write([(1, 0, 1100, nil)])
        try connection.execute("UPDATE consumed_offset SET next_offset = 99")
        #expect(throws: StaleOffsets.self) { try write([(2, 20, 1100, nil)]) }
        cache = [:]
        try connection.execute("UPDATE consumed_offset SET next_offset = \(offset)")
        #expect(try alerts() == "null")
        try write([(2, 20, 1100, nil)])
        try write([(2, 20, 1100, nil), (3, 30, 1100, nil)])
        #expect(try alerts() == "threshold co2 warning 20-- 1100" && told() == "1 opened")
    }

    @Test func faultsOpenAndClose() throws {
        try write([(1, 0, 500, nil), (2, 10, nil, "scd41:crc"), (3, 20, nil, "scd41:crc")])
        cache = [:]
        #expect(try alerts() == "fault scd41 warning 10-- ")
        try write([(4, 30, 500, nil)])
        #expect(try alerts() == "fault scd41 warning 10--30 ")
        #expect(try text("SELECT string_agg(status, ',' ORDER BY seq) FROM sensor_data") == "ok,failure,failure,ok")
    }

    @Test func lossOpensWhenItStaysAndClosesWhenItIsFilled() throws {
        try write([(1, 0, 500, nil), (5, 40, 500, nil), (6, 60, 500, nil)])
        #expect(try alerts() == "null")
        cache = [:]
        try write([(7, 70, 500, nil)])
        cache = [:]
        try write([(3, 20, 500, nil)])
        #expect(try alerts() == "loss 0000000000000001 warning 70-- 3")
        cache = [:]
        try write([(2, 10, 500, nil), (4, 30, 500, nil)])
        #expect(try alerts() == "loss 0000000000000001 warning 70--70 3")
        try write([(9, 90, 500, nil), (10, 200, 500, nil)])
        cache = [:]
        try write([(11, 690, 500, nil)])
        #expect(try alerts() == "loss 0000000000000001 warning 70--70 3, loss 0000000000000001 warning 200--690 1")
        #expect(try text("SELECT lost FROM stream_progress") == "1", "history, and still known")
    }

    @Test func silenceIsCountedOnlyWhileTheProcessorIsUp() throws {
        var caughtUp = CaughtUpTracker()
        func look(_ seconds: Int64) throws {
            caughtUp.confirm(0, at: start.milliseconds + seconds * 1000)
            _ = try transaction(at: seconds, caughtUp: caughtUp)
                .onProcessingTime(["g"], idleTimeout: 1_000_000, cache: &cache)
        }
        try write([(1, 0, 500, nil)], at: 0)
        for seconds in stride(from: Int64(5), through: 20, by: 5) { try look(seconds) }
        #expect(try alerts() == "null")
        // Down for an hour.
        cache = [:]
        caughtUp = CaughtUpTracker()
        for seconds in stride(from: Int64(3600), through: 3625, by: 5) { try look(seconds) }
        #expect(try alerts() == "null", "the time of being down is nobody's silence")
        try look(3630)
        #expect(try alerts() == "silence  warning 3630-- ")
        cache = [:]
        caughtUp = CaughtUpTracker()
        for seconds in stride(from: Int64(4000), through: 4100, by: 5) { try look(seconds) }
        #expect(try told() == "1 opened", "it is known to be silent")
        cache = [:]
        try write([(2, 5, 500, nil)], at: 4105)
        #expect(try alerts() == "silence  warning 3630--4105 ")
        #expect(try Verification(connection: connection, windows: policy.specifications).run().isGood)
    }

    @Test func whatIsToldIsCompleteAndValid() throws {
        try write([(1, 0, 1100, nil), (2, 20, 1250.5, nil)])
        let payload = try text("SELECT payload FROM alert_notification")
        let object = try #require(try JSONSerialization.jsonObject(with: Data(payload.utf8)) as? [String: Any])
        #expect(object["event"] as? String == "opened" && object["alert_id"] as? Int == 1)
        #expect(object["gateway_id"] as? String == "g" && object["sensor_id"] as? String == "s")
        #expect(object["kind"] as? String == "threshold" && object["variable"] as? String == "co2")
        #expect(object["severity"] as? String == "warning" && object["detail"] as? String == "above 1000.0")
        #expect(object["time"] as? String == "2026-11-24T00:00:20.000Z")
        #expect(object["since"] as? String == "2026-11-24T00:00:00.000Z")
        #expect(object["value"] as? Double == 1250.5 && object["worst_value"] as? Double == 1250.5)
    }

    @Test(arguments: [
        "DELETE FROM alert_state",
        "UPDATE alert SET closed_at = now()",
        "DROP INDEX alert_open; INSERT INTO alert SELECT id + 1, gateway_id, sensor_id, kind, variable, severity, "
            + "pending_since, opened_at, escalated_at, closed_at, value, worst_value, detail, updated_at FROM alert",
    ])
    func verifySeesAlertsThatDoNotAgree(damage: String) throws {
        try write([(1, 0, 1100, nil), (2, 20, 1100, nil)])
        #expect(try Verification(connection: connection, windows: policy.specifications).run().isGood)
        try connection.execute(damage)
        #expect(try !Verification(connection: connection, windows: policy.specifications).run().isGood)
    }
}
