import KafkaClient
import KafkaTestSupport
import Monitoring
import Outbox
import Platform
import Readings
import SimulatedHardware
import Testing

@testable import GatewayCore

/// Every error that a broker can answer a produce request with (Kafka protocol guide, "Error codes"), from librdkafka's
/// imitation of a cluster: what becomes of the readings in the request.
@Suite(.timeLimit(.minutes(2))) struct PublisherErrorTests {
    private static let topic = "sensor.readings"

    /// That of a message: what is refused alone is put away.
    private static let ofMessage: [Int32] = [4, 10, 18, 32, 43, 87]
    /// That of the topic, the rights, the quota, the broker, the producer, or nothing that is known. Without 46,
    /// DUPLICATE_SEQUENCE_NUMBER, by which the broker says that it has the messages: that is a success.
    private static let others: [Int32] = [
        -1, 1, 2, 3, 5, 6, 7, 8, 9, 13, 14, 15, 16, 17, 19, 20, 21, 29, 31, 33, 34, 35, 41, 42, 44, 45, 47, 48, 51, 53,
        55, 56, 58, 59, 67, 73, 74, 75, 76, 80, 88, 89, 90, 96,
    ]

    /// What came of five readings.
    private struct Outcome {
        var published: [Int64]
        var quarantined: Int
        var waiting: Int
        /// What health says of reports.
        var reports: Health.State?
    }

    /// Publishes five readings, which go in one request with the report of their stream, to a cluster that answers the
    /// first requests with errors.
    private func publish(_ errors: [Int32]) async throws -> Outcome {
        let cluster = try KafkaMockCluster()
        try cluster.createTopic(Self.topic, partitions: 1)
        let bench = try Bench()
        let outbox = try await bench.openOutbox()
        try await outbox.append((1...5).map { try record($0) })
        cluster.pushRequestErrors(.produce, errors.map { KafkaError.Code(rawValue: $0) })
        let publisher = Publisher(
            outbox: outbox, events: bench.events,
            configuration: KafkaConfiguration(
                bootstrapServers: cluster.bootstrapServers, properties: ["linger.ms": "100", "retry.backoff.ms": "20"]),
            topic: Self.topic, window: 50, drainTime: .seconds(60_000), metrics: bench.metrics, health: bench.health,
            log: bench.log, clock: ScaledClock(speed: 1000) ?? ScaledClock())
        let request = ShutdownRequest()
        request.make()
        try await ShutdownRequest.$current.withValue(request) { try await publisher.run() }
        let status = try await outbox.status()
        return Outcome(
            published: try published(cluster), quarantined: status.quarantined, waiting: status.depth,
            reports: bench.health.state(of: "reports"))
    }

    /// The numbers on the topic.
    private func published(_ cluster: KafkaMockCluster) throws -> [Int64] {
        let consumer = try KafkaConsumer(
            configuration: KafkaConfiguration(bootstrapServers: cluster.bootstrapServers), group: "check")
        defer { consumer.close() }
        let end = try consumer.watermarks(TopicPartition(Self.topic, 0), timeout: .seconds(10)).high
        try consumer.assign([TopicPartition(Self.topic, 0): .earliest])
        var (count, numbers): (Int64, [Int64]) = (0, [])
        while count < end {
            consumer.nextBatch(maximumMessages: 100, timeout: .seconds(10)) { batch, _ in
                count += Int64(batch.count)
                for message in batch {
                    let text = String(decoding: message.value, as: UTF8.self)
                    let digits = text.split(separator: "\"seq\":").dropFirst().first?.prefix { $0.isNumber }
                    if let number = digits.flatMap({ Int64($0) }) { numbers.append(number) }
                }
            }
        }
        return numbers
    }

    /// A request that is refused once costs nothing, whatever the reason: every reading is sent at last.
    @Test(arguments: ofMessage + others) func aRequestThatIsRefusedOnceCostsNothing(code: Int32) async throws {
        let outcome = try await publish([code])
        #expect(Set(outcome.published) == Set(1...5), "\(outcome)")
        #expect(outcome.quarantined == 0 && outcome.waiting == 0, "\(outcome)")
    }

    /// The request, then its report and its first reading alone: that reading is put away, the others are sent.
    @Test(arguments: ofMessage) func onlyWhatIsRefusedAloneIsPutAway(code: Int32) async throws {
        let outcome = try await publish([code, code, code])
        #expect(Set(outcome.published) == Set(2...5), "\(outcome)")
        #expect(outcome.quarantined == 1 && outcome.waiting == 0, "\(outcome)")
        // The clock is quick: the report's ten minutes may be over, and it is taken then.
        switch outcome.reports {
        case .degraded(let reason)?: #expect(reason.hasPrefix("the broker refuses a report of this gateway: "))
        case .healthy?: break
        default: Issue.record("nothing is said of the report: \(outcome)")
        }
    }

    /// An error that is not about a reading is none however often it comes.
    @Test(arguments: [29, 44, 76, 42, -1] as [Int32]) func noOtherErrorPutsAnythingAway(code: Int32) async throws {
        let outcome = try await publish(Array(repeating: code, count: 12))
        #expect(Set(outcome.published) == Set(1...5), "\(outcome)")
        #expect(outcome.quarantined == 0 && outcome.waiting == 0, "\(outcome)")
    }
}
