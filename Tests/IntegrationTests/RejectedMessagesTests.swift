import Foundation
import KafkaClient
import PostgresClient
import Readings
import Testing

/// Every kind of rejection of the contract, through the real processor.
@Suite(Servers.areThere) struct RejectedMessagesTests {
    private static let now = SystemWallClock().now()

    /// A valid message with one field's JSON text replaced, or left out.
    private static func message(_ changes: [String: String?]) -> [UInt8] {
        let fields = [
            ("schema", "1"), ("gateway_id", "\"g\""), ("sensor_id", "\"s\""), ("stream_id", "\"00000000deadbeef\""),
            ("seq", "7"), ("event_time", "\"\(Timestamp(milliseconds: now.milliseconds - 60_000))\""),
            ("time_quality", "\"synced\""), ("interval_ms", "10000"), ("temperature", "21.5"),
        ]
        let written = fields.compactMap { name, text -> String? in
            guard let change = changes[name] else { return "\"\(name)\":\(text)" }
            return change.map { "\"\(name)\":\($0)" }
        }
        let added = changes.filter { change in !fields.contains { $0.0 == change.key } }
            .compactMap { name, text in text.map { "\"\(name)\":\($0)" } }
        return Array("{\((written + added.sorted()).joined(separator: ","))}".utf8)
    }

    private static let required = [
        "schema", "gateway_id", "sensor_id", "stream_id", "seq", "event_time", "time_quality", "interval_ms",
    ]

    /// What is sent, and the reason with which it must be rejected.
    private static var cases: [(value: [UInt8]?, reason: String)] {
        var cases: [([UInt8]?, String)] = [
            (nil, "empty"), ([], "empty"), (Array(" \n".utf8), "not_json"), ([0], "not_json"),
            (Array("hello".utf8), "not_json"), (Array("[]".utf8), "not_an_object"), (Array("17".utf8), "not_an_object"),
            (Array("null".utf8), "not_an_object"), ([0x7b, 0xff, 0x7d], "not_utf8"),
            (Array("{\"a\":\"".utf8) + [0xc0, 0xaf] + Array("\"}".utf8), "not_utf8"),
            (Array("{\"a\":\"".utf8) + [0xed, 0xa0, 0x80] + Array("\"}".utf8), "not_utf8"),
            (message([:]).dropLast(), "not_json"), (message([:]) + Array("}".utf8), "not_json"),
            (message(["note": "\"" + String(repeating: "x", count: 70_000) + "\""]), "too_large"),
            (message(["note": "\"" + String(repeating: "x", count: 900_000) + "\""]), "too_large"),
            (message(["note": String(repeating: "[", count: 20_000)]), "not_json"),
            (Array(message([:]).dropLast()) + Array(",\"seq\":8}".utf8), "duplicate_field"),
            (message(["schema": "2"]), "unsupported_schema"), (message(["temperature": "NaN"]), "not_json"),
            (message(["temperature": "Infinity"]), "not_json"), (message(["temperature": "1e999"]), "not_json"),
            (message(["temperature": "null"]), "wrong_type"), (message(["temperature": "-100.001"]), "out_of_range"),
            (message(["humidity": "100.1"]), "out_of_range"), (message(["co2": "-1"]), "out_of_range"),
            (message(["pressure": "0"]), "out_of_range"), (message(["battery_level": "101"]), "out_of_range"),
            (message(["battery_voltage": "-1"]), "out_of_range"), (message(["latitude": "91"]), "out_of_range"),
            (message(["longitude": "-181"]), "out_of_range"), (message(["simulated": "0"]), "wrong_type"),
            (message(["faults": "{}"]), "wrong_type"), (message(["faults": "[\"x\"]"]), "invalid_text"),
            (message(["seq": "0"]), "out_of_range"), (message(["seq": "1.5"]), "wrong_type"),
            (message(["interval_ms": "0"]), "out_of_range"), (message(["stream_id": "\"x\""]), "invalid_text"),
            (message(["sensor_id": "\"\(String(repeating: "s", count: 65))\""]), "invalid_text"),
            (message(["gateway_id": "\"a b\""]), "invalid_text"), (message(["time_quality": "\"\""]), "invalid_text"),
            (message(["event_time": "\"yesterday\""]), "invalid_text"),
            (message(["event_time": "\"1999-12-31T23:59:59.999Z\""]), "out_of_range"),
            (message(["event_time": "\"\(Timestamp(milliseconds: now.milliseconds + 3_600_000))\""]), "future"),
        ]
        cases += required.map { (message([$0: String?.none]), "missing_field") }
        cases += required.map { (message([$0: "[]"]), "wrong_type") }
        return cases
    }

