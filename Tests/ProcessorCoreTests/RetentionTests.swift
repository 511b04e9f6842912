import Alerting
import Foundation
import Platform
import PostgresClient
import ReadingDecoding
import Readings
import TestSupport
import Testing
import Windowing

@testable import ProcessorCore

private let server = ProcessInfo.processInfo.environment["VIGIE_POSTGRES"]
private let day: Int64 = 86_400_000

/// Retention against a real PostgreSQL, each test in a schema of its own.
@Suite(.enabled(if: server != nil, "VIGIE_POSTGRES names no PostgreSQL: run `make test`"))
struct RetentionTests {
    private let schema = "test_\(UInt64.random(in: 0...UInt64.max))"
    private let connection: PostgresConnection
    private let policy: WindowPolicy
    /// The beginning of a day, twenty days ago.
    private let start: Int64

    init() throws {
        connection = try PostgresConnection(connectionString: try #require(server), applicationName: "test")
        try connection.execute("CREATE SCHEMA \(schema); SET search_path = \(schema)")
        _ = try Migrator.migrate(connection)
        try connection.execute("INSERT INTO consumed_offset SELECT 't', p, 0, now() FROM generate_series(0, 3) p")
        let hour = try #require(WindowSpecification(size: 3_600_000, slide: 1_200_000))
        let minute = try #require(WindowSpecification(size: 60_000, slide: 60_000))
        policy = try #require(WindowPolicy(specifications: [hour, minute], lateness: 120_000))
        start = SystemWallClock().now().milliseconds / day * day - 20 * day
    }

    /// A reading of a test.
    private struct Sample {
        var stream = 1
        var sequence: Int64
        var time: Int64
        var sensor = "s"
    }

    private func batch(_ samples: [Sample]) throws -> ReadingBatch {
        var batch = ReadingBatch()
        let offset: Int64 = try connection.query("SELECT next_offset FROM consumed_offset WHERE kafka_partition = 0")
            .value(0, 0)
        for (index, sample) in samples.enumerated() {
            let value = Reading(
                gatewayID: try #require(Identifier("g\(sample.stream)")),
                sensorID: try #require(Identifier(sample.sensor)), streamID: StreamID(bits: UInt64(sample.stream)),
                sequence: sample.sequence, eventTime: Timestamp(milliseconds: sample.time),
                intervalMilliseconds: 10_000, values: [.temperature: Double(sample.sequence % 40)])
            try value.encoded().withUnsafeBytes {
                let reading = try ReadingDecoder().decode($0, now: SystemWallClock().now())
                batch.append(reading, partition: 0, offset: offset + Int64(index))
            }
        }
        batch.count(messages: samples.count, partition: 0, through: offset + Int64(samples.count), from: offset)
        return batch
    }

    private func write(
        _ samples: [Sample], at time: Int64, cache: inout [String: GatewayState], days: inout DayPartitions
    ) throws -> BatchSummary {
        let batch = try batch(samples)
        try days.prepare(for: batch.rows, now: Timestamp(milliseconds: time), connection)
        return try transaction(at: time).write(batch, cache: &cache)
    }

    private func transaction(at time: Int64) -> BatchTransaction {
        BatchTransaction(
            connection: connection, topic: "t", policy: policy, rules: AlertRules(),
            now: Timestamp(milliseconds: time), updateInterval: 0,
            caughtUp: CaughtUpTracker(stretches: [0: .init(since: 0, through: time)]))
    }

    private var retention: Retention { Retention(connection: connection) }

    private func text(_ sql: String) throws -> String {
        try connection.query("SELECT coalesce((\(sql))::text, 'null')").value(0, 0)
    }

    private var partitions: [String] {
        get throws {
            let rows = try connection.query(
                """
                SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'sensor_data'::regclass ORDER BY 1
                """)
            return try (0..<rows.rowCount).map { try rows.value($0, 0) }
        }
    }

    private func other() throws -> PostgresConnection {
        let other = try PostgresConnection(connectionString: try #require(server), applicationName: "test")
        try other.execute("SET search_path = \(schema)")
        return other
    }

    private let threeDays = [
        Sample(sequence: 1, time: 0), Sample(sequence: 2, time: day - 60_000), Sample(sequence: 3, time: day),
        Sample(sequence: 4, time: day + 60_000), Sample(sequence: 5, time: 2 * day),
    ]

    private func writeThreeDays(
        cache: inout [String: GatewayState], days: inout DayPartitions
    ) throws {
        let samples = threeDays.map { Sample(sequence: $0.sequence, time: start + $0.time) }
        _ = try write(samples, at: start + 2 * day, cache: &cache, days: &days)
    }

    /// Keeps what is not older than `since`, and drops all that may be dropped.
    private func keep(since: Int64) throws -> [Retention.DroppedDay] {
        try retention.moveCutoff(now: Timestamp(milliseconds: since + day), keepingReadings: day, windows: nil)
        var dropped: [Retention.DroppedDay] = []
        while let next = try retention.dropNextDay() { dropped.append(next) }
        return dropped
    }

    @Test func wholeDaysAreDroppedAndCounted() throws {
        var (cache, days): ([String: GatewayState], DayPartitions) = ([:], DayPartitions())
        try writeThreeDays(cache: &cache, days: &days)
        let names = try partitions
        #expect(try keep(since: start + day + 3_600_000).map(\.partition) == [names[0]], "half a day is kept whole")
        #expect(try partitions == Array(names.dropFirst()))
        #expect(try text("SELECT string_agg(seq::text, ',' ORDER BY seq) FROM sensor_data") == "3,4,5")
        #expect(try text("SELECT readings || ' ' || on_arrival FROM expired") == "2 false")
        let certificate = try Verification(connection: connection, windows: policy.specifications).run()
        #expect(certificate.isGood, "\(certificate)")
        #expect(certificate.expired == 2 && certificate.rows == 3 && certificate.missing == 0)
        #expect(certificate.oldWindows == 8, "three and its own of each reading, two of which begin the day before")
        #expect(try keep(since: start + 2 * day).map(\.readings) == [2])
        #expect(try text("SELECT sum(readings) FROM expired") == "4")
        #expect(try Verification(connection: connection, windows: policy.specifications).run().isGood)
    }

    @Test func aHorizonNeverGoesBackAndAClockAheadDropsNothing() throws {
        var (cache, days): ([String: GatewayState], DayPartitions) = ([:], DayPartitions())
        try writeThreeDays(cache: &cache, days: &days)
        #expect(
            try retention.moveCutoff(now: Timestamp(milliseconds: start), keepingReadings: nil, windows: nil) == false)
        // By this clock all would be centuries old; by the database's it is twenty days.
        let ahead = Timestamp(milliseconds: start + 100_000 * day)
        #expect(try retention.moveCutoff(now: ahead, keepingReadings: 30 * day, windows: nil))
        #expect(try retention.dropNextDay() == nil)
        _ = try keep(since: start + day)
        let since = try text("SELECT readings_since FROM retention")
        #expect(try !retention.moveCutoff(now: ahead, keepingReadings: 30 * day, windows: nil))
        #expect(try text("SELECT readings_since FROM retention") == since)
    }

    @Test func aReadingOfADroppedDayIsAdmittedOnceAndChangesNoWindow() throws {
        var (cache, days): ([String: GatewayState], DayPartitions) = ([:], DayPartitions())
        try writeThreeDays(cache: &cache, days: &days)
        _ = try keep(since: start + day)
        let windows = """
            SELECT string_agg(w::text, ' ' ORDER BY window_size, window_start) FROM sensor_data_agg w
            WHERE window_start < '\(Timestamp(milliseconds: start + day))'
            """
        let before = try text(windows)
        let late = [Sample(sequence: 7, time: start + 60_000), Sample(sequence: 7, time: start + 60_000)]
        let summary = try write(late, at: start + 3 * day, cache: &cache, days: &days)
        #expect(summary.expired == 1 && summary.duplicates == 1 && summary.rows == 0 && summary.missing == 1)
        // By a processor that remembers nothing, and believes that it must make the day's partition.
        (cache, days) = ([:], DayPartitions())
        let again = try write(
            late + [Sample(sequence: 6, time: start + 1000)], at: start + 3 * day, cache: &cache, days: &days)
        #expect(again.expired == 1 && again.duplicates == 2 && again.missing == -1)
        #expect(try text(windows) == before)
        #expect(
            try text("SELECT string_agg(readings || ' ' || on_arrival, ',' ORDER BY on_arrival) FROM expired")
                == "2 false,2 true")
        #expect(try partitions.count == 2)
        let certificate = try Verification(connection: connection, windows: policy.specifications).run()
        #expect(certificate.isGood, "\(certificate)")
        #expect(certificate.expired == 4)
    }

