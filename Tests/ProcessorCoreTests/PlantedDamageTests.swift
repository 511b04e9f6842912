import Alerting
import Foundation
import PostgresClient
import ReadingDecoding
import Readings
import Testing
import Windowing

@testable import ProcessorCore

private let server = ProcessInfo.processInfo.environment["VIGIE_POSTGRES"]

/// What `verify` finds of damage to correct tables, on a real PostgreSQL: one database is filled once, and each damage is
/// planted in a transaction that is rolled back. What it cannot find is told with the reason.
@Suite(.enabled(if: server != nil, "VIGIE_POSTGRES names no PostgreSQL: run `make test`"))
struct PlantedDamageTests {
    private let connection: PostgresConnection
    private let policy: WindowPolicy
    private let start = Timestamp(milliseconds: 1_795_478_400_000)  // 2026-11-24T00:00:00Z

    init() throws {
        connection = try makeDatabase(partitions: 1)
        let specifications = [(60, 60), (120, 30), (600, 60)].compactMap {
            WindowSpecification(size: $0.0 * 1000, slide: $0.1 * 1000)
        }
        policy = try #require(WindowPolicy(specifications: specifications, lateness: 120_000))
    }

    // MARK: Correct tables

    private var rules: AlertRules {
        var rules = AlertRules()
        rules[.co2] = QuantityRule(warning: Bounds(above: 1000), hysteresis: 50)
        rules.fault = FaultRule()
        rules.loss = LossRule(minimumDuration: 0, clearAfter: 3_600_000)
        rules.conflict = ConflictRule()
        return rules
    }

    private func reading(
        _ number: Int64, of stream: UInt64, gateway: String, co2: Double = 500, at second: Int64? = nil
    )
        throws -> Reading
    {
        let fault = Fault(chip: Identifier(constant: "scd41"), kind: Identifier(constant: "crc"))
        return Reading(
            gatewayID: try #require(Identifier(gateway)),
            sensorID: try #require(Identifier(number.isMultiple(of: 3) ? "t" : "s")), streamID: StreamID(bits: stream),
            sequence: number,
            eventTime: Timestamp(milliseconds: start.milliseconds + (second ?? number * 10) * 1000),
            intervalMilliseconds: 10_000,
            values: [
                .temperature: 20 + Double(number % 7) / 10, .co2: number % 50 == 49 ? 1200 : co2,
                .batteryVoltage: 3 + Double(number % 5) / 100,
            ],
            faults: number % 40 == 7 ? [fault] : [], place: Place(latitude: 48, longitude: 2))
    }

    /// Readings of two gateways: holes, losses with reasons, late ones, alerts that are open and closed, a conflict that is
    /// settled, final windows of each slide and open ones.
    private func fill() throws {
        var messages: [[UInt8]] = []
        for number in Int64(1)...300 where !(101...105).contains(number) && !(201...210).contains(number) {
            messages.append(try reading(number, of: 1, gateway: "g").encoded())
            // Late ones, which fall into final windows.
            if number.isMultiple(of: 60) {
                messages.append(
                    try reading(number + 1000, of: 3, gateway: "h", at: (number - 50) * 10 + 3).encoded())
                messages.append(try reading(number / 60, of: 2, gateway: "h", at: number * 10).encoded())
            }
        }
        messages += GatewayReport(
            gatewayID: Identifier(constant: "g"), streams: [.init(streamID: StreamID(bits: 1), first: 1)],
            gaps: [.init(streamID: StreamID(bits: 1), reason: .thinned, ranges: [201...210])]
        ).encoded()
        messages += GatewayReport(
            gatewayID: Identifier(constant: "h"),
            streams: [
                .init(streamID: StreamID(bits: 2), first: 1, last: 7),
                .init(streamID: StreamID(bits: 3), first: 1000, last: 1300, previous: StreamID(bits: 2)),
            ]
        ).encoded()
        let other = try reading(20, of: 1, gateway: "g", co2: 700)
        let conflict = SequenceConflict(
            name: StreamName(gatewayID: "g", streamID: StreamID(bits: 1)), sequence: 20, sensorID: "s",
            eventTime: other.eventTime.milliseconds, values: other.values, partition: 0, offset: 0)
        var own = other
        (own.streamID, own.sequence) = (conflict.ownStream, SequenceConflict.ownSequence)
        messages.append(other.encoded())
        messages += GatewayReport(
            gatewayID: Identifier(constant: "g"), streams: [.init(streamID: own.streamID, first: 1, last: 1)]
        ).encoded()
        messages.append(own.encoded())
        messages.append(try reading(301, of: 1, gateway: "g").encoded())

        var cache: [String: GatewayState] = [:]
        for from in stride(from: 0, to: messages.count, by: 60) {
            let part = Array(messages[from..<min(from + 60, messages.count)])
            let batch = try batch(part, from: Int64(from))
            var transaction = transaction(at: Int64(from))
            transaction.announced = nil
            _ = try transaction.write(batch, cache: &cache)
        }
        _ = try transaction(at: 4000).onProcessingTime(["g", "h"], idleTimeout: 1_000_000_000, cache: &cache)
    }

