import Alerting
import Foundation
import PostgresClient
import ReadingDecoding
import Readings
import Testing
import Windowing

@testable import ProcessorCore

private let server = ProcessInfo.processInfo.environment["VIGIE_POSTGRES"]

/// What comes late, out of its time, or to a processor that does not have its panes, and what that costs, against a real
/// PostgreSQL.
@Suite(.enabled(if: server != nil, "VIGIE_POSTGRES names no PostgreSQL: run `make test`"))
struct LateReadingTests {
    private let connection: PostgresConnection
    private let policy: WindowPolicy
    private let start = Timestamp(milliseconds: 1_795_478_400_000)  // 2026-11-24T00:00:00Z

    init() throws {
        connection = try makeDatabase(partitions: 1)
        let specifications = [(600_000, 60_000), (60_000, 60_000)].compactMap {
            WindowSpecification(size: $0.0, slide: $0.1)
        }
        policy = try #require(WindowPolicy(specifications: specifications, lateness: 120_000))
    }

    /// A processor, with what it remembers.
    private final class Processor {
        var cache: [String: GatewayState] = [:]
        var updateInterval: Int64 = 0
        var latePolicy = LatePolicy.recompute
        /// From when on all was read, seconds after the start; nil if there is a backlog.
        var caughtUpSince: Int64? = -1_000_000
    }

    private func transaction(_ processor: Processor, at seconds: Int64) -> BatchTransaction {
        let now = start.milliseconds + seconds * 1000
        var caughtUp = CaughtUpTracker()
        if let since = processor.caughtUpSince {
            caughtUp = CaughtUpTracker(stretches: [0: .init(since: start.milliseconds + since * 1000, through: now)])
        }
        return BatchTransaction(
            connection: connection, topic: "t", policy: policy, rules: AlertRules(), now: Timestamp(milliseconds: now),
            updateInterval: processor.updateInterval, caughtUp: caughtUp, latePolicy: processor.latePolicy)
    }

    private struct Sample {
        var sequence: Int64
        /// After the start.
        var second: Int64
        var sensor = "s"
        var gateway = "g"
        var stream: UInt64 = 1
        var interval: Int64 = 10_000
        var temperature: Double?
    }

    private func samples(_ seconds: some Sequence<Int64>, from sequence: Int64, sensor: String = "s") -> [Sample] {
        seconds.enumerated().map { Sample(sequence: sequence + Int64($0), second: $1, sensor: sensor) }
    }

    /// Writes readings as the batch that comes next.
    @discardableResult
    private func write(_ samples: [Sample], by processor: Processor, at seconds: Int64) throws -> BatchSummary {
        var batch = ReadingBatch()
        let decoder = ReadingDecoder()
        let offset: Int64 = try connection.query("SELECT next_offset FROM consumed_offset").value(0, 0)
        for (index, sample) in samples.enumerated() {
            let reading = Reading(
                gatewayID: try #require(Identifier(sample.gateway)), sensorID: try #require(Identifier(sample.sensor)),
                streamID: StreamID(bits: sample.stream), sequence: sample.sequence,
                eventTime: Timestamp(milliseconds: start.milliseconds + sample.second * 1000),
                intervalMilliseconds: sample.interval,
                values: [.temperature: sample.temperature ?? Double(sample.sequence % 50)])
            let now = Timestamp(milliseconds: start.milliseconds + 864_000_000)
            try reading.encoded().withUnsafeBytes {
                batch.append(try decoder.decode($0, now: now), partition: 0, offset: offset + Int64(index))
            }
        }
        batch.count(messages: samples.count, partition: 0, through: offset + Int64(samples.count), from: offset)
        var days = DayPartitions()
        try days.prepare(for: batch.rows, now: start, connection)
        return try transaction(processor, at: seconds).write(batch, cache: &processor.cache)
    }

    @discardableResult
    private func pass(to seconds: Int64, _ processor: Processor, loadingAtMost limit: Int = .max) throws -> BatchSummary
    {
        try transaction(processor, at: seconds).onProcessingTime(
            ["g"], idleTimeout: 60_000, loadingAtMost: limit, cache: &processor.cache)
    }

    private func text(_ sql: String) throws -> String {
        try connection.query("SELECT coalesce((\(sql))::text, 'null')").value(0, 0)
    }

    private func expectAgreement(_ place: String = "", sourceLocation: SourceLocation = #_sourceLocation) throws {
        let certificate = try Verification(connection: connection, windows: policy.specifications).run()
        #expect(certificate.isGood, "\(place) \(certificate.mismatches)", sourceLocation: sourceLocation)
    }

