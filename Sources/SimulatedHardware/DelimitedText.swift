/// A reader of comma-separated values: RFC 4180, strictly, with either line end.
struct DelimitedText {
    /// A row and the line on which it begins, counted from 1.
    struct Row: Equatable {
        var line: Int
        var fields: [String]
    }

    /// What is wrong and on which line.
    struct Malformed: Error, Equatable {
        var line: Int
        var problem: String
    }

    private let bytes: [UInt8]
    private var index = 0
    private var line = 1

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    /// The next row, or nil at the end.
    mutating func next() throws(Malformed) -> Row? {
        guard index < bytes.count else { return nil }
        var row = Row(line: line, fields: [])
        while true {
            row.fields.append(try peek() == UInt8(ascii: "\"") ? quotedField() : plainField())
            switch peek() {
            case UInt8(ascii: ","):
                index += 1
            case UInt8(ascii: "\r"):
                index += 1
                guard peek() == UInt8(ascii: "\n") else { throw malformed("a carriage return without a line feed") }
                index += 1
                line += 1
                return row
            case UInt8(ascii: "\n"):
                index += 1
                line += 1
                return row
            default:
                // A field ends at one of the above or at the end of the file.
                return row
            }
        }
    }

    private func peek() -> UInt8? {
        index < bytes.count ? bytes[index] : nil
    }

    private func malformed(_ problem: String) -> Malformed {
        Malformed(line: line, problem: problem)
    }

    private func text(_ bytes: some Collection<UInt8>) throws(Malformed) -> String {
        guard let text = String(validating: bytes, as: UTF8.self) else { throw malformed("text that is not UTF-8") }
        return text
    }

    private mutating func plainField() throws(Malformed) -> String {
        let start = index
        while let byte = peek(), byte != UInt8(ascii: ","), byte != UInt8(ascii: "\r"), byte != UInt8(ascii: "\n") {
            guard byte != UInt8(ascii: "\"") else { throw malformed("a quote inside a field that is not quoted") }
            index += 1
        }
        return try text(bytes[start..<index])
    }

    private mutating func quotedField() throws(Malformed) -> String {
        let firstLine = line
        var content: [UInt8] = []
        index += 1
        while let byte = peek() {
            index += 1
            if byte != UInt8(ascii: "\"") {
                if byte == UInt8(ascii: "\n") { line += 1 }
                content.append(byte)
            } else if peek() == UInt8(ascii: "\"") {
                index += 1
                content.append(byte)
            } else {
                switch peek() {
                case nil, UInt8(ascii: ","), UInt8(ascii: "\r"), UInt8(ascii: "\n"): return try text(content)
                default: throw malformed("text after a closing quote")
                }
            }
        }
        throw Malformed(line: firstLine, problem: "a quote that is not closed")
    }
}
