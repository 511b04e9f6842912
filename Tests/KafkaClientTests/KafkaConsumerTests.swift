import Glibc
import KafkaClient
import KafkaTestSupport
import Platform
import Synchronization
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(2)))
actor KafkaConsumerTests {
    /// The tests wait in calls that block: on a thread of their own they do not hold one of the pool's.
    private let thread = ThreadExecutor(name: "test")
    nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

    private let cluster: KafkaMockCluster

    init() throws {
        cluster = try KafkaMockCluster()
        try cluster.createTopic("t", partitions: 2)
    }

    private func consumer(
        _ group: String = "g", _ properties: [String: String] = [:], observer: KafkaObserver = KafkaObserver()
    ) throws -> KafkaConsumer {
        let configuration = KafkaConfiguration(
            bootstrapServers: cluster.bootstrapServers,
            properties: ["session.timeout.ms": "6000", "heartbeat.interval.ms": "100"].merging(properties) { $1 })
        return try KafkaConsumer(configuration: configuration, group: group, observer: observer)
    }

    @Test func anAssignedPartitionIsReadFromItsOffset() async throws {
        try await fill(cluster.bootstrapServers, "t", count: 1000)
        let consumer = try consumer()
        let partition = TopicPartition("t", 0)
        #expect(consumer.cachedWatermarks(partition) == nil)
        try consumer.assign([partition: .at(400)])
        let (messages, events) = consumer.collect { messages, _ in messages.count >= 600 }
        #expect(messages.map(\.offset) == Array(400..<1000))
        #expect(messages.first?.value == Array("400".utf8))
        #expect(messages.first?.key == Array("key".utf8))
        #expect(events.isEmpty)
        #expect(consumer.position(partition) == .at(1000))
        #expect(try consumer.assignment == [partition])
        #expect(consumer.cachedWatermarks(partition)?.high == 1000)
        #expect(try consumer.watermarks(partition, timeout: .seconds(10)) == KafkaWatermarks(low: 0, high: 1000))
        consumer.close()
    }

    @Test func theCommitTimeOfAReadingIsAHeader() {
        #expect(KafkaHeader(committedAt: 1_795_478_400_123).committedAt == 1_795_478_400_123)
        #expect(KafkaHeader(name: "other", text: "17").committedAt == nil)
        #expect(KafkaHeader(name: KafkaHeader.committedName, text: "soon").committedAt == nil)
    }

    @Test func headersAndNullsArrive() async throws {
        let reports = Reports()
        let producer = try KafkaProducer(
            configuration: KafkaConfiguration(bootstrapServers: cluster.bootstrapServers), deliveries: reports.receive)
        let headers = [
            KafkaHeader(name: "a", text: "1"), KafkaHeader(name: "b", value: []), KafkaHeader(name: "a", text: "2"),
        ]
        try producer.send(topic: "t", key: nil, value: [9], headers: headers, partition: 0, token: 1)
        try producer.send(topic: "t", key: [], value: [], partition: 0, token: 2)
        let none = UnsafeRawBufferPointer(start: nil, count: 0)
        try producer.send(to: producer.topic("t"), key: none, value: none, partition: 0, token: 3)
        await producer.close(timeout: .seconds(20))
        let consumer = try consumer()
        try consumer.assign([TopicPartition("t", 0): .earliest])
        let (messages, _) = consumer.collect { messages, _ in messages.count >= 3 }
        try #require(messages.count == 3)
        #expect(messages[0].headers == headers)
        #expect(messages[0].key == nil)
        #expect(messages[1].key == [])
        #expect(messages[1].value == [])
        #expect(messages[1].headers == [])
        #expect(messages[2].value == nil)
        consumer.close()
    }

    @Test func seekPauseAndResume() async throws {
        try await fill(cluster.bootstrapServers, "t", count: 100)
        let consumer = try consumer()
        let partition = TopicPartition("t", 0)
        try consumer.assign([partition: .earliest])
        _ = consumer.collect { messages, _ in messages.count >= 100 }
        try consumer.seek([partition: .at(90)], timeout: .seconds(10))
        #expect(consumer.collect { messages, _ in messages.count >= 10 }.messages.map(\.offset) == Array(90..<100))
        try consumer.pause([partition])
        try consumer.seek([partition: .at(95)], timeout: .seconds(10))
        consumer.nextBatch(maximumMessages: 10, timeout: .milliseconds(500)) { views, _ in #expect(views.isEmpty) }
        try consumer.resume([partition])
        #expect(consumer.collect { messages, _ in messages.count >= 5 }.messages.map(\.offset) == Array(95..<100))
        consumer.close()
    }

    @Test(arguments: [true, false]) func aPausedPartitionGoesOnWhereItIsToldTo(resumedFirst: Bool) async throws {
        try await fill(cluster.bootstrapServers, "t", count: 1000)
        let consumer = try consumer()
        let partition = TopicPartition("t", 0)
        try consumer.assign([partition: .earliest])
        _ = consumer.collect { messages, _ in messages.count >= 20 }
        // librdkafka sleeps for up to a second of each round in which the move does not come last.
        for round in 0..<(resumedFirst ? 20 : 5) {
            try consumer.pause([partition])
            // Polls that keep the member in its group while its owner asks where to go on.
            for _ in 0..<(round % 3) { consumer.nextBatch(maximumMessages: 10, timeout: .milliseconds(5)) { _, _ in } }
            let target = Int64(round * 7)
            if resumedFirst {
                try consumer.resume([partition])
                try consumer.seek([partition: .at(target)], timeout: .seconds(10))
            } else {
                try consumer.seek([partition: .at(target)], timeout: .seconds(10))
                try consumer.resume([partition])
            }
            let (messages, _) = consumer.collect { messages, _ in messages.count >= 5 }
            #expect(messages.first?.offset == target, "round \(round)")
        }
        consumer.close()
    }

    /// The thread of librdkafka's that moves is busy for longer than a thousandth of the time.
    @Test func aMoveWaitsForAsLongAsItMay() async throws {
        try await fill(cluster.bootstrapServers, "t", count: 10)
        let delays = Counter()
        let observer = KafkaObserver(log: { _, _, message in
            guard message.contains("[thrd:main]"), message.contains("Seek t [0] to offset") else { return }
            usleep(300_000)
            delays.add()
        })
        let consumer = try consumer("g", ["debug": "topic"], observer: observer)
        let partition = TopicPartition("t", 0)
        try consumer.assign([partition: .earliest])
        #expect(consumer.collect { messages, _ in messages.count >= 10 }.messages.count == 10)
        try consumer.seek([partition: .at(7)], timeout: .seconds(60))
        #expect(delays.count == 1)
        let (messages, _) = consumer.collect { messages, _ in messages.count >= 3 }
        #expect(messages.map(\.offset) == [7, 8, 9])
        consumer.close()
    }

    /// librdkafka remembers a pause beyond the revocation; nobody who is given a partition expects that.
    @Test(arguments: ["range", "cooperative-sticky"])
    func aPauseEndsWithTheAssignment(strategy: String) async throws {
        try cluster.createTopic("other", partitions: 1)
        try await fill(cluster.bootstrapServers, "t", partition: 0, count: 10)
        let consumer = try consumer("g-\(strategy)", ["partition.assignment.strategy": strategy])
        var owned: Set<TopicPartition> = []
        let hook = KafkaRebalanceHook(
            assigned: { partitions in
                owned.formUnion(partitions)
                return Dictionary(uniqueKeysWithValues: partitions.map { ($0, .at(0)) })
            }, revoked: { partitions, _ in owned.subtract(partitions) })
        let partition = TopicPartition("t", 0)
        try consumer.subscribe(to: ["t"], hook: hook)
        #expect(consumer.collect { messages, _ in messages.count >= 10 }.messages.count == 10)
        try consumer.pause([partition])
        try consumer.subscribe(to: ["other"], hook: hook)
        _ = consumer.collect { _, _ in owned.map(\.topic) == ["other"] }
        try consumer.subscribe(to: ["t"], hook: hook)
        let (messages, _) = consumer.collect { messages, _ in messages.count >= 10 }
        #expect(messages.map(\.offset) == Array(0..<10))
        consumer.close()
    }

    @Test func endOffsetsComeForAllPartitionsAtOnce() async throws {
        try await fill(cluster.bootstrapServers, "t", partition: 0, count: 10)
        try await fill(cluster.bootstrapServers, "t", partition: 1, count: 3)
        let consumer = try consumer()
        let (first, second) = (TopicPartition("t", 0), TopicPartition("t", 1))
        #expect(try consumer.endOffsets([first, second], timeout: .seconds(10)) == [first: 10, second: 3])
        #expect(try consumer.endOffsets([], timeout: .seconds(10)) == [:])
        try ChildStarts.excluded { try cluster.brokerDown() }
        #expect(throws: KafkaError.self) { try consumer.endOffsets([first], timeout: .seconds(1)) }
        consumer.close()
    }

    @Test func anOffsetOutOfRangeIsAnEventAndTheOwnerDecides() async throws {
        try await fill(cluster.bootstrapServers, "t", count: 10)
        let consumer = try consumer()
        let partition = TopicPartition("t", 0)
        try consumer.assign([partition: .at(5000)])
        let (messages, events) = consumer.collect { _, events in !events.isEmpty }
        #expect(messages.isEmpty)
        guard case .offsetOutOfRange(partition, _)? = events.first else {
            Issue.record("unexpected events \(events)")
            return
        }
        let watermarks = try consumer.watermarks(partition, timeout: .seconds(10))
        try consumer.seek([partition: .at(watermarks.low)], timeout: .seconds(10))
        #expect(consumer.collect { messages, _ in messages.count >= 10 }.messages.map(\.offset) == Array(0..<10))
        consumer.close()
    }

    /// librdkafka goes on by itself and tells it in its log alone, which the user does not get to see.
    @Test func whatInterruptsFetchingIsTold() async throws {
        let cluster = try KafkaMockCluster(brokers: 2)
        let partition = TopicPartition("t", 0)
        try cluster.createTopic("t", partitions: 1, replication: 2)
        try cluster.setLeader(1, of: partition)
        try await fill(cluster.bootstrapServers, "t", count: 10)
        let lines = Counter()
        let consumer = try KafkaConsumer(
            configuration: KafkaConfiguration(bootstrapServers: cluster.bootstrapServers), group: "g",
            observer: KafkaObserver(log: { level, _, _ in if level > 6 { lines.add() } }))
        try consumer.assign([partition: .earliest])
        #expect(consumer.collect { messages, _ in messages.count >= 10 }.messages.count == 10)
        _ = consumer.takeInterruptions()
        // librdkafka 2.0.2 takes the mock cluster's error for one of the whole request, and 2.8 learns of another leader
        // without a word: each tells one of the two.
        cluster.pushRequestErrors(.fetch, Array(repeating: .unknownTopicOrPartition, count: 3))
        try cluster.setLeader(2, of: partition)
        var interruptions = FetchInterruptions()
        _ = consumer.collect { _, _ in
            interruptions = consumer.takeInterruptions()
            return !interruptions.unavailable.isEmpty
        }
        #expect(interruptions.unavailable == [partition] && interruptions.lostBrokers.isEmpty)
        try ChildStarts.excluded { try cluster.brokerDown() }
        _ = consumer.collect { _, _ in
            interruptions = consumer.takeInterruptions()
            return interruptions.lostBrokers.contains(1)
        }
        #expect(interruptions.lostBrokers.contains(1))
        #expect(lines.count == 0)
        consumer.close()
    }

    @Test func thePartitionEndIsAnEventIfWanted() async throws {
        try await fill(cluster.bootstrapServers, "t", count: 10)
        let consumer = try consumer("g", ["enable.partition.eof": "true"])
        try consumer.assign([TopicPartition("t", 0): .earliest])
        let (messages, events) = consumer.collect { _, events in !events.isEmpty }
        #expect(messages.count == 10)
        #expect(events == [.partitionEnd(TopicPartition("t", 0), offset: 10)])
        consumer.close()
    }

    /// librdkafka 2.8 goes on after the first message that comes then, if the end was taken with
    /// rd_kafka_consume_batch_queue.
    @Test func aPartitionThatWasPausedAtItsEndGoesOnThere() async throws {
        try await fill(cluster.bootstrapServers, "t", count: 10)
        let consumer = try consumer("g", ["enable.partition.eof": "true"])
        let partition = TopicPartition("t", 0)
        try consumer.assign([partition: .earliest])
        _ = consumer.collect { _, events in !events.isEmpty }
        try consumer.pause([partition])
        try consumer.resume([partition])
        try await fill(cluster.bootstrapServers, "t", count: 10)
        let (messages, _) = consumer.collect { messages, _ in messages.count >= 10 }
        #expect(messages.map(\.offset) == Array(10..<20))
        consumer.close()
    }

    @Test func aBrokerThatGoesAwayAndComesBackLosesNothing() async throws {
        try await fill(cluster.bootstrapServers, "t", count: 10)
        let consumer = try consumer("g", ["reconnect.backoff.max.ms": "200"])
        try consumer.assign([TopicPartition("t", 0): .earliest])
        #expect(consumer.collect { messages, _ in messages.count >= 10 }.messages.count == 10)
        try ChildStarts.excluded { try cluster.brokerDown() }
        _ = consumer.collect { _, _ in consumer.errorCount > 0 }
        #expect(consumer.errorCount > 0)
        #expect(consumer.fatalError == nil)
        try cluster.brokerUp()
        try await fill(cluster.bootstrapServers, "t", count: 10)
        let (messages, _) = consumer.collect { messages, _ in messages.count >= 10 }
        #expect(messages.map(\.offset) == Array(10..<20))
        consumer.close()
    }

    @Test(arguments: ["range", "cooperative-sticky"])
    func theHookGivesTheStartOffsetsAndHearsOfRevocation(strategy: String) async throws {
        try await fill(cluster.bootstrapServers, "t", partition: 0, count: 20)
        try await fill(cluster.bootstrapServers, "t", partition: 1, count: 20)
        let consumer = try consumer("g-\(strategy)", ["partition.assignment.strategy": strategy])
        var assigned: [TopicPartition] = []
        var revoked: [TopicPartition] = []
        let hook = KafkaRebalanceHook(
            assigned: { partitions in
                assigned += partitions
                // Partition 1 is left out, so it stays paused.
                return [TopicPartition("t", 0): .at(15)]
            },
            revoked: { partitions, isLost in
                #expect(!isLost)
                revoked += partitions
            })
        try consumer.subscribe(to: ["t"], hook: hook)
        let (messages, _) = consumer.collect { messages, _ in messages.count >= 5 }
        let both = [TopicPartition("t", 0), TopicPartition("t", 1)]
        #expect(assigned.sorted() == both)
        #expect(messages.map(\.offset) == Array(15..<20))
        #expect(messages.allSatisfy { $0.partition == 0 })
        try consumer.seek([both[1]: .at(18)], timeout: .seconds(10))
        try consumer.resume([both[1]])
        let (later, _) = consumer.collect { messages, _ in messages.count >= 2 }
        #expect(later.map(\.offset) == [18, 19])
        #expect(later.allSatisfy { $0.partition == 1 })
        try consumer.commit([both[0]: 20, both[1]: 20])
        consumer.close()
        #expect(revoked.sorted() == both)
        #expect(consumer.errorCount == 0)
    }

    /// It has joined the group, and every answer that would give it partitions is an error. librdkafka ends this process if
    /// it takes that amiss.
    @Test func aConsumerThatNeverGotItsPartitionsCanBeLetGo() async throws {
        cluster.pushRequestErrors(.syncGroup, Array(repeating: .unknownTopicOrPartition, count: 100))
        let refusals = Counter()
        let observer = KafkaObserver(log: { _, _, message in
            if message.contains("SyncGroup error") { refusals.add() }
        })
        let consumer = try consumer(
            "g", ["partition.assignment.strategy": "cooperative-sticky", "debug": "cgrp"], observer: observer)
        var wasAssigned = false
        try consumer.subscribe(
            to: ["t"],
            hook: KafkaRebalanceHook(
                assigned: { _ in
                    wasAssigned = true
                    return [:]
                }, revoked: { _, _ in }))
        _ = consumer.collect { _, _ in refusals.count > 0 }
        consumer.close()
        #expect(refusals.count > 0 && !wasAssigned)
    }

    @Test(arguments: ["range", "cooperative-sticky"])
    func aSecondConsumerTakesItsShare(strategy: String) async throws {
        let properties = ["partition.assignment.strategy": strategy]
        let first = try consumer("g-\(strategy)", properties)
        let second = try consumer("g-\(strategy)", properties)
        func hook(_ owned: @escaping (Set<TopicPartition>, Bool) -> Void) -> KafkaRebalanceHook {
            KafkaRebalanceHook(
                assigned: { partitions in
                    owned(Set(partitions), true)
                    return Dictionary(uniqueKeysWithValues: partitions.map { ($0, .earliest) })
                },
                revoked: { partitions, _ in owned(Set(partitions), false) })
        }
        var firstOwns: Set<TopicPartition> = []
        var secondOwns: Set<TopicPartition> = []
        try first.subscribe(
            to: ["t"], hook: hook { if $1 { firstOwns.formUnion($0) } else { firstOwns.subtract($0) } })
        _ = first.collect { _, _ in firstOwns.count == 2 }
        #expect(firstOwns.count == 2)
        try second.subscribe(
            to: ["t"], hook: hook { if $1 { secondOwns.formUnion($0) } else { secondOwns.subtract($0) } })
        let end = ContinuousClock.now + .seconds(30)
        while ContinuousClock.now < end && !(firstOwns.count == 1 && secondOwns.count == 1) {
            for consumer in [first, second] {
                consumer.nextBatch(maximumMessages: 10, timeout: .milliseconds(50)) { _, _ in }
            }
        }
        #expect(firstOwns.count == 1 && secondOwns.count == 1)
        #expect(firstOwns.isDisjoint(with: secondOwns))
        first.close()
        second.close()
        #expect(firstOwns.isEmpty && secondOwns.isEmpty)
    }
}

/// Counts what happens on librdkafka's threads.
private final class Counter: Sendable {
    private let value = Atomic(0)
    var count: Int { value.load(ordering: .relaxed) }

    func add() {
        value.add(1, ordering: .relaxed)
    }
}
