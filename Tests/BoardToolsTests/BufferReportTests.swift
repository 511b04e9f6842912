import Configuration
import Foundation
import GatewayCore
import Outbox
import Presentation
import Readings
import Testing

@testable import BoardTools

@Suite struct BufferReportTests {
    @Test func itSaysHowFullTheOutboxIsAndWhatWasRefused() async throws {
        let folder = try TemporaryFolder()
        let path = folder.file("outbox.sqlite")
        let settings = try GatewaySettings(
            ConfigurationDocument(
                text: """
                    gateway: {id: bench}
                    mode: simulated
                    outbox: {path: "\(path)", readings: 1010}
                    kafka: {bootstrap: "127.0.0.1:9", drain_rate: 5}
                    stations:
                      - {sensor_id: one, interval: 1s, chips: [{type: bme280}]}
                      - {sensor_id: two, interval: 1s, chips: [{type: bme280}]}
                    """, name: "gateway.yaml"))
        #expect(throws: OutboxError.self) { try BufferReport(settings) }
        let outbox = try await Outbox.open(path: path)
        try await outbox.append((1...11).map { try record($0) })
        let first = try #require(try await outbox.read(limit: 1).first)
        try await outbox.quarantine(first, reason: "too large")
        // Also while a gateway has it.
        let report = try BufferReport(settings)
        #expect(report.depth == 10 && report.quarantined == 1 && report.dropped == 0)
        #expect(report.lasts == 500, "1000 readings at 2 a second")
        #expect(report.drainTime == 2)
        #expect(report.oldest == Timestamp(milliseconds: 1_700_000_000_002))
        #expect(report.text.contains("lasts for   8 min 20 s"), "\(report.text)")
        #expect(report.text.contains("waiting     10 readings, 1.0 % of 1,010\n"), "\(report.text)")
        // The gateway's own metric is the same number.
        #expect(try await outbox.status().bytes == report.bytes)
        #expect(report.text.contains("size        \(PlainNumbers.bytes(Double(report.bytes))), "), "\(report.text)")
        let json = try #require(
            try JSONSerialization.jsonObject(with: Data(report.json.text.utf8)) as? [String: Any])
        #expect(json["readings"] as? Int == 10 && json["drain_seconds"] as? Double == 2)

        var exported: [String] = []
        try OutboxQuarantine(path: path, isReadOnly: true).forEach { exported.append($0.json.text) }
        let refused = try #require(
            try JSONSerialization.jsonObject(with: Data(exported.joined().utf8)) as? [String: Any])
        #expect(refused["seq"] as? Int == 1 && refused["reason"] as? String == "too large")
        #expect((refused["reading"] as? [String: Any])?["temperature"] as? Double == 1)
        #expect(try OutboxQuarantine(path: path, isReadOnly: false).requeue([1, 2]) == (1, [2]))

        // With less than keep_free on the disk only a small file grows.
        let short = try BufferReport(settings, freeBytes: { _ in 1000 })
        #expect(short.freeRoom == OutboxLimits.smallFile - short.bytes)
        #expect(short.lasts == 500, "the readings' bound is nearer")
        let wide = try BufferReport(settings, freeBytes: { _ in (16 << 20) + 33_000_000 })
        #expect(wide.freeRoom == 33_000_000)
    }
}
