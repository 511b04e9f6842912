extension Reading {
    /// The schema number that `encode` writes.
    public static let schema = 1

    /// The largest message of the contract, in bytes.
    public static let maximumEncodedSize = 64 * 1024

    /// Appends the reading as one JSON object (RFC 8259), fields in the contract's order, absent ones left out.
    ///
    /// Values that are not finite have no form in JSON and are left out too; drivers report them as faults.
    public func encode(to bytes: inout [UInt8]) {
        withUnsafeTemporaryAllocation(byteCount: largestEncoding, alignment: 1) { space in
            bytes.append(contentsOf: encode(into: space))
        }
    }

    /// The reading as one JSON object.
    public func encoded() -> [UInt8] {
        let largest = largestEncoding
        return withUnsafeTemporaryAllocation(byteCount: largest, alignment: 1) { Array(encode(into: $0)) }
    }

    /// No encoding of this reading is longer: every field at its longest, with its name, comes to less than 1100 bytes
    /// (three names of 64 bytes, a few numbers of at most 24, the field names and the rest) and 64 for each quantity, and a
    /// fault to 132.
    private var largestEncoding: Int { 1100 + Quantity.all.count * 64 + faults.count * 132 }

    private func encode(into space: UnsafeMutableRawBufferPointer) -> UnsafeMutableRawBufferPointer.SubSequence {
        var writer = JSONObjectWriter(space)
        writer.field("{\"schema\":", integer: Int64(Reading.schema))
        writer.field(",\"gateway_id\":", plain: gatewayID.description)
        writer.field(",\"sensor_id\":", plain: sensorID.description)
        writer.field(",\"stream_id\":", stream: streamID)
        writer.field(",\"seq\":", integer: sequence)
        if let streamFirst { writer.field(",\"stream_first\":", integer: streamFirst) }
        writer.field(",\"event_time\":", time: eventTime)
        writer.field(",\"time_quality\":", plain: timeQuality.rawValue)
        writer.field(",\"interval_ms\":", integer: intervalMilliseconds)
        for quantity in Quantity.all {
            if let value = values[quantity] { writer.field(quantity: quantity.name, number: value) }
        }
        if !faults.isEmpty { writer.field(",\"faults\":", faults: faults) }
        writer.field(",\"latitude\":", number: place?.latitude)
        writer.field(",\"longitude\":", number: place?.longitude)
        if isSimulated { writer.literal(",\"simulated\":true") }
        writer.literal("}")
        return space[..<writer.count]
    }
}

/// Writes one flat JSON object into memory that is large enough for it. None of the contract's strings holds a
/// character that JSON escapes.
private struct JSONObjectWriter {
    private let space: UnsafeMutableRawBufferPointer
    private(set) var count = 0

    init(_ space: UnsafeMutableRawBufferPointer) {
        self.space = space
    }

    @inline(__always)
    private mutating func append(_ byte: UInt8) {
        space[count] = byte
        count += 1
    }

    @inline(__always)
    private mutating func append(_ bytes: UnsafeBufferPointer<UInt8>) {
        precondition(bytes.count <= space.count - count)
        UnsafeMutableRawBufferPointer(rebasing: space[count...]).copyMemory(from: UnsafeRawBufferPointer(bytes))
        count += bytes.count
    }

    private mutating func append(_ text: String) {
        var text = text
        text.withUTF8 { append($0) }
    }

    /// Appends JSON text as it stands.
    @inline(__always)
    mutating func literal(_ text: StaticString) {
        append(UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    private mutating func quoted(_ text: String) {
        append(UInt8(ascii: "\""))
        append(text)
        append(UInt8(ascii: "\""))
    }

    mutating func field(_ name: StaticString, plain text: String) {
        literal(name)
        quoted(text)
    }

    mutating func field(_ name: StaticString, stream: StreamID) {
        literal(name)
        append(UInt8(ascii: "\""))
        for shift in stride(from: 60, through: 0, by: -4) {
            let digit = UInt8(truncatingIfNeeded: stream.bits >> UInt64(shift)) & 15
            append(digit < 10 ? 48 + digit : 87 + digit)
        }
        append(UInt8(ascii: "\""))
    }

    mutating func field(_ name: StaticString, integer: Int64) {
        literal(name)
        if integer < 0 { append(UInt8(ascii: "-")) }
        appendDigits(integer.magnitude)
    }

    mutating func field(quantity name: String, number: Double) {
        guard number.isFinite else { return }
        literal(",\"")
        append(name)
        literal("\":")
        append(number)
    }

    mutating func field(_ name: StaticString, number: Double?) {
        guard let number, number.isFinite else { return }
        literal(name)
        append(number)
    }

    private mutating func append(_ number: Double) {
        // What sensors measure has few decimals. If the number is the double nearest to some millionths, as the
        // correctly rounded division (IEEE 754) tells, then those decimals read back as exactly this number.
        let millionths = (number * 1e6).rounded()
        if abs(millionths) < 9e15, millionths / 1e6 == number, number != 0 || number.sign == .plus {
            let magnitude = UInt64(abs(millionths))
            if millionths < 0 { append(UInt8(ascii: "-")) }
            let (whole, fraction) = magnitude.quotientAndRemainder(dividingBy: 1_000_000)
            appendDigits(whole)
            append(UInt8(ascii: "."))
            appendFraction(millionths: fraction)
        } else {
            // The shortest text that reads back as the same number; always valid JSON for a finite one.
            append(number.description)
        }
    }

    mutating func field(_ name: StaticString, time: Timestamp) {
        literal(name)
        append(UInt8(ascii: "\""))
        count += time.writeRFC3339(to: UnsafeMutableRawBufferPointer(rebasing: space[count...]))
        append(UInt8(ascii: "\""))
    }

    mutating func field(_ name: StaticString, faults: [Fault]) {
        literal(name)
        var separator = UInt8(ascii: "[")
        for fault in faults {
            append(separator)
            append(UInt8(ascii: "\""))
            append(fault.chip.description)
            append(UInt8(ascii: ":"))
            append(fault.kind.description)
            append(UInt8(ascii: "\""))
            separator = UInt8(ascii: ",")
        }
        append(UInt8(ascii: "]"))
    }

    private mutating func appendDigits(_ value: UInt64) {
        var width = 1
        var bound: UInt64 = 10
        // 10^19 is the largest power of ten that UInt64 holds.
        while width < 20, value >= bound {
            width += 1
            if width < 20 { bound *= 10 }
        }
        var rest = value
        var position = count + width
        count = position
        repeat {
            position -= 1
            space[position] = UInt8(48 + rest % 10)
            rest /= 10
        } while rest > 0
    }

    /// Appends the decimals without the zeros at their end, but one digit at least.
    private mutating func appendFraction(millionths: UInt64) {
        var rest = millionths
        var divisor: UInt64 = 100_000
        repeat {
            append(UInt8(48 + rest / divisor))
            rest %= divisor
            divisor /= 10
        } while rest > 0
    }
}
