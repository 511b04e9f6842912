import Foundation

/// The contract of the wire, said once more for the tests alone.
struct Contract {
    /// What must become of a message.
    enum Verdict: Equatable {
        /// It is this reading.
        case reading(Identity)
        /// It is none.
        case rejected
        /// JSON leaves it to the parser; if it is taken, it is this reading.
        case either(Identity)
    }

    /// What makes a reading the same as another.
    struct Identity: Hashable {
        var gateway: String
        var stream: String
        var sequence: Int64
    }

    /// No time of the test's readings may be later than this, milliseconds since 1970; a little later is a matter of
    /// when the processor looks.
    var latest: Int64

    /// Judges a message.
    func verdict(_ message: [UInt8]?) -> Verdict {
        guard var bytes = message, !bytes.isEmpty, bytes.count <= 65_536,
            String(validating: bytes, as: UTF8.self) != nil
        else { return .rejected }
        var isOdd = false
        if bytes.starts(with: [0xef, 0xbb, 0xbf]) {
            // RFC 8259 section 8.1: a parser may ignore a byte order mark.
            bytes.removeFirst(3)
            isOdd = true
        }
        let (value, oddities) = StrictJSON.parse(bytes)
        guard case .object(let members)? = value, !oddities.hasEnormousNumber, oddities.depth <= 1100 else {
            return .rejected
        }
        if oddities.depth > 1000 || oddities.hasLoneSurrogate { isOdd = true }
        var fields: [String: StrictJSON.Value] = [:]
        for (name, value) in members {
            let name = String(decoding: name, as: UTF8.self)
            guard Contract.fields.contains(name) else { continue }
            if fields.updateValue(value, forKey: name) != nil { return .rejected }
        }
        guard let (identity, time) = identity(fields), isValid(fields) else { return .rejected }
        if time > latest + 600_000 { return .rejected }
        return isOdd || time > latest ? .either(identity) : .reading(identity)
    }

    private static let numbers: [String: ClosedRange<Double>] = [
        "temperature": -100...200, "humidity": 0...100, "co2": 0...1_000_000, "pressure": 1...2000,
        "battery_level": 0...100, "battery_voltage": 0...1000, "voc_index": 1...500,
        "pm2_5": 0...1000, "latitude": -90...90, "longitude": -180...180,
    ]
    private static let fields = Set(numbers.keys).union([
        "schema", "gateway_id", "sensor_id", "stream_id", "seq", "stream_first", "event_time", "time_quality",
        "interval_ms",
        "faults", "simulated",
    ])

    private func text(_ value: StrictJSON.Value?) -> String? {
        guard case .text(let bytes)? = value else { return nil }
        return String(validating: bytes, as: UTF8.self)
    }

    private func integer(_ value: StrictJSON.Value?) -> Int64? {
        guard case .number(let bytes)? = value else { return nil }
        return Int64(String(decoding: bytes, as: UTF8.self))
    }

    private func matches(_ text: String, _ pattern: String) -> Bool {
        text.range(of: "\\A(?:\(pattern))\\z", options: .regularExpression) != nil
    }

    private func isName(_ text: Substring) -> Bool {
        (1...64).contains(text.utf8.count) && text.utf8.allSatisfy { Contract.nameBytes.contains($0) }
    }

    private func isFault(_ text: String) -> Bool {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        return parts.count == 2 && parts.allSatisfy(isName)
    }

    private static let nameBytes = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-".utf8)
    private static let hexadecimalBytes = Set("0123456789abcdefABCDEF".utf8)

    private func identity(_ fields: [String: StrictJSON.Value]) -> (Identity, time: Int64)? {
        guard let gateway = text(fields["gateway_id"]), isName(gateway[...]),
            let stream = text(fields["stream_id"]), stream.utf8.count == 16,
            stream.utf8.allSatisfy({ Contract.hexadecimalBytes.contains($0) }),
            let sequence = integer(fields["seq"]), (1...9_007_199_254_740_991).contains(sequence),
            let time = text(fields["event_time"]).flatMap(milliseconds), time >= 946_684_800_000
        else { return nil }
        return (Identity(gateway: gateway, stream: stream.lowercased(), sequence: sequence), time)
    }

    private func isValid(_ fields: [String: StrictJSON.Value]) -> Bool {
        guard integer(fields["schema"]) == 1, let sensor = text(fields["sensor_id"]), isName(sensor[...]),
            let quality = text(fields["time_quality"]), ["synced", "estimated"].contains(quality),
            let interval = integer(fields["interval_ms"]), (1...604_800_000).contains(interval)
        else { return false }
        if let first = fields["stream_first"] {
            guard let first = integer(first), let sequence = integer(fields["seq"]),
                (1...max(1, sequence)).contains(first)
            else { return false }
        }
        for (field, range) in Contract.numbers {
            guard let value = fields[field] else { continue }
            guard case .number(let bytes) = value, let number = Double(String(decoding: bytes, as: UTF8.self)),
                range.contains(number)
            else { return false }
        }
        if let simulated = fields["simulated"] {
            guard case .bool = simulated else { return false }
        }
        if let faults = fields["faults"] {
            guard case .array(let items) = faults, items.count <= 64 else { return false }
            for item in items {
                guard let fault = text(item), isFault(fault) else { return false }
            }
        }
        return true
    }

    /// RFC 3339 section 5.6, by the C library's calendar.
    private func milliseconds(_ text: String) -> Int64? {
        let pattern = "[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
        guard matches(text, pattern) else { return nil }
        let bytes = Array(text.utf8)
        func number(_ range: Range<Int>) -> Int { Int(String(decoding: bytes[range], as: UTF8.self)) ?? -1 }
        var parts = tm()
        parts.tm_year = Int32(number(0..<4) - 1900)
        parts.tm_mon = Int32(number(5..<7) - 1)
        parts.tm_mday = Int32(number(8..<10))
        let (hour, minute, second) = (number(11..<13), number(14..<16), number(17..<19))
        guard (0...11).contains(parts.tm_mon), hour <= 23, minute <= 59, second <= 60 else { return nil }
        let (month, day) = (parts.tm_mon, parts.tm_mday)
        var result = Int64(timegm(&parts))
        // timegm() takes the 30th of February for a day of March.
        guard parts.tm_mon == month, parts.tm_mday == day else { return nil }
        result += Int64(hour * 3600 + minute * 60 + second)
        var zone = 19
        var fraction: Int64 = 0
        if bytes[19] == UInt8(ascii: ".") {
            zone = bytes[20...].firstIndex { !(0x30...0x39).contains($0) } ?? bytes.count
            fraction = Int64(String(decoding: (bytes[20..<zone] + [0x30, 0x30])[..<23], as: UTF8.self)) ?? -1
        }
        if bytes[zone] | 0x20 != UInt8(ascii: "z") {
            let (hours, minutes) = (number(zone + 1..<zone + 3), number(zone + 4..<zone + 6))
            guard hours <= 23, minutes <= 59 else { return nil }
            result -= Int64(hours * 3600 + minutes * 60) * (bytes[zone] == UInt8(ascii: "-") ? -1 : 1)
        }
        return result * 1000 + fraction
    }
}
