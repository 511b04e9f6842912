import KafkaClient
import Testing

/// What the processor does when the broker has lost what it had acknowledged: it goes on with what there is, and counts
/// what is gone to the reading.
@Suite(Servers.areThere) struct BrokerLossTests {
    /// The new log's offsets go beyond those that were read, so that no offset tells it from the old one.
    @Test(.timeLimit(.minutes(5)))
    func aTopicThatIsMadeAnew() async throws {
        let scene = try LossScene(try await Site(partitions: 2))
        try scene.start()
        try await scene.send(1000)
        try await scene.waitForRows(1000)
        try await scene.stop()

        // Acknowledged by the broker, read by nobody, gone.
        try await scene.send(200)
        try await scene.site.makeTopicAnew()
        try await scene.send(2000)
        try scene.start()
        try await scene.waitForRows(3000)
        #expect(try scene.missing() == 200)
        try await scene.waitForOtherLogs(2)

        // Once more while the processor runs; now it had read everything.
        try await scene.site.makeTopicAnew()
        try await scene.send(4000)
        try await scene.waitForRows(7000)
        #expect(try scene.missing() == 200)
        try await scene.waitForOtherLogs(4)

        // And once more, with a processor that ends before anything new comes: what it found is not forgotten.
        try await scene.site.makeTopicAnew()
        try await scene.waitForOffsets(0)
        try await scene.kill()
        try await scene.send(6000)
        try scene.start()
        try await scene.waitForRows(13_000)
        #expect(try scene.missing() == 200)
        try await scene.finish(missing: 200)
    }

    /// Messages that nobody has read are deleted, which makes no other log. Then a partition vanishes and comes back: its
    /// row in the database is of a log that is gone.
    @Test(.requiresApacheKafka, .timeLimit(.minutes(5)))
    func messagesThatAreDeletedAndAPartitionThatVanishes() async throws {
        let scene = try LossScene(try await Site(partitions: 2))
        try scene.start()
        try await scene.send(1000)
        try await scene.waitForRows(1000)
        // All that was read: nothing is lost.
        try await scene.site.deleteRecords()
        try await scene.send(500)
        try await scene.waitForRows(1500)
        try await scene.stop()
        try await scene.send(200)
        try await scene.site.deleteRecords()
        try scene.start()
        try await scene.waitForEnds()
        try await scene.send(500)
        try await scene.waitForRows(2000)
        #expect(try scene.missing() == 200)
        try await scene.waitForOtherLogs(0)

        try await scene.stop()
        try await scene.site.makeTopicAnew(partitions: 1)
        // One that was on the partition that is gone, and sends nothing any more.
        try scene.site.database.execute(
            "INSERT INTO gateway (gateway_id, commit_number, writer_token, kafka_partition) VALUES ('gone', 0, 0, 1)")
        try await scene.send(1500)
        try scene.start()
        try await waitUntil("the first partition's owner looks after it", within: .seconds(60)) {
            try scene.site.value("SELECT kafka_partition FROM gateway WHERE gateway_id = 'gone'", as: Int32.self) == 0
        }
        try await scene.waitForRows(3500)
        try await scene.waitForOtherLogs(1)
        let admin = try KafkaAdmin(configuration: scene.site.kafka)
        try await admin.createPartitions(scene.site.topic, total: 2, timeout: .seconds(60))
        try await scene.send(3000)
        try await scene.waitForRows(6500)
        try await scene.waitForOtherLogs(2)
        try await scene.finish(missing: 200)
    }

