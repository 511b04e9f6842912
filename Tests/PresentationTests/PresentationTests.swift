import Foundation
import Testing

@testable import Presentation

@Suite struct JSONTests {
    @Test func anyTextSurvives() throws {
        let texts = ["", "a\"b\\c/d", "\u{0}\u{1}\n\r\t\u{1f}", "é 漢 🧪 \u{2028}", "</script>"]
        let value = JSON.object(texts.map { .init(name: $0, value: .string($0)) })
        let read = try JSONSerialization.jsonObject(with: Data(value.text.utf8)) as? [String: String]
        #expect(read == Dictionary(uniqueKeysWithValues: texts.map { ($0, $0) }))
    }

    @Test func numbersAreJSONNumbers() throws {
        let value: JSON = [
            .integer(.min), .integer(.max), .number(1e-300), .number(-0.1), .number(.nan), .number(.infinity), .null,
            .bool(true), .of(Int?.none), .of(Double?.none), .of(UInt64.max),
        ]
        #expect(
            value.text
                == "[-9223372036854775808,9223372036854775807,1e-300,-0.1,null,null,null,true,null,null,"
                + "9223372036854775807]")
        #expect(try JSONSerialization.jsonObject(with: Data(value.text.utf8)) is [Any])
    }
}

@Suite struct PlainNumbersTests {
    @Test(arguments: [
        (0.0000004, "0 us"), (0.0002, "200 us"), (0.0123, "12.3 ms"), (0.5, "500 ms"), (4.5, "4.50 s"),
        (59.94, "59.9 s"),
        (200, "3 min 20 s"), (7500, "2 h 5 min"), (273_600, "3 d 4 h"), (-3, "0 us"), (.nan, "-"),
    ])
    func durations(_ value: Double, _ text: String) {
        #expect(PlainNumbers.seconds(value) == text)
    }

    @Test func countsSizesAndShares() {
        #expect(PlainNumbers.count(1_234_567) == "1,234,567")
        #expect(PlainNumbers.count(-1000) == "-1,000")
        #expect(PlainNumbers.count(Int64.min) == "-9,223,372,036,854,775,808")
        #expect(PlainNumbers.bytes(61_400_000) == "61.4 MB")
        #expect(PlainNumbers.bytes(999) == "999 B")
        #expect(PlainNumbers.share(0.012) == "1.2 %")
        #expect(PlainNumbers.rate(3.14159) == "3.1")
        #expect(PlainNumbers.rate(301_000.4) == "301,000")
        #expect(PlainNumbers.between(0.0005) == "under 1 ms" && PlainNumbers.between(nil) == "-")
        #expect(PlainNumbers.fixed(-0.04, digits: 2) == "-0.04")
        #expect(PlainNumbers.fixed(1.999, digits: 2) == "2.00")
    }
}

@Suite struct TextTableTests {
    @Test func columnsAreAlignedAndLinesEndWithTheirText() {
        var table = TextTable(["name", "count", "note"], rightAligned: [1])
        table.append(["a", "1", "short"])
        table.append(["longer", "1,000", ""])
        table.append(["no note", ""])
        #expect(
            table.text == """
                  name     count  note
                  a            1  short
                  longer   1,000
                  no note

                """)
    }

    @Test func paintDoesNotMoveColumns() {
        func table(_ brush: Brush) -> String {
            var table = TextTable(["a", "b"], brush: brush)
            table.append(cells: [.init("yes", .good), "x"])
            table.append(cells: [.init("never", .bad), "y"])
            return table.text
        }
        let painted = table(Brush(isColoured: true))
        #expect(painted.contains("\u{1B}[32myes\u{1B}[0m    x\n"))
        var bare = painted
        for code in ["\u{1B}[32m", "\u{1B}[31m", "\u{1B}[2m", "\u{1B}[0m"] {
            bare = bare.replacingOccurrences(of: code, with: "")
        }
        #expect(bare == table(.plain))
    }

    @Test func coloursAreForTerminalsThatWantThem() {
        #expect(Brush(isTerminal: true, noColor: nil, terminal: "xterm").isColoured)
        #expect(Brush(isTerminal: true, noColor: "", terminal: "xterm").isColoured)
        #expect(!Brush(isTerminal: true, noColor: "1", terminal: "xterm").isColoured)
        #expect(!Brush(isTerminal: false, noColor: nil, terminal: "xterm").isColoured)
        #expect(!Brush(isTerminal: true, noColor: nil, terminal: "dumb").isColoured)
        #expect(!Brush(isTerminal: true, noColor: nil, terminal: nil).isColoured)
        #expect(Brush.plain.paint("text", .bad) == "text")
    }
}
