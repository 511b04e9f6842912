import Glibc
import Testing

@testable import Monitoring

@Suite struct LogTests {
    /// 2026-01-02T03:04:05.678Z
    private static let time = timespec(tv_sec: 1_767_323_045, tv_nsec: 678_900_000)

    private func written(
        _ format: LogOutput.Format, minimum: Log.Level = .debug, _ body: (Log) -> Void
    ) throws -> String {
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        defer { close(ends[0]) }
        body(Log("outbox", to: LogOutput(descriptor: ends[1], format: format, minimum: minimum) { Self.time }))
        close(ends[1])
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = read(ends[0], &bytes, bytes.count)
        return String(decoding: bytes[..<max(0, count)], as: UTF8.self)
    }

    @Test func plainLinesHaveTimeLevelAndComponent() throws {
        let text = try written(.plain) {
            $0.info("opened", ["path": "/var/lib/vigie", "rows": 12])
            $0.component("publisher").error("refused")
        }
        #expect(
            text == """
                2026-01-02T03:04:05.678Z info    outbox: opened path=/var/lib/vigie rows=12
                2026-01-02T03:04:05.678Z error   publisher: refused

                """)
    }

    @Test func journalLinesHaveThePriority() throws {
        let text = try written(.journal) { log in
            for level in Log.Level.allCases { log(level, "x") }
        }
        #expect(text == "<3>outbox: x\n<4>outbox: x\n<5>outbox: x\n<6>outbox: x\n<7>outbox: x\n")
    }

    @Test func valuesAreQuotedAndOneCallIsOneLine() throws {
        let text = try written(.journal) {
            $0.info(
                "two\nlines \u{1B}[31m", ["a": "x y", "b": "say \"no\" \\", "c": "", "d": "1\n<0>forged", "e": "k=v"])
        }
        #expect(
            text == #"<6>outbox: two\nlines \u{1b}[31m a="x y" b="say \"no\" \\" c="" d="1\n<0>forged" e="k=v""# + "\n")
    }

    @Test func secretsAreNotWritten() throws {
        let text = try written(.journal) {
            $0.info(
                "connecting", ["password": "hunter2", "saslPassword": "hunter2", "api_token": "hunter2", "user": "u"])
        }
        #expect(!text.contains("hunter2"))
        #expect(text.contains("user=u"))
    }

    @Test func lessThanTheMinimumIsNeitherWrittenNorComputed() throws {
        var computed = false
        func message() -> String {
            computed = true
            return "x"
        }
        let text = try written(.plain, minimum: .warning) {
            $0.info(message())
            $0.warning("y")
        }
        #expect(!computed)
        #expect(text.hasSuffix("warning outbox: y\n"))
    }

    @Test func levelsHaveNamesAndAnOrder() {
        #expect(Log.Level(rawValue: "warning") == .warning)
        #expect(Log.Level.allCases.sorted() == [.debug, .info, .notice, .warning, .error])
    }
}