    /// The disk of a node is replaced by a copy of some time ago: the offsets of its partitions go back, and what is written
    /// then goes beyond what was read.
    @Test(.requiresKafkaNodes, .timeLimit(.minutes(5)))
    func aNodeThatIsSetBackToACopyOfItsLogFolder() async throws {
        let kafka = try await ApacheKafka()
        let scene = try LossScene(try await Site(partitions: 2, broker: kafka.bootstrap))
        try scene.start()
        try await scene.send(1000)
        try await scene.waitForRows(1000)
        try await scene.stop()
        try await kafka.stop(1)
        try await kafka.copyLogs(of: 1)
        try await kafka.start(1)

        // Gone while the processor is stopped: half of it was read, half by nobody.
        try scene.start()
        try await scene.send(1000)
        try await scene.waitForRows(2000)
        try await scene.stop()
        try await scene.send(500)
        try await kafka.kill(1)
        try await kafka.restoreLogs(of: 1)
        try await kafka.start(1)
        try await scene.send(3000)
        try scene.start()
        try await scene.waitForRows(5000)
        #expect(try scene.missing() == 500)
        try await scene.waitForOtherLogs(2)

        // While it runs.
        try await kafka.kill(1)
        try await kafka.restoreLogs(of: 1)
        try await kafka.start(1)
        try await scene.send(4000)
        try await scene.waitForRows(9000)
        try await scene.waitForOtherLogs(4)
        try await scene.finish(missing: 500)
        try await kafka.remove()
    }

    /// A replica that lacks the newest messages becomes the leader, as no other is left.
    @Test(.requiresKafkaNodes, .timeLimit(.minutes(5)))
    func anUncleanElection() async throws {
        // Nodes that are killed are soon known to be gone.
        let kafka = try await ApacheKafka(
            ApacheKafka.Options(
                nodes: 3,
                properties: ["broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500"]))
        // Each partition is on two of the three nodes: with the third one there is a majority of the controllers.
        let topics = Site.Topics(
            partitions: 1, replication: 2,
            properties: ["min.insync.replicas": "1", "unclean.leader.election.enable": "true"])
        let scene = try LossScene(
            try await Site(topics, kafka: KafkaConfiguration(bootstrapServers: kafka.bootstrap)))
        try scene.start()
        try await scene.send(1000)
        try await scene.waitForRows(1000)

        // Gone with the leader while the processor runs, which has read it; the new log goes beyond it before anybody looks.
        try await loseLeader(of: scene, kafka) {
            try await scene.send(300)
            try await scene.waitForRows(1300)
        } after: {
            try await scene.send(1000)
        }
        try await scene.waitForRows(2300)
        try await scene.waitForOtherLogs(1)
        #expect(try scene.missing() == 0)

        // Once more with a processor that is stopped after it has read what is lost, and leaves something unread besides.
        try await loseLeader(of: scene, kafka) {
            try await scene.send(300)
            try await scene.waitForRows(2600)
            try await scene.stop()
            try await scene.send(200)
        } after: {
            try await scene.send(1000)
        }
        try scene.start()
        try await scene.waitForRows(3600)
        try await scene.waitForOtherLogs(2)
        try await scene.finish(missing: 200)
        try await kafka.remove()
    }

    /// Makes a leader acknowledge messages that no other replica has, and forces the election of one that lacks them.
    /// Afterwards all nodes run, and the former leader follows.
    /// - Parameters:
    ///   - acknowledged: sends what is lost.
    ///   - after: what comes as soon as there is a new leader.
    private func loseLeader(
        of scene: LossScene, _ kafka: ApacheKafka, _ acknowledged: () async throws -> Void,
        after: () async throws -> Void
    ) async throws {
        let topic = scene.site.topic
        try await kafka.waitForPartition(topic, "has both replicas in sync") { $0.inSync.count == 2 }
        let before = try await kafka.partition(topic)
        let follower = try #require(before.inSync.first { $0 != before.leader })
        try await kafka.kill(follower)
        try await kafka.waitForPartition(topic, "has the leader in sync alone") { $0.inSync == [before.leader] }
        try await acknowledged()
        try await kafka.kill(before.leader)
        try await kafka.start(follower)
        try await kafka.waitForPartition(topic, "is led by the one that lags") { $0.leader == follower }
        try await after()
        try await kafka.start(before.leader)
        try await kafka.waitForPartition(topic, "has both replicas in sync again") { $0.inSync.count == 2 }
    }
}
