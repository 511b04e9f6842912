import Platform
import TestSupport
import Testing

@testable import SensorBus

@Suite struct DebouncerTests {
    private static func edge(_ isActive: Bool, _ milliseconds: Int64) -> GPIOEdge {
        GPIOEdge(isActive: isActive, time: .milliseconds(milliseconds))
    }

    @Test func aBounceIsOneChange() {
        var debouncer = Debouncer(period: .milliseconds(20), isActive: false)
        for (isActive, time) in [(true, 0), (false, 3), (true, 5), (false, 9), (true, 11)] as [(Bool, Int64)] {
            #expect(debouncer.take(Self.edge(isActive, time)).isEmpty)
            #expect(!debouncer.isActive && debouncer.isSettling)
        }
        #expect(debouncer.settle() == Self.edge(true, 11))
        #expect(debouncer.isActive && !debouncer.isSettling)
        #expect(debouncer.settle() == nil)
    }

    @Test func aGlitchIsNoChange() {
        var debouncer = Debouncer(period: .milliseconds(20), isActive: true)
        #expect(debouncer.take(Self.edge(false, 0)).isEmpty)
        #expect(debouncer.take(Self.edge(true, 19)).isEmpty)
        #expect(debouncer.settle() == nil)
        #expect(debouncer.isActive)
    }

    /// A program that slept while the line changed twice learns of both changes.
    @Test func edgesThatComeLateCountByTheirTimes() {
        var debouncer = Debouncer(period: .milliseconds(20), isActive: true)
        #expect(debouncer.take(Self.edge(false, 0)).isEmpty)
        #expect(debouncer.take(Self.edge(true, 20)) == [Self.edge(false, 0)])
        #expect(debouncer.settle() == Self.edge(true, 20))
    }

    @Test func withoutAPeriodEveryEdgeCounts() {
        var debouncer = Debouncer(period: .zero, isActive: false)
        #expect(debouncer.take(Self.edge(true, 0)) == [Self.edge(true, 0)])
        #expect(debouncer.take(Self.edge(true, 0)).isEmpty)
        #expect(debouncer.take(Self.edge(false, 0)) == [Self.edge(false, 0)])
        #expect(!debouncer.isSettling)
    }

    /// The last edges of a burst may be missing: then the line itself says what it is.
    @Test func theLineDecidesWhatEdgesDidNotSay() {
        var debouncer = Debouncer(period: .milliseconds(20), isActive: false)
        _ = debouncer.take(Self.edge(true, 0))
        #expect(debouncer.settle(reading: false) == nil)
        _ = debouncer.take(Self.edge(false, 50))
        #expect(debouncer.settle(reading: true) == Self.edge(true, 50))
    }

    /// Against a model that looks at the whole trace at once: the line changes where it stays at another level for the
    /// period. How late edges are looked at makes no difference.
    @Test func agreesWithTheModelHoweverLateItIsAsked() {
        let seed = printedSeed()
        var random = SeededGenerator(seed: seed)
        for round in 0..<3000 {
            let period = Int64.random(in: 0...20, using: &random)
            let start = Bool.random(using: &random)
            var time: Int64 = 0
            let trace = (0..<Int.random(in: 1...40, using: &random)).map { _ in
                time += Int64.random(in: 0...30, using: &random)
                return Self.edge(Bool.random(using: &random), time)
            }
            var expected: [GPIOEdge] = []
            var level = start
            for (index, edge) in trace.enumerated() {
                let isLast = index + 1 == trace.count
                let isStable = isLast || trace[index + 1].time - edge.time >= .milliseconds(period)
                guard isStable, edge.isActive != level else { continue }
                expected.append(edge)
                level = edge.isActive
            }

            var debouncer = Debouncer(period: .milliseconds(period), isActive: start)
            var found: [GPIOEdge] = []
            for (index, edge) in trace.enumerated() {
                found += debouncer.take(edge)
                let quiet = index + 1 < trace.count ? trace[index + 1].time - edge.time : .seconds(1)
                // A reader in time asks after every quiet period; one that is late finds the next edge first.
                if quiet >= .milliseconds(period), Bool.random(using: &random) || index + 1 == trace.count {
                    if let change = debouncer.settle() { found.append(change) }
                }
            }
            #expect(found == expected, "seed \(seed), round \(round): period \(period), from \(start): \(trace)")
            #expect(debouncer.isActive == level)
        }
    }
}
