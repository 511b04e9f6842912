import Foundation
import Platform
import ReadingDecoding
import Readings
import TestSupport
import Testing

private let now = Timestamp(milliseconds: 1_795_478_400_000)  // 2026-11-24T00:00:00Z

private func decode(_ bytes: [UInt8]) throws -> DecodedReport? {
    let decoder = ReadingDecoder()
    return try bytes.withUnsafeBytes { bytes in
        if case .report(let report) = try decoder.decodeMessage(bytes, now: now) { report } else { nil }
    }
}

private func message(report: String) -> String { "{\"schema\":1,\"gateway_id\":\"gw-1\",\"report\":\(report)}" }

/// documentation/report.examples.json.
private struct DocumentedExamples: Decodable {
    struct Example: Decodable {
        /// The text of the field `report`, unless the whole message is given.
        var report: String?
        var message: String?
        /// `accepted`, or the reason of the rejection.
        var verdict: String
        /// What the rejection is about.
        var field: String?

        var text: String { message ?? ReadingsTests.message(report: report ?? "") }
    }

    var examples: [Example]

    static func read() throws -> [Example] {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../documentation/report.examples.json")
        return try JSONDecoder().decode(DocumentedExamples.self, from: Data(contentsOf: file)).examples
    }
}

@Suite struct ReportDecodingTests {
    private func gatewayReport() throws -> GatewayReport {
        GatewayReport(
            gatewayID: try #require(Identifier("gw-1")),
            streams: [
                .init(streamID: StreamID(bits: 1), first: 5, last: 90),
                .init(streamID: StreamID(bits: 2), first: 91, previous: StreamID(bits: 1)),
            ],
            gaps: GatewayReport.GapReason.allCases.map {
                .init(streamID: StreamID(bits: 1), reason: $0, ranges: [5...20, 31...31])
            })
    }

    @Test func readsWhatTheGatewayWrites() throws {
        let written = try gatewayReport().encoded()
        try #require(written.count == 1)
        let read = try #require(try decode(written[0]))
        #expect(read.gatewayID.description == "gw-1")
        #expect(read.streams.map(\.streamID) == [StreamID(bits: 1), StreamID(bits: 2)])
        #expect(read.streams.map(\.first) == [5, 91] && read.streams.map(\.last) == [90, nil])
        #expect(read.streams.map(\.previous) == [.noStream, .stream(StreamID(bits: 1))])
        #expect(read.gaps.map(\.reason) == GatewayReport.GapReason.allCases.map(\.rawValue))
        #expect(read.gaps.allSatisfy { $0.streamID == StreamID(bits: 1) && $0.ranges == [5...20, 31...31] })
    }

