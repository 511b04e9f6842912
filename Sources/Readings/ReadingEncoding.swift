extension Reading {
    /// The schema number that `encode` writes.
    public static let schema = 1

    /// The largest message of the contract, in bytes.
    public static let maximumEncodedSize = 64 * 1024

    /// Appends the reading as one JSON object (RFC 8259), fields in the contract's order, absent ones left out.
    ///
    /// Values that are not finite have no form in JSON and are left out too; drivers report them as faults.
    public func encode(to bytes: inout [UInt8]) {
        var writer = JSONObjectWriter(bytes)
        bytes = []  // So that the writer's array is not shared, and is not copied.
        writer.field("schema", integer: Int64(Reading.schema))
        writer.field("gateway_id", plain: gatewayID.description)
        writer.field("sensor_id", plain: sensorID.description)
        writer.field("stream_id", plain: streamID.description)
        writer.field("seq", integer: sequence)
        writer.field("event_time", time: eventTime)
        writer.field("time_quality", plain: timeQuality.rawValue)
        writer.field("interval_ms", integer: intervalMilliseconds)
        writer.field("temperature", number: values.temperature)
        writer.field("humidity", number: values.humidity)
        writer.field("co2", number: values.co2)
        writer.field("pressure", number: values.pressure)
        writer.field("battery_level", number: values.batteryLevel)
        writer.field("battery_voltage", number: values.batteryVoltage)
        if !faults.isEmpty { writer.field("faults", faults: faults) }
        writer.field("latitude", number: place?.latitude)
        writer.field("longitude", number: place?.longitude)
        if isSimulated { writer.field("simulated", flag: true) }
        bytes = writer.finish()
    }

    /// The reading as one JSON object.
    public func encoded() -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(400)
        encode(to: &bytes)
        return bytes
    }
}

/// Writes one flat JSON object. None of the contract's strings holds a character that JSON escapes.
private struct JSONObjectWriter {
    private var bytes: [UInt8]
    private var isEmpty = true

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
        self.bytes.append(UInt8(ascii: "{"))
    }

    consuming func finish() -> [UInt8] {
        bytes.append(UInt8(ascii: "}"))
        return bytes
    }

    private mutating func name(_ name: StaticString) {
        if !isEmpty { bytes.append(UInt8(ascii: ",")) }
        isEmpty = false
        bytes.append(UInt8(ascii: "\""))
        name.withUTF8Buffer { bytes.append(contentsOf: $0) }
        bytes.append(UInt8(ascii: "\""))
        bytes.append(UInt8(ascii: ":"))
    }

    private mutating func quoted(_ text: String) {
        bytes.append(UInt8(ascii: "\""))
        bytes.append(contentsOf: text.utf8)
        bytes.append(UInt8(ascii: "\""))
    }

    mutating func field(_ name: StaticString, plain text: String) {
        self.name(name)
        quoted(text)
    }

    mutating func field(_ name: StaticString, integer: Int64) {
        self.name(name)
        bytes.append(contentsOf: String(integer).utf8)
    }

    mutating func field(_ name: StaticString, number: Double?) {
        guard let number, number.isFinite else { return }
        self.name(name)
        // Swift's description is the shortest text that reads back as the same number, and valid JSON.
        bytes.append(contentsOf: number.description.utf8)
    }

    mutating func field(_ name: StaticString, flag: Bool) {
        self.name(name)
        bytes.append(contentsOf: (flag ? "true" : "false").utf8)
    }

    mutating func field(_ name: StaticString, time: Timestamp) {
        self.name(name)
        bytes.append(UInt8(ascii: "\""))
        time.appendRFC3339(to: &bytes)
        bytes.append(UInt8(ascii: "\""))
    }

    mutating func field(_ name: StaticString, faults: [Fault]) {
        self.name(name)
        bytes.append(UInt8(ascii: "["))
        for (index, fault) in faults.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            quoted(fault.description)
        }
        bytes.append(UInt8(ascii: "]"))
    }
}
