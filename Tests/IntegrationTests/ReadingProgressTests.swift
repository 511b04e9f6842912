import Foundation
import KafkaClient
import Platform
import PostgresClient
import Readings
import Testing

/// What a processor has read of its partitions, and what it says of that: to its metrics, to Kafka and in certificates.
@Suite(Servers.areThere) struct ReadingProgressTests {
    /// Readings of one gateway, one a second until now.
    private func readings(_ numbers: ClosedRange<Int64>, gateway: String = "g", site: Site) throws -> [[UInt8]] {
        let start = Timestamp(milliseconds: SystemWallClock().now().milliseconds - 3_600_000)
        return try numbers.map { try site.reading($0, gateway: gateway, from: start, step: 1000).encoded() }
    }

    private func start(_ site: Site, properties: [String: String] = [:], rest: String = "") throws -> ChildProcess {
        let configuration = try site.writeProcessorConfiguration(properties: properties, rest: rest)
        return try BuiltProgram.processor.start(["run", "--config", configuration], in: site.folder)
    }

    private func consumed(_ site: Site) throws -> [Int32: Int64] {
        let rows = try site.database.query("SELECT kafka_partition, next_offset FROM consumed_offset")
        var offsets: [Int32: Int64] = [:]
        for row in 0..<rows.rowCount { offsets[try rows.value(row, 0)] = try rows.value(row, 1) }
        return offsets
    }

    private func waitForOffsets(
        _ site: Site, _ expected: [Int32: Int64], _ processor: ChildProcess
    ) async throws {
        var found: [Int32: Int64] = [:]
        do {
            try await waitUntil("\(expected) are the offsets", within: .seconds(60)) {
                try #require(processor.isRunning, "\(processor.output)")
                // The table is made by the processor.
                found = (try? consumed(site)) ?? [:]
                return found == expected
            }
        } catch {
            Issue.record("the offsets are \(found): \(processor.output.suffix(4000))")
            throw error
        }
    }

    private func stop(_ processor: ChildProcess) async {
        processor.send(SIGTERM)
        let ending = await processor.ending()
        #expect(ending == .status(0), "\(processor.output.suffix(4000))")
    }

    /// Markers and aborted messages at the end of a partition are read over; what is open holds back what follows it.
    @Test(.requiresApacheKafka, .timeLimit(.minutes(5)))
    func theEndOfAPartitionLiesAfterTransactions() async throws {
        let site = try await Site(partitions: 1)
        let processor = try start(site, rest: "alerts: {silence: {intervals: 2, at_least: 2s}}")
        let producer = try TransactionalProducer(
            bootstrap: site.kafka.bootstrapServers, topic: site.topic, name: site.topic)
        try producer.begin(readings(1...5, site: site))
        try producer.commit()
        try await waitForOffsets(site, [0: 6], processor)
        try producer.begin(readings(6...8, site: site))
        try producer.abort()
        try await waitForOffsets(site, [0: 10], processor)
        try await waitUntil("the lag is 0", within: .seconds(30)) {
            try await site.metric("vigie_consumer_lag_messages", of: processor) == 0
        }
        #expect(try site.value("SELECT count(*) FROM sensor_data") as Int64 == 5)
        // The end of the partition is reached, so that the sensor's silence means something.
        try await waitUntil("the alert of its silence is open", within: .seconds(90)) {
            try site.value("SELECT count(*) FROM alert WHERE kind = 'silence' AND closed_at IS NULL") as Int64 == 1
        }
        try producer.begin(readings(6...9, site: site))
        try await site.send([Outgoing(value: try readings(10...10, site: site)[0])])
        try await waitUntil("what is held back is said", within: .seconds(30)) {
            try await site.metric("vigie_held_back_messages", of: processor) == 5
        }
        #expect(try site.value("SELECT count(*) FROM sensor_data") as Int64 == 5)
        try producer.commit()
        try await waitForOffsets(site, [0: 16], processor)
        #expect(try site.value("SELECT count(*) FROM sensor_data") as Int64 == 10)
        try await waitUntil("nothing is held back", within: .seconds(30)) {
            try await site.metric("vigie_held_back_messages", of: processor) == 0
        }
        await stop(processor)
        try await site.remove()
    }

