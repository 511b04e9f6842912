import Foundation
import KafkaClient
import Platform
import Readings
import Testing

/// A broker that goes and comes back, and a topic that is not there: what a processor says, once, and that it goes on.
@Suite(Servers.areThere) struct BrokerReturnTests {
    private func start(_ site: Site) throws -> ChildProcess {
        let configuration = try site.writeProcessorConfiguration()
        return try BuiltProgram.processor.start(["run", "--config", configuration], in: site.folder)
    }

    private func send(_ numbers: ClosedRange<Int64>, _ site: Site) async throws {
        let start = Timestamp(milliseconds: SystemWallClock().now().milliseconds - 3_600_000)
        try await site.send(numbers.map { Outgoing(value: try site.reading($0, from: start).encoded()) })
    }

    private func waitForRows(_ count: Int64, _ site: Site, _ processor: ChildProcess) async throws {
        try await waitUntil("there are \(count) rows", within: .seconds(60)) {
            try #require(processor.isRunning, "\(processor.output.suffix(4000))")
            // The table is made by the processor.
            return (try? site.value("SELECT count(*) FROM sensor_data") as Int64) == count
        }
    }

    /// Waits for a line of `/readyz`.
    private func waitForPart(_ line: String, _ site: Site, _ processor: ChildProcess) async throws {
        var last = ""
        do {
            try await waitUntil("/readyz says \(line)", within: .seconds(60)) {
                last = (try? await site.get("/readyz", of: processor)) ?? ""
                return last.contains(line)
            }
        } catch {
            Issue.record("/readyz says \(last)")
            throw error
        }
    }

    /// The lines of the log about the broker that are worth a person's time.
    private func said(_ processor: ChildProcess) -> [Substring] {
        processor.output.split(separator: "\n").filter {
            $0.contains(" kafka: ") && !$0.contains(" debug ") && !$0.contains(" info ")
        }
    }

    private func stop(_ processor: ChildProcess) async {
        processor.send(SIGTERM)
        let ending = await processor.ending()
        #expect(ending == .status(0), "\(processor.output.suffix(4000))")
    }

    @Test(.requiresKafkaNodes, .timeLimit(.minutes(5)))
    func aBrokerThatIsAwayIsSaidOnceAndIsFoundSoonAfterItsReturn() async throws {
        let kafka = try await ApacheKafka()
        let site = try await Site(partitions: 2, broker: kafka.bootstrap)
        let processor = try start(site)
        try await send(1...5, site)
        try await waitForRows(5, site, processor)
        try await waitForPart("kafka: healthy\n", site, processor)
        #expect(said(processor) == [])

        try await kafka.kill(1)
        try await waitForPart("kafka: degraded: ", site, processor)
        let health = try #require(try await site.get("/healthz", of: processor))
        #expect(health.contains("check that the broker runs"), "\(health)")
        // Until the pauses between two tries are the longest.
        try await Task.sleep(for: .seconds(12))
        try await kafka.start(1)
        let began = ContinuousClock.now
        try await send(6...10, site)
        try await waitForRows(10, site, processor)
        print("  rows again \(began.duration(to: .now)) after the broker served")
        try await waitForPart("kafka: healthy\n", site, processor)
        let lines = said(processor)
        #expect(lines.count == 2, "\(lines)")
        #expect(lines.first?.contains("remedy=") == true, "\(lines)")
        #expect(lines.last?.contains("Kafka works again") == true, "\(lines)")
        await stop(processor)
        try await site.remove()
        try await kafka.remove()
    }

    @Test(.requiresApacheKafka, .timeLimit(.minutes(5)))
    func aMissingTopicIsSaidSoonAndReadOnceItIsThere() async throws {
        let site = try await Site(partitions: 1)
        let admin = try KafkaAdmin(configuration: site.kafka)
        try await admin.deleteTopic(site.topic, timeout: .seconds(60))
        let processor = try start(site)
        // The log says when it listens.
        try await waitUntil("it answers", within: .seconds(60)) {
            try await site.get("/readyz", of: processor) != nil
        }
        let began = ContinuousClock.now
        try await waitForPart("kafka: degraded: cannot consume \(site.topic)", site, processor)
        print("  a missing topic is said \(began.duration(to: .now)) after the start")
        let health = try #require(try await site.get("/healthz", of: processor))
        #expect(health.contains("create the topic"), "\(health)")
        try await admin.createTopic(site.topic, partitions: 1, timeout: .seconds(60))
        try await send(1...5, site)
        try await waitForRows(5, site, processor)
        try await waitForPart("kafka: healthy\n", site, processor)
        #expect(said(processor).count == 2, "\(said(processor))")
        await stop(processor)
        try await site.remove()
    }

    /// Nothing is written meanwhile that could show it.
    @Test(.requiresKafkaNodes, .timeLimit(.minutes(5)))
    func aRightThatIsGivenBackIsNoticedOnAnIdleTopic() async throws {
        let password = FileManager.default.temporaryDirectory.appendingPathComponent("vigie-password-\(UUID())")
        try Data("secret\n".utf8).write(to: password)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: password.path)
        let kafka = try await ApacheKafka(
            ApacheKafka.Options(arguments: ["--sasl=plain", "--user=reader:\(password.path)", "--authorise"]))
        let site = try await Site(partitions: 2, broker: kafka.innerBootstrap)
        let configuration = try site.writeProcessorConfiguration(
            bootstrap: kafka.bootstrap,
            kafka: [
                "security: sasl_plaintext", "mechanism: PLAIN", "username: reader", "password_file: \(password.path)",
            ])
        let processor = try BuiltProgram.processor.start(["run", "--config", configuration], in: site.folder)
        try await send(1...5, site)
        // It may nothing yet. Long enough for the pauses between attempts to have their full length.
        try await waitForPart("kafka: degraded: reader is not allowed to ", site, processor)
        try await Task.sleep(for: .seconds(10))
        try await kafka.allow("reader", "read", group: site.topic)
        try await kafka.allow("reader", "all", topic: site.topic)
        let granted = ContinuousClock.now
        try await waitForRows(5, site, processor)
        print("  rows come \(granted.duration(to: .now)) after the rights are given")
        #expect(granted.duration(to: .now) < .seconds(12))
        try await waitForPart("kafka: healthy\n", site, processor)
        let before = said(processor).count

        let forbidden = "kafka: degraded: reader is not allowed to consume \(site.topic)"
        try await kafka.forbid("reader", "read", topic: site.topic)
        try await waitForPart(forbidden, site, processor)
        // Ends of partitions are told meanwhile, for which Describe is enough.
        try await Task.sleep(for: .seconds(12))
        let health = try await site.get("/readyz", of: processor)
        #expect(health?.contains(forbidden) == true, "\(health ?? "")")
        try await kafka.withdraw("reader", "read", topic: site.topic)
        let began = ContinuousClock.now
        try await waitForPart("kafka: healthy\n", site, processor)
        print("  a right is noticed \(began.duration(to: .now)) after it was given back")
        #expect(said(processor).count == before + 2, "\(said(processor))")
        try await send(6...10, site)
        try await waitForRows(10, site, processor)
        await stop(processor)
        try await site.remove()
        try await kafka.remove()
        try FileManager.default.removeItem(at: password)
    }
}
