import Foundation
import Platform
import PostgresClient
import Readings
import TestSupport
import Testing

/// What gateways report of their streams, through the real processor, which is killed in between.
@Suite(Servers.areThere) struct ReportTests {
    /// A gateway that starts again and again and loses readings in every way, and what must become of it.
    private struct Life {
        var messages: [Outgoing] = []
        /// Numbers that do not come, with the reason that a report tells.
        var lost: [(stream: StreamID, number: Int64, reason: String)] = []
        var rows = 0
        var streams: [StreamID] = []

        init(
            _ site: Site, gateway: Identifier, partition: Int32, from start: Timestamp,
            using random: inout SeededGenerator
        ) throws {
            var number: Int64 = 0
            var previous: GatewayReport.Stream?
            for _ in 0..<25 {
                var stream = GatewayReport.Stream(
                    streamID: StreamID(bits: random.next()), first: number + 1, previous: previous?.streamID)
                streams.append(stream.streamID)
                let isLostWhole = Int.random(in: 0..<6, using: &random) == 0
                tell([previous, stream].compactMap { $0 }, [], gateway, partition, using: &random)
                for _ in 0..<Int.random(in: 1...8, using: &random) {
                    var gaps: [GatewayReport.Gap] = []
                    var readings: [Outgoing] = []
                    for _ in 0..<Int.random(in: 1...12, using: &random) {
                        number += 1
                        switch Int.random(in: 0..<8, using: &random) {
                        case 0:
                            let reason = GatewayReport.GapReason.allCases.randomElement(using: &random) ?? .stopped
                            gaps.append(.init(streamID: stream.streamID, reason: reason, ranges: [number...number]))
                            lost.append((stream.streamID, number, reason.rawValue))
                        case 1: lost.append((stream.streamID, number, "unknown"))
                        case _ where isLostWhole: lost.append((stream.streamID, number, "unknown"))
                        default:
                            var reading = try site.reading(number, gateway: gateway.description, from: start)
                            (reading.streamID, reading.streamFirst) = (stream.streamID, stream.first)
                            readings.append(Outgoing(value: reading.encoded(), partition: partition))
                            rows += 1
                        }
                    }
                    tell([], gaps, gateway, partition, using: &random)
                    messages += readings
                }
                stream.last = number
                previous = stream
            }
            tell([previous].compactMap { $0 }, [], gateway, partition, using: &random)
        }

        /// A report; now and then it comes twice, the second time on another partition.
        private mutating func tell(
            _ streams: [GatewayReport.Stream], _ gaps: [GatewayReport.Gap], _ gateway: Identifier, _ partition: Int32,
            using random: inout SeededGenerator
        ) {
            for value in GatewayReport(gatewayID: gateway, streams: streams, gaps: gaps).encoded() {
                messages.append(Outgoing(value: value, partition: partition))
                if Bool.random(using: &random) { messages.append(Outgoing(value: value, partition: 1 - partition)) }
            }
        }

        /// The rows of `loss`: what touches is one if it has one reason.
        var ranges: [String] {
            var ranges: [(stream: StreamID, first: Int64, last: Int64, reason: String)] = []
            for loss in lost {
                if let range = ranges.last, range.stream == loss.stream, range.last == loss.number - 1,
                    range.reason == loss.reason
                {
                    ranges[ranges.count - 1].last = loss.number
                } else {
                    ranges.append((loss.stream, loss.number, loss.number, loss.reason))
                }
            }
            return ranges.map { "\($0.stream) \($0.first) \($0.last) \($0.reason)" }
        }
    }

