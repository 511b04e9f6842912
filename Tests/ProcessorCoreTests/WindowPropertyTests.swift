import Foundation
import Alerting
import Platform
import PostgresClient
import ReadingDecoding
import Readings
import TestSupport
import Testing
import Windowing

@testable import ProcessorCore

private let server = ProcessInfo.processInfo.environment["VIGIE_POSTGRES"]

/// Random histories through the real transaction into a real PostgreSQL, against a model that keeps a list of readings
/// and adds up every window from it.
@Suite(.enabled(if: server != nil, "VIGIE_POSTGRES names no PostgreSQL: run `make test`"))
struct WindowPropertyTests {
    private struct Arrival: Hashable {
        var sensor: Int
        var sequence: Int64
        /// Seconds after the start.
        var second: Int64
        /// A whole number, so that sums are exact in any order.
        var temperature: Int64
    }

    private let connection: PostgresConnection
    private let start = Timestamp(milliseconds: 1_795_478_400_000)  // 2026-11-24T00:00:00Z

    init() throws {
        connection = try PostgresConnection(connectionString: try #require(server), applicationName: "test")
    }

    @Test(.timeLimit(.minutes(2)))
    func everyWindowIsWhatTheListOfReadingsSays() throws {
        let seed = printedSeed()
        var random = SeededGenerator(seed: seed)
        for round in 0..<25 { try runRound(round, &random) }
    }

    private func runRound(_ round: Int, _ random: inout SeededGenerator) throws {
        let schema = "test_\(UInt64.random(in: 0...UInt64.max))"
        try connection.execute("CREATE SCHEMA \(schema); SET search_path = \(schema)")
        defer { _ = try? connection.execute("DROP SCHEMA \(schema) CASCADE") }
        _ = try Migrator.migrate(connection)
        try connection.execute("INSERT INTO consumed_offset SELECT 't', 0, 0, now()")
        let sizes: [(Int64, Int64)] = [(60, 60), (120, 30), (100, 20), (30, 10), (90, 45)]
        let specifications = sizes.shuffled(using: &random).prefix(Int.random(in: 1...3, using: &random))
            .compactMap { WindowSpecification(size: $0.0 * 1000, slide: $0.1 * 1000) }
        let policy = try #require(
            WindowPolicy(
                specifications: specifications, lateness: Int64.random(in: 0...200, using: &random) * 1000))
        let arrivals = arrivals(&random)
        let latePolicy = LatePolicy.allCases.randomElement(using: &random) ?? .recompute
        // Two processors that take turns, each with what it remembers.
        var caches: [[String: GatewayState]] = [[:], [:]]
        var rest = arrivals[...]
        var (offset, now) = (Int64(0), Int64(0))
        while !rest.isEmpty {
            let part = rest.prefix(Int.random(in: 1...25, using: &random))
            rest = rest.dropFirst(part.count)
            now += Int64.random(in: 1...4000, using: &random)
            let processor = Int.random(in: 0..<8, using: &random) == 0 ? 1 : 0
            // A processor that starts, or takes over, has nothing in memory.
            if Int.random(in: 0..<6, using: &random) == 0 { caches[processor] = [:] }
            _ = try transaction(policy, now, latePolicy)
                .write(batch(Array(part), from: offset), cache: &caches[processor])
            offset += Int64(part.count)
            if Int.random(in: 0..<4, using: &random) == 0 {
                // Sometimes so late that silence makes windows final while their sensors are not done.
                now += Int64.random(in: 1...300_000, using: &random)
                _ = try transaction(policy, now, latePolicy).onProcessingTime(
                    ["g"], idleTimeout: 60_000, loadingAtMost: Int.random(in: 1...3, using: &random),
                    cache: &caches[processor])
            }
            if Int.random(in: 0..<5, using: &random) == 0 {
                try expectAgreement(policy, "round \(round), offset \(offset)")
            }
        }
        // Everything is silent in the end.
        _ = try transaction(policy, now + 10_000_000, latePolicy)
            .onProcessingTime(["g"], idleTimeout: 0, cache: &caches[0])
        try expectModel(counted(arrivals, policy, latePolicy), policy, round)
        try expectAgreement(policy, "round \(round)")
    }

    private func expectAgreement(_ policy: WindowPolicy, _ place: String) throws {
        let certificate = try Verification(connection: connection, windows: policy.specifications).run()
        #expect(certificate.isGood, "\(place): \(certificate.mismatches)")
    }

