import Configuration
import Foundation
import Platform
import TestSupport
import Testing

/// The problems of a text, one a line, or none.
private func problems<Settings>(_ text: String, _ body: (Section) -> Settings) -> [String] {
    do {
        _ = try ConfigurationDocument(text: text, name: "config.yaml").decode(body)
        return []
    } catch {
        return error.problems.map(\.description)
    }
}

private enum Color: String, CaseIterable {
    case red, green
}

@Suite struct ConfigurationTests {
    @Test func readsEveryKindOfSetting() throws {
        let text = """
            # A comment.
            name: "hall: north"
            interval: 1500ms
            room: 64MiB
            address: 0x76
            height: -12.5
            open: on
            color: green
            listen: "[::1]:9090"
            tags: [a, b]
            properties: {linger.ms: 5, acks: all}
            nested:
              deep: 2d
            """
        try ConfigurationDocument(text: text, name: "config.yaml").decode { root in
            #expect(root.required("name", as: .text) == "hall: north")
            #expect(root.required("interval", as: .duration()) == .milliseconds(1500))
            #expect(root.required("room", as: .size()) == .mebibytes(64))
            #expect(root.required("address", as: .integer(0...255)) == 0x76)
            #expect(root.required("height", as: .number(-100...100)) == -12.5)
            #expect(root.required("open", as: .boolean))
            #expect(root.required("color", as: .choice(Color.red)) == .green)
            #expect(root.required("listen", as: .endpoint) == Endpoint(host: "::1", port: 9090))
            #expect(root.list("tags", as: .text) == ["a", "b"])
            #expect(root.map("properties", as: .text).map(\.key) == ["linger.ms", "acks"])
            #expect(root.map("properties", as: .text).map(\.value) == ["5", "all"])
            #expect(root.section("nested").required("deep", as: .duration()) == .seconds(2 * 86400))
            #expect(root.value("absent", as: .integer(0...9), default: 7) == 7)
            #expect(root.optional("absent", as: .text) == nil)
        }
    }

    @Test func whatIsNoMappingIsSaidOnce() {
        let found = problems("divider: 2") { root in root.section("divider").required("upper", as: .number(0...9)) }
        #expect(found == ["config.yaml:1: divider: expected a mapping, found \"2\""])
    }

