import Glibc

/// The time of day, which may step. Passed in wherever it is needed, so that tests and recorded air control it.
public protocol WallClock: Sendable {
    /// The time now.
    func now() -> Timestamp
}

/// The kernel's wall clock (CLOCK_REALTIME, clock_gettime(2)).
public struct SystemWallClock: WallClock {
    /// Makes the clock.
    public init() {}

    /// The time now.
    public func now() -> Timestamp {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(milliseconds: Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000)
    }
}
