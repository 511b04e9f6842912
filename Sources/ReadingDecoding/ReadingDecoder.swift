import CReadingParser
import Readings

/// Decodes messages strictly: what comes out satisfies the whole contract.
///
/// One decoder serves one thread. It allocates nothing for a valid message.
public final class ReadingDecoder {
    private let parser: OpaquePointer
    private var message = vigie_message()
    private let limits: PhysicalLimits

    /// Makes a decoder.
    /// - Parameter limits: what numbers may be.
    public init(limits: PhysicalLimits = PhysicalLimits()) {
        guard let parser = vigie_parser_new(Reading.maximumEncodedSize) else {
            preconditionFailure("no memory for a parser of \(Reading.maximumEncodedSize) bytes")
        }
        self.parser = parser
        self.limits = limits
    }

    deinit {
        vigie_parser_free(parser)
    }

    /// Decodes one message.
    /// - Parameters:
    ///   - bytes: the message's value; nil or empty is rejected.
    ///   - now: the processor's time, for event times in the future.
    /// - Returns: the reading, whose texts are valid until the next call.
    /// - Throws: why the message is rejected.
    public func decode(_ bytes: UnsafeRawBufferPointer?, now: Timestamp) throws(Rejection) -> DecodedReading {
        guard let bytes, let base = bytes.baseAddress, bytes.count > 0 else {
            throw Rejection(.empty, detail: "the message has no value")
        }
        guard bytes.count <= Reading.maximumEncodedSize else {
            throw Rejection(
                .tooLarge, detail: "\(bytes.count) bytes, at most \(Reading.maximumEncodedSize) are allowed")
        }
        let outcome = vigie_parse(parser, base, bytes.count, &message)
        guard outcome == VIGIE_PARSED else { throw parserRejection(outcome) }
        return try validate(now: now)
    }

    private func parserRejection(_ outcome: vigie_outcome) -> Rejection {
        let field = message.field < 0 ? nil : String(cString: vigie_field_name(message.field))
        return switch outcome {
        case VIGIE_NOT_UTF8: Rejection(.notUTF8, detail: "the message is not UTF-8")
        case VIGIE_NOT_AN_OBJECT: Rejection(.notAnObject, detail: "the message is not a JSON object")
        case VIGIE_WRONG_TYPE: Rejection(.wrongType, field: field, detail: "the value is of another type")
        case VIGIE_DUPLICATE_FIELD: Rejection(.duplicateField, field: field, detail: "the field stands twice")
        case VIGIE_TOO_MANY_FAULTS:
            Rejection(.outOfRange, field: field, detail: "more than \(VIGIE_MAXIMUM_FAULTS) faults")
        case VIGIE_NO_MEMORY: Rejection(.tooLarge, detail: "no memory to parse the message")
        default: Rejection(.notJSON, detail: "the message is not JSON")
        }
    }

    private static let required: UInt32 =
        [
            VIGIE_SCHEMA, VIGIE_GATEWAY_ID, VIGIE_SENSOR_ID, VIGIE_STREAM_ID, VIGIE_SEQ, VIGIE_EVENT_TIME,
            VIGIE_TIME_QUALITY, VIGIE_INTERVAL_MS,
        ].reduce(0) { $0 | 1 << UInt32($1) }

