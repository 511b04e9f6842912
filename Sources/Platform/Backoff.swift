/// Waiting times that double from a first to a longest one, each shortened at random by up to a half, so that many who
/// wait for the same server do not come back at once.
public struct Backoff: Sendable {
    private let longest: Int64
    private var bound: Int64

    /// Makes the sequence.
    /// - Parameters:
    ///   - first: the first bound, milliseconds, from 1.
    ///   - longest: the last one, milliseconds.
    public init(firstMilliseconds first: Int64, longestMilliseconds longest: Int64) {
        bound = max(1, first)
        self.longest = max(bound, longest)
    }

    /// The next waiting time.
    public mutating func next() -> Duration {
        defer { bound = bound > longest / 2 ? longest : bound * 2 }
        return .milliseconds(Int64.random(in: (bound - bound / 2)...bound))
    }
}