    @Test(.requiresKafkaNodes, .timeLimit(.minutes(10)))
    func aMissingRejectedTopicIsSaidOnceAndTakenUp() async throws {
        let kafka = try await ApacheKafka(
            ApacheKafka.Options(arguments: ["--property", "auto.create.topics.enable=false"]))
        let site = try await Site(partitions: 1, broker: kafka.bootstrap)
        let admin = try KafkaAdmin(configuration: site.kafka)
        try await admin.deleteTopic(site.rejectedTopic, timeout: .seconds(120))
        let configuration = try site.writeProcessorConfiguration()
        let processor = try BuiltProgram.processor.start(["run", "--config", configuration], in: site.folder)
        let line = "the rejected topic takes nothing"
        // Before anything needs it.
        try await waitUntil("it is said", within: .seconds(120), evidence: processor.output) {
            processor.output.contains(line)
        }
        #expect(processor.output.contains("--create --topic \(site.rejectedTopic)"), "\(processor.output)")
        let start = Timestamp(milliseconds: Self.now.milliseconds - 600_000)
        _ = try await site.send([
            Outgoing(value: Array("hello".utf8), partition: 0),
            Outgoing(value: try site.reading(1, from: start).encoded(), partition: 0),
        ])
        try await waitUntil("health says it", within: .seconds(120)) {
            try await site.get("/readyz", of: processor)?.contains("\(site.rejectedTopic) takes no messages") == true
        }
        try await admin.createTopic(
            site.rejectedTopic, partitions: 1, replication: 1, configuration: [:], timeout: .seconds(120))
        try await waitUntil("the reading is stored", within: .seconds(120), evidence: processor.output) {
            guard try site.value("SELECT to_regclass('sensor_data') IS NOT NULL", as: Bool.self) else { return false }
            return try site.value("SELECT count(*) FROM sensor_data", as: Int64.self) == 1
        }
        try await waitUntil("its end is said", within: .seconds(120), evidence: processor.output) {
            processor.output.contains("the rejected topic takes messages again")
        }
        processor.send(SIGTERM)
        #expect(await processor.ending() == .status(0), "\(processor.output)")
        #expect(processor.output.components(separatedBy: line).count == 2, "once: \(processor.output)")
        #expect(try await site.messages(of: site.rejectedTopic).map(\.value) == [Array("hello".utf8)])
        try await site.remove()
        try await kafka.remove()
    }

    @Test(.timeLimit(.minutes(10)))
    func everyKindGoesToTheRejectedTopicUnchangedAndSaysWhy() async throws {
        let site = try await Site(partitions: 2)
        let configuration = try site.writeProcessorConfiguration()
        let cases = Self.cases
        var messages: [Outgoing] = []
        for (index, rejected) in cases.enumerated() {
            // Keys and headers of every kind: null, empty, no text, the same name twice, the processor's own names.
            let keys: [[UInt8]?] = [nil, [], Array("g".utf8), [0xff, 0, 1]]
            let headers: [KafkaHeader] = [
                KafkaHeader(name: "vigie-committed", text: "\(index)"), KafkaHeader(name: "twice", text: "1"),
                KafkaHeader(name: "twice", value: [0, 255]), KafkaHeader(name: "empty", value: []),
                KafkaHeader(name: "null", value: [], isNull: true), KafkaHeader(name: "vigie-reason", text: "a lie"),
            ]
            messages.append(
                Outgoing(
                    key: keys[index % 4], value: rejected.value,
                    headers: index.isMultiple(of: 3) ? [] : headers, partition: Int32(index % 2)))
            // A valid one behind each: it must not be stopped.
            messages.append(
                Outgoing(
                    value: try site.reading(
                        Int64(index + 1), from: .init(milliseconds: Self.now.milliseconds - 600_000)
                    )
                    .encoded(), partition: Int32(index % 2)))
        }
        let offsets = try await site.send(messages)
        let processor = try BuiltProgram.processor.start(["run", "--config", configuration], in: site.folder)
        try await waitUntil("the valid ones are stored", within: .seconds(120)) {
            try #require(processor.isRunning, "\(processor.output)")
            guard try site.value("SELECT to_regclass('consumed_offset') IS NOT NULL", as: Bool.self) else {
                return false
            }
            return try site.value("SELECT count(*) FROM sensor_data", as: Int64.self) == cases.count
                && site.value("SELECT sum(next_offset)::int8 FROM consumed_offset", as: Int64.self) == messages.count
        }
        // A batch is counted after its commit.
        try await waitUntil("all that was rejected is counted", within: .seconds(120)) {
            try await site.metric("vigie_rejected_total", of: processor) == Double(cases.count)
        }
        let metrics = try #require(try await site.get("/metrics", of: processor))
        processor.send(SIGTERM)
        #expect(await processor.ending() == .status(0), "\(processor.output)")

        let rejected = try await site.messages(of: site.rejectedTopic)
        #expect(rejected.count == cases.count)
        for message in rejected {
            let partition = try #require(message.headers["vigie-partition"].flatMap { Int32($0) })
            let offset = try #require(message.headers["vigie-offset"].flatMap { Int64($0) })
            let index = try #require(
                messages.indices.first { messages[$0].partition == partition && offsets[$0] == offset })
            let (original, expected) = (messages[index], cases[index / 2])
            #expect(message.isNull == (original.value == nil) && message.value == original.value ?? [])
            #expect(message.key == original.key)
            #expect(message.allHeaders.dropLast(6) == original.headers[...])
            #expect(
                message.allHeaders.suffix(6).map(\.name) == [
                    "vigie-reason", "vigie-detail", "vigie-topic", "vigie-partition", "vigie-offset", "vigie-time",
                ])
            #expect(message.headers["vigie-reason"] == expected.reason, "\(message.headers)")
            #expect(message.headers["vigie-detail"]?.isEmpty == false && message.headers["vigie-topic"] == site.topic)
            let time = try #require(message.headers["vigie-time"].flatMap { Timestamp($0) })
            #expect(abs(time.milliseconds - Self.now.milliseconds) < 120_000)
        }
        for (reason, of) in Dictionary(grouping: cases, by: \.reason) {
            #expect(metrics.contains("vigie_rejected_total{reason=\"\(reason)\"} \(of.count)\n"))
        }
        try await site.remove()
    }
}
