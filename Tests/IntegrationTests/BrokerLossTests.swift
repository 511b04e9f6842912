import FleetCore
import Foundation
import KafkaClient
import PostgresClient
import Readings
import Testing

/// What the processor does when the broker has lost what it had: it goes on with what there is, and counts what is gone.
@Suite(
    Servers.areThere, .enabled(if: PrivateBroker.program != nil, "VIGIE_NOIDA names no broker: run `make test`"))
struct BrokerLossTests {
    private func plan() -> FleetPlan {
        let now = Timestamp(milliseconds: SystemWallClock().now().milliseconds / 1000 * 1000)
        var plan = FleetPlan(start: Timestamp(milliseconds: now.milliseconds - 45 * 60_000))
        plan.gateways = 10
        plan.sensorsPerGateway = 2
        plan.messages = 13_000
        plan.intervalMicroseconds = 2_000_000
        plan.seed = testSeed
        return plan
    }

    @Test(.timeLimit(.minutes(10)))
    func whatTheBrokerLostIsCountedToTheReading() async throws {
        let broker = try PrivateBroker()
        try await broker.start()
        let site = try await Site(partitions: 2, broker: broker.bootstrap)
        let configuration = try site.writeProcessorConfiguration(
            properties: ["topic.metadata.refresh.interval.ms": "1000", "reconnect.backoff.max.ms": "500"])
        var generator = try FleetGenerator(plan())
        var processor = try start(configuration, site)
        try await site.send(3000, of: &generator)
        try await wait(for: 3000, site, processor)
        processor.send(SIGTERM)
        #expect(await processor.ending() == .status(0), "\(processor.output)")

        // Acknowledged by the broker, read by nobody, gone. The topic that is made anew begins at 0 again.
        try await site.send(500, of: &generator)
        try await broker.loseEverything()
        try await broker.start()
        try await site.createTopics(partitions: 2)
        processor = try start(configuration, site)
        try await waitForReset(processor, after: 0)
        try await site.send(2500, of: &generator)
        try await wait(for: 5500, site, processor)
        #expect(try missing(site) == 500)

        // Once more while the processor runs; now it had read everything.
        let before = resets(processor)
        try await broker.loseEverything()
        try await broker.start()
        try await site.createTopics(partitions: 2)
        try await waitForReset(processor, after: before)
        try await site.send(3000, of: &generator)
        try await wait(for: 8500, site, processor)
        #expect(try missing(site) == 500)

        // And once more, with a processor that ends before anything new comes: what it found is not forgotten, although
        // the new messages reach beyond the old offsets.
        try await broker.loseEverything()
        try await broker.start()
        try await site.createTopics(partitions: 2)
        try await waitUntil("where to go on is noted", within: .seconds(120)) {
            try #require(processor.isRunning, "\(processor.output)")
            return try site.value("SELECT sum(next_offset)::int8 FROM consumed_offset", as: Int64.self) == 0
        }
        processor.send(SIGKILL)
        await processor.ending()
        try await site.send(4000, of: &generator)
        processor = try start(configuration, site)
        try await wait(for: 12_500, site, processor)
        #expect(try missing(site) == 500)

        processor.send(SIGTERM)
        #expect(await processor.ending() == .status(0), "\(processor.output)")
        let verify = try await BuiltProgram.processor.run(["verify", "--config", configuration], in: site.folder)
        #expect(verify.ending == .status(0), "\(verify.output)")
        #expect(verify.output.contains("missing readings  500"), "\(verify.output)")
        try await site.remove()
        try await broker.remove()
    }

    private func start(_ configuration: String, _ site: Site) throws -> ChildProcess {
        try BuiltProgram.processor.start(["run", "--config", configuration], in: site.folder)
    }

    /// How often the processor has found that the broker does not have what comes next.
    private func resets(_ processor: ChildProcess) -> Int {
        processor.output.split(separator: "\n").count { $0.contains("does not have the offset to go on from") }
    }

    /// Until it has looked in both partitions: what is sent before might stand at offsets that it has read already.
    private func waitForReset(_ processor: ChildProcess, after before: Int) async throws {
        try await waitUntil("the processor has seen that its offsets are gone", within: .seconds(120)) {
            try #require(processor.isRunning, "\(processor.output)")
            return resets(processor) >= before + 2
        }
    }

    private func wait(for rows: Int64, _ site: Site, _ processor: ChildProcess) async throws {
        try await waitUntil("\(rows) readings are stored", within: .seconds(120)) {
            try #require(processor.isRunning, "\(processor.output)")
            guard try site.value("SELECT to_regclass('sensor_data') IS NOT NULL", as: Bool.self) else { return false }
            return try site.value("SELECT count(*) FROM sensor_data", as: Int64.self) >= rows
        }
        #expect(try site.value("SELECT count(*) FROM sensor_data", as: Int64.self) == rows)
    }

    private func missing(_ site: Site) throws -> Int64 {
        try site.value("SELECT coalesce(sum(last_seq - first_seq + 1), 0)::int8 FROM loss")
    }
}