    /// The group's offsets in Kafka follow those in PostgreSQL, and whatever becomes of them changes nothing.
    @Test(.requiresApacheKafka, .timeLimit(.minutes(5)))
    func theGroupKnowsTheOffsetsAndNobodyReadsThemBack() async throws {
        let site = try await Site(partitions: 2)
        let group = try GroupInspector(bootstrap: site.kafka.bootstrapServers, group: site.topic)
        let messages = try readings(1...40, site: site)
        func send(_ range: Range<Int>, to partition: Int32) async throws {
            try await site.send(range.map { Outgoing(value: messages[$0], partition: partition) })
        }
        try await send(0..<10, to: 0)
        var processor = try start(site)
        try await waitForOffsets(site, [0: 10, 1: 0], processor)
        try await waitUntil("the group has the offsets", within: .seconds(30)) {
            try group.offsets(of: site.topic, partitions: 2) == [0: 10, 1: 0]
        }
        try await send(10..<15, to: 1)
        try await waitForOffsets(site, [0: 10, 1: 5], processor)
        // The last ones are told at the stop at the latest.
        await stop(processor)
        #expect(try group.offsets(of: site.topic, partitions: 2) == [0: 10, 1: 5])

        try await waitUntil("the group is empty", within: .seconds(60)) { try group.isEmpty() }
        try group.set(site.topic, [0: 0, 1: 4])
        try await send(15..<20, to: 0)
        processor = try start(site)
        try await waitForOffsets(site, [0: 15, 1: 5], processor)
        await stop(processor)
        #expect(try group.offsets(of: site.topic, partitions: 2) == [0: 15, 1: 5])

        try await waitUntil("the group is empty", within: .seconds(60)) { try group.isEmpty() }
        try group.delete()
        #expect(try group.offsets(of: site.topic, partitions: 2) == [:])
        try await send(20..<25, to: 1)
        processor = try start(site)
        try await waitForOffsets(site, [0: 15, 1: 10], processor)
        #expect(try await site.metric("vigie_duplicates_total", of: processor) == 0, "nothing was read twice")
        await stop(processor)
        #expect(try site.value("SELECT count(*) FROM sensor_data") as Int64 == 25)
        try await site.remove()
    }

    /// What nobody has read yet is told, and is not called lost.
    @Test(.timeLimit(.minutes(5))) func theCertificateTellsWhatIsNotRead() async throws {
        let site = try await Site(partitions: 2)
        let configuration = try site.writeProcessorConfiguration()
        func verify(_ configuration: String) async throws -> (ending: ChildProcess.Ending, output: String) {
            try await BuiltProgram.processor.run(["verify", "--config", configuration], in: site.folder)
        }
        let messages = try readings(1...10, site: site)
        // Number 3 is missing for now.
        try await site.send([0, 1, 3, 4].map { Outgoing(value: messages[$0]) })
        let processor = try start(site)
        try await waitForOffsets(site, [0: 4, 1: 0], processor)
        let read = try await verify(configuration)
        #expect(read.ending == .status(0), "\(read.output)")
        #expect(read.output.contains("missing readings  1 (1 unknown), listed in the table loss\n"), "\(read.output)")
        #expect(read.output.contains("unread messages   0\n"), "\(read.output)")
        #expect(read.output.contains("everything agrees\n"), "\(read.output)")
        await stop(processor)

        try await site.send([2, 5, 6].map { Outgoing(value: messages[$0], partition: 1) })
        let unread = try await verify(configuration)
        #expect(unread.ending == .status(1), "\(unread.output)")
        #expect(unread.output.contains("unread messages   3 of partition 1\n"), "\(unread.output)")
        #expect(!unread.output.contains("everything agrees"), "\(unread.output)")
        #expect(unread.output.contains("may be among the 3 unread messages"), "\(unread.output)")

        let again = try start(site)
        try await waitForOffsets(site, [0: 4, 1: 3], again)
        await stop(again)
        try await site.send([Outgoing(value: messages[7])])
        let complete = try await verify(configuration)
        #expect(complete.ending == .status(0), "\(complete.output)")
        #expect(complete.output.contains("missing readings  0\n"), "\(complete.output)")
        #expect(
            complete.output.contains("everything agrees that was read; 1 messages are not read yet"),
            "\(complete.output)")

