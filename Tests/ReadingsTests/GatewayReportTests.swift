import Foundation
import Readings
import Testing

@Suite struct GatewayReportTests {
    private static let first = StreamID(bits: 0xA1)
    private static let second = StreamID(bits: 0xB2)

    @Test func writesTheContractsFields() throws {
        let report = GatewayReport(
            gatewayID: Identifier(constant: "gw-1"),
            streams: [
                .init(streamID: Self.first, first: 1, last: 41),
                .init(streamID: Self.second, first: 42, previous: Self.first),
            ],
            gaps: [.init(streamID: Self.first, reason: .droppedOldest, ranges: [3...9, 12...12])])
        let messages = report.encoded()
        #expect(messages.count == 1)
        #expect(
            String(decoding: messages[0], as: UTF8.self)
                == #"{"schema":1,"gateway_id":"gw-1","report":{"streams":[{"stream_id":"00000000000000a1","first":1,"last":41,"#
                + #""previous":null},{"stream_id":"00000000000000b2","first":42,"previous":"00000000000000a1"}],"#
                + #""gaps":[{"stream_id":"00000000000000a1","reason":"dropped_oldest","ranges":[[3,9],[12,12]]}]}}"#)
    }

    @Test func nothingToTellIsNoMessage() {
        #expect(GatewayReport(gatewayID: Identifier(constant: "gw-1")).encoded().isEmpty)
    }

    @Test(arguments: [1024, 4096, 65_536])
    func aLongReportIsToldInPartsThatFit(limit: Int) throws {
        let ranges: [ClosedRange<Int64>] = (0..<20_000).map { (index: Int64) in
            index * 10 + 1...index * 10 + 5
        }
        let streams: [GatewayReport.Stream] = (1...2000).map { (index: Int64) in
            GatewayReport.Stream(streamID: StreamID(bits: UInt64(index)), first: index * 100)
        }
        let report = GatewayReport(
            gatewayID: Identifier(constant: "gw-1"), streams: streams,
            gaps: [
                .init(streamID: Self.first, reason: .thinned, ranges: ranges),
                .init(streamID: Self.second, reason: .quarantined, ranges: [7...7]),
            ])
        var told: [Int64] = [], names: [String] = [], reasons: Set<String> = []
        for message in report.encoded(limit: limit) {
            #expect(message.count <= limit)
            let object = try #require(try JSONSerialization.jsonObject(with: Data(message)) as? [String: Any])
            let body = try #require(object["report"] as? [String: Any])
            for stream in try #require(body["streams"] as? [[String: Any]]) {
                names.append(try #require(stream["stream_id"] as? String))
            }
            for gap in try #require(body["gaps"] as? [[String: Any]]) {
                reasons.insert(try #require(gap["reason"] as? String))
                for range in try #require(gap["ranges"] as? [[Int64]]) { told.append(range[0]) }
            }
        }
        #expect(told == ranges.map(\.lowerBound) + [7])
        #expect(names == streams.map(\.streamID.description))
        #expect(reasons == ["thinned", "quarantined"])
    }
}
