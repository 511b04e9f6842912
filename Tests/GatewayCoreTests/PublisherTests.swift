import CSQLite
import Foundation
import KafkaClient
import KafkaTestSupport
import Monitoring
import Outbox
import Platform
import Readings
import SimulatedHardware
import TestSupport
import Testing

@testable import GatewayCore

/// The publisher in front of librdkafka's own imitation of a cluster.
@Suite(.timeLimit(.minutes(1))) struct PublisherTests {
    private static let topic = "sensor.readings"

    private func makeCluster() throws -> KafkaMockCluster {
        let cluster = try KafkaMockCluster()
        try cluster.createTopic(Self.topic, partitions: 1)
        return cluster
    }

    /// A publisher whose pauses after failures take no time.
    private func makePublisher(
        _ bench: Bench, _ outbox: Outbox, _ cluster: KafkaMockCluster, window: Int = 50,
        drainTime: Duration = .seconds(30_000), properties: [String: String] = [:],
        clock: any Clock<Duration> = ScaledClock.fast
    ) -> Publisher {
        Publisher(
            outbox: outbox, events: bench.events,
            configuration: KafkaConfiguration(
                bootstrapServers: cluster.bootstrapServers,
                properties: properties.merging(["linger.ms": "1"]) { given, _ in given }),
            topic: Self.topic, window: window, drainTime: drainTime, metrics: bench.metrics, health: bench.health,
            log: bench.log, clock: clock)
    }

    /// Runs the publisher and asks it at once to stop, which it does when the outbox is empty.
    private func drain(_ publisher: Publisher) async throws {
        let request = ShutdownRequest()
        request.make()
        try await ShutdownRequest.$current.withValue(request) { try await publisher.run() }
    }

    /// The numbers on the topic, in its order.
    private func published(_ cluster: KafkaMockCluster) throws -> [Int64] {
        let configuration = KafkaConfiguration(bootstrapServers: cluster.bootstrapServers)
        let consumer = try KafkaConsumer(configuration: configuration, group: "check")
        defer { consumer.close() }
        let place = TopicPartition(Self.topic, 0)
        let end = try consumer.watermarks(place, timeout: .seconds(10)).high
        try consumer.assign([place: .earliest])
        var numbers: [Int64] = []
        while Int64(numbers.count) < end {
            consumer.nextBatch(maximumMessages: 1000, timeout: .seconds(10)) { batch, _ in
                for message in batch { numbers.append(Self.sequence(in: Array(message.value))) }
            }
        }
        // Reports have no number.
        return numbers.filter { $0 > 0 }
    }

    /// What the gateway says of itself beside the reading: when it had it safe.
    @Test func aMessageSaysWhenItsReadingWasCommitted() async throws {
        let (cluster, bench) = (try makeCluster(), try Bench())
        let clock = ManualWallClock(Timestamp(milliseconds: 1_700_000_000_500))
        let outbox = try await Outbox.open(path: bench.file, wallClock: clock)
        try await outbox.append([try record(1)])
        clock.set(Timestamp(milliseconds: 1_700_000_000_900))
        try await outbox.append([try record(2)])
        try await drain(makePublisher(bench, outbox, cluster))
        let configuration = KafkaConfiguration(bootstrapServers: cluster.bootstrapServers)
        let consumer = try KafkaConsumer(configuration: configuration, group: "check")
        defer { consumer.close() }
        try consumer.assign([TopicPartition(Self.topic, 0): .earliest])
        var times: [Int64?] = []
        while times.count < 2 {
            consumer.nextBatch(maximumMessages: 10, timeout: .seconds(10)) { batch, _ in
                for message in batch where Self.sequence(in: Array(message.value)) > 0 {
                    times.append(message.headers.first?.committedAt)
                }
            }
        }
        #expect(times == [1_700_000_000_500, 1_700_000_000_900])
    }

    /// A producer that was given up may still report: what its successor has sent is not settled by that.
    @Test func reportsOfAnEarlierProducerAreNotLookedAt() async throws {
        let (cluster, bench) = (try makeCluster(), try Bench())
        let outbox = try await Outbox.open(path: bench.file)
        try await outbox.append([try record(1)])
        let wake = bench.events.continuation
        wake.yield(.appended)
        wake.yield(.delivered(producer: -1, [DeliveryReport(token: 1, partition: 0, offset: 0)]))
        wake.yield(.drainTimeOver)
        try await makePublisher(bench, outbox, cluster).run()
        #expect(try await outbox.status().depth == 1)
    }

    /// What the broker has and the outbox cannot delete is not sent again, and the readings behind it go out.
    @Test func nothingIsSentAgainWhileTheDiskTakesNoWrites() async throws {
        let (cluster, bench) = (try makeCluster(), try Bench())
        let outbox = try await bench.openOutbox()
        try await outbox.append((1...30).map { try record($0) })
        var blocker: OpaquePointer?
        #expect(sqlite3_open(bench.file, &blocker) == SQLITE_OK)
        defer { sqlite3_close(blocker) }
        #expect(sqlite3_exec(blocker, "BEGIN IMMEDIATE", nil, nil, nil) == SQLITE_OK)
        let publisher = makePublisher(bench, outbox, cluster)
        let run = Task { try await drain(publisher) }
        while bench.metrics.published.value < 30 { try await Task.sleep(for: .milliseconds(5)) }
        #expect(sqlite3_exec(blocker, "ROLLBACK", nil, nil, nil) == SQLITE_OK)
        try await run.value
        #expect(try await outbox.status().depth == 0)
        #expect(try published(cluster) == Array(1...30))
        #expect(bench.metrics.producersReplaced.value == 0)
    }

    private static func sequence(in message: [UInt8]) -> Int64 {
        let text = String(decoding: message, as: UTF8.self)
        let digits = text.split(separator: "\"seq\":").dropFirst().first?.prefix { $0.isNumber }
        return digits.flatMap { Int64($0) } ?? -1
    }

    /// What is left of a list when every number counts at its first place only.
    private func firstOccurrences(_ numbers: [Int64]) -> [Int64] {
        var seen: Set<Int64> = []
        return numbers.filter { seen.insert($0).inserted }
    }

    @Test func publishesInOrderAndDeletesWhatIsAcknowledged() async throws {
        let (bench, cluster) = (try Bench(), try makeCluster())
        let outbox = try await bench.openOutbox()
        try await outbox.append((1...500).map { try record($0) })
        try await drain(makePublisher(bench, outbox, cluster))
        #expect(try published(cluster) == Array(1...500))
        #expect(try await outbox.status().depth == 0)
        #expect(bench.metrics.published.value == 500)
        #expect(bench.health.state(of: "kafka") == .healthy)
    }

    /// Nobody looks at the outbox on a timer: an append alone wakes the publisher.
    @Test func anAppendWakesIt() async throws {
        let (bench, cluster) = (try Bench(), try makeCluster())
        let outbox = try await bench.openOutbox()
        let publisher = makePublisher(bench, outbox, cluster)
        let request = ShutdownRequest()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await ShutdownRequest.$current.withValue(request) { try await publisher.run() } }
            for number in 1...20 {
                try await outbox.append([try record(number)])
                while try await outbox.status().depth > 0 { try await Task.sleep(for: .milliseconds(1)) }
            }
            request.make()
            try await group.waitForAll()
        }
        #expect(try published(cluster) == Array(1...20))
    }

    /// The broker refuses some requests for good: everything is sent again from the first refused reading on.
    @Test func sendsAgainInOrderAfterAFailure() async throws {
        let (bench, cluster) = (try Bench(), try makeCluster())
        let outbox = try await bench.openOutbox()
        try await outbox.append((1...300).map { try record($0) })
        cluster.pushRequestErrors(.produce, [.topicAuthorizationFailed, .topicAuthorizationFailed])
        // One request for all that are given together: of several on their way at once the mock accepts those after a
        // refused one, which a broker does not from an idempotent producer.
        let whole = ["batch.num.messages": "300", "linger.ms": "200"]
        try await drain(makePublisher(bench, outbox, cluster, window: 300, properties: whole))
        #expect(firstOccurrences(try published(cluster)) == Array(1...300))
        #expect(try await outbox.status().depth == 0)
        #expect(bench.metrics.publishFailures.value > 0)
    }

    /// A broker that is away for a while costs nothing but time.
    @Test func waitsForABrokerThatComesBack() async throws {
        let (bench, cluster) = (try Bench(), try makeCluster())
        let outbox = try await bench.openOutbox()
        try await outbox.append((1...100).map { try record($0) })
        try ChildStarts.excluded { try cluster.brokerDown() }
        let publisher = makePublisher(
            bench, outbox, cluster,
            properties: ["message.timeout.ms": "200", "reconnect.backoff.max.ms": "100", "retry.backoff.ms": "20"])
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await drain(publisher) }
            while bench.metrics.publishFailures.value < 2 { try await Task.sleep(for: .milliseconds(5)) }
            #expect(try await outbox.status().depth == 100)
            guard case .degraded = bench.health.state(of: "kafka") else {
                Issue.record("the health says nothing of the broker")
                return
            }
            try cluster.brokerUp()
            try await group.waitForAll()
        }
        #expect(firstOccurrences(try published(cluster)) == Array(1...100))
        #expect(try await outbox.status().depth == 0)
    }

    /// A board that is about to lose its power does not wait for the end of a pause, which never comes here.
    @Test func aFlushEndsAPause() async throws {
        let (bench, cluster) = (try Bench(), try makeCluster())
        let outbox = try await bench.openOutbox()
        try await outbox.append([try record(1)])
        try ChildStarts.excluded { try cluster.brokerDown() }
        let publisher = makePublisher(
            bench, outbox, cluster,
            properties: ["message.timeout.ms": "200", "reconnect.backoff.max.ms": "100", "retry.backoff.ms": "20"],
            clock: ManualClock())
        let request = ShutdownRequest()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await ShutdownRequest.$current.withValue(request) { try await publisher.run() } }
            while bench.metrics.publishFailures.value < 1 { try await Task.sleep(for: .milliseconds(5)) }
            try cluster.brokerUp()
            while try await outbox.status().depth > 0 {
                // Again, for librdkafka has pauses of its own.
                bench.events.continuation.yield(.flush)
                try await Task.sleep(for: .milliseconds(50))
            }
            request.make()
            try await group.waitForAll()
        }
        #expect(try published(cluster) == [1])
    }

    /// A broker that has lost the producer's state ends the producer for good: another one goes on from the outbox.
    @Test func carriesOnWithANewProducerAfterAFatalError() async throws {
        let (bench, cluster) = (try Bench(), try makeCluster())
        let outbox = try await bench.openOutbox()
        try await outbox.append((1...200).map { try record($0) })
        // OUT_OF_ORDER_SEQUENCE_NUMBER: for the first request of a producer this is fatal.
        cluster.pushRequestErrors(.produce, [KafkaError.Code(rawValue: 45)])
        try await drain(makePublisher(bench, outbox, cluster, properties: ["enable.gapless.guarantee": "true"]))
        #expect(firstOccurrences(try published(cluster)) == Array(1...200))
        #expect(try await outbox.status().depth == 0)
        #expect(bench.metrics.producersReplaced.value == 1)
    }

    /// A reading that is too large for the producer is set aside with its reason; those around it are sent.
    @Test func aReadingThatCanNeverBeSentIsQuarantined() async throws {
        let (bench, cluster) = (try Bench(), try makeCluster())
        let outbox = try await bench.openOutbox()
        try await outbox.append([try record(1), try record(2, faults: 100), try record(3)])
        try await drain(makePublisher(bench, outbox, cluster, properties: ["message.max.bytes": "1500"]))
        #expect(try published(cluster) == [1, 3])
        let status = try await outbox.status()
        #expect(status.depth == 0)
        #expect(status.quarantined == 1)
        #expect(bench.metrics.quarantined.value == 1)
    }

    /// The same for a reading beyond the contract's 64 KiB, whatever the producer's limit.
    @Test func aReadingBeyondTheContractIsQuarantined() async throws {
        let (bench, cluster) = (try Bench(), try makeCluster())
        let outbox = try await bench.openOutbox()
        try await outbox.append([try record(1, faults: 3000), try record(2)])
        try await drain(makePublisher(bench, outbox, cluster))
        #expect(try published(cluster) == [2])
        #expect(try await outbox.status().quarantined == 1)
    }

    /// The next start goes on where the last one ended: next numbers, nothing twice.
    @Test func aRestartResumes() async throws {
        let cluster = try makeCluster()
        let bench = try Bench()
        var outbox = try await bench.openOutbox()
        try await outbox.append((1...10).map { try record($0) })
        try await drain(makePublisher(bench, outbox, cluster))
        // Appended, never published: the program ended.
        try await outbox.append((11...15).map { try record($0) })
        try await outbox.close()
        let next = try Bench()
        let wake = next.events.continuation
        outbox = try await Outbox.open(
            path: bench.file, observer: OutboxObserver(appended: { wake.yield(.appended) }))
        try await outbox.append([try record(16)])
        try await drain(makePublisher(next, outbox, cluster))
        #expect(try published(cluster) == Array(1...16))
    }

    /// A stop with the broker away ends in time, and what is left stays in the outbox.
    @Test func aStopIsBounded() async throws {
        let (bench, cluster) = (try Bench(), try makeCluster())
        let outbox = try await bench.openOutbox()
        try await outbox.append((1...10).map { try record($0) })
        try ChildStarts.excluded { try cluster.brokerDown() }
        try await drain(makePublisher(bench, outbox, cluster, drainTime: .seconds(100)))
        #expect(try await outbox.status().depth == 10)
    }
}

extension ScaledClock {
    /// A pause of seconds takes milliseconds.
    fileprivate static var fast: ScaledClock { ScaledClock(speed: 1000) ?? ScaledClock() }
}