    @Test func theFirstInstantOfTheFirstDayIsKept() throws {
        var (cache, days): ([String: GatewayState], DayPartitions) = ([:], DayPartitions())
        try writeThreeDays(cache: &cache, days: &days)
        _ = try keep(since: start + day)
        let samples = [Sample(sequence: 6, time: start + day - 1), Sample(sequence: 7, time: start + day)]
        let summary = try write(samples, at: start + 3 * day, cache: &cache, days: &days)
        #expect(summary.expired == 1 && summary.rows == 1)
    }

    @Test func aWindowAcrossTheHorizonIsNotRecomputedFromAPartOfItsRows() throws {
        var (cache, days): ([String: GatewayState], DayPartitions) = ([:], DayPartitions())
        try writeThreeDays(cache: &cache, days: &days)
        let across =
            "SELECT string_agg(reading_count || ' ' || revision, ',') FROM sensor_data_agg "
            + "WHERE window_size = '1 hour' AND window_start = '\(Timestamp(milliseconds: start + day - 1_200_000))'"
        #expect(try text(across) == "3 0")
        _ = try keep(since: start + day)
        (cache, days) = ([:], DayPartitions())
        // Late, for a window across the cutoff and for windows behind it.
        let summary = try write(
            [Sample(sequence: 6, time: start + day + 30_000)], at: start + 3 * day, cache: &cache, days: &days)
        #expect(summary.rows == 1 && summary.late == 1)
        #expect(try text(across) == "3 0")
        #expect(try text("SELECT count(*) FROM sensor_data_agg WHERE revision = 1") == "2")
        let certificate = try Verification(connection: connection, windows: policy.specifications).run()
        #expect(certificate.isGood, "\(certificate)")
    }

