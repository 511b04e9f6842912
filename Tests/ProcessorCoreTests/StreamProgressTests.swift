import Platform
import TestSupport
import Testing

@testable import ProcessorCore

extension StreamProgress {
    /// `admit`, for use outside of an expectation, which takes no mutating call.
    fileprivate mutating func admits(_ sequence: Int64) -> Bool { admit(sequence, eventTime: sequence * 10) }
}

@Suite struct StreamProgressTests {
    @Test func admitsInOrderOnce() {
        var progress = StreamProgress()
        let first = (1...5).map { progress.admits($0) }
        let second = (1...5).map { progress.admits($0) }
        #expect(first.allSatisfy { $0 } && !second.contains(true))
        #expect(progress.last == 5 && progress.holes.isEmpty && progress.missing == 0)
    }

    @Test func aJumpLeavesAHoleWithItsTimes() {
        var progress = StreamProgress()
        _ = progress.admits(2)
        _ = progress.admits(6)
        #expect(
            progress.holes == [
                Hole(first: 1, last: 1, timeBefore: nil, timeAfter: 20),
                Hole(first: 3, last: 5, timeBefore: 20, timeAfter: 60),
            ])
        #expect(progress.missing == 4)
    }

    @Test(
        arguments: [
            (3, [Hole(first: 4, last: 5, timeBefore: 30, timeAfter: 60)]),
            (5, [Hole(first: 3, last: 4, timeBefore: 20, timeAfter: 50)]),
            (
                4,
                [
                    Hole(first: 3, last: 3, timeBefore: 20, timeAfter: 40),
                    Hole(first: 5, last: 5, timeBefore: 40, timeAfter: 60),
                ]
            ),
        ] as [(Int64, [Hole])])
    func aLateOneShrinksOrSplitsTheHole(sequence: Int64, expected: [Hole]) {
        var progress = StreamProgress(last: 2, lastEventTime: 20)
        _ = progress.admits(6)
        let first = progress.admits(sequence)
        #expect(first && progress.holes == expected)
        let second = progress.admits(sequence)
        #expect(!second && progress.holes == expected)
    }

    @Test func theLargestNumberDoesNotTrap() {
        var progress = StreamProgress()
        let isAdmitted = progress.admit(.max - 1, eventTime: 0)
        #expect(isAdmitted && progress.missing == .max - 2)
    }

    @Test func agreesWithASetOverRandomOrders() {
        let seed = printedSeed()
        var random = SeededGenerator(seed: seed)
        for _ in 0..<300 {
            var progress = StreamProgress()
            var admitted: Set<Int64> = []
            for _ in 0..<Int.random(in: 0..<80, using: &random) {
                let sequence = Int64.random(in: 1...40, using: &random)
                let isAdmitted = progress.admits(sequence)
                #expect(isAdmitted == admitted.insert(sequence).inserted)
                let last = admitted.max() ?? 0
                let missing = Set(1...last).subtracting(admitted)
                #expect(progress.last == last)
                #expect(Set(progress.holes.flatMap { Array($0.first...$0.last) }) == missing)
                #expect(zip(progress.holes, progress.holes.dropFirst()).allSatisfy { $0.last + 1 < $1.first })
            }
        }
    }
}
