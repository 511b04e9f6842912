import Foundation
import KafkaClient
import TestSupport
import Testing

/// A database that is connected and swallows everything: a stop ends all the same, and a processor that runs notices and
/// goes on when it answers again.
@Suite(Servers.areThere, .serialized) struct BlackHoleTests {
    /// The longest that a stop may take then.
    private static let bound = Duration.seconds(15)

    private func hole(_ site: Site) throws -> (BlackHole, connection: String) {
        let port: String = try site.value("SHOW port")
        let hole = try BlackHole(inFrontOf: try site.value("SHOW unix_socket_directories"), port: port)
        return (hole, "\(site.databaseConnection) host=\(hole.folder) port=\(port) connect_timeout=3")
    }

    private func stop(_ processor: ChildProcess, _ what: String) async {
        let told = ContinuousClock.now
        processor.send(SIGTERM)
        #expect(await processor.ending() == .status(0), "\(what): \(processor.output.suffix(4000))")
        let duration = told.duration(to: .now)
        print("  \(what): the stop took \(duration)")
        #expect(duration < Self.bound, "\(what): \(processor.output.suffix(4000))")
    }

    @Test(.timeLimit(.minutes(10)))
    func aProcessorWhoseDatabaseSwallowsEverythingStopsAndAnotherGoesOn() async throws {
        let site = try await Site(partitions: 2)
        let (hole, connection) = try hole(site)
        let configuration = try site.writeProcessorConfiguration(connection: connection)

        hole.swallow()
        let first = try BuiltProgram.processor.start(["run", "--config", configuration], in: site.folder)
        try await waitUntil("it connects", within: .seconds(60)) { hole.accepted > 0 }
        await stop(first, "while it waits for its first connection")

        hole.release()
        let stream = try await SteadyStream(site, configuration: configuration)
        try await stream.waitForProgress("the start")
        try await stream.trouble("a database that swallows everything", signs: ["no answer for"]) {
            hole.swallow()
        } mend: {
            hole.release()
        }
        hole.swallow()
        // Until it hangs in a statement, which it does at its next batch or heartbeat.
        try await Task.sleep(for: .seconds(1))
        await stop(stream.processor, "while it writes")
        hole.release()
        try stream.restartProcessor()
        try await stream.waitForProgress("after the restart")
        try await stream.finish(mayHaveMoved: true)
        hole.stop()
        try await site.remove()
    }

    /// Its sockets stay open, and nothing answers any more.
    @Test(.requiresKafkaNodes, .timeLimit(.minutes(10)))
    func everyProgramStopsWhileTheBrokerHangs() async throws {
        let kafka = try await ApacheKafka()
        let site = try await Site(
            Site.Topics(partitions: 2), kafka: KafkaConfiguration(bootstrapServers: kafka.bootstrap))
        let gateway = try site.write(
            "gateway.yaml",
            """
            gateway: {id: hanging}
            mode: simulated
            outbox: {path: outbox.sqlite}
            kafka: {bootstrap: "\(kafka.bootstrap)", topic: \(site.topic)}
            stations:
              - {sensor_id: one, interval: 100ms, chips: [{type: bme280}]}

            """)
        let configuration = try site.writeProcessorConfiguration()
        let programs = [
            (BuiltProgram.gateway, ["run", "--config", gateway]),
            (.processor, ["run", "--config", configuration]),
            (
                .fleet,
                [
                    "produce", "--bootstrap=\(kafka.bootstrap)", "--topic=\(site.topic)", "--rate=200",
                    "--count=1000000", "--seed=\(testSeed)",
                ]
            ),
        ]
        let processes = try programs.map { try $0.start($1, in: site.folder) }
        try await waitUntil("readings of both are stored", within: .seconds(120)) {
            for process in processes { try #require(process.isRunning, "\(process.output)") }
            let gateways = try? site.value("SELECT count(DISTINCT gateway_id) FROM sensor_data", as: Int64.self)
            return gateways ?? 0 > 1
        }
        try await kafka.pause(1)
        // What is on its way now has no answer.
        try await Task.sleep(for: .seconds(2))
        let told = ContinuousClock.now
        for process in processes { process.send(SIGTERM) }
        for ((program, _), process) in zip(programs, processes) {
            // What the fleet had sent has no answer, which it says.
            let expected = ChildProcess.Ending.status(program == .fleet ? 1 : 0)
            #expect(await process.ending() == expected, "\(program): \(process.output.suffix(4000))")
            print("  \(program.rawValue): ended after \(told.duration(to: .now))")
        }
        #expect(told.duration(to: .now) < Self.bound)
        try await kafka.resume(1)
        try await site.remove()
        try await kafka.remove()
    }
}
