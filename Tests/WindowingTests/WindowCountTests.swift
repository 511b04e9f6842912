import Platform
import Readings
import TestSupport
import Testing
import Windowing

@Suite struct WindowCountTests {
    /// The count is a formula; the windows that are given one by one are the truth.
    @Test func asManyWindowsAreOpenAsAreGiven() throws {
        let policy = try #require(
            WindowPolicy(
                specifications: [(600_000, 60_000), (60_000, 60_000), (90_000, 30_000)].compactMap {
                    WindowSpecification(size: $0.0, slide: $0.1)
                }, lateness: 600_000))
        let seed = printedSeed()
        var random = SeededGenerator(seed: seed)
        for _ in 0..<50 {
            var windows = SensorWindows()
            #expect(windows.openWindowCount(policy) == 0)
            var time = Int64.random(in: 0...10_000_000, using: &random)
            for _ in 0..<40 {
                time += Int64.random(in: -300_000...400_000, using: &random)
                windows.add(
                    Observation(eventTime: time, interval: 1000, status: .ok, values: Values()), policy: policy)
                if Bool.random(using: &random) { windows.advance(policy: policy) { _ in } }
            }
            var count = 0
            windows.advance(policy: policy) { _ in }
            let expected = windows.openWindowCount(policy)
            windows.advance(through: .max - 1_000_000, policy: policy) { _ in count += 1 }
            #expect(expected == count)
            #expect(windows.openWindowCount(policy) == 0 && windows.isEmpty)
        }
    }
}
