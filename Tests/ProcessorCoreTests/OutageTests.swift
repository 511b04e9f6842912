import Alerting
import Foundation
import PostgresClient
import ReadingDecoding
import Readings
import Testing
import Windowing

@testable import ProcessorCore

private let server = ProcessInfo.processInfo.environment["VIGIE_POSTGRES"]

/// Outages of an hour, on a clock that the test moves, against a real PostgreSQL: whatever was away, and whichever backlog
/// is read first, no reading that is in order is late, and every window is complete in the end.
@Suite(.enabled(if: server != nil, "VIGIE_POSTGRES names no PostgreSQL: run `make test`"))
struct OutageTests {
    /// What is away for the hour.
    enum Outage: String, CaseIterable {
        /// The processor lives, and can commit nothing.
        case database
        /// Another processor goes on after it.
        case processor
        /// Boards keep their readings, and send them one after the other when it is back.
        case broker
        /// Others on its partition go on.
        case oneGateway
    }

    /// Minutes since the start: of the outage, and of all readings.
    private static let outage = 20..<80, all = 0..<110
    /// A reading of each gateway every 30 s.
    private static let perMinute = 2

    @Test(arguments: Outage.allCases, LatePolicy.allCases)
    func nothingInOrderIsLate(outage: Outage, latePolicy: LatePolicy) throws {
        var world = try World(outage, latePolicy)
        for minute in 0..<OutageTests.all.upperBound + 15 {
            world.measure(minute)
            world.deliver(minute)
            try world.process(minute)
            if minute == OutageTests.outage.upperBound - 1, outage == .oneGateway {
                let isFinal = try world.text("SELECT bool_and(is_final) FROM sensor_data_agg WHERE gateway_id = 'a'")
                #expect(isFinal == "true", "the clock has made final what nobody sent")
            }
        }
        let total = 3 * OutageTests.all.count * OutageTests.perMinute
        let late = "count(*) FILTER (WHERE late OR NOT in_windows)"
        #expect(try world.text("SELECT concat_ws(' ', count(*), \(late)) FROM sensor_data") == "\(total) 0")
        for (size, windows) in [("1 minute", 1), ("10 minutes", 10)] {
            #expect(
                try world.text(
                    """
                    SELECT concat_ws(' ', sum(reading_count), sum(late_count), bool_and(is_final))
                    FROM sensor_data_agg WHERE window_size = '\(size)'
                    """) == "\(windows * total) 0 t", "\(size)")
            let whole = windows * OutageTests.perMinute
            #expect(
                try world.text(
                    """
                    SELECT count(*) FROM sensor_data_agg WHERE window_size = '\(size)' AND reading_count <> \(whole)
                        AND window_start >= '\(world.time(OutageTests.all.lowerBound))'
                        AND window_end <= '\(world.time(OutageTests.all.upperBound))'
                    """) == "0", "\(size)")
        }
        let certificate = try Verification(connection: world.connection, windows: world.policy.specifications).run()
        #expect(certificate.mismatchCount == 0 && certificate.missing == 0, "\(certificate)")
    }

    /// Boards, a topic of two partitions and a processor, moved minute by minute.
    private struct World {
        let connection: PostgresConnection
        let policy: WindowPolicy
        private let outage: Outage
        private let latePolicy: LatePolicy
        private let start = Timestamp(milliseconds: 1_795_478_400_000)  // 2026-11-24T00:00:00Z
        /// What each board has not sent, oldest first.
        private var outboxes: [String: [Reading]] = ["a": [], "b": [], "c": []]
        private var sequence: [String: Int64] = [:]
        private static let partitions: [String: Int32] = ["a": 0, "b": 0, "c": 1]
        private var logs: [Int32: [Reading]] = [0: [], 1: []]
        private var read: [Int32: Int] = [0: 0, 1: 0]
        private var cache: [String: GatewayState] = [:]
        private var caughtUp = CaughtUpTracker()

        init(_ outage: Outage, _ latePolicy: LatePolicy) throws {
            (self.outage, self.latePolicy) = (outage, latePolicy)
            connection = try makeDatabase(partitions: 2)
            let specifications = [(600_000, 60_000), (60_000, 60_000)].compactMap {
                WindowSpecification(size: $0.0, slide: $0.1)
            }
            policy = try #require(WindowPolicy(specifications: specifications, lateness: 120_000))
        }

        func time(_ minute: Int, _ second: Int = 0) -> Timestamp {
            Timestamp(milliseconds: start.milliseconds + Int64(minute * 60 + second) * 1000)
        }

        func text(_ sql: String) throws -> String {
            try connection.query("SELECT coalesce((\(sql))::text, 'null')").value(0, 0)
        }

        private func isOut(_ minute: Int) -> Bool { OutageTests.outage.contains(minute) }

        mutating func measure(_ minute: Int) {
            guard OutageTests.all.contains(minute) else { return }
            for gateway in outboxes.keys {
                for number in 0..<OutageTests.perMinute {
                    let next = sequence[gateway, default: 0] + 1
                    sequence[gateway] = next
                    guard let gatewayID = Identifier(gateway) else { continue }
                    let reading = Reading(
                        gatewayID: gatewayID, sensorID: Identifier(constant: "s"), streamID: StreamID(bits: 1),
                        sequence: next, eventTime: time(minute, number * 60 / OutageTests.perMinute),
                        intervalMilliseconds: 30_000, values: [.temperature: Double(next % 50)])
                    outboxes[gateway]?.append(reading)
                }
            }
        }

        /// Sends what boards can send in this minute.
        mutating func deliver(_ minute: Int) {
            let back = OutageTests.outage.upperBound
            for (gateway, readings) in outboxes {
                var count = readings.count
                switch outage {
                case .database, .processor: break
                // The last board waits for longer than sensors may be silent.
                case .broker:
                    let first = back + ["c": 0, "b": 3, "a": 6][gateway, default: 0]
                    if (OutageTests.outage.lowerBound..<first).contains(minute) { count = 0 }
                case .oneGateway where gateway == "a":
                    if isOut(minute) { count = 0 } else if minute < back + 5, minute >= back { count = min(count, 30) }
                case .oneGateway: break
                }
                if count > 0, let partition = World.partitions[gateway] {
                    logs[partition]? += readings.prefix(count)
                    outboxes[gateway]?.removeFirst(count)
                }
            }
        }

        /// The processor's minute: it reads one partition before the other, 60 readings at most, and looks at the clock.
        mutating func process(_ minute: Int) throws {
            if isOut(minute), outage == .database || outage == .processor {
                if outage == .processor { (cache, caughtUp) = ([:], CaughtUpTracker()) }
                return
            }
            var room = 60
            let hasBroker = !(isOut(minute) && outage == .broker)
            for partition: Int32 in outage == .processor ? [0, 1] : [1, 0] where hasBroker {
                guard let log = logs[partition], let first = read[partition] else { continue }
                let batch = log[first...].prefix(room)
                if !batch.isEmpty { try write(batch, of: partition, at: minute) }
                room -= batch.count
                if read[partition] == log.count {
                    for second in stride(from: 0, to: 60, by: 10) {
                        caughtUp.confirm(partition, at: time(minute, second).milliseconds)
                    }
                }
            }
            _ = try transaction(minute, 50).onProcessingTime(["a", "b", "c"], idleTimeout: 60_000, cache: &cache)
        }

        private func transaction(_ minute: Int, _ second: Int) -> BatchTransaction {
            BatchTransaction(
                connection: connection, topic: "t", policy: policy, rules: AlertRules(), now: time(minute, second),
                updateInterval: 5000, caughtUp: caughtUp, latePolicy: latePolicy)
        }

        private mutating func write(_ readings: ArraySlice<Reading>, of partition: Int32, at minute: Int) throws {
            var batch = ReadingBatch()
            let decoder = ReadingDecoder()
            for (index, reading) in zip(readings.indices, readings) {
                try reading.encoded().withUnsafeBytes {
                    batch.append(
                        try decoder.decode($0, now: time(minute, 59)), partition: partition, offset: Int64(index))
                }
            }
            batch.count(
                messages: readings.count, partition: partition, through: Int64(readings.endIndex),
                from: Int64(readings.startIndex))
            var days = DayPartitions()
            try days.prepare(for: batch.rows, now: start, connection)
            _ = try transaction(minute, 0).write(batch, cache: &cache)
            read[partition] = readings.endIndex
        }
    }
}
