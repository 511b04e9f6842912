import Testing

@testable import SimulatedHardware

@Suite struct DelimitedTextTests {
    private func rows(_ text: String) throws -> [DelimitedText.Row] {
        var reader = DelimitedText(Array(text.utf8))
        var rows: [DelimitedText.Row] = []
        while let row = try reader.next() { rows.append(row) }
        return rows
    }

    @Test func quotedFieldsHoldAnything() throws {
        #expect(
            try rows("a,\"b,\"\"c\"\"\r\nd\"\r\n\"\",e") == [
                .init(line: 1, fields: ["a", "b,\"c\"\r\nd"]), .init(line: 3, fields: ["", "e"]),
            ])
    }

    @Test func emptyFieldsAndLines() throws {
        #expect(
            try rows("a,\n\n,") == [
                .init(line: 1, fields: ["a", ""]), .init(line: 2, fields: [""]), .init(line: 3, fields: ["", ""]),
            ])
        #expect(try rows("") == [])
    }
}
