import Platform
import Testing

@Suite struct SeededGeneratorTests {
    /// The first numbers of the reference implementation for seed 1234567 (the test vector used by the published C code).
    @Test func isSplitMix64() {
        var generator = SeededGenerator(seed: 1_234_567)
        let expected: [UInt64] = [
            6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423,
            4_593_380_528_125_082_431, 16_408_922_859_458_223_821,
        ]
        #expect((0..<5).map { _ in generator.next() } == expected)
    }

    @Test func subjectsOfASeedDiffer() {
        let first = (0..<100).map { (subject: Int64) in
            var generator = SeededGenerator(seed: 1, subject: subject)
            return generator.next()
        }
        #expect(Set(first).count == 100)
    }
}