    /// What `body` reads of tables whose names begin so, of all their partitions: scans of the index, and rows.
    private func reads(of table: String, _ body: () throws -> Void) throws -> (scans: Int64, rows: Int64) {
        func counts() throws -> (Int64, Int64) {
            try connection.execute("SELECT pg_stat_force_next_flush()")
            let counts = try connection.query(
                """
                SELECT coalesce(sum(seq_scan + coalesce(idx_scan, 0)), 0)::int8,
                    coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0)::int8
                FROM pg_stat_user_tables WHERE schemaname = current_schema AND relname LIKE $1 || '%'
                    AND relname NOT LIKE '%_agg'
                """, [.value(table)])
            return (try counts.value(0, 0), try counts.value(0, 1))
        }
        let before = try counts()
        try body()
        let after = try counts()
        return (after.0 - before.0, after.1 - before.1)
    }

    // MARK: Folding

    /// From now on `statements` tells the statements on windows.
    private func noteStatements() throws {
        try connection.execute(
            """
            CREATE TABLE statement (name text);
            CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN INSERT INTO statement VALUES (TG_OP); RETURN NULL; END $$;
            CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON sensor_data_agg
                FOR EACH STATEMENT EXECUTE FUNCTION note()
            """)
    }

    private let statements = "SELECT string_agg(name, ',' ORDER BY name) FROM statement"

    @Test func lateReadingsAreFoldedWithoutReadingRows() throws {
        let processor = Processor()
        try write(samples(stride(from: 0, to: 3600, by: 10), from: 1), by: processor, at: 3600)
        try noteStatements()
        // In windows that have readings, two days and another one.
        let late = samples([5, 6, 7, 1000, 1001, 2500, 1002, 1005], from: 1000)
        let read = try reads(of: "sensor_data") {
            let summary = try write(late, by: processor, at: 3601)
            #expect(summary.late == 8 && summary.rows == 8)
        }
        #expect(read == (0, 0))
        #expect(try text(statements) == "UPDATE", "one statement for all of them")
        #expect(try text("SELECT sum(late_count) FROM sensor_data_agg WHERE window_size = '1 minute'") == "8")
        #expect(try text("SELECT count(*) FROM sensor_data_agg WHERE revision = 1 AND is_final") == "33")
        try expectAgreement()
    }

    @Test func aWindowWithoutARowIsComputedFromOneRangeOfTheIndex() throws {
        let processor = Processor()
        // Days with nothing to do with it, and one with an hour of readings that is to be found by its index.
        try write(samples([-900_000, -90_000], from: 1), by: processor, at: -80_000)
        try write(samples(stride(from: 0, to: 3600, by: 10), from: 100), by: processor, at: 3600)
        try write(samples([100_000], from: 3000), by: processor, at: 100_000)
        try connection.execute("ANALYZE sensor_data")
        let read = try reads(of: "sensor_data") {
            try write(samples([7000, 7300, 7650], from: 4000), by: processor, at: 100_001)
        }
        #expect(read.scans == 1 && read.rows <= 6, "\(read)")
        // As rows of an older release: computed once, then folded.
        try connection.execute("UPDATE sensor_data_agg SET temperature_count = NULL, covered_ms = NULL")
        let old = try reads(of: "sensor_data") { try write(samples([1801], from: 5000), by: processor, at: 100_002) }
        #expect(old.scans == 1 && old.rows <= 130, "\(old)")
        let folded = try reads(of: "sensor_data") { try write(samples([1802], from: 5001), by: processor, at: 100_003) }
        #expect(folded == (0, 0))
        try expectAgreement()
    }

    @Test func eightThousandLateReadingsOfOneSensorAreTwoStatements() throws {
        let processor = Processor()
        try write(samples([200_000], from: 1), by: processor, at: 200_000)
        try noteStatements()
        try write(samples((0..<8000).map { ($0 * 37 % 8000) * 10 }, from: 2), by: processor, at: 200_001)
        #expect(try text("SELECT count(*) FROM sensor_data_agg WHERE window_size = '1 minute' AND is_final") == "1334")
        // One that finds nothing to fold into, and one that inserts the windows or updates them, which counts as both.
        #expect(try text(statements) == "INSERT,UPDATE,UPDATE")
        try expectAgreement()
    }

