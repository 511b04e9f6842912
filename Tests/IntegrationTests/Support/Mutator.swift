import FleetCore
import Platform
import Readings

/// Spoils valid messages in every way that a broken or hostile sender might, from a seed.
struct Mutator {
    var random: SeededGenerator

    private static let values = [
        "null", "true", "false", "\"\"", "\"12\"", "[]", "{}", "[[[]]]", "-0", "0", "-1", "1", "1.0", "1e0", "1E+2",
        "0.5",
        "-0.0", "1e999", "-1e999", "1e-999", "1e308", "1.7976931348623159e308", "5e-324", "00", "01", "+1", ".5", "1.",
        "1e", "0x10", "NaN", "nan", "Infinity", "-Infinity", "9223372036854775807", "9223372036854775808",
        "18446744073709551615", "18446744073709551616", "-9223372036854775809", "9007199254740991", "9007199254740992",
        "604800000", "604800001", "2147483648", String(repeating: "9", count: 400),
        "-" + String(repeating: "1", count: 400),
        "1." + String(repeating: "3", count: 400), "\"\\u0000\"", "\"\\ud83d\\ude00\"", "\"\\ud800\"", "\"\\udc00\"",
        "\"\\u00zz\"", "\"\\x\"", "\"a\tb\"", "\"gw-1\"", "\"a b\"", "\"é\"", "\"synced\"", "\"estimated\"",
        "\"00000000deadbeef\"", "\"00000000DEADBEEF\"", "\"2026-02-30T00:00:00Z\"", "\"2020-02-29T23:59:60Z\"",
        "\"2021-02-29T00:00:00Z\"", "\"2020-06-01t12:00:00.1234567z\"", "\"2020-06-01T12:00:00+05:30\"",
        "\"2020-06-01T12:00:00.Z\"", "\"2020-06-01 12:00:00Z\"", "\"1999-12-31T23:59:59.999Z\"",
        "\"2000-01-01T00:00:00.000Z\"", "\"9999-12-31T23:59:59Z\"", "[\"scd41:crc\"]", "[\"a:b\",\"c:d\"]", "[\"a\"]",
        "[\"a:b:c\"]", "[1]", "\"\(String(repeating: "x", count: 64))\"", "\"\(String(repeating: "x", count: 65))\"",
        "100", "100.0000000001", "200", "200.1", "-100", "-90", "1000000", "2000", "{\"temperature\":20}",
    ]

    private static let rubbish: [[UInt8]] = [
        [0], [0x1f], [0x7f], [0x80], [0xff], [0xfe, 0xff], [0xc0, 0x80], [0xc0, 0xaf], [0xe0, 0x80, 0xaf],
        [0xed, 0xa0, 0x80], [0xed, 0xbf, 0xbf], [0xf4, 0x90, 0x80, 0x80], [0xf5, 0x80, 0x80, 0x80], [0xe2, 0x82],
        [0xef, 0xbb, 0xbf], [0xc3, 0xa9], [0xf0, 0x9f, 0x98, 0x80], Array("\"".utf8), Array("\\".utf8), Array("{".utf8),
        Array("}".utf8), Array("[".utf8), Array("]".utf8), Array(",".utf8), Array(":".utf8), Array(" \t\r\n".utf8),
        Array("//x\n".utf8), Array("\\u0000".utf8), Array("\\ud800".utf8),
    ]

    private static let whole = [
        "", " ", "\n", "\t \r\n", "null", "true", "1", "-0", "\"x\"", "[]", "{}", "[{}]", "{", "}", "[", "nul",
        "{\"a\"}",
        "{\"a\":1,}", "[1,]", "{\"\":0}", "{'a':1}", "\u{feff}{}", "{}{}", "{}\u{0}", "NaN",
    ]

    private func pick<Element>(_ list: [Element], _ random: inout SeededGenerator) -> Element {
        list[Int.random(in: 0..<list.count, using: &random)]
    }

    /// A mutant of a reading; nil is a null value. Large ones are rare.
    mutating func mutant(of reading: Reading) -> [UInt8]? {
        if Int.random(in: 0..<400, using: &random) == 0 { return Bool.random(using: &random) ? nil : [] }
        if Int.random(in: 0..<100, using: &random) == 0 { return Array(pick(Mutator.whole, &random).utf8) }
        var fields = fields(of: reading)
        let kind = Int.random(in: 0..<100, using: &random)
        if kind < 50 {
            for _ in 0..<Int.random(in: 1...3, using: &random) { spoil(&fields) }
        }
        var bytes = Array(text(fields).utf8)
        if kind >= 40 {
            for _ in 0..<Int.random(in: 1...4, using: &random) { spoil(&bytes) }
        }
        if Int.random(in: 0..<200, using: &random) == 0 { pad(&bytes) }
        return bytes
    }

