import Platform

/// How a setting's text becomes a value: what to write, and the conversion.
public struct Setting<Value> {
    /// What is expected, for the message, such as `a duration such as 10s`.
    let expected: String
    /// Takes the place of a value that could not be read, so that the rest of the file is still checked. It never
    /// leaves the module: a document with a problem yields no settings.
    let standIn: Value
    /// Converts the text; nil if it is not what is expected.
    public let convert: (String) -> Value?

    /// Makes a kind of setting.
    /// - Parameters:
    ///   - expected: completes the sentence "expected ...".
    ///   - standIn: any value of the type; it is used only to go on after a problem.
    ///   - convert: gives nil if the text is not what is expected.
    public init(expected: String, standIn: Value, convert: @escaping (String) -> Value?) {
        self.expected = expected
        self.standIn = standIn
        self.convert = convert
    }
}

/// A range with at least one end, as `1...`, `...9` and `1...9` are.
public protocol SettingRange<Bound>: RangeExpression {
    /// The smallest value; nil if there is none.
    var least: Bound? { get }
    /// The largest value; nil if there is none.
    var most: Bound? { get }
}

extension ClosedRange: SettingRange {
    /// The lower bound.
    public var least: Bound? { lowerBound }
    /// The upper bound.
    public var most: Bound? { upperBound }
}

extension PartialRangeFrom: SettingRange {
    /// The lower bound.
    public var least: Bound? { lowerBound }
    /// None.
    public var most: Bound? { nil }
}

extension PartialRangeThrough: SettingRange {
    /// None.
    public var least: Bound? { nil }
    /// The upper bound.
    public var most: Bound? { upperBound }
}

extension SettingRange {
    /// ` of at least a`, ` of at most b`, ` between a and b`.
    func phrase(_ write: (Bound) -> String) -> String {
        switch (least, most) {
        case (let least?, let most?): " between \(write(least)) and \(write(most))"
        case (let least?, nil): " of at least \(write(least))"
        case (nil, let most?): " of at most \(write(most))"
        case (nil, nil): ""
        }
    }
}

extension Setting where Value == String {
    /// A text that is not empty.
    public static var text: Setting {
        // A zero byte ends a text in C, so a file of another name would be opened.
        Setting(expected: "a text", standIn: "") { $0.isEmpty || $0.utf8.contains(0) ? nil : $0 }
    }
}

extension Setting where Value == Bool {
    /// `true` or `false`.
    public static var boolean: Setting {
        Setting(expected: "true or false", standIn: false) { text in
            switch text {
            case "true", "yes", "on": true
            case "false", "no", "off": false
            default: nil
            }
        }
    }
}

extension Setting where Value: FixedWidthInteger {
    /// A whole number, in decimal or as 0x hexadecimal.
    public static func integer(_ range: some SettingRange<Value>) -> Setting {
        let expected = "a whole number" + range.phrase { "\($0)" }
        return Setting(expected: expected, standIn: range.least ?? range.most ?? 0) { text in
            let value = text.hasPrefix("0x") ? Value(text.dropFirst(2), radix: 16) : Value(text)
            guard let value, range.contains(value) else { return nil }
            return value
        }
    }
}

extension Setting where Value == Double {
    /// A finite number.
    public static func number(
        _ range: some SettingRange<Double> = -Double.greatestFiniteMagnitude...Double.greatestFiniteMagnitude
    ) -> Setting {
        let isWhole = range.most == Double.greatestFiniteMagnitude
        let expected = "a number" + (isWhole ? "" : range.phrase { "\($0)" })
        return Setting(expected: expected, standIn: range.least ?? range.most ?? 0) { text in
            guard let value = Double(text), value.isFinite, range.contains(value) else { return nil }
            return value
        }
    }
}

extension Setting where Value == Duration {
    /// A duration such as `500ms`, `10s`, `15m`, `2h` or `1d`.
    public static func duration(_ range: some SettingRange<Duration> = Duration.zero...) -> Setting {
        let isWhole = range.least == .zero && range.most == nil
        let expected = "a duration such as 10s" + (isWhole ? "" : range.phrase(\.notation))
        return Setting(expected: expected, standIn: range.least ?? .zero) { text in
            guard let value = Duration(notation: text), range.contains(value) else { return nil }
            return value
        }
    }
}

extension Setting where Value == ByteCount {
    /// A size such as `512KiB` or `64MiB`.
    public static func size(_ range: some SettingRange<ByteCount> = ByteCount(bytes: 0)...) -> Setting {
        let isWhole = range.least?.bytes == 0 && range.most == nil
        let expected = "a size such as 64MiB" + (isWhole ? "" : range.phrase(\.description))
        return Setting(expected: expected, standIn: range.least ?? ByteCount(bytes: 0)) { text in
            guard let value = ByteCount(notation: text), range.contains(value) else { return nil }
            return value
        }
    }
}

extension Setting where Value: RawRepresentable & CaseIterable, Value.RawValue == String {
    /// One of an enumeration's raw values.
    /// - Parameter standIn: any of the cases.
    public static func choice(_ standIn: Value) -> Setting {
        let names = Value.allCases.map { $0.rawValue }
        let expected = names.count == 1 ? names[0] : "one of " + names.joined(separator: ", ")
        return Setting(expected: expected, standIn: standIn) { Value(rawValue: $0) }
    }
}

/// A host and a port, as `127.0.0.1:9090` or `[::1]:9090`.
public struct Endpoint: Sendable, Hashable, CustomStringConvertible {
    /// A name or an address, without brackets.
    public var host: String
    /// The port; 0 lets the kernel choose.
    public var port: UInt16

    /// Makes an endpoint.
    public init(host: String, port: UInt16) {
        self.host = host
        self.port = port
    }

    /// `host:port`, with brackets around an IPv6 address.
    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    /// Reads `host:port`.
    /// - Returns: nil if it is anything else.
    public init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
            return nil
        }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            return nil
        }
        guard !host.isEmpty else { return nil }
        self.init(host: String(host), port: port)
    }
}

extension Setting where Value == Endpoint {
    /// A host and a port.
    public static var endpoint: Setting {
        Setting(expected: "a host and a port such as 127.0.0.1:9090", standIn: Endpoint(host: "", port: 0)) {
            Endpoint($0)
        }
    }
}
