import Testing

@testable import ProcessorCore

@Suite struct UpdatePaceTests {
    @Test func aFewWindowsAreWrittenAsOftenAsIsWished() {
        var pace = UpdatePace(wished: 5000)
        #expect(pace.interval == 5000)
        pace.openWindows = 2200
        for _ in 0..<100 { pace.observe(windows: 2200, duration: .milliseconds(66)) }
        #expect(pace.interval == 5000)
    }

    @Test func aMillionWindowsTakeAFifthOfTheTime() {
        var pace = UpdatePace(wished: 5000)
        pace.openWindows = 1_000_000
        for _ in 0..<100 { pace.observe(windows: 50_000, duration: .milliseconds(1500)) }
        // 0.03 ms each make 30 s for all.
        #expect((149_000...150_000).contains(pace.interval))
        pace.openWindows = 1000
        #expect(pace.interval == 5000)
    }

    @Test func aSingleSlowWindowIsNotTheMeasureOfAll() {
        var pace = UpdatePace(wished: 5000)
        pace.openWindows = 1_000_000
        for _ in 0..<100 { pace.observe(windows: 50_000, duration: .milliseconds(1500)) }
        let before = pace.interval
        pace.observe(windows: 1, duration: .milliseconds(20))
        #expect(Double(pace.interval) < Double(before) * 1.5)
        pace.observe(windows: 0, duration: .seconds(1))
        #expect(Double(pace.interval) < Double(before) * 1.5)
    }
}
