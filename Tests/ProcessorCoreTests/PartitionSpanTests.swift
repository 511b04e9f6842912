import Foundation
import Platform
import Readings
import TestSupport
import Testing

@testable import ProcessorCore

@Suite struct PartitionSpanTests {
    private let today = Timestamp(year: 2026, month: 11, day: 24).day
    private let oldest = Timestamp(year: 2000, month: 1, day: 1).day

    private func day(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        Timestamp(year: year, month: month, day: day).day
    }

    private func names(_ days: Set<Int64>, _ existing: [Range<Int64>] = []) -> [String] {
        PartitionSpan.missing(for: days, today: today, existing: existing).map(\.name)
    }

    @Test func aPartitionHoldsADay() {
        #expect(
            names([today - 1, today, today + 3]) == [
                "sensor_data_20261123", "sensor_data_20261124", "sensor_data_20261127",
            ])
        // 40 days after the end of the month.
        #expect(names([day(2026, 10, 1)]) == ["sensor_data_20261001"])
    }

    @Test func whatIsLongPastSharesOne() {
        #expect(
            names([day(2026, 9, 30), day(2026, 9, 1), day(2026, 8, 31)]) == [
                "sensor_data_202608", "sensor_data_202609",
            ])
        #expect(
            names([day(2012, 2, 29), day(2012, 12, 31), day(2000, 1, 1)]) == ["sensor_data_2000", "sensor_data_2012"])
        let december = PartitionSpan(.month, of: day(2025, 12, 31))
        #expect(december.days == day(2025, 12, 1)..<day(2026, 1, 1))
        #expect(PartitionSpan(.year, of: day(2024, 6, 1)).days.count == 366)
    }

    @Test func whatIsThereIsNotOverlapped() {
        let one = day(2026, 3, 5)..<day(2026, 3, 6)
        #expect(names([day(2026, 3, 5)], [one]) == [])
        #expect(names([day(2026, 3, 6), day(2026, 4, 6)], [one]) == ["sensor_data_20260306", "sensor_data_202604"])
        // A year with one such month in it is divided into months.
        let month = PartitionSpan(.month, of: day(2012, 3, 1)).days
        #expect(names([day(2012, 5, 1), day(2013, 5, 1)], [month]) == ["sensor_data_201205", "sensor_data_2013"])
        // Somebody's own, without a beginning.
        #expect(names([day(2012, 5, 1), day(2023, 5, 1)], [.min..<day(2020, 1, 1)]) == ["sensor_data_2023"])
    }

    /// Days come in any order over years of running, and a part of them is hostile.
    @Test func howeverTimesAreScatteredPartitionsAreFewAndNeverOverlap() {
        let seed = printedSeed()
        var random = SeededGenerator(seed: seed)
        var existing: [Range<Int64>] = []
        let lifetime: Int64 = 1000
        for today in stride(from: today, to: today + lifetime, by: 1) {
            var days = Set(today...(today + 3))
            for _ in 0..<20 { days.insert(Int64.random(in: oldest...today, using: &random)) }
            let spans = PartitionSpan.missing(for: days, today: today, existing: existing)
            existing += spans.map(\.days)
            for day in days where existing.filter({ $0.contains(day) }).count != 1 {
                Issue.record("day \(day) has not one partition, seed \(seed)")
                return
            }
        }
        let sorted = existing.sorted { $0.lowerBound < $1.lowerBound }
        #expect(zip(sorted, sorted.dropFirst()).allSatisfy { $0.upperBound <= $1.lowerBound }, "seed \(seed)")
        // The days of its life and some before it, the months of the two years before, and the years.
        let count = existing.count
        #expect(count < Int(lifetime) + 3 + 72 + 24 + 26, "seed \(seed)")
    }
}
