import Platform
import Testing

@Suite struct BackoffTests {
    @Test func doublesUpToTheLongestShortenedByAHalfAtMost() {
        for _ in 0..<200 {
            var backoff = Backoff(firstMilliseconds: 100, longestMilliseconds: 1000)
            for bound in [100, 200, 400, 800, 1000, 1000] {
                let wait = backoff.next()
                #expect(wait >= .milliseconds(bound / 2) && wait <= .milliseconds(bound))
            }
        }
    }

    @Test func strangeBoundsDoNotTrap() {
        var backoff = Backoff(firstMilliseconds: -5, longestMilliseconds: .max)
        for _ in 0..<200 {
            let wait = backoff.next()
            #expect(wait > .zero)
        }
    }
}