    private func fields(of reading: Reading) -> [(String, String)] {
        [
            ("schema", "1"), ("gateway_id", "\"\(reading.gatewayID)\""), ("sensor_id", "\"\(reading.sensorID)\""),
            ("stream_id", "\"\(reading.streamID)\""), ("seq", "\(reading.sequence)"),
            ("stream_first", "1"), ("event_time", "\"\(reading.eventTime)\""), ("time_quality", "\"synced\""),
            ("interval_ms", "\(reading.intervalMilliseconds)"), ("temperature", "21.5"), ("humidity", "40"),
            ("co2", "612.25"), ("pressure", "1013.25"), ("battery_level", "80"), ("battery_voltage", "3.9"),
            ("voc_index", "104"), ("pm2_5", "6.2"),
            ("faults", "[\"scd41:crc\"]"), ("latitude", "48.85"), ("longitude", "2.35"), ("simulated", "true"),
        ]
    }

    private mutating func text(_ fields: [(String, String)]) -> String {
        let separator = Int.random(in: 0..<10, using: &random) == 0 ? " ,\n\t" : ","
        return "{" + fields.map { "\"\($0.0)\":\($0.1)" }.joined(separator: separator) + "}"
    }

    private mutating func spoil(_ fields: inout [(String, String)]) {
        if fields.isEmpty { return }
        let index = Int.random(in: 0..<fields.count, using: &random)
        switch Int.random(in: 0..<11, using: &random) {
        case 0: fields.remove(at: index)
        case 1: fields.append(fields[index])
        case 2: fields.append((fields[index].0, pick(Mutator.values, &random)))
        case 3: fields[index].0 = pick(["Seq", "seq ", "", "temperature", "\\u0073eq", "x", "seq\\u0000"], &random)
        case 4: fields.shuffle(using: &random)
        case 5: fields[index].1 = "\"" + fields[index].1.replacingQuotes() + "\""
        case 6:
            let depth = pick([2, 10, 500, 990, 1100, 3000], &random)
            let brackets = Bool.random(using: &random) ? ("[", "]") : ("{\"a\":", "}")
            let value =
                String(repeating: brackets.0, count: depth) + "1" + String(repeating: brackets.1, count: depth)
            fields.insert((pick(["note", "temperature"], &random), value), at: index)
        case 7: fields.insert(("note", pick(Mutator.values, &random)), at: index)
        case 8:
            let count = pick([63, 64, 65, 200], &random)
            fields[index] = ("faults", "[" + Array(repeating: "\"a:b\"", count: count).joined(separator: ",") + "]")
        default: fields[index].1 = pick(Mutator.values, &random)
        }
    }

    private mutating func spoil(_ bytes: inout [UInt8]) {
        if bytes.isEmpty { return }
        let index = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<8, using: &random) {
        case 0: bytes[index] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 1: bytes[index] = UInt8.random(in: 0...255, using: &random)
        case 2: bytes.removeSubrange(index...)
        case 3: bytes.removeSubrange(index..<min(bytes.count, index + Int.random(in: 1...20, using: &random)))
        case 4: bytes.insert(contentsOf: pick(Mutator.rubbish, &random), at: index)
        case 5:
            let end = min(bytes.count, index + Int.random(in: 1...40, using: &random))
            bytes.insert(contentsOf: bytes[index..<end], at: index)
        case 6:
            bytes.insert(contentsOf: pick(Mutator.rubbish, &random), at: Bool.random(using: &random) ? 0 : bytes.count)
        default: bytes.swapAt(index, Int.random(in: 0..<bytes.count, using: &random))
        }
    }

    /// Makes a message as long as the contract allows, a byte less or more, or much more.
    private mutating func pad(_ bytes: inout [UInt8]) {
        let size = pick([65_535, 65_536, 65_537, 65_536, 131_072, 900_000], &random)
        if bytes.count < size {
            bytes += [UInt8](repeating: UInt8(ascii: " "), count: size - bytes.count)
        }
    }
}

extension String {
    /// As the inside of a JSON text.
    fileprivate func replacingQuotes() -> String {
        reduce(into: "") { $0 += $1 == "\"" || $1 == "\\" ? "\\\($1)" : String($1) }
    }
}
