import Testing

@testable import ProcessorCore

@Suite struct BatchPaceTests {
    @Test func transactionsGrowWhileManyWindowsAreWrittenForLateReadings() {
        var pace = BatchPace(maximum: 200_000)
        #expect(pace.limit == 20_000)
        pace.observe(messages: 20_000, lateWindows: 0)
        #expect(pace.limit == 20_000)
        // One reading in a hundred is late, each in eleven windows.
        pace.observe(messages: 20_000, lateWindows: 2200)
        #expect(pace.limit == 40_000)
        for _ in 0..<70 { pace.observe(messages: 200_000, lateWindows: 60_000) }
        #expect(pace.limit == 200_000)
        pace.observe(messages: 200_000, lateWindows: 1000)
        #expect(pace.limit == 20_000)
    }

    @Test func theSettingBoundsThem() {
        var pace = BatchPace(maximum: 5)
        #expect(pace.limit == 5)
        pace.observe(messages: 5, lateWindows: 55)
        #expect(pace.limit == 5)
    }
}