    /// The readings that windows count, by what the list says of their order: each once, and without late ones if they are
    /// dropped.
    private func counted(_ arrivals: [Arrival], _ policy: WindowPolicy, _ latePolicy: LatePolicy) -> [Arrival] {
        var seen: Set<Arrival> = []
        var largest: [Int: Int64] = [:]
        return arrivals.filter { arrival in
            guard seen.insert(arrival).inserted else { return false }
            let isLate = (arrival.second - (largest[arrival.sensor] ?? arrival.second)) * 1000 < -policy.lateness
            largest[arrival.sensor] = max(largest[arrival.sensor] ?? arrival.second, arrival.second)
            return !isLate || latePolicy == .recompute
        }
    }

    /// Readings of three sensors, mostly forward in time, some late, some twice, some never.
    private func arrivals(_ random: inout SeededGenerator) -> [Arrival] {
        var arrivals: [Arrival] = []
        var second = Int64(0)
        for sequence in 1...Int64.random(in: 20...150, using: &random) {
            second += Int64.random(in: 0...12, using: &random)
            if Int.random(in: 0..<50, using: &random) == 0 { second += 900 }
            let back = Int.random(in: 0..<5, using: &random) == 0 ? Int64.random(in: 0...600, using: &random) : 0
            if Int.random(in: 0..<15, using: &random) == 0 { continue }
            arrivals.append(
                Arrival(
                    sensor: Int.random(in: 0..<3, using: &random), sequence: sequence, second: second - back,
                    temperature: Int64.random(in: -20...40, using: &random)))
        }
        for _ in 0..<arrivals.count / 5 {
            let (from, to) = (
                arrivals.indices.randomElement(using: &random), arrivals.indices.randomElement(using: &random)
            )
            guard let from, let to else { continue }
            arrivals.swapAt(from, to)
            arrivals.insert(arrivals[from], at: to)
        }
        return arrivals
    }

    private func transaction(
        _ policy: WindowPolicy, _ milliseconds: Int64, _ latePolicy: LatePolicy
    ) -> BatchTransaction {
        let now = start.milliseconds + milliseconds
        return BatchTransaction(
            connection: connection, topic: "t", policy: policy, rules: AlertRules(), now: Timestamp(milliseconds: now),
            updateInterval: 0, caughtUp: CaughtUpTracker(stretches: [0: .init(since: 0, through: now)]),
            latePolicy: latePolicy)
    }

    private func batch(_ arrivals: [Arrival], from offset: Int64) throws -> ReadingBatch {
        var batch = ReadingBatch()
        let decoder = ReadingDecoder()
        for (index, arrival) in arrivals.enumerated() {
            let reading = Reading(
                gatewayID: try #require(Identifier("g")), sensorID: try #require(Identifier("s\(arrival.sensor)")),
                streamID: StreamID(bits: 1), sequence: arrival.sequence,
                eventTime: Timestamp(milliseconds: start.milliseconds + arrival.second * 1000),
                intervalMilliseconds: 10_000, values: [.temperature: Double(arrival.temperature)])
            let now = Timestamp(milliseconds: start.milliseconds + 864_000_000)
            try reading.encoded().withUnsafeBytes {
                batch.append(try decoder.decode($0, now: now), partition: 0, offset: offset + Int64(index))
            }
        }
        batch.count(messages: arrivals.count, partition: 0, through: offset + Int64(arrivals.count), from: offset)
        var days = DayPartitions()
        try days.prepare(for: batch.rows, now: start, connection)
        return batch
    }

    private struct Window: Hashable {
        var sensor: String
        var size: Int64
        var start: Int64
    }

    private func expectModel(_ readings: [Arrival], _ policy: WindowPolicy, _ round: Int) throws {
        var expected: [Window: [Int64]] = [:]
        for reading in readings {
            for specification in policy.specifications {
                let (size, slide) = (specification.size / 1000, specification.slide / 1000)
                let second = start.milliseconds / 1000 + reading.second
                for first in stride(from: (second / slide) * slide, to: second - size, by: -Int(slide)) {
                    expected[Window(sensor: "s\(reading.sensor)", size: size, start: first), default: []]
                        .append(reading.temperature)
                }
            }
        }
        let rows = try connection.query(
            """
            SELECT sensor_id, extract(epoch FROM window_size)::int8, extract(epoch FROM window_start)::int8,
                reading_count, round(temperature_avg * reading_count)::int8, temperature_min::int8,
                temperature_max::int8
            FROM sensor_data_agg
            """)
        #expect(rows.rowCount == expected.count, "round \(round)")
        for row in 0..<rows.rowCount {
            let window = Window(
                sensor: try rows.value(row, 0), size: try rows.value(row, 1), start: try rows.value(row, 2))
            let values = expected[window] ?? []
            let found = try (3..<7).map { try rows.value(row, $0, as: Int64.self) }
            let wanted: [Int64] = [Int64(values.count), values.reduce(0, +), values.min() ?? 0, values.max() ?? 0]
            #expect(found == wanted, "round \(round): \(window)")
        }
    }
}
