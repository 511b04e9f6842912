import Foundation
import Platform
import TestSupport
import Testing

@testable import ProcessorCore

@Suite struct PoisonSearchTests {
    /// Searches among 0 ..< count, of which some are poison.
    private func search(_ count: Int, poison: Set<Int>) async throws -> (found: Set<Int>, trials: Int) {
        var trials = 0
        let found = try await PoisonSearch.refused(of: Array(0..<count)) { part -> String? in
            trials += 1
            #expect(part == part.sorted())
            return part.first { poison.contains($0) }.map { "\($0)" }
        }
        // The reason is that of the member itself.
        #expect(found.allSatisfy { $0.value == "\($0.key)" })
        return (Set(found.keys), trials)
    }

    @Test(
        arguments: [
            (1, [0]), (2, [0]), (2, [1]), (2, [0, 1]), (1000, [0]), (1000, [999]), (1000, [500]), (1000, [0, 999]),
            (1000, [499, 500]), (777, [1, 2, 3, 4, 5]), (1, []), (100, []),
        ] as [(Int, Set<Int>)])
    func findsWhatIsRefused(count: Int, poison: Set<Int>) async throws {
        let result = try await search(count, poison: poison)
        #expect(result.found == poison)
        let levels = Int(log2(Double(count)).rounded(.up)) + 1
        #expect(result.trials <= 2 * max(poison.count, 1) * levels + 1)
    }

    @Test func allOfAListCostTwoTrialsEach() async throws {
        let result = try await search(1000, poison: Set(0..<1000))
        #expect(result.found.count == 1000 && result.trials <= 2000)
    }

    @Test func agreesWithTheTruthOverRandomPoison() async throws {
        let seed = printedSeed()
        var random = SeededGenerator(seed: seed)
        for _ in 0..<200 {
            let count = Int.random(in: 1...300, using: &random)
            let size = Int.random(in: 0..<20, using: &random)
            let poison = Set((0..<size).map { _ in Int.random(in: 0..<count, using: &random) })
            let result = try await search(count, poison: poison)
            #expect(result.found == poison)
        }
    }

    @Test func membersThatAreOnlyRefusedTogetherLoseTheLaterOne() async throws {
        let found = try await PoisonSearch.refused(of: Array(0..<100)) { part -> String? in
            part.contains(10) && part.contains(70) ? "one key twice" : nil
        }
        #expect(found == [70: "one key twice"])
    }

    @Test func anErrorOfTheTrialEndsTheSearch() async {
        await #expect(throws: CancellationError.self) {
            try await PoisonSearch.refused(of: [1, 2, 3]) { _ -> String? in throw CancellationError() }
        }
    }
}