    @Test func lateReadingsOfAWeekAreOneStatementAndReadNoRow() throws {
        let processor = Processor()
        try write(samples(stride(from: 0, to: 7 * 86_400, by: 10_800), from: 1), by: processor, at: 0)
        try connection.execute("ANALYZE sensor_data; ANALYZE sensor_data_agg")
        try noteStatements()
        let late = (0..<50).map { Int64($0) * 10_800 + 7 }
        let read = try reads(of: "sensor_data") {
            let summary = try write(samples(late, from: 1000), by: processor, at: 1)
            #expect(summary.late == 50 && summary.lateWindows == 550)
        }
        #expect(read == (0, 0))
        #expect(try text(statements) == "UPDATE")
        #expect(try text("SELECT sum(late_count) FROM sensor_data_agg") == "550")
        try expectAgreement()
    }

    // MARK: Windows that are behind

    /// Killed between the commit of a batch and the next writing of windows, while the stream goes on.
    @Test(arguments: [1, 2, 100])
    func windowsThatAreBehindAreCompletedByTheNextOwner(loadingAtMost limit: Int) throws {
        let first = Processor()
        try write(
            samples([0, 20], from: 1) + samples([5], from: 3, sensor: "t") + samples([5], from: 4, sensor: "u"),
            by: first, at: 20)
        first.updateInterval = 1_000_000_000
        try write(samples([30, 100], from: 5) + samples([15], from: 7, sensor: "t"), by: first, at: 100)
        try expectAgreement("with open windows that are behind")
        let numbers = """
            SELECT string_agg(concat_ws(' ', sensor_id, reading_count, commit_number), ', ' ORDER BY sensor_id)
            FROM sensor_data_agg WHERE window_size = '1 minute' AND window_start = '2026-11-24T00:00:00Z'
            """
        #expect(try text(numbers) == "s 2 1, t 1 1, u 1 1")
        // The next one knows nothing. Its batches make windows due and add late readings to them, and wait for no pane.
        let second = Processor()
        let read = try reads(of: "sensor_data") {
            try write(samples([400, 35], from: 8), by: second, at: 101)
        }
        #expect(read == (0, 0))
        #expect(try text("SELECT extract(epoch FROM final_through) FROM sensor WHERE sensor_id = 's'") != "null")
        try expectAgreement("before the panes are loaded")
        var rounds = 0
        repeat {
            try pass(to: 102, second, loadingAtMost: limit)
            try expectAgreement("while the panes are loaded")
            rounds += 1
        } while second.cache["g"]?.isComplete == false && rounds < 10
        #expect(second.cache["g"]?.isComplete == true && (limit == 100 ? rounds == 1 : rounds > 1))
        #expect(try text("SELECT sum(reading_count) FROM sensor_data_agg WHERE window_size = '1 minute'") == "9")
        #expect(try text(numbers).hasPrefix("s 4 "))
        try expectAgreement()
    }

    // MARK: Idleness and lateness

    @Test func nobodyIsIdleWhileThereIsABacklog() throws {
        let processor = Processor()
        try write(samples([0], from: 1), by: processor, at: 10)
        processor.caughtUpSince = nil
        try pass(to: 100_000, processor)
        #expect(try text("SELECT bool_or(is_final) FROM sensor_data_agg") == "false")
        // All is read since a minute: what was sent before that has come.
        processor.caughtUpSince = 99_950
        try pass(to: 100_000, processor)
        #expect(try text("SELECT bool_or(is_final) FROM sensor_data_agg") == "false")
        processor.caughtUpSince = 99_940
        try pass(to: 100_000, processor)
        #expect(try text("SELECT bool_and(is_final) FROM sensor_data_agg") == "true")
        try expectAgreement()
    }

    /// A board that was cut off for an hour while others on its partition went on: nothing of it is late, whatever the clock
    /// made final meanwhile, and its windows are complete.
    @Test(arguments: LatePolicy.allCases)
    func aBoardThatWasCutOffIsNotLate(latePolicy: LatePolicy) throws {
        let processor = Processor()
        processor.latePolicy = latePolicy
        try write(samples([0, 10, 20], from: 1), by: processor, at: 20)
        try pass(to: 3600, processor)
        #expect(try text("SELECT bool_and(is_final) FROM sensor_data_agg") == "true")
        let before = try text("SELECT count(*) FROM sensor_data_agg")
        // Part of it, then all the rest.
        #expect(try write(samples([30, 40], from: 4), by: processor, at: 3610).late == 0)
        #expect(try text("SELECT count(*) FROM sensor_data_agg WHERE is_final") != before, "they are open again")
        try expectAgreement("before the panes are loaded")
        try pass(to: 3611, processor)
        try expectAgreement("with the panes")
        #expect(try write(samples(stride(from: 50, to: 3600, by: 10), from: 6), by: processor, at: 3612).late == 0)
        try pass(to: 10_000, processor)
        #expect(try text("SELECT sum(late_count) FROM sensor_data_agg") == "0")
        #expect(try text("SELECT sum(reading_count) FROM sensor_data_agg WHERE window_size = '1 minute'") == "360")
        #expect(try text("SELECT sum(reading_count) FROM sensor_data_agg WHERE window_size = '10 minutes'") == "3600")
        #expect(try text("SELECT bool_and(is_final) FROM sensor_data_agg") == "true")
        try expectAgreement()
    }

