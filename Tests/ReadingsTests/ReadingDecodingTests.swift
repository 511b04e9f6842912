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
        ("stream_id", "\"00000000deadbeef\""), ("seq", "7"), ("event_time", "\"2026-11-23T23:59:59.250Z\""),
        ("time_quality", "\"synced\""), ("interval_ms", "10000"), ("temperature", "21.5"), ("humidity", "40"),
        ("co2", "612"), ("pressure", "1013.25"), ("battery_level", "80"), ("battery_voltage", "3.9"),
        ("faults", "[\"scd41:crc\"]"), ("latitude", "48.85"), ("longitude", "2.35"), ("simulated", "true"),
    ]
    let written = fields.compactMap { name, text -> String? in
        guard let change = changes[name] else { return "\"\(name)\":\(text)" }
        return change.map { "\"\(name)\":\($0)" }
    }
    return "{\(written.joined(separator: ","))}"
}

@Suite struct ReadingDecodingTests {
    private func reading() throws -> Reading {
        Reading(
            gatewayID: try #require(Identifier("gw-1")), sensorID: try #require(Identifier("hall")),
            streamID: StreamID(bits: 0xdead_beef), sequence: 7,
            eventTime: try #require(Timestamp("2026-11-23T23:59:59.250Z")), intervalMilliseconds: 10_000,
            values: Values(
                temperature: 21.5, humidity: 40, co2: 612, pressure: 1013.25, batteryLevel: 80, batteryVoltage: 3.9),
            faults: [Fault(chip: try #require(Identifier("scd41")), kind: try #require(Identifier("crc")))],
            place: Place(latitude: 48.85, longitude: 2.35), isSimulated: true)
    }

    @Test func readsEveryFieldOfTheContract() throws {
        #expect(try decode(message()) == reading())
    }

    @Test func writesTheContractToTheLetter() throws {
        let expected = """
            {"schema":1,"gateway_id":"gw-1","sensor_id":"hall","stream_id":"00000000deadbeef","seq":7,\
            "event_time":"2026-11-23T23:59:59.250Z","time_quality":"synced","interval_ms":10000,\
            "temperature":21.5,"humidity":40.0,"co2":612.0,"pressure":1013.25,"battery_level":80.0,\
            "battery_voltage":3.9,"faults":["scd41:crc"],"latitude":48.85,"longitude":2.35,"simulated":true}
            """
        #expect(String(decoding: try reading().encoded(), as: UTF8.self) == expected)
    }

    @Test func absentIsNotZero() throws {
        var sparse = try reading()
        sparse.values = Values(co2: 0)
        sparse.faults = []
        sparse.place = nil
        sparse.isSimulated = false
        sparse.timeQuality = .estimated
        let text = String(decoding: sparse.encoded(), as: UTF8.self)
        #expect(!text.contains("temperature") && !text.contains("faults") && !text.contains("simulated"))
        #expect(try decode(text) == sparse)
    }

    @Test func neverWritesANumberThatJSONDoesNotHave() throws {
        var broken = try reading()
        broken.values.temperature = .nan
        broken.values.humidity = .infinity
        let decoded = try decode(broken.encoded())
        #expect(decoded.values.temperature == nil && decoded.values.humidity == nil)
    }

    @Test func ignoresUnknownFieldsAndTheOrderOfFields() throws {
        let extra = message().dropLast() + ",\"firmware\":{\"name\":\"x\",\"parts\":[1,[2]]},\"note\":null}"
        #expect(try decode(String(extra)) == reading())
        var object = message().dropFirst().dropLast().split(separator: ",\"").map(String.init)
        object = object.map { $0.hasPrefix("\"") ? $0 : "\"" + $0 }.reversed()
        #expect(try decode("{\(object.joined(separator: ","))}") == reading())
    }

    @Test(
        arguments: [
            ("seq", "1"), ("seq", "9007199254740991"), ("interval_ms", "1"),
            ("event_time", "\"2000-01-01T00:00:00Z\""), ("event_time", "\"2026-11-24T00:05:00Z\""),
            ("humidity", "100"), ("co2", "0"), ("latitude", "-90"), ("longitude", "180"),
        ])
    func takesWhatIsJustAllowed(field: String, text: String) throws {
        #expect(throws: Never.self) { try decode(message([field: text])) }
    }

    @Test(
        arguments: [
            ("schema", nil, .missingField), ("schema", "2", .unsupportedSchema), ("schema", "\"1\"", .wrongType),
            ("gateway_id", nil, .missingField), ("gateway_id", "\"\"", .invalidText), ("gateway_id", "4", .wrongType),
            ("sensor_id", "\"a b\"", .invalidText), ("sensor_id", "\"é\"", .invalidText),
            ("sensor_id", "\"" + String(repeating: "x", count: 65) + "\"", .invalidText),
            ("stream_id", "\"xyz\"", .invalidText), ("stream_id", nil, .missingField),
            ("seq", "0", .outOfRange), ("seq", "-1", .outOfRange), ("seq", "1.5", .wrongType),
            ("seq", "9007199254740992", .outOfRange), ("seq", "99999999999999999999", .notJSON),
            ("seq", nil, .missingField),
            ("event_time", "\"yesterday\"", .invalidText), ("event_time", "\"1970-01-01T00:00:00Z\"", .outOfRange),
            ("event_time", "\"2026-11-24T00:05:00.001Z\"", .future), ("event_time", "1795478400", .wrongType),
            ("time_quality", "\"perhaps\"", .invalidText), ("time_quality", nil, .missingField),
            ("interval_ms", "0", .outOfRange), ("interval_ms", "\"10s\"", .wrongType),
            ("temperature", "null", .wrongType), ("temperature", "\"21\"", .wrongType),
            ("temperature", "1e9", .outOfRange),
            ("temperature", "1e999", .notJSON), ("temperature", "NaN", .notJSON), ("temperature", "true", .wrongType),
            ("humidity", "100.01", .outOfRange), ("co2", "-1", .outOfRange), ("pressure", "0", .outOfRange),
            ("battery_level", "101", .outOfRange), ("battery_voltage", "-0.1", .outOfRange),
            ("latitude", "91", .outOfRange), ("longitude", "-181", .outOfRange), ("simulated", "1", .wrongType),
            ("faults", "\"scd41:crc\"", .wrongType), ("faults", "[1]", .wrongType),
            ("faults", "[\"crc\"]", .invalidText),
            ("faults", "[\":crc\"]", .invalidText), ("faults", "[\"a:b:c\"]", .invalidText),
            ("faults", "[" + Array(repeating: "\"a:b\"", count: 65).joined(separator: ",") + "]", .outOfRange),
        ] as [(String, String?, Rejection.Reason)])
    func rejectsAFieldThatBreaksTheContract(field: String, text: String?, reason: Rejection.Reason) throws {
        do {
            _ = try decode(message([field: text]))
            Issue.record("accepted")
        } catch let rejection as Rejection {
            #expect(rejection.reason == reason)
            if reason != .notJSON { #expect(rejection.field == field) }
        }
    }

    @Test(
        arguments: [
            ("", .empty), ("   ", .notJSON), ("[]", .notAnObject), ("17", .notAnObject), ("null", .notAnObject),
            ("{\"schema\":1", .notJSON), ("{\"x\":[1,,2]}", .notJSON), ("{} {}", .notJSON),
            ("{\"a\":\"\u{1}\"}", .notJSON),
            (String(repeating: "[", count: 30_000), .notJSON),
        ] as [(String, Rejection.Reason)])
    func rejectsWhatIsNoReadingAtAll(text: String, reason: Rejection.Reason) throws {
        #expect(try rejection(of: Array(text.utf8)) == reason)
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
        limits.temperature = -10...20
        #expect(throws: Rejection.self) { try decode(message(), limits: limits) }
        limits.temperature = -10...30
        #expect(try decode(message(), limits: limits) == reading())
    }
}
