import Testing

@testable import ProcessorCore

@Suite struct NameTableTests {
    private func index(_ name: String, in scope: Int32 = 0, of table: inout NameTable) -> (Int32, Bool) {
        var name = name
        return name.withUTF8 { table.index(of: $0, in: scope) }
    }

    @Test func numbersNamesInTheOrderOfTheirFirstSight() {
        var table = NameTable()
        #expect(index("a", of: &table) == (0, true))
        #expect(index("b", of: &table) == (1, true))
        #expect(index("a", of: &table) == (0, false))
        #expect(index("a", in: 1, of: &table) == (2, true), "another scope")
        #expect(index("", of: &table) == (3, true))
    }

    @Test func keepsItsNumbersWhileItGrows() {
        var table = NameTable()
        let first = (0..<5000).map { index("sensor-\($0)", of: &table) }
        let second = (0..<5000).map { index("sensor-\($0)", of: &table) }
        #expect(first.map(\.0) == Array(0..<5000) && first.allSatisfy(\.1))
        #expect(second.map(\.0) == Array(0..<5000) && !second.contains(where: \.1))
    }
}
