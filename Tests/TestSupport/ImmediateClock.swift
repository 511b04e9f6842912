import Synchronization

/// A clock for tests, which does not wait: who sleeps moves the time to the end of the sleep.
public final class ImmediateClock: Clock {
    /// A point in time: how long after the clock's making.
    public typealias Instant = ManualClock.Instant

    private let elapsed = Mutex(Duration.zero)

    /// Makes a clock at zero.
    public init() {}

    /// The time now.
    public var now: Instant { Instant(elapsed: elapsed.withLock { $0 }) }

    /// One attosecond.
    public var minimumResolution: Duration { Duration(secondsComponent: 0, attosecondsComponent: 1) }

    /// Moves the time to `deadline` if it lies ahead.
    public func sleep(until deadline: Instant, tolerance: Duration?) async throws {
        try Task.checkCancellation()
        elapsed.withLock { $0 = max($0, deadline.elapsed) }
    }
}