    @Test(.timeLimit(.minutes(5))) func lossesShowTheirReasonsWhateverIsKilled() async throws {
        var random = SeededGenerator(seed: printedSeed())
        let site = try await Site(partitions: 2)
        let configuration = try site.writeProcessorConfiguration()
        let start = Timestamp(milliseconds: SystemWallClock().now().milliseconds - 900_000)
        let lives = try (0..<2).map { index in
            try Life(
                site, gateway: try #require(Identifier("g\(index)")), partition: Int32(index), from: start,
                using: &random)
        }
        let malformed = Array("{\"schema\":1,\"gateway_id\":\"g0\",\"report\":{\"gaps\":[{}]}}".utf8)
        let messages = lives.flatMap(\.messages) + [Outgoing(value: malformed)]

        // It dies twice, with a part read each time.
        let third = messages.count / 3
        var sent = 0
        for count in [third, third] {
            try await site.send(Array(messages[sent..<sent + count]))
            sent += count
            let processor = try BuiltProgram.processor.start(["run", "--config", configuration], in: site.folder)
            let enough = Int64(sent - count / 2)
            try await waitUntil("a part is read", within: .seconds(120), evidence: processor.output) {
                try consumed(site) >= enough
            }
            processor.send(SIGKILL)
            _ = await processor.ending()
        }
        try await site.send(Array(messages[sent...]))
        let processor = try BuiltProgram.processor.start(["run", "--config", configuration], in: site.folder)
        try await waitUntil("everything is read", within: .seconds(120), evidence: processor.output) {
            try consumed(site) == Int64(messages.count)
        }
        // A batch is counted after its commit.
        try await waitUntil("it is counted", within: .seconds(120)) {
            try await site.metric("vigie_rejected_total", of: processor) == 1
        }
        #expect(try await site.metric("vigie_reports_total", of: processor) > 0)
        let rejected = try await site.messages(of: site.rejectedTopic)
        #expect(rejected.map(\.value) == [malformed])
        #expect(rejected.first?.headers["vigie-reason"] == "missing_field")
        processor.send(SIGTERM)
        #expect(await processor.ending() == .status(0), "\(processor.output)")

        let rows = try site.database.query("SELECT concat_ws(' ', stream_id, first_seq, last_seq, reason) FROM loss")
        let found = try (0..<rows.rowCount).map { try rows.value($0, 0, as: String.self) }
        #expect(found.sorted() == lives.flatMap(\.ranges).sorted())
        #expect(try site.value("SELECT count(*) FROM sensor_data") == Int64(lives.reduce(0) { $0 + $1.rows }))
        #expect(try site.value("SELECT count(*) FROM stream_progress WHERE end_seq = last_seq") == Int64(50))
        let verify = try await BuiltProgram.processor.run(["verify", "--config", configuration], in: site.folder)
        #expect(verify.ending == .status(0), "\(verify.output)")
        #expect(verify.output.contains("verified          everything agrees"), "\(verify.output)")
        for reason in Set(lives.flatMap { $0.lost.map(\.reason) }) {
            let count = lives.reduce(0) { $0 + $1.lost.count { $0.reason == reason } }
            #expect(verify.output.contains("\(count) \(reason)"), "\(verify.output)")
        }
        try await site.remove()
    }

    private func consumed(_ site: Site) throws -> Int64 {
        guard try site.value("SELECT to_regclass('consumed_offset') IS NOT NULL", as: Bool.self) else { return 0 }
        return try site.value("SELECT coalesce(sum(next_offset), 0)::int8 FROM consumed_offset")
    }

    /// What the database refuses of a report's tables is the report's own fault.
    @Test(.timeLimit(.minutes(5))) func aReportThatTheDatabaseRefusesIsRejectedAlone() async throws {
        let site = try await Site(partitions: 1)
        let configuration = try site.writeProcessorConfiguration()
        let migration = try await BuiltProgram.processor.run(["migrate", "--config", configuration], in: site.folder)
        try #require(migration.ending == .status(0), "\(migration.output)")
        try site.database.execute("ALTER TABLE stream_progress ADD CONSTRAINT mine CHECK (last_seq < 1000)")
        let start = Timestamp(milliseconds: SystemWallClock().now().milliseconds - 600_000)
        let gateway = Identifier(constant: "g")
        func report(_ last: Int64) -> [UInt8] {
            GatewayReport(gatewayID: gateway, streams: [.init(streamID: StreamID(bits: 1), first: 1, last: last)])
                .encoded()[0]
        }
        var messages = try (1...50).map { Outgoing(value: try site.reading($0, from: start).encoded()) }
        messages.insert(Outgoing(value: report(2000)), at: 20)
        messages.insert(Outgoing(value: report(7)), at: 30)
        try await site.send(messages)
        let processor = try BuiltProgram.processor.start(["run", "--config", configuration], in: site.folder)
        try await waitUntil("everything is read", within: .seconds(120), evidence: processor.output) {
            try consumed(site) == 52
        }
        processor.send(SIGTERM)
        #expect(await processor.ending() == .status(0), "\(processor.output)")
        let rejected = try await site.messages(of: site.rejectedTopic)
        #expect(rejected.map(\.value) == [report(2000)])
        #expect(rejected.first?.headers["vigie-reason"] == "refused_by_database")
        #expect(try site.value("SELECT count(*) FROM sensor_data") == Int64(50))
        #expect(
            try site.value("SELECT concat_ws(' ', end_seq, last_seq) FROM stream_progress WHERE end_seq IS NOT NULL")
                == "7 7")
        // Sent back when the operator has mended it.
        try site.database.execute("ALTER TABLE stream_progress DROP CONSTRAINT mine")
        let redrive = try await BuiltProgram.processor.run(["redrive", "--config", configuration], in: site.folder)
        #expect(redrive.ending == .status(0), "\(redrive.output)")
        let again = try BuiltProgram.processor.start(["run", "--config", configuration], in: site.folder)
        try await waitUntil("it is taken", within: .seconds(120), evidence: again.output) {
            try site.value("SELECT concat_ws(' ', end_seq, last_seq) FROM stream_progress WHERE end_seq IS NOT NULL")
                == "7 2000"
        }
        again.send(SIGTERM)
        #expect(await again.ending() == .status(0), "\(again.output)")
        try await site.remove()
    }
}
