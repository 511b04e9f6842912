/// RFC 8259 to the letter, written for the tests alone so that they judge messages without the processor's parser.
struct StrictJSON {
    /// A value; a number stays the text that it is.
    indirect enum Value {
        case object([(name: [UInt8], value: Value)])
        case array([Value])
        case text([UInt8])
        case number([UInt8])
        case bool(Bool)
        case null
    }

    /// What the grammar allows and a parser may refuse.
    struct Oddities {
        /// How many arrays and objects are inside one another.
        var depth = 0
        /// A number that neither an integer of 64 bits nor a double holds.
        var hasEnormousNumber = false
        /// Half of a surrogate pair, escaped.
        var hasLoneSurrogate = false
    }

    private let bytes: [UInt8]
    private var position = 0
    private(set) var oddities = Oddities()

    private struct Mistake: Error {}

    /// Parses a text; the value is nil if it is not JSON.
    static func parse(_ bytes: [UInt8]) -> (value: Value?, oddities: Oddities) {
        var parser = StrictJSON(bytes: bytes)
        do {
            let value = try parser.element(depth: 0)
            guard parser.position == bytes.count else { return (nil, parser.oddities) }
            return (value, parser.oddities)
        } catch {
            return (nil, parser.oddities)
        }
    }

    private init(bytes: [UInt8]) {
        self.bytes = bytes
    }

    private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func skipSpace() {
        while let byte = next, byte == 0x20 || byte == 0x09 || byte == 0x0a || byte == 0x0d { position += 1 }
    }

    private mutating func take(_ byte: Character) -> Bool {
        guard next == byte.asciiValue else { return false }
        position += 1
        return true
    }

    private mutating func expect(_ text: String) throws {
        for byte in text.utf8 {
            guard next == byte else { throw Mistake() }
            position += 1
        }
    }

    /// A value with the space around it.
    private mutating func element(depth: Int) throws -> Value {
        // Beyond this the test's own stack is what counts; no parser of the processor goes so far.
        guard depth < 4000 else {
            oddities.depth = depth
            throw Mistake()
        }
        skipSpace()
        defer { skipSpace() }
        switch next {
        case UInt8(ascii: "{"): return try object(depth: depth + 1)
        case UInt8(ascii: "["): return try array(depth: depth + 1)
        case UInt8(ascii: "\""): return .text(try text())
        case UInt8(ascii: "t"):
            try expect("true")
            return .bool(true)
        case UInt8(ascii: "f"):
            try expect("false")
            return .bool(false)
        case UInt8(ascii: "n"):
            try expect("null")
            return .null
        default: return .number(try number())
        }
    }

    private mutating func object(depth: Int) throws -> Value {
        oddities.depth = max(oddities.depth, depth)
        try expect("{")
        skipSpace()
        var members: [(name: [UInt8], value: Value)] = []
        if take("}") { return .object(members) }
        repeat {
            skipSpace()
            let name = try text()
            skipSpace()
            try expect(":")
            members.append((name, try element(depth: depth)))
        } while take(",")
        try expect("}")
        return .object(members)
    }

    private mutating func array(depth: Int) throws -> Value {
        oddities.depth = max(oddities.depth, depth)
        try expect("[")
        skipSpace()
        var items: [Value] = []
        if take("]") { return .array(items) }
        repeat { items.append(try element(depth: depth)) } while take(",")
        try expect("]")
        return .array(items)
    }

    private mutating func text() throws -> [UInt8] {
        try expect("\"")
        var result: [UInt8] = []
        while let byte = next {
            position += 1
            switch byte {
            case UInt8(ascii: "\""): return result
            case 0..<0x20: throw Mistake()
            case UInt8(ascii: "\\"): result += try escape()
            default: result.append(byte)
            }
        }
        throw Mistake()
    }

    private static let escapes: [UInt8: UInt8] = [
        0x22: 0x22, 0x5c: 0x5c, 0x2f: 0x2f, 0x62: 8, 0x66: 12, 0x6e: 10, 0x72: 13, 0x74: 9,
    ]

    private mutating func escape() throws -> [UInt8] {
        guard let letter = next else { throw Mistake() }
        position += 1
        if let plain = StrictJSON.escapes[letter] { return [plain] }
        guard letter == UInt8(ascii: "u") else { throw Mistake() }
        var code = try fourDigits()
        if (0xd800..<0xdc00).contains(code), position + 1 < bytes.count, bytes[position] == UInt8(ascii: "\\"),
            bytes[position + 1] == UInt8(ascii: "u")
        {
            let before = position
            position += 2
            let low = try fourDigits()
            if (0xdc00..<0xe000).contains(low) {
                code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
            } else {
                position = before
            }
        }
        guard let scalar = Unicode.Scalar(code) else {
            oddities.hasLoneSurrogate = true
            return [0xff]
        }
        return Array(String(scalar).utf8)
    }

    private mutating func fourDigits() throws -> UInt32 {
        var code: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = next, let digit = Character(Unicode.Scalar(byte)).hexDigitValue, byte < 0x80 else {
                throw Mistake()
            }
            code = code << 4 + UInt32(digit)
            position += 1
        }
        return code
    }

    private mutating func digits() throws {
        let first = position
        while let byte = next, (0x30...0x39).contains(byte) { position += 1 }
        if position == first { throw Mistake() }
    }

    private mutating func number() throws -> [UInt8] {
        let first = position
        var isInteger = true
        _ = take("-")
        if !take("0") { try digits() }
        if take(".") {
            isInteger = false
            try digits()
        }
        if take("e") || take("E") {
            isInteger = false
            if !take("+") { _ = take("-") }
            try digits()
        }
        let text = Array(bytes[first..<position])
        let string = String(decoding: text, as: UTF8.self)
        if isInteger {
            if Int64(string) == nil, UInt64(string) == nil { oddities.hasEnormousNumber = true }
        } else if !(Double(string) ?? .infinity).isFinite {
            oddities.hasEnormousNumber = true
        }
        return text
    }
}