    private func validate(now: Timestamp) throws(Rejection) -> DecodedReading {
        let missing = ReadingDecoder.required & ~message.present
        guard missing == 0 else {
            let name = String(cString: vigie_field_name(Int32(missing.trailingZeroBitCount)))
            throw Rejection(.missingField, field: name, detail: "the field is missing")
        }
        guard message.schema == Int64(Reading.schema) else {
            throw Rejection(
                .unsupportedSchema, field: "schema", detail: "found \(message.schema), known is \(Reading.schema)")
        }
        guard let streamID = StreamID(hexadecimal: message.stream_id.buffer) else {
            throw Rejection(.invalidText, field: "stream_id", detail: "expected 16 hexadecimal digits")
        }
        guard let eventTime = Timestamp(rfc3339: message.event_time.buffer) else {
            throw Rejection(.invalidText, field: "event_time", detail: "expected an RFC 3339 date-time")
        }
        guard eventTime.milliseconds >= limits.earliestEventTime else {
            throw Rejection(.outOfRange, field: "event_time", detail: "\(eventTime) is before any sensor of Vigie")
        }
        guard eventTime.milliseconds <= now.milliseconds + limits.futureTolerance else {
            throw Rejection(.future, field: "event_time", detail: "\(eventTime) is in the future of \(now)")
        }
        // 2^53 - 1: the largest integer that every JSON reader takes exactly (RFC 8259 section 6).
        try check(message.seq, in: 1...9_007_199_254_740_991, "seq")
        try check(message.interval_ms, in: 1...Int64(Int32.max), "interval_ms")
        try check(message.gateway_id, "gateway_id")
        try check(message.sensor_id, "sensor_id")
        return DecodedReading(
            gatewayID: message.gateway_id.buffer,
            sensorID: message.sensor_id.buffer,
            streamID: streamID,
            sequence: message.seq,
            eventTime: eventTime,
            timeQuality: try timeQuality(),
            intervalMilliseconds: message.interval_ms,
            temperature: try number(VIGIE_TEMPERATURE, message.temperature, in: limits.temperature),
            humidity: try number(VIGIE_HUMIDITY, message.humidity, in: limits.humidity),
            co2: try number(VIGIE_CO2, message.co2, in: limits.co2),
            pressure: try number(VIGIE_PRESSURE, message.pressure, in: limits.pressure),
            batteryLevel: try number(VIGIE_BATTERY_LEVEL, message.battery_level, in: limits.batteryLevel),
            batteryVoltage: try number(VIGIE_BATTERY_VOLTAGE, message.battery_voltage, in: limits.batteryVoltage),
            latitude: try number(VIGIE_LATITUDE, message.latitude, in: -90...90),
            longitude: try number(VIGIE_LONGITUDE, message.longitude, in: -180...180),
            isSimulated: message.simulated,
            faults: try faults())
    }

    private func check(_ value: Int64, in range: ClosedRange<Int64>, _ field: String) throws(Rejection) {
        guard range.contains(value) else {
            throw Rejection(
                .outOfRange, field: field,
                detail: "found \(value), allowed is \(range.lowerBound) to \(range.upperBound)")
        }
    }

    private func check(_ text: vigie_text, _ field: String) throws(Rejection) {
        guard Identifier.isValid(text.buffer) else {
            throw Rejection(.invalidText, field: field, detail: "expected 1 to 64 of A-Z a-z 0-9 . _ -")
        }
    }

    private func timeQuality() throws(Rejection) -> TimeQuality {
        let text = message.time_quality.buffer
        if TimeQuality.syncedText.matches(text) { return .synced }
        if TimeQuality.estimatedText.matches(text) { return .estimated }
        throw Rejection(.invalidText, field: "time_quality", detail: "expected synced or estimated")
    }

    private func number(
        _ field: Int, _ value: Double, in range: ClosedRange<Double>
    ) throws(Rejection) -> Double? {
        guard message.present & (1 << UInt32(field)) != 0 else { return nil }
        guard range.contains(value) else {
            throw Rejection(
                .outOfRange, field: String(cString: vigie_field_name(Int32(field))),
                detail: "found \(value), allowed is \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    private func faults() throws(Rejection) -> UnsafeBufferPointer<vigie_text> {
        let count = Int(message.fault_count)
        guard count > 0 else { return UnsafeBufferPointer(start: nil, count: 0) }
        let faults = withUnsafePointer(to: &message.faults) { pointer in
            // The message lives as long as the decoder, a class, so that its storage does not move.
            UnsafeRawPointer(pointer).assumingMemoryBound(to: vigie_text.self)
        }
        let buffer = UnsafeBufferPointer(start: faults, count: count)
        for fault in buffer where !Fault.isValid(fault.buffer) {
            throw Rejection(.invalidText, field: "faults", detail: "expected chip:what")
        }
        return buffer
    }
}

extension vigie_text {
    /// The bytes, valid until the parser's next call.
    @inline(__always)
    var buffer: UnsafeBufferPointer<UInt8> { UnsafeBufferPointer(start: bytes, count: count) }
}

extension StaticString {
    fileprivate func matches(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
        withUTF8Buffer { $0.elementsEqual(text) }
    }
}

extension TimeQuality {
    fileprivate static let syncedText: StaticString = "synced"
    fileprivate static let estimatedText: StaticString = "estimated"
}

extension Fault {
    fileprivate static func isValid(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
        guard let colon = text.firstIndex(of: UInt8(ascii: ":")) else { return false }
        return Identifier.isValid(UnsafeBufferPointer(rebasing: text[..<colon]))
            && Identifier.isValid(UnsafeBufferPointer(rebasing: text[(colon + 1)...]))
    }
}

extension Identifier {
    fileprivate static func isValid(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
        guard (1...64).contains(text.count) else { return false }
        for byte in text where !isAllowed(byte) { return false }
        return true
    }
}
