import KafkaClient
import Testing

/// What the processor does when the broker has lost what it had acknowledged: it goes on with what there is, and counts
/// what is gone to the reading.
@Suite(Servers.areThere) struct BrokerLossTests {
    /// Topics that are deleted and made anew begin at offset 0 again.
    @Test(.timeLimit(.minutes(10)))
    func aTopicThatIsMadeAnew() async throws {
        let scene = try LossScene(try await Site(partitions: 2))
        func makeAnew() async throws {
            try await scene.site.deleteTopics()
            try await scene.site.createTopics()
        }
        try scene.start()
        try await scene.send(3000)
        try await scene.waitForRows(3000)
        try await scene.stop()

        // Acknowledged by the broker, read by nobody, gone.
        try await scene.send(500)
        try await makeAnew()
        try scene.start()
        try await scene.waitForResets(2, after: 0)
        try await scene.send(2500)
        try await scene.waitForRows(5500)
        #expect(try scene.missing() == 500)

        // Once more while the processor runs; now it had read everything.
        let before = scene.resets
        try await makeAnew()
        try await scene.waitForResets(2, after: before)
        try await scene.send(3000)
        try await scene.waitForRows(8500)
        #expect(try scene.missing() == 500)

        // And once more, with a processor that ends before anything new comes: what it found is not forgotten, although
        // the new messages reach beyond the old offsets.
        try await makeAnew()
        try await scene.waitForOffsets(0)
        try await scene.kill()
        try await scene.send(4000)
        try scene.start()
        try await scene.waitForRows(12_500)
        #expect(try scene.missing() == 500)
        try await scene.finish(missing: 500)
    }

    /// The disk of a node is replaced by a copy of some time ago: the offsets of its partitions go back.
    @Test(.requiresKafkaNodes, .timeLimit(.minutes(10)))
    func aNodeThatIsSetBackToACopyOfItsLogFolder() async throws {
        let kafka = try await ApacheKafka()
        let scene = try LossScene(try await Site(partitions: 2, broker: kafka.bootstrap))
        try scene.start()
        try await scene.send(3000)
        try await scene.waitForRows(3000)
        try await scene.stop()
        try await kafka.stop(1)
        try await kafka.copyLogs(of: 1)
        try await kafka.start(1)

        // Read by nobody, gone. The processor finds its offsets at the end, as it left them.
        try await scene.send(500)
        try await kafka.kill(1)
        try await kafka.restoreLogs(of: 1)
        try await kafka.start(1)
        try scene.start()
        try await scene.send(2500)
        try await scene.waitForRows(5500)
        #expect(try scene.missing() == 500)

        // Once more while the processor runs and has read everything.
        try await kafka.kill(1)
        try await kafka.restoreLogs(of: 1)
        try await kafka.start(1)
        try await scene.waitForResets(2, after: 0)
        try await scene.send(3000)
        try await scene.waitForRows(8500)
        try await scene.finish(missing: 500)
        try await kafka.remove()
    }

    /// A replica that lacks the newest messages becomes the leader, as no other is left.
    @Test(.requiresKafkaNodes, .timeLimit(.minutes(10)))
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
        try await scene.send(3000)
        try await scene.waitForRows(3000)
        try await scene.stop()

        // Read by nobody, gone with the leader.
        try await loseLeader(of: scene, kafka) { try await scene.send(500) }
        try scene.start()
        try await scene.send(2500)
        try await scene.waitForRows(5500)
        #expect(try scene.missing() == 500)

        // Once more while the processor runs; now it has read what is lost.
        let before = scene.resets
        try await loseLeader(of: scene, kafka) {
            try await scene.send(500)
            try await scene.waitForRows(6000)
        }
        try await scene.waitForResets(1, after: before)
        try await scene.send(3000)
        try await scene.waitForRows(9000)
        try await scene.finish(missing: 500)
        try await kafka.remove()
    }

    /// Makes a leader acknowledge messages that no other replica has, and forces the election of one that lacks them.
    /// Afterwards all nodes run, and the former leader follows.
    private func loseLeader(
        of scene: LossScene, _ kafka: ApacheKafka, _ acknowledged: () async throws -> Void
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
        try await kafka.start(before.leader)
        try await kafka.waitForPartition(topic, "has both replicas in sync again") { $0.inSync.count == 2 }
    }
}
