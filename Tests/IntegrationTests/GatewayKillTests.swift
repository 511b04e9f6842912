import FleetCore
import Foundation
import Outbox
import Platform
import Readings
import Testing

/// The gateway is killed at random moments while it samples, commits and publishes; nothing that it ever numbered may
/// be missing from the topic, and no number may stand for two readings.
@Suite(Servers.areThere) struct GatewayKillTests {
    private static let kills = 20
    private static let stations = 8

    @Test(.timeLimit(.minutes(10)))
    func everyNumberIsPublishedWithOneContentWhateverIsKilledWhen() async throws {
        let site = try await Site(partitions: 2)
        let configuration = try writeConfiguration(site)
        var random = SeededGenerator(seed: testSeed)
        for kill in 1...Self.kills {
            let gateway = try BuiltProgram.gateway.start(["run", "--config", configuration], in: site.folder)
            // From its very start on in some runs, in the middle of the work in most.
            try await Task.sleep(for: .milliseconds(Int.random(in: 20...1200, using: &random)))
            #expect(gateway.isRunning, "run \(kill): \(gateway.output)")
            gateway.send(SIGKILL)
            #expect(await gateway.ending() == .signal(SIGKILL), "run \(kill): \(gateway.output)")
        }

        let last = try BuiltProgram.gateway.start(["run", "--config", configuration], in: site.folder)
        // So many that the runs before it have sampled too, or this one goes on until there are.
        try await waitUntil("there is enough to look at", within: .seconds(120)) {
            try #require(last.isRunning, "\(last.output)")
            return try await site.readings().count > 21 * 50
        }
        last.send(SIGTERM)
        #expect(await last.ending() == .status(0), "\(last.output)")

        let outbox = try await Outbox.open(path: site.folder.appendingPathComponent("outbox.sqlite").path)
        let status = try await outbox.status()
        #expect(status.depth == 0, "the stop published everything")
        #expect(status.dropped == 0)
        #expect(status.quarantined == 0)

        let messages = try await site.readings()
        let numbers = try expectOneContentANumber(messages)
        #expect(numbers == Set(1...status.lastSequence), "numbers are missing, or were never given")
        let duplicates = messages.count - numbers.count
        print("GatewayKillTests: \(numbers.count) readings, \(duplicates) sent again after \(Self.kills) kills")
        try await site.remove()
    }

    /// What the test needs to know of a message.
    private struct Envelope: Decodable {
        var stream_id: String
        var stream_first: Int64?
        var seq: Int64
        var sensor_id: String
        var simulated: Bool
        var temperature: Double
    }

    /// - Returns: the numbers that are there.
    private func expectOneContentANumber(_ messages: [Site.Message]) throws -> Set<Int64> {
        var contents: [Int64: [UInt8]] = [:]
        var sensors: Set<String> = []
        var firsts: [String: Int64] = [:]
        for message in messages {
            let envelope = try JSONDecoder().decode(Envelope.self, from: Data(message.value))
            // A start has a stream of its own, and all readings of it say where it begins.
            #expect(envelope.seq >= envelope.stream_first ?? 1)
            #expect(
                firsts.updateValue(envelope.stream_first ?? 1, forKey: envelope.stream_id)
                    ?? (envelope.stream_first ?? 1) == envelope.stream_first ?? 1)
            #expect(envelope.simulated)
            #expect((-40...85).contains(envelope.temperature))
            sensors.insert(envelope.sensor_id)
            if let known = contents.updateValue(message.value, forKey: envelope.seq) {
                #expect(known == message.value, "number \(envelope.seq) stands for two readings")
            }
        }
        #expect(sensors.count == Self.stations)
        #expect(firsts.count > 1 && Set(firsts.values).count == firsts.count)
        #expect(Set(messages.map(\.partition)).count == 1, "one gateway's readings are on one partition")
        return Set(contents.keys)
    }

    private func writeConfiguration(_ site: Site) throws -> String {
        let stations = (1...Self.stations).map { number in
            """
              - sensor_id: station-\(number)
                interval: \(15 + 5 * number)ms
                chips: [{type: bme280}]
            """
        }
        return try site.write(
            "gateway.yaml",
            """
            gateway: {id: killed}
            mode: simulated
            outbox: {path: outbox.sqlite, commit: {within: 0s, offline: 20ms}}
            kafka:
              bootstrap: "\(site.kafka.bootstrapServers)"
              topic: \(site.topic)
            stations:
            \(stations.joined(separator: "\n"))

            """)
    }
}
