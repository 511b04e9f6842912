import Platform
import Readings

/// The ways in which a message can fail to be a reading.
public enum Malformation: String, CaseIterable, Sendable {
    case empty
    case plainText = "plain_text"
    case truncated
    case trailingGarbage = "trailing_garbage"
    case controlBytes = "control_bytes"
    case deeplyNested = "deeply_nested"
    case notUTF8 = "not_utf8"
    case tooLarge = "too_large"
    case array
    case missingField = "missing_field"
    case duplicateField = "duplicate_field"
    case quotedNumber = "quoted_number"
    case null
    case newerSchema = "newer_schema"
    case badGateway = "bad_gateway"
    case longSensor = "long_sensor"
    case badStream = "bad_stream"
    case badTime = "bad_time"
    case badTimeQuality = "bad_time_quality"
    case notANumber = "not_a_number"
    case infinite
    case impossibleTemperature = "impossible_temperature"
    case negativeCO2 = "negative_co2"
    case sequenceZero = "sequence_zero"
    case tooManyFaults = "too_many_faults"
    case clockNeverSet = "clock_never_set"
    case farFuture = "far_future"
    case intervalTooLong = "interval_too_long"
    case sequenceTooLarge = "sequence_too_large"
    case beginsAfterItself = "begins_after_itself"
    case reversedRange = "reversed_range"
    case endsBeforeItBegins = "ends_before_it_begins"

    /// The reason with which the contract rejects it, as the header `vigie-reason` says it.
    public var expectedReason: String {
        switch self {
        case .empty: "empty"
        case .plainText, .truncated, .trailingGarbage, .controlBytes, .deeplyNested, .notANumber, .infinite: "not_json"
        case .notUTF8: "not_utf8"
        case .tooLarge: "too_large"
        case .array: "not_an_object"
        case .missingField: "missing_field"
        case .duplicateField: "duplicate_field"
        case .quotedNumber, .null: "wrong_type"
        case .newerSchema: "unsupported_schema"
        case .badGateway, .longSensor, .badStream, .badTime, .badTimeQuality: "invalid_text"
        case .impossibleTemperature, .negativeCO2, .sequenceZero, .tooManyFaults, .clockNeverSet, .intervalTooLong,
            .sequenceTooLarge, .beginsAfterItself, .reversedRange, .endsBeforeItBegins:
            "out_of_range"
        case .farFuture: "future"
        }
    }

