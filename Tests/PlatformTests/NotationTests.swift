import Platform
import TestSupport
import Testing

@Suite struct DurationNotationTests {
    @Test(arguments: [
        ("0s", Duration.zero), ("250us", .microseconds(250)), ("500ms", .milliseconds(500)), ("10s", .seconds(10)),
        ("15m", .seconds(900)), ("2h", .seconds(7200)), ("30d", .seconds(2_592_000)),
    ])
    func readsAndWrites(text: String, duration: Duration) {
        #expect(Duration(notation: text) == duration)
        #expect(duration.notation == text)
    }

    @Test(arguments: [("90m", "90m"), ("120s", "2m"), ("1000ms", "1s"), ("024h", "1d"), ("1500ms", "1500ms")])
    func writesTheShortest(text: String, notation: String) {
        #expect(Duration(notation: text)?.notation == notation)
    }

    @Test(arguments: [
        "", "s", "10", "-1s", "+1s", "1.5s", "1 s", " 1s", "1s ", "1S", "1w", "1min", "1s1s", "٣s", "1e3s", "0x10s",
        "9223372036854775807d", "9223372036854775808us", "99999999999999999999s",
    ])
    func refusesAnythingElse(text: String) {
        #expect(Duration(notation: text) == nil)
    }

    @Test func theExtremesAreWrittenWithoutATrap() {
        #expect(Duration(notation: "9223372036854775807us") == .microseconds(Int64.max))
        #expect(!Duration.seconds(Int64.max).notation.isEmpty)
        #expect(!Duration.seconds(Int64.min).notation.isEmpty)
    }

    @Test func readsBackWhatItWrote() {
        let seed = printedSeed()
        var random = SeededGenerator(seed: seed)
        for _ in 0..<2000 {
            // Lengths of every order of magnitude.
            let bound = Int64(1) << Int64.random(in: 0..<62, using: &random)
            let duration = Duration.microseconds(Int64.random(in: 0..<bound, using: &random))
            #expect(Duration(notation: duration.notation) == duration, "\(duration.notation)")
        }
    }
}

@Suite struct ByteCountTests {
    @Test(arguments: [
        ("0", Int64(0)), ("512", 512), ("512B", 512), ("64kB", 64_000), ("64KiB", 65_536), ("3MB", 3_000_000),
        ("512MiB", 536_870_912), ("2GB", 2_000_000_000), ("2GiB", 2_147_483_648), ("1TB", 1_000_000_000_000),
        ("1TiB", 1_099_511_627_776), ("9223372036854775807", .max),
    ])
    func reads(text: String, bytes: Int64) {
        #expect(ByteCount(notation: text)?.bytes == bytes)
    }

    @Test(arguments: ["", "MiB", "1.5GiB", "-1", "+1", "1 KiB", "1K", "1mib", "8388608TiB", "9223372036854775808"])
    func refusesAnythingElse(text: String) {
        #expect(ByteCount(notation: text) == nil)
    }

    @Test(arguments: [
        (Int64(0), "0B"), (1, "1B"), (1023, "1023B"), (1024, "1KiB"), (1536, "1536B"), (536_870_912, "512MiB"),
        (3 << 30, "3GiB"), (5 << 40, "5TiB"),
    ])
    func writes(bytes: Int64, text: String) {
        #expect(ByteCount(bytes: bytes).description == text)
        #expect(ByteCount(notation: text)?.bytes == bytes)
    }

    @Test func isOrderedBySize() {
        #expect(ByteCount(bytes: 1023) < .mebibytes(1))
        #expect([ByteCount.mebibytes(2), ByteCount(bytes: 5)].min() == ByteCount(bytes: 5))
    }
}