    /// Whatever fits into the messages is there once, in as many messages as it takes.
    @Test func aReportOfManyMessagesIsReadWhole() throws {
        var report = try gatewayReport()
        report.streams = (1...1000).map { .init(streamID: StreamID(bits: $0), first: Int64($0)) }
        let ranges = (1...20_000).map { (number: Int64) in number * 2...number * 2 }
        report.gaps = [.init(streamID: StreamID(bits: 7), reason: .thinned, ranges: ranges)]
        let written = report.encoded()
        #expect(written.count > 3)
        let read = try written.map { try #require(try decode($0)) }
        #expect(read.flatMap(\.streams).map(\.first) == (1...1000).map { Int64($0) })
        #expect(read.flatMap(\.gaps).flatMap(\.ranges) == ranges)
    }

    @Test func agreesWithTheExamplesOfTheDocumentation() throws {
        for example in try DocumentedExamples.read() {
            do {
                let read = try decode(Array(example.text.utf8))
                #expect(example.verdict == "accepted" && read != nil, "accepted: \(example.text)")
            } catch let rejection as Rejection {
                #expect(rejection.reason.rawValue == example.verdict, "\(example.text)")
                #expect(rejection.field == example.field, "\(example.text)")
            }
        }
    }

    /// A field of a newer gateway beside a reading is nobody's business, whatever it is.
    @Test(arguments: ["5", "{\"streams\":7}", "{\"streams\":[]}"]) func aSensorMakesAReading(report: String) throws {
        let text = """
            {"report":\(report),"schema":1,"gateway_id":"gw-1","sensor_id":"hall","stream_id":"00000000deadbeef","seq":7,\
            "event_time":"2026-11-23T23:59:59.250Z","time_quality":"synced","interval_ms":10000}
            """
        #expect(try decode(Array(text.utf8)) == nil)
    }

    @Test func whoWantsReadingsOnlyRejectsAReport() throws {
        let bytes = Array(message(report: "{}").utf8)
        do {
            _ = try bytes.withUnsafeBytes { try ReadingDecoder().decode($0, now: now) }
            Issue.record("a report was taken for a reading")
        } catch let rejection as Rejection {
            #expect(rejection.reason == .missingField && rejection.field == "sensor_id")
        }
    }

    @Test(arguments: [
        ("{\"streams\":[],\"streams\":[]}", "report.streams"),
        ("{\"gaps\":[],\"streams\":[],\"gaps\":[]}", "report.gaps"),
        ("{\"streams\":[{\"stream_id\":\"00000000deadbeef\",\"first\":1,\"first\":1}]}", "report.streams.first"),
        (
            "{\"gaps\":[{\"stream_id\":\"00000000deadbeef\",\"reason\":\"thinned\",\"ranges\":[[1,1]],\"ranges\":[[1,1]]}]}",
            "report.gaps.ranges"
        ),
    ]) func whatStandsTwiceIsRejected(report: String, field: String) throws {
        do {
            _ = try decode(Array(message(report: report).utf8))
            Issue.record("accepted: \(report)")
        } catch let rejection as Rejection {
            #expect(rejection.reason == .duplicateField && rejection.field == field)
        }
    }

    /// The most of each that 64 KiB can hold is taken, so that the bounds of the parser are never met.
    @Test func theDensestMessagesAreTaken() throws {
        func densest(_ part: String, around frame: (String) -> String) -> String {
            let room = Reading.maximumEncodedSize - message(report: frame("")).utf8.count
            let count = (room + 1) / (part.utf8.count + 1)
            return message(report: frame(Array(repeating: part, count: count).joined(separator: ",")))
        }
        let stream = "\"stream_id\":\"00000000deadbeef\""
        let streams = try decode(Array(densest("{\(stream),\"first\":1}") { "{\"streams\":[\($0)]}" }.utf8))
        #expect(streams?.streams.count ?? 0 > 1400)
        let ranges = densest("[1,1]") { "{\"gaps\":[{\(stream),\"reason\":\"x\",\"ranges\":[\($0)]}]}" }
        #expect(try decode(Array(ranges.utf8))?.gaps[0].ranges.count ?? 0 > 10_000)
        let gap = "{\(stream),\"reason\":\"x\",\"ranges\":[]}"
        #expect(try decode(Array(densest(gap) { "{\"gaps\":[\($0)]}" }.utf8))?.gaps.count ?? 0 > 1000)
        // Elements that are too short to be streams.
        let rubbish = Array(densest("{}") { "{\"streams\":[\($0)]}" }.utf8)
        #expect(throws: Rejection.self) { try decode(rubbish) }
    }

    /// Whatever somebody makes of a report: it is rejected, or it is within the contract.
    @Test func aSpoiledReportIsRejectedOrWithinBounds() throws {
        var random = SeededGenerator(seed: printedSeed())
        let original = try #require(try gatewayReport().encoded().first)
        let pieces = [
            "-1", "0", "9007199254740991", "9007199254740992", "9223372036854775808", "1e3", "null", "[]", "{}",
            "[[1,1]]",
            "\"\"", "\"thinned\"", ",", ":", "\"first\":", "\"last\":4", "\"sensor_id\":\"s\"", "[", "]", "{", "}",
        ].map { Array($0.utf8) }
        let decoder = ReadingDecoder()
        var outcomes: Set<String> = []
        for _ in 0..<20_000 {
            var bytes = original
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let start = Int.random(in: 0..<bytes.count, using: &random)
                let end = min(bytes.count, start + Int.random(in: 0...6, using: &random))
                let piece = pieces[Int.random(in: 0..<pieces.count, using: &random)]
                bytes.replaceSubrange(
                    start..<end, with: Bool.random(using: &random) ? piece : [.random(in: 0...255, using: &random)])
            }
            do throws(Rejection) {
                guard case .report(let report) = try decoded(bytes, by: decoder) else { continue }
                outcomes.insert("accepted")
                for stream in report.streams {
                    #expect(Reading.numbers.contains(stream.first))
                    if let last = stream.last {
                        #expect(last >= stream.first - 1 && last <= Reading.numbers.upperBound)
                    }
                }
                for range in report.gaps.flatMap(\.ranges) {
                    #expect(range.lowerBound >= 1 && range.upperBound <= Reading.numbers.upperBound)
                }
            } catch {
                outcomes.insert(error.reason.rawValue)
            }
        }
        let expected: Set<String> = [
            "accepted", "not_json", "wrong_type", "missing_field", "out_of_range", "invalid_text",
        ]
        #expect(outcomes.isSuperset(of: expected), "\(outcomes)")
    }

    private func decoded(_ bytes: [UInt8], by decoder: ReadingDecoder) throws(Rejection) -> DecodedMessage {
        try bytes.withUnsafeBytes { bytes in
            Result { () throws(Rejection) in try decoder.decodeMessage(bytes, now: now) }
        }.get()
    }
}