    /// A message that is malformed in this way and otherwise is `reading`.
    func message(from reading: Reading, using random: inout SeededGenerator) -> [UInt8] {
        var message = Message(reading)
        switch self {
        case .empty: return []
        case .plainText: return Array("temperature=21.5;humidity=40\n".utf8)
        case .truncated: return Array(message.bytes.prefix(1 + random.index(below: message.bytes.count - 1)))
        case .trailingGarbage: message.bytes += Array("}".utf8)
        case .controlBytes: message.set("sensor_id", "\"a\u{0}\u{1}b\"")
        case .deeplyNested:
            message.set("note", String(repeating: "[", count: 5000) + String(repeating: "]", count: 5000))
        case .notUTF8:
            message.set("note", "\"?\"")
            if let position = message.bytes.lastIndex(of: UInt8(ascii: "?")) { message.bytes[position] = 0xff }
        case .tooLarge: message.set("note", "\"" + String(repeating: "x", count: Reading.maximumEncodedSize) + "\"")
        case .array: message.bytes = [UInt8(ascii: "[")] + message.bytes + [UInt8(ascii: "]")]
        case .missingField: message.remove(Malformation.required[random.index(below: Malformation.required.count)])
        case .duplicateField: message.append("\"seq\":\(reading.sequence)")
        case .quotedNumber: message.set("interval_ms", "\"\(reading.intervalMilliseconds)\"")
        case .null: message.set("temperature", "null")
        case .newerSchema: message.set("schema", "2")
        case .badGateway: message.set("gateway_id", "\"gate way/1\"")
        case .longSensor: message.set("sensor_id", "\"" + String(repeating: "s", count: 65) + "\"")
        case .badStream: message.set("stream_id", "\"not-hexadecimal!\"")
        case .badTime: message.set("event_time", "\"2026-02-30T25:61:00Z\"")
        case .badTimeQuality: message.set("time_quality", "\"perhaps\"")
        case .notANumber: message.set("temperature", "NaN")
        case .infinite: message.set("temperature", "1e999")
        case .impossibleTemperature: message.set("temperature", "850.0")
        case .negativeCO2: message.set("co2", "-\(1 + random.index(below: 500))")
        case .sequenceZero: message.set("seq", "0")
        case .tooManyFaults:
            message.set("faults", "[" + Array(repeating: "\"a:b\"", count: 100).joined(separator: ",") + "]")
        case .clockNeverSet: message.set("event_time", "\"1970-01-01T00:00:17.250Z\"")
        case .farFuture: message.set("event_time", "\"2199-12-31T23:59:59.999Z\"")
        case .intervalTooLong: message.set("interval_ms", "\(Reading.intervals.upperBound + 1)")
        case .sequenceTooLarge: message.set("seq", "\(Reading.numbers.upperBound + 1)")
        case .beginsAfterItself: message.set("stream_first", "\(reading.sequence + 1)")
        case .reversedRange:
            return report(of: reading, "\"gaps\":[{\(stream(of: reading)),\"reason\":\"thinned\",\"ranges\":[[9,3]]}]")
        case .endsBeforeItBegins:
            return report(of: reading, "\"streams\":[{\(stream(of: reading)),\"first\":9,\"last\":3}]")
        }
        return message.bytes
    }

    private func stream(of reading: Reading) -> String { "\"stream_id\":\"\(reading.streamID)\"" }

    private func report(of reading: Reading, _ content: String) -> [UInt8] {
        let head = "{\"schema\":\(Reading.schema),\"gateway_id\":\"\(reading.gatewayID)\""
        return Array("\(head),\"report\":{\(content)}}".utf8)
    }

    private static let required = [
        "schema", "gateway_id", "sensor_id", "stream_id", "seq", "event_time", "time_quality", "interval_ms",
    ]
}

/// A reading's JSON text, to be spoilt. Malformed messages are few, so this need not be fast.
private struct Message {
    var bytes: [UInt8]

    init(_ reading: Reading) {
        bytes = reading.encoded()
    }

    /// Puts JSON text in place of a field's value, or adds the field.
    mutating func set(_ field: String, _ text: String) {
        guard let place = place(of: field) else { return append("\"\(field)\":\(text)") }
        bytes.replaceSubrange(place, with: "\"\(field)\":\(text)".utf8)
    }

    mutating func remove(_ field: String) {
        guard var place = place(of: field) else { return }
        // One of the commas goes with it.
        if bytes[place.upperBound] == UInt8(ascii: ",") {
            place = place.lowerBound..<place.upperBound + 1
        } else {
            place = place.lowerBound - 1..<place.upperBound
        }
        bytes.removeSubrange(place)
    }

    mutating func append(_ member: String) {
        bytes.removeLast()
        bytes += Array(",\(member)}".utf8)
    }

    /// Where a field's name and value stand. No text in a reading holds a quote, a brace or a comma.
    private func place(of field: String) -> Range<Int>? {
        let name = Array("\"\(field)\":".utf8)
        guard let start = bytes.indices.first(where: { bytes[$0...].starts(with: name) }) else { return nil }
        var end = start + name.count
        let closing = bytes[end] == UInt8(ascii: "[") ? UInt8(ascii: "]") : nil
        while end < bytes.count - 1 {
            if let closing {
                if bytes[end] == closing { return start..<end + 1 }
            } else if bytes[end] == UInt8(ascii: ",") {
                break
            }
            end += 1
        }
        return start..<end
    }
}
