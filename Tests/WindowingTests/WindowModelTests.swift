import Platform
import Readings
import TestSupport
import Testing
@testable import Windowing

/// The windows against a model that knows nothing of panes, watermarks per batch or folding: it keeps all rows and adds
/// up each window from them.
@Suite struct WindowModelTests {
    struct Key: Hashable {
        var specification: WindowSpecification
        var start: Int64
    }

    struct Row {
        var observation: Observation
        var isLate: Bool
    }

    static func recompute(_ rows: [Row], _ key: Key) -> Totals {
        var totals = Totals()
        for row in rows
        where row.observation.eventTime >= key.start
            && row.observation.eventTime < key.start + key.specification.size
        {
            totals.add(row.observation, isLate: row.isLate)
        }
        return totals
    }

    static func agree(_ left: Totals, _ right: Totals) -> Bool {
        func close(_ left: Double?, _ right: Double?) -> Bool {
            switch (left, right) {
            case (nil, nil): true
            case (let left?, let right?): abs(left - right) <= 1e-9 * max(1, abs(left))
            default: false
            }
        }
        func close(_ left: Summary, _ right: Summary) -> Bool {
            left.count == right.count && left.minimum == right.minimum && left.maximum == right.maximum
                && close(left.mean, right.mean) && close(left.standardDeviation, right.standardDeviation)
        }
        let counts = [\Totals.readingCount, \.warningCount, \.failureCount, \.lateCount, \.coveredTime]
        return counts.allSatisfy { left[keyPath: $0] == right[keyPath: $0] }
            && Quantity.aggregated.allSatisfy { close(left.summaries[$0], right.summaries[$0]) }
    }

    @Test func agreesWithTheModelOverRandomOrdersGapsAndRestarts() throws {
        let seed = printedSeed()
        var random = SeededGenerator(seed: seed)
        for round in 0..<150 {
            try runRound(round, &random)
        }
    }

    private func runRound(_ round: Int, _ random: inout SeededGenerator) throws {
        let slide = Int64.random(in: 1...6, using: &random)
        let first = try #require(
            WindowSpecification(size: slide * Int64.random(in: 1...8, using: &random), slide: slide))
        let second = try #require(WindowSpecification(size: 6, slide: 3))
        let specifications = first == second ? [first] : [first, second]
        let policy = try #require(
            WindowPolicy(
                specifications: Array(specifications.prefix(Int.random(in: 1...2, using: &random))),
                lateness: Int64.random(in: 0...20, using: &random)))
        var windows = SensorWindows()
        var rows: [Row] = []
        var table: [Key: WindowResult] = [:]
        var time = Int64.random(in: -50...50, using: &random)
        for _ in 0..<Int.random(in: 1...30, using: &random) {
            for _ in 0..<Int.random(in: 0...12, using: &random) {
                // Mostly forward, sometimes a jump, sometimes far back.
                time += Int64.random(in: 0...3, using: &random)
                if Int.random(in: 0..<40, using: &random) == 0 { time += 500 }
                let back = Int.random(in: 0..<5, using: &random) == 0 ? Int64.random(in: 0...60, using: &random) : 0
                let observation = Observation(
                    eventTime: time - back, interval: 2,
                    status: Status(rawValue: UInt8.random(in: 0...2, using: &random)) ?? .ok,
                    values: [
                        .temperature: Bool.random(using: &random) ? Double.random(in: -5...40, using: &random) : nil,
                        .co2: Double.random(in: 400...2000, using: &random),
                    ])
                let largest = rows.map(\.observation.eventTime).max() ?? .min
                let isLate = windows.add(observation, policy: policy)
                #expect(isLate == (largest > .min && observation.eventTime < largest - policy.lateness))
                rows.append(Row(observation: observation, isLate: isLate))
            }
            // As the processor does in one transaction: what is open again, then late readings, then what is final.
            if let since = windows.takeReopening() {
                for key in table.keys where key.start + key.specification.size > since { table[key]?.isFinal = false }
            }
            let finalThrough = windows.finalThrough
            windows.drainLateReadings(policy: policy) { late in
                let key = Key(specification: late.specification, start: late.start)
                #expect(key.start + key.specification.size <= finalThrough)
                #expect(table[key]?.isFinal != false, "round \(round): a late reading is folded into an open window")
                var window =
                    table[key]
                    ?? WindowResult(
                        specification: late.specification, start: late.start, isFinal: true, isNew: false,
                        totals: Totals())
                window.totals.merge(late.totals)
                table[key] = window
            }
            let idle =
                Int.random(in: 0..<6, using: &random) == 0 ? time + Int64.random(in: -9...9, using: &random) : .min
            windows.advance(through: idle, policy: policy) { result in
                let key = Key(specification: result.specification, start: result.start)
                #expect(table[key]?.isFinal != true, "round \(round): a window was made final twice: \(result)")
                #expect(!result.isNew || table[key] == nil, "round \(round): there is a row already: \(result)")
                table[key] = result
            }
            if Bool.random(using: &random) {
                windows.drainDirtyWindows(policy: policy) { result in
                    let key = Key(specification: result.specification, start: result.start)
                    #expect(!result.isNew || table[key] == nil, "round \(round): there is a row already: \(result)")
                    table[key] = result
                }
            }
            // Another owner takes the sensor up, and whoever lacks its panes loads them at some time.
            if Int.random(in: 0..<8, using: &random) == 0, let largest = windows.largestEventTime,
                windows.finalThrough != .min
            {
                windows = SensorWindows(
                    largestEventTime: largest, finalThrough: windows.finalThrough, policy: policy)
            }
            if !windows.hasPanes, Bool.random(using: &random) { windows.restore(panes(of: rows, windows, policy)) }
        }
        if !windows.hasPanes { windows.restore(panes(of: rows, windows, policy)) }
        windows.advance(through: time + 1000, policy: policy) {
            table[Key(specification: $0.specification, start: $0.start)] = $0
        }

        var expected: Set<Key> = []
        for row in rows {
            for specification in policy.specifications {
                var start = row.observation.eventTime - row.observation.eventTime.modulo(specification.slide)
                while start > row.observation.eventTime - specification.size {
                    expected.insert(Key(specification: specification, start: start))
                    start -= specification.slide
                }
            }
        }
        #expect(Set(table.keys) == expected, "round \(round)")
        for (key, result) in table {
            #expect(
                WindowModelTests.agree(result.totals, WindowModelTests.recompute(rows, key)), "round \(round): \(key)")
            #expect(result.isFinal == (key.start + key.specification.size <= windows.finalThrough), "round \(round)")
        }
    }

    /// The panes as the rows have them.
    private func panes(of rows: [Row], _ windows: SensorWindows, _ policy: WindowPolicy) -> [Pane] {
        var panes: [Int64: Totals] = [:]
        for row in rows {
            let start = row.observation.eventTime - row.observation.eventTime.modulo(policy.paneSize)
            if windows.finalThrough == .min || start + policy.paneSize > windows.finalThrough - policy.longestWindow {
                panes[start, default: Totals()].add(row.observation, isLate: row.isLate)
            }
        }
        return panes.map { Pane(start: $0.key, totals: $0.value) }
    }
}

extension Int64 {
    fileprivate func modulo(_ divisor: Int64) -> Int64 {
        let remainder = self % divisor
        return remainder < 0 ? remainder + divisor : remainder
    }
}