    private func transaction(at seconds: Int64) -> BatchTransaction {
        let now = start.milliseconds + seconds * 1000
        return BatchTransaction(
            connection: connection, topic: "t", policy: policy, rules: rules, now: Timestamp(milliseconds: now),
            updateInterval: 0, caughtUp: CaughtUpTracker(stretches: [0: .init(since: 0, through: now)]))
    }

    private func batch(_ messages: [[UInt8]], from offset: Int64) throws -> ReadingBatch {
        try ReadingBatch(decoding: messages, from: offset, start: start, connection)
    }

    // MARK: Damage

    private struct Damage {
        var name: String
        var statements: String
        /// Why it cannot be found; nil: it is.
        var reason: String?

        init(_ name: String, _ statements: String, cannotBeFound reason: String? = nil) {
            self.name = name
            self.statements = statements
            self.reason = reason
        }
    }

    /// A reading of the sensor that gives most, in the middle of its windows, and not the newest.
    private static let middle = "gateway_id = 'g' AND stream_id = '0000000000000001' AND seq = 52"
    private static let nowhereElse = "nothing else says it"

    private static func update(_ table: String, _ change: String, where rows: String) -> String {
        "UPDATE \(table) SET \(change) WHERE \(rows)"
    }

    private static let rows: [Damage] = {
        func change(_ name: String, _ change: String, cannotBeFound reason: String? = nil) -> Damage {
            Damage("row: \(name)", update("sensor_data", change, where: middle), cannotBeFound: reason)
        }
        let copy = "INSERT INTO sensor_data SELECT * FROM sensor_data WHERE"
        return [
            Damage("row deleted", "DELETE FROM sensor_data WHERE \(middle)"),
            Damage("last row of a stream deleted", "DELETE FROM sensor_data WHERE gateway_id = 'g' AND seq = 301"),
            Damage("rows of a stream deleted", "DELETE FROM sensor_data WHERE stream_id = '0000000000000002'"),
            Damage("row doubled", "\(copy) \(middle)"),
            change("moved by an hour", "event_time = event_time + interval '1 hour'"),
            change("moved to another window", "event_time = event_time + interval '40 seconds'"),
            change(
                "moved by a millisecond", "event_time = event_time + interval '1 millisecond'",
                cannotBeFound: "its windows are the same, and \(nowhereElse)"),
            change("moved to another sensor", "sensor_id = 't'"),
            change("moved to a sensor that is not there", "sensor_id = 'u'"),
            change("moved to another gateway", "gateway_id = 'h'"),
            change("moved to another stream", "stream_id = '0000000000000002'"),
            change("moved to a number that is lost", "seq = 103"),
            change("moved beyond the end", "seq = 999"),
            change("value altered", "temperature = temperature + 0.0001"),
            change("value removed", "co2 = NULL"),
            change("status altered", "status = 'failure'"),
            change("late altered", "late = true"),
            change("interval altered", "interval_ms = 9999"),
            change("left out of its windows", "in_windows = false"),
            change("of a commit that was not made", "commit_number = 1000000"),
            change(
                "of an earlier commit", "commit_number = 1", cannotBeFound: "its windows are final, and \(nowhereElse)"),
            change("battery voltage altered", "battery_voltage = 9", cannotBeFound: "no window has it"),
            change("place altered", "latitude = 0", cannotBeFound: nowhereElse),
            change("faults altered", "faults = '{bme280:crc}'", cannotBeFound: nowhereElse),
            change("offset altered", "kafka_offset = 0", cannotBeFound: nowhereElse),
            change("time of ingestion altered", "ingested_at = now()", cannotBeFound: nowhereElse),
            Damage(
                "newest row's place altered", "UPDATE sensor_data SET latitude = 0 WHERE gateway_id = 'g' AND seq = 301"
            ),
        ]
    }()

