import KafkaClient
import Platform
import Testing

/// Against a real broker.
@Suite(.enabled(if: kafkaServers != nil, "VIGIE_KAFKA is not set"), .timeLimit(.minutes(2)))
actor BrokerTests {
    /// The tests wait in calls that block: on a thread of their own they do not hold one of the pool's.
    private let thread = ThreadExecutor(name: "test")
    nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

    private let configuration = KafkaConfiguration(bootstrapServers: kafkaServers ?? "")

    @Test func topicsAreCreatedGrownAndDeleted() async throws {
        let admin = try KafkaAdmin(configuration: configuration)
        let topic = uniqueName("admin")
        let timeout = Duration.seconds(10)
        try await admin.createTopic(
            topic, partitions: 3, configuration: ["retention.bytes": "10000000"], timeout: timeout)
        #expect(try await admin.partitionCount(topic, timeout: timeout) == 3)
        let error = try await kafkaError {
            try await admin.createTopic(topic, partitions: 3, timeout: timeout)
        }
        #expect(error.code == .topicAlreadyExists)
        try await admin.createPartitions(topic, total: 5, timeout: timeout)
        #expect(try await admin.partitionCount(topic, timeout: timeout) == 5)
        try await fill(configuration.bootstrapServers, topic, partition: 4, count: 7)
        let watermarks = try await admin.watermarks(TopicPartition(topic, 4), timeout: timeout)
        #expect(watermarks == KafkaWatermarks(low: 0, high: 7))
        #expect(try await admin.brokerCount(timeout: timeout) >= 1)
        try await admin.deleteTopic(topic, timeout: timeout)
    }

    @Test func aBrokerThatIsNotThereIsATimeout() async throws {
        let admin = try KafkaAdmin(configuration: KafkaConfiguration(bootstrapServers: "127.0.0.1:1"))
        let error = try await kafkaError {
            _ = try await admin.brokerCount(timeout: .milliseconds(300))
        }
        #expect(error.isRetriable == true)
    }

    @Test func aGroupReadsWhatWasSentAndResumesAfterOutOfRange() async throws {
        let admin = try KafkaAdmin(configuration: configuration)
        let topic = uniqueName("group")
        try await admin.createTopic(topic, partitions: 1, timeout: .seconds(10))
        try await fill(configuration.bootstrapServers, topic, count: 2000)
        let consumer = try KafkaConsumer(configuration: configuration, group: uniqueName("group"))
        try consumer.subscribe(
            to: [topic],
            hook: KafkaRebalanceHook(
                assigned: { partitions in
                    Dictionary(uniqueKeysWithValues: partitions.map { ($0, KafkaOffset.at(1500)) })
                },
                revoked: { _, _ in }))
        let (messages, _) = consumer.collect { messages, _ in messages.count >= 500 }
        #expect(messages.map(\.offset) == Array(1500..<2000))
        let partition = TopicPartition(topic, 0)
        try consumer.seek([partition: .at(1_000_000)], timeout: .seconds(10))
        let (_, events) = consumer.collect { _, events in !events.isEmpty }
        guard case .offsetOutOfRange(partition, _)? = events.first else {
            Issue.record("unexpected events \(events)")
            return
        }
        try consumer.seek([partition: .at(1990)], timeout: .seconds(10))
        #expect(consumer.collect { messages, _ in messages.count >= 10 }.messages.map(\.offset) == Array(1990..<2000))
        consumer.close()
        try await admin.deleteTopic(topic, timeout: .seconds(10))
    }
}