    @Test func saysWhereAndWhatIsExpected() {
        let text = """
            stations:
              - sensor_id: hall
                interval: ten
            """
        let found = problems(text) { root in
            root.sections("stations", each: "station", namedBy: "sensor_id").map {
                ($0.required("sensor_id", as: .text), $0.required("interval", as: .duration()))
            }
        }
        #expect(
            found == [
                #"config.yaml:3: station "hall": interval: expected a duration such as 10s, found "ten""#
            ])
    }

    @Test func reportsAllProblemsInTheOrderOfTheLines() {
        let text = """
            intervall: 10s
            count: 11
            color: blue
            count: 3
            list: {}
            """
        let found = problems(text) { root in
            (
                root.required("interval", as: .duration()), root.required("count", as: .integer(1...10)),
                root.required("color", as: .choice(Color.red)), root.list("list", as: .text)
            )
        }
        #expect(
            found == [
                #"config.yaml:1: missing "interval": expected a duration such as 10s"#,
                #"config.yaml:1: unknown key "intervall": did you mean "interval"?"#,
                #"config.yaml:2: count: expected a whole number between 1 and 10, found "11""#,
                #"config.yaml:3: color: expected one of red, green, found "blue""#,
                #"config.yaml:4: duplicate key "count": it is already on line 2"#,
                #"config.yaml:5: list: expected a list, found a mapping"#,
            ])
    }

    @Test func unknownKeyThatIsLikeNothingHasNoSuggestion() {
        let found = problems("zebra: 1") { $0.value("interval", as: .text, default: "") }
        #expect(found == [#"config.yaml:1: unknown key "zebra"; known here: interval"#])
    }

    @Test func requiredSettingsOfAnAbsentSectionAreMissing() {
        let found = problems("other: 1") { root in
            (root.value("other", as: .integer(0...9), default: 0), root.section("gateway").required("id", as: .text))
        }
        #expect(found == [#"config.yaml:1: gateway: missing "id": expected a text"#])
    }

    @Test func aProblemOfTheProgramHasItsLine() {
        let found = problems("a: 1\nb: 2") { root in
            _ = (root.optional("a", as: .text), root.optional("b", as: .text))
            root.problem("a and b exclude each other", at: "b")
        }
        #expect(found == ["config.yaml:2: b: a and b exclude each other"])
    }

    @Test(arguments: [
        ("a: &x 1\nb: *x", "config.yaml:1: anchors (&), aliases (*) and tags (!) are not supported"),
        ("a: 1\nb: *x", "config.yaml:2: anchors (&), aliases (*) and tags (!) are not supported"),
        ("a: !!int 1", "config.yaml:1: anchors (&), aliases (*) and tags (!) are not supported"),
        ("a: 1\n---\nb: 2", "config.yaml:2: one document is expected, and another begins here"),
        ("a: [1, 2", "config.yaml:2: while parsing a flow sequence that begins on line 1: did not find expected"),
        ("a: 1\n\tb: 2", "config.yaml:2: while scanning a plain scalar that begins on line 1: found a tab"),
        ("? [a]\n: 1", "config.yaml:1: a key is expected here, found a list"),
        (String(repeating: "[", count: 5000), "config.yaml:1: nested deeper than 32 levels"),
    ])
    func refusesWhatIsNoPlainDocument(text: String, beginning: String) {
        let found = problems(text) { _ in }
        #expect(found.count == 1)
        #expect(found.first?.hasPrefix(beginning) == true, "\(found)")
    }

    @Test func refusesMoreValuesThanAPersonWrites() {
        let found = problems("a: [" + String(repeating: "1,", count: 100_001) + "]") { $0.list("a", as: .text) }
        #expect(found == ["config.yaml:1: more than 100000 values"])
    }

    @Test(arguments: ["", "# nothing\n", "---\n"])
    func anEmptyDocumentHasEveryDefault(text: String) throws {
        let value = try ConfigurationDocument(text: text, name: "config.yaml").decode {
            $0.value("a", as: .integer(0...9), default: 3)
        }
        #expect(value == 3)
    }

    @Test func aFileThatIsNotThereIsNamed() {
        let path = "/nonexistent/vigie.yaml"
        #expect(throws: ConfigurationError.self) { try ConfigurationDocument(file: path) }
        do {
            _ = try ConfigurationDocument(file: path)
        } catch {
            #expect(error.description == "\(path): cannot be read: No such file or directory")
        }
    }

    @Test func bytesThatAreNotUTF8AreAnError() throws {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("vigie-\(UUID()).yaml")
        defer { try? FileManager.default.removeItem(at: file) }
        try Data([0x61, 0x3A, 0x20, 0xFF, 0xFE, 0x0A]).write(to: file)
        #expect(throws: ConfigurationError.self) { try ConfigurationDocument(file: file.path) }
    }

    /// Whatever the bytes are, the outcome is a document or an error.
    @Test func noInputTraps() {
        let seed = printedSeed()
        var generator = SeededGenerator(seed: seed)
        let pieces = [
            "a", ": ", "\n", "  ", "- ", "[", "]", "{", "}", "\"", "'", "&x", "*x", "!", "|", ">", "#", ",", "~",
        ]
        for _ in 0..<3000 {
            let count = Int.random(in: 1...30, using: &generator)
            let text = (0..<count).map { _ in pieces.randomElement(using: &generator) ?? "" }.joined()
            for problem in problems(
                text, { $0.sections("a", each: "item").map { $0.value("a", as: .text, default: "") } })
            {
                #expect(problem.hasPrefix("config.yaml:"), "seed \(seed): \(text.debugDescription)")
            }
        }
    }
}

@Suite struct NotationTests {
    @Test(arguments: [
        ("500ms", Duration.milliseconds(500)), ("10s", .seconds(10)), ("15m", .seconds(900)), ("2h", .seconds(7200)),
        ("1d", .seconds(86400)), ("250us", .microseconds(250)), ("0s", .zero),
    ])
    func readsDurations(text: String, expected: Duration) {
        #expect(Duration(notation: text) == expected)
        #expect(expected.notation == text)
    }

    @Test(arguments: [
        "", "10", "s", "ten", "-1s", "1.5h", "10 s", "10S", "9223372036854775807d", "99999999999999999999s",
    ])
    func refusesOtherDurations(text: String) {
        #expect(Duration(notation: text) == nil)
    }

    @Test(arguments: [
        ("512", 512), ("1KiB", 1024), ("64MiB", 64 << 20), ("2GiB", 2 << 30), ("64kB", 64000), ("1MB", 1_000_000),
    ])
    func readsSizes(text: String, bytes: Int64) {
        #expect(ByteCount(notation: text)?.bytes == bytes)
    }

    @Test(arguments: ["", "MiB", "-1", "1.5MiB", "9223372036854775807TiB"])
    func refusesOtherSizes(text: String) {
        #expect(ByteCount(notation: text) == nil)
    }
}