    private static func windows(_ size: Int, _ slide: Int) -> [Damage] {
        func window(_ rows: String, last: Bool = false) -> String {
            """
            (gateway_id, sensor_id, window_size, window_start) = (SELECT gateway_id, sensor_id, window_size, window_start
                FROM sensor_data_agg WHERE gateway_id = 'g' AND sensor_id = 's'
                AND window_size = \(size) * interval '1 second' AND \(rows)
                ORDER BY window_start \(last ? "DESC" : "") OFFSET 0 LIMIT 1)
            """
        }
        // One that begins at no multiple of its size, where there is such a one.
        let inside = "is_final AND window_start > '2026-11-24T00:20:00Z'"
        let uneven =
            slide == size
            ? inside : "\(inside) AND date_bin(window_size, window_start, timestamptz 'epoch') <> window_start"
        let name = "window of \(size) s every \(slide) s"
        func change(_ what: String, _ change: String, cannotBeFound reason: String? = nil) -> Damage {
            Damage("\(name): \(what)", update("sensor_data_agg", change, where: window(uneven)), cannotBeFound: reason)
        }
        return [
            Damage("\(name) deleted", "DELETE FROM sensor_data_agg WHERE \(window(uneven))"),
            Damage("\(name), the first one, deleted", "DELETE FROM sensor_data_agg WHERE \(window("is_final"))"),
            Damage(
                "\(name), the last final one, deleted",
                "DELETE FROM sensor_data_agg WHERE \(window("is_final", last: true))"
            ),
            Damage(
                "\(name), an open one, deleted", "DELETE FROM sensor_data_agg WHERE \(window("NOT is_final"))",
                cannotBeFound: "an open window without a row is written soon; it is counted"),
            Damage(
                "all windows of \(size) s deleted",
                "DELETE FROM sensor_data_agg WHERE window_size = \(size) * interval '1 second'"),
            Damage(
                "\(name), an open one, altered",
                update("sensor_data_agg", "reading_count = reading_count + 1", where: window("NOT is_final"))),
            Damage(
                "\(name), an open one, said to hold less",
                update("sensor_data_agg", "commit_number = 0", where: window("NOT is_final"))),
            change("moved", "window_start = window_start + interval '1 millisecond'"),
            change("end altered", "window_end = window_end + interval '1 second'"),
            change("count altered", "reading_count = reading_count + 1"),
            change("count of a quantity altered", "co2_count = co2_count - 1"),
            change("average altered", "temperature_avg = temperature_avg + 0.000001"),
            change("average removed", "temperature_avg = NULL"),
            change("average invented", "pressure_avg = 1000"),
            change("minimum altered", "temperature_min = temperature_min - 0.0000001"),
            change("maximum altered", "co2_max = co2_max + 0.0000001"),
            change("deviation altered", "temperature_stddev = temperature_stddev + 0.001"),
            change("warnings altered", "warning_count = warning_count + 1"),
            change("failures altered", "failure_count = failure_count + 1"),
            change("late readings altered", "late_count = late_count + 1"),
            change("covered time altered", "covered_ms = covered_ms + 1"),
            change("coverage altered", "coverage = coverage - 0.01"),
            change("open again", "is_final = false"),
            change("revision altered", "revision = revision + 1", cannotBeFound: nowhereElse),
            change("time of writing altered", "updated_at = now()", cannotBeFound: nowhereElse),
        ]
    }