    @Test func aBatchThatHasBegunKeepsTheHorizonAndAReaderKeepsTheDay() throws {
        var (cache, days): ([String: GatewayState], DayPartitions) = ([:], DayPartitions())
        try writeThreeDays(cache: &cache, days: &days)
        let other = try other()
        // As BatchTransaction begins.
        try other.execute("BEGIN; \(RetentionCutoff.lock)")
        do {
            _ = try keep(since: start + day)
            Issue.record("the cutoff moved under a batch")
        } catch let error as PostgresError {
            #expect(error.sqlState == "55P03" && error.isTransient)
        }
        try other.execute("ROLLBACK; BEGIN; SELECT count(*) FROM sensor_data")
        do {
            _ = try keep(since: start + day)
            Issue.record("the day went away under a reader")
        } catch let error as PostgresError {
            #expect(error.sqlState == "55P03" && error.isTransient)
        }
        #expect(try text("SELECT count(*) FROM expired") == "0", "counted and dropped go together")
        #expect(
            try Verification(connection: connection, windows: policy.specifications).run().isGood,
            "between the two steps all agrees as well")
        try other.execute("ROLLBACK")
        #expect(try keep(since: start + day).map(\.readings) == [2])
    }

    @Test func ofManyProcessorsOneDoesIt() throws {
        var (cache, days): ([String: GatewayState], DayPartitions) = ([:], DayPartitions())
        try writeThreeDays(cache: &cache, days: &days)
        let other = try other()
        try other.execute("BEGIN; SELECT pg_advisory_xact_lock(\(Retention.lock))")
        #expect(try keep(since: start + day).isEmpty)
        try other.execute("ROLLBACK")
        #expect(try keep(since: start + day).count == 1)
    }

    @Test func oldWindowsAreDeletedInPortions() throws {
        var (cache, days): ([String: GatewayState], DayPartitions) = ([:], DayPartitions())
        try writeThreeDays(cache: &cache, days: &days)
        _ = try transaction(at: start + 4 * day).onProcessingTime(["g1"], idleTimeout: 0, cache: &cache)
        let old: Int64 = try connection.query(
            "SELECT count(*) FROM sensor_data_agg WHERE window_start < $1",
            [.value(PostgresTimestamp(milliseconds: start + day))]
        ).value(0, 0)
        let all: Int64 = try connection.query("SELECT count(*) FROM sensor_data_agg").value(0, 0)
        try retention.moveCutoff(now: Timestamp(milliseconds: start + 2 * day), keepingReadings: nil, windows: day)
        var portions: [Int] = []
        repeat { portions.append(try retention.deleteWindows(atMost: 3)) } while portions.last == 3
        #expect(portions.reduce(0, +) == Int(old) && old > 3)
        #expect(try text("SELECT count(*) FROM sensor_data_agg") == "\(all - old)")
        #expect(try Verification(connection: connection, windows: policy.specifications).run().isGood)
        // A late reading of that day becomes a row, and no window comes back.
        let late = [Sample(sequence: 6, time: start + 5000)]
        #expect(try write(late, at: start + 4 * day, cache: &cache, days: &days).rows == 1)
        #expect(try text("SELECT count(*) FROM sensor_data_agg") == "\(all - old)")
        #expect(try Verification(connection: connection, windows: policy.specifications).run().isGood)
    }

    @Test func partitionsAreMadeAheadOnce() throws {
        let now = Timestamp(milliseconds: start + day - 1)
        #expect(try DayPartitions.prepare(daysAhead: 2, now: now, connection) == 3)
        #expect(try DayPartitions.prepare(daysAhead: 3, now: now, connection) == 1)
        let expected = (0..<4).map { index in
            let date = Timestamp(milliseconds: start + Int64(index) * day).description.prefix(10).filter { $0 != "-" }
            return "sensor_data_\(date)"
        }
        #expect(try partitions == expected)
        // Readings of a day with a partition find it, whoever made it.
        var (cache, days): ([String: GatewayState], DayPartitions) = ([:], DayPartitions())
        try writeThreeDays(cache: &cache, days: &days)
        #expect(try partitions == expected)
    }

    /// One reading of each day since 2000, as from a clock that jumps about.
    @Test func readingsOfThousandsOfDaysMakeFewPartitions() throws {
        let now = start + 20 * day
        let count = (now - 946_684_800_000) / day
        var (cache, days): ([String: GatewayState], DayPartitions) = ([:], DayPartitions())
        let samples = (0..<count).map { Sample(sequence: $0 + 1, time: now - $0 * day) }
        #expect(try write(samples, at: now, cache: &cache, days: &days).rows == count)
        let made = try partitions
        #expect(made.count < 72 + 25 + 26, "\(made)")
        #expect(try Verification(connection: connection, windows: policy.specifications).run().isGood)
        // They go when their last day is over, and all is still counted.
        let dropped = try keep(since: start)
        #expect(!dropped.isEmpty && dropped.count < made.count)
        let kept = try text("SELECT count(*) FROM sensor_data")
        #expect(Int64(kept) == 21, "\(kept)")
        #expect(dropped.reduce(0) { $0 + $1.readings } == count - 21)
        #expect(try Verification(connection: connection, windows: policy.specifications).run().isGood)
    }

    /// Readings of several sensors and streams in any order, with gaps and duplicates, with retention and restarts at
    /// random moments: after each step everything agrees.
    @Test func whateverIsDroppedWhenEverythingAgrees() throws {
        let seed = printedSeed()
        var random = SeededGenerator(seed: seed)
        var (cache, days): ([String: GatewayState], DayPartitions) = ([:], DayPartitions())
        // Per stream: what was sent, by its number.
        var sent: [Int: [Int64: Sample]] = [:]
        var (cutoff, expired): (Int64, Int) = (.min, 0)
        var kept: Set<[Int64]> = []
        for step in 0..<60 {
            let now = start + Int64(step) * day / 6
            var samples: [Sample] = []
            for _ in 0..<Int.random(in: 0...25, using: &random) {
                let stream = Int.random(in: 1...4, using: &random)
                let sequence = Int64.random(in: 1...Int64(step * 3 + 8), using: &random)
                var sample =
                    sent[stream]?[sequence]
                    ?? Sample(
                        stream: stream, sequence: sequence, time: now - Int64.random(in: 0...day / 4, using: &random),
                        sensor: "s\(Int.random(in: 0...1, using: &random))")
                if sent[stream]?[sequence] == nil, Int.random(in: 0..<4, using: &random) == 0 {
                    sample.time -= Int64.random(in: 0...5 * day, using: &random)
                }
                let isNew = sent[stream, default: [:]].updateValue(sample, forKey: sequence) == nil
                if isNew {
                    if sample.time < cutoff { expired += 1 } else { kept.insert([Int64(stream), sequence]) }
                }
                samples.append(sample)
            }
            if !samples.isEmpty { _ = try write(samples, at: now, cache: &cache, days: &days) }
            switch Int.random(in: 0..<6, using: &random) {
            case 0: (cache, days) = ([:], DayPartitions())
            case 1:
                let keeps = Int64.random(in: 1...4, using: &random) * day
                try retention.moveCutoff(
                    now: Timestamp(milliseconds: now), keepingReadings: keeps,
                    windows: Bool.random(using: &random) ? keeps / 2 : nil)
                cutoff = max(cutoff, (now - keeps) / day * day)
                // It may be stopped between any two of its steps.
                for _ in 0..<Int.random(in: 0...3, using: &random) { _ = try retention.dropNextDay() }
                _ = try retention.deleteWindows(atMost: Int64.random(in: 0...40, using: &random))
            case 2:
                _ = try transaction(at: now).onProcessingTime(
                    Array(cache.keys), idleTimeout: Int64.random(in: 0...day, using: &random), cache: &cache)
            default: break
            }
            let certificate = try Verification(connection: connection, windows: policy.specifications).run()
            #expect(certificate.isGood, "step \(step), seed \(seed): \(certificate)")
            if !certificate.isGood { return }
            #expect(certificate.rows + certificate.expired == Int64(sent.values.reduce(0) { $0 + $1.count }))
        }
        while try retention.dropNextDay() != nil {}
        let stored = try connection.query("SELECT stream_id, seq FROM sensor_data")
        let rows = try (0..<stored.rowCount).map { row in
            [Int64(try #require(StreamID(stored.value(row, 0, as: String.self))).bits), try stored.value(row, 1)]
        }
        let expected = kept.filter { key in (sent[Int(key[0])]?[key[1]]?.time ?? .min) >= cutoff }
        #expect(rows.count == Set(rows).count && Set(rows) == expected, "seed \(seed)")
        #expect(expired > 0 && kept.count > expected.count, "nothing was dropped, seed \(seed)")
        #expect(try Verification(connection: connection, windows: policy.specifications).run().isGood)
    }
}
