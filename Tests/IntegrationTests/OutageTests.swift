import Foundation
import Platform
import PostgresClient
import Readings
import Testing

/// PostgreSQL, the processor and the broker away, one after the other, while boards go on measuring: each time an hour of
/// readings comes afterwards, one board's before the next one's. Silence makes windows final after a second here. Nothing is
/// late, and every window is complete, under both policies. ProcessorCoreTests has the same on a clock of its own.
@Suite(Servers.areThere, PrivateCluster.isPossible) struct OutageTests {
    private static let policies = ["recompute", "drop"]
    /// Readings of a gateway in an hour.
    private static let hour: Int64 = 120
    private static let partitions: [String: Int32] = ["a": 0, "b": 0, "c": 1]

    /// A processor with what it reads and writes.
    private final class Centre {
        let site: Site
        let configuration: String
        var processor: ChildProcess
        private let start: Timestamp

        init(_ policy: String, _ cluster: PrivateCluster, _ kafka: ApacheKafka) async throws {
            site = try await Site(partitions: 2, server: cluster.connection, broker: kafka.bootstrap)
            configuration = try site.writeProcessorConfiguration(
                instance: "processor-\(policy)", rest: "late_policy: \(policy)\nidle_timeout: 1s\n")
            // All of it lies so far in the past that its windows become final as soon as their sensors are silent.
            start = Timestamp(milliseconds: SystemWallClock().now().milliseconds - 6 * 3_600_000)
            processor = try BuiltProgram.processor.start(["run", "--config", configuration], in: site.folder)
        }

        /// An hour's readings of gateways, all of the first before those of the next.
        func send(hour: Int64, of gateways: String...) async throws {
            let numbers = hour * OutageTests.hour + 1...(hour + 1) * OutageTests.hour
            for gateway in gateways {
                try await site.send(
                    numbers.map { number in
                        Outgoing(
                            key: Array(gateway.utf8),
                            value: try site.reading(number, gateway: gateway, from: start, step: 30_000).encoded(),
                            partition: try #require(OutageTests.partitions[gateway]))
                    })
            }
        }

        /// The result of a statement, by a connection that is made anew, as the server goes and comes.
        func text(_ sql: String) throws -> String {
            try PostgresConnection(connectionString: site.databaseConnection, applicationName: "vigie-tests")
                .query("SELECT coalesce((\(sql))::text, 'null')").value(0, 0)
        }

        func wait(for condition: String, _ what: String) async throws {
            try await waitUntil(what, within: .seconds(60), every: .milliseconds(100)) {
                try #require(processor.isRunning, "\(what): \(processor.output.suffix(4000))")
                return (try? text(condition)) == "true"
            }
        }

        func waitForRows(_ hours: Int64, _ what: String) async throws {
            try await wait(for: "SELECT count(*) = \(hours * OutageTests.hour) FROM sensor_data", what)
        }

        /// Waits until all windows are final: nobody sends anything.
        func waitForSilence(_ what: String) async throws {
            try await wait(for: "SELECT bool_and(is_final) FROM sensor_data_agg", "the windows are final: \(what)")
        }
    }

    @Test(.requiresKafkaNodes, .timeLimit(.minutes(5)))
    func nothingInOrderIsLateAfterAnOutage() async throws {
        let kafka = try await ApacheKafka()
        let cluster = try await PrivateCluster()
        var centres: [Centre] = []
        for policy in OutageTests.policies { centres.append(try await Centre(policy, cluster, kafka)) }
        for centre in centres { try await centre.send(hour: 0, of: "a", "b", "c") }
        for centre in centres { try await centre.waitForRows(3, "the first hour") }

        await cluster.kill()
        for centre in centres { try await centre.send(hour: 1, of: "c", "b", "a") }
        try await cluster.start()
        for centre in centres { try await centre.waitForRows(6, "PostgreSQL was away") }

        for centre in centres {
            centre.processor.send(SIGKILL)
            _ = await centre.processor.ending()
            try await centre.send(hour: 2, of: "a", "c", "b")
            centre.processor = try BuiltProgram.processor.start(
                ["run", "--config", centre.configuration], in: centre.site.folder)
        }
        for centre in centres { try await centre.waitForRows(9, "the processor was away") }

        try await kafka.kill(1)
        try await kafka.start(1)
        // Boards keep their readings meanwhile, and come back one after the other: who is back later was not silent.
        for centre in centres { try await centre.send(hour: 3, of: "b", "c") }
        for centre in centres { try await centre.waitForRows(11, "the broker was away") }
        for centre in centres { try await centre.waitForSilence("one board is not back yet") }
        for centre in centres { try await centre.send(hour: 3, of: "a") }
        for centre in centres { try await centre.waitForRows(12, "one board came last") }
        for centre in centres { try await centre.waitForSilence("the last hour") }
        for (centre, policy) in zip(centres, OutageTests.policies) {
            try await check(centre, policy)
            try await centre.site.remove()
        }
        try await cluster.remove()
        try await kafka.remove()
    }

    private func check(_ centre: Centre, _ policy: String) async throws {
        let total = 12 * OutageTests.hour
        let late = "count(*) FILTER (WHERE late OR NOT in_windows)"
        #expect(
            try centre.text("SELECT concat_ws(' ', count(*), \(late)) FROM sensor_data") == "\(total) 0", "\(policy)")
        for (size, windows) in [("1 minute", 1), ("10 minutes", 10)] as [(String, Int64)] {
            #expect(
                try centre.text(
                    """
                    SELECT concat_ws(' ', sum(reading_count), sum(late_count)) FROM sensor_data_agg
                    WHERE window_size = '\(size)'
                    """) == "\(windows * total) 0", "\(policy), \(size)")
        }
        for gateway in OutageTests.partitions.keys {
            let report = GatewayReport(
                gatewayID: try #require(Identifier(gateway)),
                streams: [.init(streamID: StreamID(bits: 0xabc), first: 1, last: 4 * OutageTests.hour)])
            try await centre.site.send(report.encoded().map { Outgoing(value: $0) })
        }
        try await centre.wait(
            for: "SELECT bool_and(end_seq = last_seq) FROM stream_progress", "the ends of streams are told")
        centre.processor.send(SIGTERM)
        #expect(await centre.processor.ending() == .status(0), "\(centre.processor.output.suffix(4000))")
        let verify = try await BuiltProgram.processor.run(
            ["verify", "--config", centre.configuration], in: centre.site.folder)
        #expect(verify.output.contains("verified          everything agrees"), "\(policy): \(verify.output)")
    }
}