    private static let others: [Damage] = {
        let stream = "gateway_id = 'g' AND stream_id = '0000000000000001'"
        let tail = "DELETE FROM sensor_data WHERE gateway_id = 'g' AND seq IN (300, 301)"
        let lossOfTail = """
            \(tail); UPDATE stream_progress SET last_seq = 299, last_event_time = '2026-11-24T00:49:50Z' WHERE \(stream)
            """
        func change(
            _ table: String, _ name: String, _ change: String, where rows: String, cannotBeFound reason: String? = nil
        )
            -> Damage
        {
            Damage("\(table): \(name)", update(table, change, where: rows), cannotBeFound: reason)
        }
        return [
            change("stream_progress", "last number raised", "last_seq = last_seq + 1", where: stream),
            change("stream_progress", "last number lowered", "last_seq = last_seq - 1", where: stream),
            change("stream_progress", "first number altered", "first_seq = 2", where: stream),
            change("stream_progress", "losses altered", "lost = lost + 1", where: stream),
            change(
                "stream_progress", "last time altered", "last_event_time = last_event_time - interval '1 s'",
                where: stream),
            change("stream_progress", "end told beyond the last number", "end_seq = last_seq + 5", where: stream),
            change(
                "stream_progress", "end told below the last number", "end_seq = last_seq - 5",
                where: "stream_id = '0000000000000002'"),
            change(
                "stream_progress", "stream before it altered", "previous_stream_id = '000000000000000f'",
                where: "stream_id = '0000000000000003'", cannotBeFound: "only the gateway's report says it"),
            Damage("stream_progress: row deleted", "DELETE FROM stream_progress WHERE \(stream)"),
            Damage("stream without its tail", lossOfTail),
            Damage(
                "stream without its tail, sensor adjusted",
                """
                \(lossOfTail); UPDATE sensor SET last_event_time = (SELECT max(event_time) FROM sensor_data d
                    WHERE d.sensor_id = sensor.sensor_id AND d.gateway_id = 'g') WHERE gateway_id = 'g'
                """),
            Damage(
                "rows moved and said to have expired",
                "\(tail); INSERT INTO expired VALUES ('g', '0000000000000001', false, 2)"),
            Damage("expired readings invented", "INSERT INTO expired VALUES ('g', '0000000000000001', false, 2)"),

            change("consumed_offset", "set back", "next_offset = next_offset - 1", where: "kafka_partition = 0"),
            change(
                "consumed_offset", "advanced", "next_offset = next_offset + 1", where: "kafka_partition = 0",
                cannotBeFound:
                    "only the log knows; what it jumps over becomes holes, and one beyond the end of the log is told"),
            Damage("consumed_offset: row deleted", "DELETE FROM consumed_offset"),

            change(
                "sensor", "last time raised", "last_event_time = last_event_time + interval '1 s'",
                where: "gateway_id = 'g'"),
            change(
                "sensor", "last time lowered", "last_event_time = last_event_time - interval '1 s'",
                where: "gateway_id = 'g'"),
            change(
                "sensor", "first time lowered", "first_event_time = first_event_time - interval '1 s'",
                where: "gateway_id = 'g'"),
            change(
                "sensor", "first time raised", "first_event_time = first_event_time + interval '1 s'",
                where: "gateway_id = 'g'"),
            change(
                "sensor", "final beyond its windows", "final_through = final_through + interval '1 min'",
                where: "sensor_id = 's'"),
            change(
                "sensor", "final before its windows", "final_through = final_through - interval '1 min'",
                where: "sensor_id = 's'"),
            change("sensor", "quantities added", "quantities = quantities | 2", where: "sensor_id = 's'"),
            change("sensor", "quantities removed", "quantities = 1", where: "sensor_id = 's'"),
            change("sensor", "last commit altered", "last_commit = last_commit - 1", where: "sensor_id = 's'"),
            change("sensor", "last value altered", "temperature = temperature + 1", where: "sensor_id = 's'"),
            change(
                "sensor", "last status altered", "last_status = 'failure'",
                where: "gateway_id = 'g' AND sensor_id = 's'"),
            change(
                "sensor", "last arrival altered", "last_arrival = last_arrival - interval '1 h'",
                where: "sensor_id = 's'",
                cannotBeFound: "a clock's time, and \(nowhereElse)"),
            Damage("sensor: row deleted", "DELETE FROM sensor WHERE gateway_id = 'g' AND sensor_id = 's'"),

            Damage("loss deleted", "DELETE FROM loss WHERE first_seq = 101"),
            change("loss", "shortened", "last_seq = last_seq - 1", where: "first_seq = 101"),
            change("loss", "lengthened", "last_seq = last_seq + 1", where: "first_seq = 101"),
            change("loss", "moved", "first_seq = first_seq - 1, last_seq = last_seq - 1", where: "first_seq = 101"),
            change("loss", "time before altered", "after_time = after_time - interval '1 s'", where: "first_seq = 101"),
            change(
                "loss", "time after altered", "before_time = before_time + interval '1 s'", where: "first_seq = 101"),
            change(
                "loss", "reason altered", "reason = 'stopped'", where: "first_seq = 101",
                cannotBeFound: "only the gateway's report says it"),
            Damage(
                "loss: range doubled",
                "INSERT INTO loss SELECT gateway_id, stream_id, 102, 102, null, null, now(), reason FROM loss WHERE first_seq = 101"
            ),

            change("alert", "closed", "closed_at = now()", where: "closed_at IS NULL AND kind = 'loss'"),
            change(
                "alert", "open again", "closed_at = NULL",
                where: "id = (SELECT max(id) FROM alert WHERE kind = 'fault')"),
            change("alert", "severity altered", "severity = 'critical'", where: "closed_at IS NULL AND kind = 'loss'"),
            change("alert", "worst value altered", "worst_value = 0", where: "closed_at IS NULL AND kind = 'loss'"),
            change("alert", "given to another sensor", "sensor_id = 'x'", where: "closed_at IS NULL AND kind = 'loss'"),
            change(
                "alert", "closed before it opened", "closed_at = opened_at - interval '1 s'",
                where: "closed_at IS NOT NULL AND kind = 'threshold'"),
            change(
                "alert", "times of a closed one altered", "closed_at = closed_at + interval '1 s'",
                where: "closed_at IS NOT NULL AND kind = 'threshold'", cannotBeFound: nowhereElse),
            Damage("alert_state: row deleted", "DELETE FROM alert_state"),
            Damage(
                "alert: opened twice",
                """
                DROP INDEX alert_open; INSERT INTO alert SELECT id + 1000, gateway_id, sensor_id, kind, variable, severity,
                    pending_since, opened_at, escalated_at, closed_at, value, worst_value, detail, updated_at
                FROM alert WHERE closed_at IS NULL
                """),

            change("gateway", "commit number lowered", "commit_number = commit_number - 2", where: "gateway_id = 'g'"),
            change(
                "gateway", "token altered", "writer_token = 1", where: "gateway_id = 'g'",
                cannotBeFound: "it says nothing of the tables: whoever has a copy in memory reads them anew"),
            Damage("gateway: row deleted", "DELETE FROM gateway WHERE gateway_id = 'g'"),
            change("sequence_conflict", "no longer settled", "settled_at = NULL", where: "true"),
            Damage(
                "sequence_conflict: row of its reading deleted",
                "DELETE FROM sensor_data WHERE seq = 1 AND stream_id = (SELECT own_stream_id FROM sequence_conflict)"),
        ]
    }()

