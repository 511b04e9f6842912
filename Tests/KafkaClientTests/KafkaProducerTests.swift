import KafkaClient
import KafkaTestSupport
import Synchronization
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(2)))
struct KafkaProducerTests {
    private let cluster: KafkaMockCluster
    private let reports = Reports()

    init() throws {
        cluster = try KafkaMockCluster()
        try cluster.createTopic("t", partitions: 1)
    }

    private func producer(
        _ properties: [String: String] = [:], observer: KafkaObserver = KafkaObserver()
    ) throws -> KafkaProducer {
        try KafkaProducer(
            configuration: KafkaConfiguration(bootstrapServers: cluster.bootstrapServers, properties: properties),
            observer: observer, deliveries: reports.receive)
    }

    /// librdkafka finds these only when it makes a client, and frees some of the configuration then.
    @Test func whatCannotBeUsedIsAnErrorAndNoMore() throws {
        for _ in 0..<20 {
            for configuration in [
                KafkaConfiguration(
                    bootstrapServers: "127.0.0.1:9", securityProtocol: .tls, certificateAuthorityFile: "/nonexistent"),
                KafkaConfiguration(bootstrapServers: "127.0.0.1:9", properties: ["acks": "1"]),
            ] {
                #expect(throws: KafkaConfigurationError.self) {
                    _ = try KafkaProducer(configuration: configuration) { _ in }
                }
            }
        }
    }

    @Test func reportsComeInOrderAndInBatches() async throws {
        let producer = try producer()
        for token in 0..<5000 as Range<UInt64> {
            try producer.send(topic: "t", key: [1], value: Array("\(token)".utf8), token: token)
        }
        try await producer.flush(timeout: .seconds(20))
        #expect(reports.tokens == Array(0..<5000))
        #expect(reports.all.allSatisfy { $0.error == nil && $0.partition == 0 })
        #expect(reports.all.map(\.offset) == Array(0..<5000))
        #expect(reports.batchCount < 1000)
        #expect(producer.pendingCount == 0)
        await producer.close(timeout: .seconds(1))
    }

    @Test func everyTokenSurvives() async throws {
        let producer = try producer()
        let tokens: [UInt64] = [0, 1, .max, 1 << 63]
        for token in tokens { try producer.send(topic: "t", key: nil, value: [], token: token) }
        await producer.close(timeout: .seconds(20))
        #expect(reports.tokens == tokens)
    }

    @Test func memoryThatIsNotCopiedIsSent() async throws {
        let producer = try producer()
        let topic = try producer.topic("t")
        let value = UnsafeMutableRawBufferPointer.allocate(byteCount: 100, alignment: 1)
        value.initializeMemory(as: UInt8.self, repeating: 7)
        defer { value.deallocate() }
        let none = UnsafeRawBufferPointer(start: nil, count: 0)
        for token in 0..<10 as Range<UInt64> {
            try producer.send(to: topic, key: none, value: UnsafeRawBufferPointer(value), token: token, copy: false)
        }
        await producer.close(timeout: .seconds(20))
        #expect(reports.tokens == Array(0..<10))
        #expect(reports.all.allSatisfy { $0.error == nil })
    }

    @Test func aFullQueueIsReportedAtOnce() async throws {
        try ChildStarts.excluded { try cluster.brokerDown() }
        let producer = try producer(["queue.buffering.max.messages": "10"])
        for token in 0..<10 as Range<UInt64> { try producer.send(topic: "t", key: nil, value: [1], token: token) }
        let error = try await kafkaError {
            try producer.send(topic: "t", key: nil, value: [1], token: 10)
        }
        #expect(error.code == .queueFull)
        #expect(error.isRetriable == true)
        #expect(error.name == "_QUEUE_FULL")
        let headers = try await kafkaError {
            try producer.send(
                topic: "t", key: nil, value: [1], headers: [KafkaHeader(name: "h", text: "v")], token: 11)
        }
        #expect(headers.code == .queueFull)
        await producer.close(timeout: .milliseconds(10))
        #expect(reports.tokens.sorted() == Array(0..<10))
        #expect(reports.all.allSatisfy { $0.error?.code == .purgedFromQueue })
    }

    @Test func aBrokerThatGoesAwayAndComesBackLosesAndReordersNothing() async throws {
        let errors = Mutex<[KafkaError]>([])
        let producer = try producer(
            ["reconnect.backoff.max.ms": "200"],
            observer: KafkaObserver(error: { error in errors.withLock { $0.append(error) } }))
        for token in 0..<100 as Range<UInt64> { try producer.send(topic: "t", key: nil, value: [1], token: token) }
        try await producer.flush(timeout: .seconds(20))
        try ChildStarts.excluded { try cluster.brokerDown() }
        for token in 100..<200 as Range<UInt64> { try producer.send(topic: "t", key: nil, value: [1], token: token) }
        await #expect(throws: KafkaError.self) { try await producer.flush(timeout: .milliseconds(500)) }
        #expect(producer.pendingCount == 100)
        try cluster.brokerUp()
        try await producer.flush(timeout: .seconds(20))
        #expect(reports.tokens == Array(0..<200))
        #expect(reports.all.allSatisfy { $0.error == nil })
        #expect(producer.errorCount > 0)
        #expect(errors.withLock { $0.contains { $0.isRetriable } })
        await producer.close(timeout: .seconds(1))
    }

    @Test func requestErrorsAreRetriedInOrder() async throws {
        cluster.pushRequestErrors(.produce, [.requestTimedOut, .transport, .init(rawValue: 6)])
        let producer = try producer(["retry.backoff.ms": "10", "reconnect.backoff.max.ms": "100"])
        for token in 0..<100 as Range<UInt64> { try producer.send(topic: "t", key: nil, value: [1], token: token) }
        try await producer.flush(timeout: .seconds(20))
        #expect(reports.tokens == Array(0..<100))
        #expect(reports.all.allSatisfy { $0.error == nil })
        await producer.close(timeout: .seconds(1))
    }

    @Test func aRefusedMessageIsReportedAsNotRetriable() async throws {
        cluster.pushRequestErrors(.produce, [.topicAuthorizationFailed])
        let producer = try producer()
        try producer.send(topic: "t", key: nil, value: [1], token: 5)
        await producer.close(timeout: .seconds(20))
        #expect(reports.tokens == [5])
        #expect(reports.all.first?.error?.code == .topicAuthorizationFailed)
        #expect(reports.all.first?.error?.isRetriable == false)
    }

    @Test func aMessageThatIsTooLargeIsRefusedAtOnce() async throws {
        let producer = try producer(["message.max.bytes": "1000"])
        let error = try await kafkaError {
            try producer.send(topic: "t", key: nil, value: [UInt8](repeating: 1, count: 2000), token: 1)
        }
        #expect(error.code == .messageTooLarge)
        #expect(error.isRetriable == false)
        await producer.close(timeout: .seconds(1))
    }

    @Test func afterAFatalErrorANewProducerCarriesOn() async throws {
        let first = try producer()
        try first.send(topic: "t", key: nil, value: [1], token: 1)
        try await first.flush(timeout: .seconds(20))
        #expect(first.fatalError == nil)
        try first.simulateFatalError(.init(rawValue: 59), reason: "unknown producer")
        #expect(first.fatalError?.isFatal == true)
        #expect(first.fatalError?.code.rawValue == 59)
        let error = try await kafkaError { try first.send(topic: "t", key: nil, value: [1], token: 2) }
        #expect(error.isFatal == true)
        await first.close(timeout: .seconds(1))
        let second = try producer()
        try second.send(topic: "t", key: nil, value: [1], token: 2)
        await second.close(timeout: .seconds(20))
        #expect(reports.all.filter { $0.error == nil }.map(\.token) == [1, 2])
    }

    @Test func aProducerThatIsLetGoEndsByItself() async throws {
        weak var last: KafkaProducer?
        do {
            let producer = try producer()
            try producer.send(topic: "t", key: nil, value: [1], token: 1)
            try await producer.flush(timeout: .seconds(20))
            last = producer
        }
        #expect(last == nil)
    }

    @Test func theLogAndTheStatisticsGoToTheObserver() async throws {
        let log = Mutex<[String]>([])
        let (statistics, continuation) = AsyncStream.makeStream(of: String.self)
        let producer = try producer(
            ["debug": "conf", "statistics.interval.ms": "100"],
            observer: KafkaObserver(
                log: { _, facility, _ in log.withLock { $0.append(facility) } },
                statistics: { continuation.yield($0) }))
        var iterator = statistics.makeAsyncIterator()
        #expect(await iterator.next()?.hasPrefix("{") == true)
        #expect(log.withLock { $0.contains("CONF") })
        await producer.close(timeout: .seconds(1))
    }
}