        let began = ContinuousClock.now
        let alone = try await verify(
            site.writeProcessorConfiguration(instance: "alone", bootstrap: "127.0.0.1:1"))
        #expect(alone.ending == .status(0), "\(alone.output)")
        #expect(alone.output.contains("unread messages   not asked: Kafka, "), "\(alone.output)")
        #expect(alone.output.contains("everything agrees\n"), "\(alone.output)")
        #expect(began.duration(to: .now) < .seconds(10))
        try await site.remove()
    }

    /// A partition comes while the database takes no new connection, so it waits; then a batch is stale.
    @Test(.requiresApacheKafka, .timeLimit(.minutes(5)))
    func aPartitionThatWaitedIsReadAfterAStaleBatch() async throws {
        let site = try await Site(partitions: 1)
        let server = try PostgresConnection(
            connectionString: #require(Servers.postgres), applicationName: "vigie-tests")
        // Without a name in it, each of the processor's sessions says what it is for.
        let configuration = try site.writeProcessorConfiguration(
            properties: ["topic.metadata.refresh.interval.ms": "500"], connection: site.databaseConnection)
        let processor = try BuiltProgram.processor.start(["run", "--config", configuration], in: site.folder)
        let first = try readings(1...30, gateway: "first", site: site)
        let second = try readings(1...10, gateway: "second", site: site)
        try await site.send(first[..<10].map { Outgoing(value: $0) })
        try await waitForOffsets(site, [0: 10], processor)
        for round in 1...2 {
            // What writes goes on; where the partitions are to be read is asked over a session that has ended.
            try server.execute("ALTER DATABASE \(site.databaseName) ALLOW_CONNECTIONS false")
            let ended: Int64 = try server.query(
                """
                SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                WHERE datname = '\(site.databaseName)' AND application_name = 'vigie-processor offsets'
                """
            ).value(0, 0)
            #expect(ended == 1)
            let partition = Int32(round)
            try await KafkaAdmin(configuration: site.kafka).createPartitions(
                site.topic, total: round + 1, timeout: .seconds(60))
            try await waitUntil("the new partition waits", within: .seconds(60)) {
                processor.output.components(separatedBy: "cannot read offsets, the partitions wait").count > round
            }
            // As after another processor has had the partition for a moment: the next batch is stale.
            try site.database.execute("UPDATE consumed_offset SET next_offset = 9 WHERE kafka_partition = 0")
            try await site.send(first[(10 * round)..<(10 * round + 10)].map { Outgoing(value: $0) })
            try await site.send(second[(5 * round - 5)..<(5 * round)].map { Outgoing(value: $0, partition: partition) })
            try await waitUntil("the batch is stale", within: .seconds(60)) {
                try #require(processor.isRunning, "\(processor.output)")
                return processor.output.components(separatedBy: "reading on from the offsets").count > round
            }
            try server.execute("ALTER DATABASE \(site.databaseName) ALLOW_CONNECTIONS true")
            var expected: [Int32: Int64] = [0: Int64(10 * round + 10), 1: 5]
            expected[partition] = 5
            try await waitForOffsets(site, expected, processor)
        }
        #expect(try site.value("SELECT count(*) FROM sensor_data") as Int64 == 40)
        await stop(processor)
        try await site.remove()
    }
}
