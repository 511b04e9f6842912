import FleetCore
import Foundation
import KafkaClient
import Readings
import Testing

/// A fleet's readings, sent a part at a time to a broker that loses some, and the processor that must count them.
final class LossScene {
    let site: Site
    private let configuration: String
    private var generator: FleetGenerator
    private var processor: ChildProcess?

    init(_ site: Site) throws {
        self.site = site
        configuration = try site.writeProcessorConfiguration(
            properties: ["topic.metadata.refresh.interval.ms": "1000", "reconnect.backoff.max.ms": "500"])
        let now = Timestamp(milliseconds: SystemWallClock().now().milliseconds / 1000 * 1000)
        var plan = FleetPlan(start: Timestamp(milliseconds: now.milliseconds - 45 * 60_000))
        plan.gateways = 10
        plan.sensorsPerGateway = 2
        plan.messages = 100_000
        plan.intervalMicroseconds = 20_000
        plan.seed = testSeed
        generator = try FleetGenerator(plan)
    }

    /// Starts the processor.
    func start() throws {
        processor = try BuiltProgram.processor.start(["run", "--config", configuration], in: site.folder)
    }

    /// Stops the processor in order.
    func stop() async throws {
        let processor = try #require(processor)
        processor.send(SIGTERM)
        #expect(await processor.ending() == .status(0), "\(processor.output)")
    }

    /// Kills the processor.
    func kill() async throws {
        let processor = try #require(processor)
        processor.send(SIGKILL)
        #expect(await processor.ending() == .signal(SIGKILL), "\(processor.output)")
    }

    /// Sends the next readings and waits until the broker has acknowledged them.
    func send(_ count: Int) async throws {
        try await site.send(count, of: &generator)
    }

    /// Waits until so many readings are stored, and looks that there are no more.
    func waitForRows(_ count: Int64) async throws {
        let processor = try #require(processor)
        try await waitUntil("\(count) readings are stored", within: .seconds(120)) {
            try #require(processor.isRunning, "\(processor.output)")
            guard try site.value("SELECT to_regclass('sensor_data') IS NOT NULL", as: Bool.self) else { return false }
            return try site.value("SELECT count(*) FROM sensor_data", as: Int64.self) >= count
        }
        #expect(try site.value("SELECT count(*) FROM sensor_data", as: Int64.self) == count)
    }

    /// Waits until so many partitions' logs were found to be others than were read before, and read to their ends: each
    /// has an alert that is closed.
    func waitForOtherLogs(_ count: Int64) async throws {
        let processor = try #require(processor)
        try await waitUntil("\(count) other logs are found and read", within: .seconds(60)) {
            try #require(processor.isRunning, "\(processor.output)")
            return try site.value("SELECT count(closed_at) FROM alert WHERE kind = 'log'", as: Int64.self) >= count
        }
        #expect(try site.value("SELECT count(*) FROM alert WHERE kind = 'log'", as: Int64.self) == count)
        #expect(try site.value("SELECT count(*) FROM alert_state WHERE kind = 'log'", as: Int64.self) == 0)
    }

    /// How far the partitions are read, by the database, once nothing is left to read.
    func waitForEnds() async throws {
        let ends = try await KafkaAdmin(configuration: site.kafka).watermarks(
            ofTopic: site.topic, timeout: .seconds(30))
        try await waitForOffsets(ends.values.reduce(0) { $0 + $1.high })
    }

    /// Waits until the database says that the next offsets sum up to a number.
    func waitForOffsets(_ sum: Int64) async throws {
        let processor = try #require(processor)
        try await waitUntil("where to go on is noted", within: .seconds(120)) {
            try #require(processor.isRunning, "\(processor.output)")
            return try site.value("SELECT coalesce(sum(next_offset), -1)::int8 FROM consumed_offset") == sum
        }
    }

    /// How many readings are known to be missing.
    func missing() throws -> Int64 {
        try site.value("SELECT coalesce(sum(last_seq - first_seq + 1), 0)::int8 FROM loss")
    }

    /// Stops the processor: everything agrees, and so many readings are known to be missing.
    func finish(missing count: Int64) async throws {
        try await stop()
        let verify = try await BuiltProgram.processor.run(["verify", "--config", configuration], in: site.folder)
        #expect(verify.ending == .status(0), "\(verify.output)")
        #expect(verify.output.contains("missing readings  \(count)"), "\(verify.output)")
        try await site.remove()
    }
}
