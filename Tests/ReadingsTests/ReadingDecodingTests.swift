import Foundation
import ReadingDecoding
import Readings
import Testing

private let now = Timestamp(milliseconds: 1_795_478_400_000)  // 2026-11-24T00:00:00Z

private func decode(_ text: String, limits: PhysicalLimits = PhysicalLimits()) throws -> Reading {
    try decode(Array(text.utf8), limits: limits)
}

private func decode(_ bytes: [UInt8], limits: PhysicalLimits = PhysicalLimits()) throws -> Reading {
    let decoder = ReadingDecoder(limits: limits)
    return try bytes.withUnsafeBytes { try #require(try decoder.decode($0, now: now).reading) }
}

/// Why the decoder refuses these bytes, if it does.
private func rejection(of bytes: [UInt8]) throws -> Rejection.Reason? {
    do {
        _ = try decode(bytes)
        return nil
    } catch let rejection as Rejection {
        return rejection.reason
    }
}

/// A valid message with one field's JSON text replaced, or left out.
private func message(_ changes: [String: String?] = [:]) -> String {
    let fields = [
        ("schema", "1"), ("gateway_id", "\"gw-1\""), ("sensor_id", "\"hall\""),
        ("stream_id", "\"00000000deadbeef\""), ("seq", "7"), ("stream_first", "5"),
        ("event_time", "\"2026-11-23T23:59:59.250Z\""),
        ("time_quality", "\"synced\""), ("interval_ms", "10000"), ("temperature", "21.5"), ("humidity", "40"),
        ("co2", "612"), ("pressure", "1013.25"), ("battery_level", "80"), ("battery_voltage", "3.9"),
        ("voc_index", "104"), ("pm2_5", "6.2"),
        ("faults", "[\"scd41:crc\"]"), ("latitude", "48.85"), ("longitude", "2.35"), ("simulated", "true"),
    ]
    let written = fields.compactMap { name, text -> String? in
        guard let change = changes[name] else { return "\"\(name)\":\(text)" }
        return change.map { "\"\(name)\":\($0)" }
    }
    return "{\(written.joined(separator: ","))}"
}

/// documentation/reading.examples.json.
private struct DocumentedExamples {
    struct Example: Decodable {
        /// The field that is changed to `text`, or left out.
        var field: String?
        var text: String?
        /// The whole message, if it is not one field that is changed.
        var message: String?
        /// `accepted`, or the reason of the rejection.
        var verdict: String
    }

    private struct File: Decodable {
        var now: String
        var message: [String: String]
        var examples: [Example]
    }

    var now: String
    /// The message of which the examples change a field: its fields' JSON texts.
    var fields: [String: String]
    var examples: [Example]

    init() throws {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../documentation/reading.examples.json")
        let read = try JSONDecoder().decode(File.self, from: Data(contentsOf: file))
        (now, fields, examples) = (read.now, read.message, read.examples)
    }

    func text(of example: Example) throws -> String {
        try example.message ?? message([#require(example.field): example.text])
    }
}

@Suite struct ReadingDecodingTests {
    private func reading() throws -> Reading {
        Reading(
            gatewayID: try #require(Identifier("gw-1")), sensorID: try #require(Identifier("hall")),
            streamID: StreamID(bits: 0xdead_beef), sequence: 7, streamFirst: 5,
            eventTime: try #require(Timestamp("2026-11-23T23:59:59.250Z")), intervalMilliseconds: 10_000,
            values: [
                .temperature: 21.5, .humidity: 40, .co2: 612, .pressure: 1013.25, .batteryLevel: 80,
                .batteryVoltage: 3.9, .vocIndex: 104, .pm2_5: 6.2,
            ],
            faults: [Fault(chip: try #require(Identifier("scd41")), kind: try #require(Identifier("crc")))],
            place: Place(latitude: 48.85, longitude: 2.35), isSimulated: true)
    }

    @Test func readsEveryFieldOfTheContract() throws {
        #expect(try decode(message()) == reading())
    }

    @Test func writesTheContractToTheLetter() throws {
        let expected = """
            {"schema":1,"gateway_id":"gw-1","sensor_id":"hall","stream_id":"00000000deadbeef","seq":7,"stream_first":5,\
            "event_time":"2026-11-23T23:59:59.250Z","time_quality":"synced","interval_ms":10000,\
            "temperature":21.5,"humidity":40.0,"co2":612.0,"pressure":1013.25,"battery_level":80.0,\
            "battery_voltage":3.9,"voc_index":104.0,"pm2_5":6.2,"faults":["scd41:crc"],"latitude":48.85,"longitude":2.35,"simulated":true}
            """
        #expect(String(decoding: try reading().encoded(), as: UTF8.self) == expected)
    }

    @Test func aRejectedReadingSaysItsNumberIfItCan() throws {
        func number(_ text: String) -> RejectedNumber? {
            let decoder = ReadingDecoder()
            do {
                _ = try Array(text.utf8).withUnsafeBytes { try decoder.decodeMessage($0, now: now) }
                Issue.record("not rejected: \(text)")
            } catch {}
            return decoder.rejectedNumber
        }
        let own = RejectedNumber(gatewayID: "gw-1", streamID: StreamID(bits: 0xdead_beef), sequence: 7)
        #expect(number(message(["temperature": "1e9"])) == own)
        #expect(number(message(["event_time": "\"2036-11-23T23:59:59.250Z\""])) == own)
        #expect(number(message(["sensor_id": nil])) == own)
        #expect(number(message(["stream_first": "8"])) == own)
        for field in ["seq", "stream_id", "gateway_id", "schema"] {
            #expect(number(message([field: nil])) == nil, "\(field)")
        }
        #expect(number(message(["seq": "0"])) == nil && number(message(["gateway_id": "\"ä\""])) == nil)
        #expect(number(message(["schema": "2"])) == nil && number("[]") == nil)
        // What was parsed before says nothing of what cannot be.
        let decoder = ReadingDecoder()
        for text in [message(["co2": "-1"]), "{"] {
            do { _ = try Array(text.utf8).withUnsafeBytes { try decoder.decode($0, now: now) } } catch {}
        }
        #expect(decoder.rejectedNumber == nil)
    }

    @Test func absentIsNotZero() throws {
        var sparse = try reading()
        sparse.values = [.co2: 0]
        sparse.faults = []
        sparse.place = nil
        sparse.isSimulated = false
        sparse.timeQuality = .estimated
        sparse.streamFirst = nil
        let text = String(decoding: sparse.encoded(), as: UTF8.self)
        #expect(!text.contains("temperature") && !text.contains("faults") && !text.contains("simulated"))
        #expect(!text.contains("stream_first"))
        #expect(try decode(text) == sparse)
    }

    @Test func neverWritesANumberThatJSONDoesNotHave() throws {
        var broken = try reading()
        broken.values[.temperature] = .nan
        broken.values[.humidity] = .infinity
        let decoded = try decode(broken.encoded())
        #expect(decoded.values[.temperature] == nil && decoded.values[.humidity] == nil)
    }

    @Test func ignoresUnknownFieldsAndTheOrderOfFields() throws {
        let extra = message().dropLast() + ",\"firmware\":{\"name\":\"x\",\"parts\":[1,[2]]},\"note\":null}"
        #expect(try decode(String(extra)) == reading())
        var object = message().dropFirst().dropLast().split(separator: ",\"").map(String.init)
        object = object.map { $0.hasPrefix("\"") ? $0 : "\"" + $0 }.reversed()
        #expect(try decode("{\(object.joined(separator: ","))}") == reading())
    }

    /// What the documentation says is accepted or rejected; a test of the harness holds the schema there to the same.
    @Test func agreesWithTheExamplesOfTheDocumentation() throws {
        let examples = try DocumentedExamples()
        #expect(Timestamp(examples.now) == now)
        let fields = examples.fields.map { "\"\($0)\":\($1)" }
        #expect(try decode("{\(fields.joined(separator: ","))}") == reading())
        for example in examples.examples {
            let text = try examples.text(of: example)
            do {
                _ = try decode(text)
                #expect(example.verdict == "accepted", "accepted: \(text)")
            } catch let rejection as Rejection {
                #expect(rejection.reason.rawValue == example.verdict, "\(text)")
                if let field = example.field, rejection.reason != .notJSON { #expect(rejection.field == field) }
            }
        }
    }

    @Test func nestingWithoutAnEndIsNoReading() throws {
        #expect(try rejection(of: Array(repeating: UInt8(ascii: "["), count: 30_000)) == .notJSON)
    }

    @Test func rejectsAFieldThatStandsTwice() throws {
        let text = message().dropLast() + ",\"seq\":8}"
        #expect(try rejection(of: Array(text.utf8)) == .duplicateField)
    }

    @Test func rejectsBadUTF8AndTooLongMessages() throws {
        var bytes = Array(message().utf8)
        bytes[20] = 0xff
        #expect(try rejection(of: bytes) == .notUTF8)
        let padding = String(repeating: " ", count: Reading.maximumEncodedSize)
        #expect(try rejection(of: Array((message() + padding).utf8)) == .tooLarge)
        let longest = message() + padding.dropLast(message().utf8.count)
        #expect(try decode(longest) == reading())
    }

    @Test func limitsAreSettings() throws {
        var limits = PhysicalLimits()
        limits[.temperature] = -10...20
        #expect(throws: Rejection.self) { try decode(message(), limits: limits) }
        limits[.temperature] = -10...30
        #expect(try decode(message(), limits: limits) == reading())
    }
}