    // MARK: Hostile numbers

    /// Numbers at the edges of the contract: the sums of their jumps are beyond any integer of 64 bits, the intervals are
    /// weeks, the times are decades apart, the values as large as physics allows.
    @Test func everyNumberOfTheContractIsHarmless() throws {
        let processor = Processor()
        let largest = Reading.numbers.upperBound
        let jumps = (1...1100).map { Sample(sequence: largest, second: Int64($0), sensor: "jump", stream: $0) }
        #expect(try write(jumps, by: processor, at: 2000).rows == 1100)
        #expect(try HeartbeatTable(connection: connection).view().missing == .max)
        #expect(try Verification(connection: connection, windows: policy.specifications).run().mismatchCount == 0)
        let limits = PhysicalLimits()[.temperature]
        var edges: [Sample] = []
        for second: Int64 in [0, -800_000_000, 1, -200_000_000, 2, 3_000, 3_001] {
            for value in [limits.lowerBound, limits.upperBound] {
                edges.append(
                    Sample(
                        sequence: Int64(edges.count + 1), second: second, sensor: "edge", stream: 9999,
                        interval: Reading.intervals.upperBound, temperature: value))
            }
        }
        let summary = try write(edges, by: processor, at: 4000)
        #expect(summary.rows == 14 && summary.late == 4)
        try pass(to: 100_000, processor)
        #expect(try text("SELECT max(covered_ms) FROM sensor_data_agg WHERE sensor_id = 'edge'") == "3628800000")
        let certificate = try Verification(connection: connection, windows: policy.specifications).run()
        #expect(certificate.mismatchCount == 0, "\(certificate.mismatches)")
        #expect(try write([Sample(sequence: 1, second: 3600)], by: processor, at: 100_001).rows == 1)
    }

    // MARK: What a batch costs

    /// A gateway with 20,000 streams that ended, 50,000 holes and 20,000 dead sensors.
    @Test func aBatchReadsNothingOfWhatItsGatewayEverHad() throws {
        try write(samples([0], from: 1), by: Processor(), at: 0)
        try connection.execute(
            """
            INSERT INTO stream_progress (gateway_id, stream_id, last_seq, lost, updated_at)
                SELECT 'g', lpad(to_hex(n), 16, '0'), 5, 0, now() FROM generate_series(1000, 21000) n;
            INSERT INTO loss (gateway_id, stream_id, first_seq, last_seq, detected_at)
                SELECT 'g', '00000000000003e8', n * 2, n * 2, now() FROM generate_series(1, 50000) n;
            INSERT INTO sensor (gateway_id, sensor_id, first_event_time, last_event_time, last_arrival, final_through,
                    quantities, interval_ms, last_status, time_quality, simulated)
                SELECT 'g', 'dead' || n, t, t, t, t + interval '1 day', 1, 1000, 'ok', 'synced', true
                FROM generate_series(1, 20000) n, (VALUES (timestamptz '2026-11-20T00:00:00Z')) AS v (t);
            ANALYZE stream_progress, loss, sensor
            """)
        let processor = Processor()
        let tables = ["stream_progress", "loss", "sensor", "alert_state"]
        func rows(_ body: () throws -> Void, of table: String) throws -> Int64 { try reads(of: table, body).rows }
        // By one that has nothing in memory: the batch's stream and its two sensors.
        var sequence: Int64 = 10
        for table in tables {
            let fresh = Processor()
            let first = try rows({ try write(samples([10, 20], from: sequence), by: fresh, at: 20) }, of: table)
            #expect(first <= 4, "\(table): \(first)")
            sequence += 2
        }
        try write(samples([20], from: sequence), by: processor, at: 20)
        for table in tables {
            sequence += 1
            let next = try rows({ try write(samples([30], from: sequence), by: processor, at: 30) }, of: table)
            #expect(next <= 2, "\(table): \(next)")
        }
        #expect(processor.cache["g"]?.streams.count == 1 && processor.cache["g"]?.sensors.count == 1)
        // What time may make due is one sensor.
        try pass(to: 31, processor)
        #expect(processor.cache["g"]?.sensors.count == 1 && processor.cache["g"]?.isComplete == true)
    }
}
