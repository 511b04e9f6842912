import Testing
import Windowing

@Suite struct SummaryTests {
    private func summary(_ values: some Sequence<Double>) -> Summary {
        values.reduce(into: Summary()) { $0.add($1) }
    }

    @Test func ofNothingIsNothing() {
        let empty = Summary()
        #expect(empty.mean == nil && empty.minimum == nil && empty.maximum == nil && empty.standardDeviation == nil)
        var merged = empty
        merged.merge(empty)
        #expect(merged == empty)
    }

    @Test func ofOneHasNoSpread() {
        let one = summary([4])
        #expect(one.mean == 4 && one.minimum == 4 && one.maximum == 4 && one.standardDeviation == nil)
    }

    @Test func matchesTheTextbook() throws {
        let values = summary([2, 4, 4, 4, 5, 5, 7, 9])
        #expect(values.count == 8 && values.mean == 5 && values.minimum == 2 && values.maximum == 9)
        #expect(abs(try #require(values.standardDeviation) - (32.0 / 7).squareRoot()) < 1e-12)
    }

    @Test(arguments: 0...7) func mergingIsAddingAll(cut: Int) throws {
        let all = [1013.2, 990, 1002.5, 1040, 1013.1, 1013.4, 1008]
        var left = summary(all[..<cut])
        left.merge(summary(all[cut...]))
        let whole = summary(all)
        #expect(left.count == whole.count && left.minimum == whole.minimum && left.maximum == whole.maximum)
        #expect(abs(try #require(left.mean) - #require(whole.mean)) < 1e-9)
        #expect(abs(try #require(left.standardDeviation) - #require(whole.standardDeviation)) < 1e-9)
    }

    @Test func keepsASmallSpreadAroundALargeMean() throws {
        let offset = 1e9
        var merged = Summary()
        for chunk in 0..<100 {
            merged.merge(summary((0..<10).map { offset + Double((chunk * 10 + $0) % 3) }))
        }
        // 1000 values of 0, 1, 2 in turn: 334, 333, 333 of them.
        let mean = (333.0 + 666) / 1000
        let squares = 334 * mean * mean + 333 * (1 - mean) * (1 - mean) + 333 * (2 - mean) * (2 - mean)
        #expect(abs(try #require(merged.standardDeviation) - (squares / 999).squareRoot()) < 1e-6)
    }
}
