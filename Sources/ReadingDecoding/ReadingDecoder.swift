import CReadingParser
import Readings

/// Decodes messages strictly: what comes out satisfies the whole contract.
///
/// One decoder serves one thread. It allocates nothing for a valid reading.
public final class ReadingDecoder {
    private let parser: OpaquePointer
    private var message = vigie_message()
    private let limits: PhysicalLimits
    /// Whether `message` is one that was parsed.
    private var isParsed = false

    /// Makes a decoder.
    /// - Parameter limits: what numbers may be.
    public init(limits: PhysicalLimits = PhysicalLimits()) {
        let names = Quantity.all.map(\.name).joined(separator: ",")
        guard let parser = vigie_parser_new(Reading.maximumEncodedSize, names) else {
            preconditionFailure("no memory for a parser of \(Reading.maximumEncodedSize) bytes")
        }
        self.parser = parser
        self.limits = limits
    }

    deinit {
        vigie_parser_free(parser)
    }

    /// Decodes one message that is to be a reading; a report is rejected, as it has no `sensor_id`.
    /// - Parameters:
    ///   - bytes: the message's value; nil or empty is rejected.
    ///   - now: the processor's time, for event times in the future.
    /// - Returns: the reading, whose texts are valid until the next call.
    /// - Throws: why the message is rejected.
    public func decode(_ bytes: UnsafeRawBufferPointer?, now: Timestamp) throws(Rejection) -> DecodedReading {
        try parse(bytes)
        return try validate(now: now)
    }

    /// Decodes one message: a reading, or a report if it has a `report` and no `sensor_id`.
    /// - Parameters:
    ///   - bytes: the message's value; nil or empty is rejected.
    ///   - now: the processor's time, for event times in the future.
    /// - Returns: what it is. The texts of a reading are valid until the next call.
    /// - Throws: why the message is rejected.
    public func decodeMessage(_ bytes: UnsafeRawBufferPointer?, now: Timestamp) throws(Rejection) -> DecodedMessage {
        try parse(bytes)
        return message.is_report ? .report(try validateReport()) : .reading(try validate(now: now))
    }

    private func parse(_ bytes: UnsafeRawBufferPointer?) throws(Rejection) {
        isParsed = false
        guard let bytes, let base = bytes.baseAddress, bytes.count > 0 else {
            throw Rejection(.empty, detail: "the message has no value")
        }
        guard bytes.count <= Reading.maximumEncodedSize else {
            throw Rejection(
                .tooLarge, detail: "\(bytes.count) bytes, at most \(Reading.maximumEncodedSize) are allowed")
        }
        let outcome = vigie_parse(parser, base, bytes.count, &message)
        guard outcome == VIGIE_PARSED else { throw parserRejection(outcome) }
        isParsed = true
    }

    private func parserRejection(_ outcome: vigie_outcome) -> Rejection {
        var field = message.field < 0 ? nil : name(of: message.field)
        if let name = field, let part = message.part { field = "\(name).\(String(cString: part))" }
        return switch outcome {
        case VIGIE_NOT_UTF8: Rejection(.notUTF8, detail: "the message is not UTF-8")
        case VIGIE_NOT_AN_OBJECT: Rejection(.notAnObject, detail: "the message is not a JSON object")
        case VIGIE_WRONG_TYPE: Rejection(.wrongType, field: field, detail: "the value is of another type")
        case VIGIE_DUPLICATE_FIELD: Rejection(.duplicateField, field: field, detail: "the field stands twice")
        case VIGIE_TOO_MANY_FAULTS:
            Rejection(.outOfRange, field: field, detail: "more than \(VIGIE_MAXIMUM_FAULTS) faults")
        case VIGIE_MISSING_PART: Rejection(.missingField, field: field, detail: "the field is missing")
        case VIGIE_TOO_MANY_PARTS: Rejection(.outOfRange, field: field, detail: "too many of them")
        case VIGIE_NO_MEMORY: Rejection(.tooLarge, detail: "no memory to parse the message")
        default: Rejection(.notJSON, detail: "the message is not JSON")
        }
    }

    private static let required: UInt32 =
        [
            VIGIE_SCHEMA, VIGIE_GATEWAY_ID, VIGIE_SENSOR_ID, VIGIE_STREAM_ID, VIGIE_SEQ, VIGIE_EVENT_TIME,
            VIGIE_TIME_QUALITY, VIGIE_INTERVAL_MS,
        ].reduce(0) { $0 | 1 << UInt32($1) }

    private func require(_ fields: UInt32) throws(Rejection) {
        let missing = fields & ~message.present
        guard missing == 0 else {
            let name = name(of: Int32(missing.trailingZeroBitCount))
            throw Rejection(.missingField, field: name, detail: "the field is missing")
        }
        guard message.schema == Int64(Reading.schema) else {
            throw Rejection(
                .unsupportedSchema, field: "schema", detail: "found \(message.schema), known is \(Reading.schema)")
        }
    }

    private func validate(now: Timestamp) throws(Rejection) -> DecodedReading {
        try require(ReadingDecoder.required)
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
        try check(message.seq, in: Reading.numbers, "seq")
        var streamFirst: Int64 = 1
        if message.present & (1 << UInt32(VIGIE_STREAM_FIRST)) != 0 {
            streamFirst = message.stream_first
            try check(streamFirst, in: 1...message.seq, "stream_first")
        }
        try check(message.interval_ms, in: Reading.intervals, "interval_ms")
        try check(message.gateway_id, "gateway_id")
        try check(message.sensor_id, "sensor_id")
        return DecodedReading(
            gatewayID: message.gateway_id.buffer,
            sensorID: message.sensor_id.buffer,
            streamID: streamID,
            sequence: message.seq,
            streamFirst: streamFirst,
            eventTime: eventTime,
            timeQuality: try timeQuality(),
            intervalMilliseconds: message.interval_ms,
            values: try values(),
            latitude: try number(VIGIE_LATITUDE, message.latitude, in: -90...90),
            longitude: try number(VIGIE_LONGITUDE, message.longitude, in: -180...180),
            isSimulated: message.simulated,
            faults: try faults())
    }

