import Testing

/// The small broker that stands in where Apache Kafka cannot be had, so that this does not rot.
@Suite(
    Servers.areThere, .enabled(if: PrivateBroker.program != nil, "VIGIE_NOIDA names no broker: run `make test`"))
struct StandInTests {
    /// Killed with its disk, it loses what it had acknowledged, and its topics begin at offset 0 again.
    @Test(.timeLimit(.minutes(10)))
    func whatItLostIsCountedToTheReading() async throws {
        let broker = try PrivateBroker()
        try await broker.start()
        let scene = try LossScene(try await Site(partitions: 2, broker: broker.bootstrap))
        try scene.start()
        try await scene.send(3000)
        try await scene.waitForRows(3000)
        try await scene.stop()

        // Acknowledged by the broker, read by nobody, gone.
        try await scene.send(500)
        try await broker.loseEverything()
        try await broker.start()
        try await scene.site.createTopics()
        try scene.start()
        try await scene.waitForOtherLogs(2)
        try await scene.send(2500)
        try await scene.waitForRows(5500)
        #expect(try scene.missing() == 500)

        // Once more while the processor runs; now it had read everything.
        try await broker.loseEverything()
        try await broker.start()
        try await scene.site.createTopics()
        try await scene.waitForOtherLogs(4)
        try await scene.send(3000)
        try await scene.waitForRows(8500)
        try await scene.finish(missing: 500)
        try await broker.remove()
    }
}