    @Test func everyDamageIsFoundOrItIsSaidWhyNot() throws {
        try fill()
        let verification = Verification(connection: connection, windows: policy.specifications)
        let correct = try verification.run()
        try #require(correct.isGood, "\(correct)")
        #expect(correct.conflicts == 1 && correct.losses.count == 2 && correct.windowsBehind == 0, "\(correct)")
        let shapes = try connection.query(
            """
            SELECT count(*) FILTER (WHERE late_count > 0), count(*) FILTER (WHERE NOT is_final),
                (SELECT count(*) FROM alert WHERE closed_at IS NULL), (SELECT count(*) FROM alert WHERE closed_at IS NOT NULL)
            FROM sensor_data_agg
            """)
        for column in 0..<4 { #expect(try shapes.value(0, column, as: Int64.self) > 0, "column \(column)") }

        let damages =
            PlantedDamageTests.rows
            + policy.specifications.flatMap { PlantedDamageTests.windows(Int($0.size / 1000), Int($0.slide / 1000)) }
            + PlantedDamageTests.others
        var table: [String] = []
        for damage in damages {
            let certificate = try connection.dryRun {
                try connection.transaction {
                    try connection.execute(damage.statements)
                    return try verification.certificate()
                }
            }
            let found =
                certificate.mismatches.first ?? certificate.openStreams.first ?? certificate.conflictExamples.first
            #expect(certificate.isGood == (damage.reason != nil), "\(damage.name): \(certificate)")
            table.append(
                "\(damage.name): " + (certificate.isGood ? "cannot be found: \(damage.reason ?? "")" : found ?? ""))
        }
        print("PlantedDamageTests:", table.joined(separator: "\n  "), separator: "\n  ")
        // Nothing of it was kept.
        #expect(try verification.run() == correct)
    }
}