    /// The number of the reading that was rejected last; nil if it does not say one as the contract wants.
    public var rejectedNumber: RejectedNumber? {
        let fields = [VIGIE_SCHEMA, VIGIE_GATEWAY_ID, VIGIE_STREAM_ID, VIGIE_SEQ]
        let present = message.present
        guard isParsed, !message.is_report, fields.allSatisfy({ present & (1 << UInt32($0)) != 0 }),
            message.schema == Int64(Reading.schema), Identifier.isValid(message.gateway_id.buffer),
            let streamID = StreamID(hexadecimal: message.stream_id.buffer), Reading.numbers.contains(message.seq)
        else { return nil }
        return RejectedNumber(
            gatewayID: String(decoding: message.gateway_id.buffer, as: UTF8.self), streamID: streamID,
            sequence: message.seq)
    }

    // MARK: Reports

    private func validateReport() throws(Rejection) -> DecodedReport {
        try require(1 << UInt32(VIGIE_SCHEMA) | 1 << UInt32(VIGIE_GATEWAY_ID))
        try check(message.gateway_id, "gateway_id")
        guard let gatewayID = Identifier(message.gateway_id.string) else {
            throw Rejection(.invalidText, field: "gateway_id", detail: "expected 1 to 64 of A-Z a-z 0-9 . _ -")
        }
        let report = message.report
        var decoded = DecodedReport(gatewayID: gatewayID)
        decoded.streams.reserveCapacity(report.stream_count)
        for stream in UnsafeBufferPointer(start: report.streams, count: report.stream_count) {
            decoded.streams.append(try self.stream(stream))
        }
        let ranges = UnsafeBufferPointer(start: report.ranges, count: report.range_count)
        for gap in UnsafeBufferPointer(start: report.gaps, count: report.gap_count) {
            let streamID = try self.streamID(gap.stream_id, "report.gaps.stream_id")
            guard (1...64).contains(gap.reason.count) else {
                throw Rejection(.invalidText, field: "report.gaps.reason", detail: "expected 1 to 64 bytes")
            }
            var checked: [ClosedRange<Int64>] = []
            checked.reserveCapacity(gap.range_count)
            for range in ranges[gap.first_range..<gap.first_range + gap.range_count] {
                try check(range.first, in: Reading.numbers, "report.gaps.ranges")
                try check(range.last, in: range.first...Reading.numbers.upperBound, "report.gaps.ranges")
                checked.append(range.first...range.last)
            }
            decoded.gaps.append(
                DecodedReport.Gap(streamID: streamID, reason: gap.reason.string, ranges: checked))
        }
        return decoded
    }

    private func stream(_ stream: vigie_report_stream) throws(Rejection) -> DecodedReport.Stream {
        let streamID = try self.streamID(stream.stream_id, "report.streams.stream_id")
        try check(stream.first, in: Reading.numbers, "report.streams.first")
        var decoded = DecodedReport.Stream(streamID: streamID, first: stream.first)
        if stream.has_last {
            // One below the first number: the stream ended before it gave a number.
            try check(stream.last, in: stream.first - 1...Reading.numbers.upperBound, "report.streams.last")
            decoded.last = stream.last
        }
        if stream.has_previous {
            decoded.previous = .noStream
            if stream.previous.bytes != nil {
                let previous = try self.streamID(stream.previous, "report.streams.previous")
                guard previous != streamID else {
                    throw Rejection(
                        .invalidText, field: "report.streams.previous", detail: "a stream does not come before itself")
                }
                decoded.previous = .stream(previous)
            }
        }
        return decoded
    }

    private func streamID(_ text: vigie_text, _ field: String) throws(Rejection) -> StreamID {
        guard let streamID = StreamID(hexadecimal: text.buffer) else {
            throw Rejection(.invalidText, field: field, detail: "expected 16 hexadecimal digits")
        }
        return streamID
    }

    // MARK: Fields

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

    private func values() throws(Rejection) -> Values {
        // As in `faults`: the message lives as long as the decoder.
        let numbers = withUnsafePointer(to: &message.quantities) {
            UnsafeRawPointer($0).assumingMemoryBound(to: Double.self)
        }
        var values = Values()
        var rest = (message.present >> UInt32(VIGIE_FIRST_QUANTITY)) & ReadingDecoder.quantityBits
        while rest != 0 {
            let index = rest.trailingZeroBitCount
            rest &= rest - 1
            let quantity = Quantity.all[index]
            let (value, range) = (numbers[index], limits.ranges[index])
            guard range.contains(value) else {
                throw Rejection(
                    .outOfRange, field: quantity.name,
                    detail: "found \(value), allowed is \(range.lowerBound) to \(range.upperBound)")
            }
            values.insert(value, of: quantity)
        }
        return values
    }

    private static let quantityBits: UInt32 = (1 << UInt32(Quantity.all.count)) - 1

    private func name(of field: Int32) -> String { String(cString: vigie_field_name(parser, field)) }

    private func number(
        _ field: Int, _ value: Double, in range: ClosedRange<Double>
    ) throws(Rejection) -> Double? {
        guard message.present & (1 << UInt32(field)) != 0 else { return nil }
        guard range.contains(value) else {
            throw Rejection(
                .outOfRange, field: name(of: Int32(field)),
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

    var string: String { String(decoding: buffer, as: UTF8.self) }
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
