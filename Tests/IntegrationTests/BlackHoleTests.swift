import Foundation
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
        // Until it hangs in a statement, which it does at its next batch or sign of life.
        try await Task.sleep(for: .seconds(1))
        await stop(stream.processor, "while it writes")
        hole.release()
        try stream.restartProcessor()
        try await stream.waitForProgress("after the restart")
        try await stream.finish(mayHaveMoved: true)
        hole.stop()
        try await site.remove()
    }
}
