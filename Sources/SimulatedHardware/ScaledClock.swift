import Readings

/// A clock that runs `speed` times as fast as the real one: to sleep an hour at speed 60 takes a minute.
public struct ScaledClock: Clock {
    /// A point in time: how long after the clock's making.
    public struct Instant: InstantProtocol {
        /// Simulated time since the clock was made.
        public var elapsed: Duration

        /// Makes an instant.
        public init(elapsed: Duration) {
            self.elapsed = elapsed
        }

        /// The instant after `duration`.
        public func advanced(by duration: Duration) -> Instant {
            Instant(elapsed: elapsed + duration)
        }

        /// The time from here to `other`.
        public func duration(to other: Instant) -> Duration {
            other.elapsed - elapsed
        }

        /// Orders by time.
        public static func < (left: Instant, right: Instant) -> Bool {
            left.elapsed < right.elapsed
        }
    }

    /// Simulated seconds in a real one.
    public let speed: Double
    private let start = ContinuousClock.now

    /// The speeds that there are. Slower ones would make a sleep longer than a `Duration` holds.
    public static let speeds = 0.001...1_000_000

    /// Starts a clock.
    /// - Parameter speed: simulated seconds in a real one.
    /// - Returns: nil unless it is one of `speeds`.
    public init?(speed: Double) {
        guard ScaledClock.speeds.contains(speed) else { return nil }
        self.speed = speed
    }

    /// Starts a clock that runs as fast as the real one.
    public init() {
        speed = 1
    }

    /// The time now.
    public var now: Instant {
        let real = ContinuousClock.now - start
        return Instant(elapsed: speed == 1 ? real : real * speed)
    }

    /// The smallest step that it shows.
    public var minimumResolution: Duration {
        ContinuousClock().minimumResolution * max(speed, 1)
    }

    /// Sleeps until `deadline` of simulated time.
    public func sleep(until deadline: Instant, tolerance: Duration?) async throws {
        let real = speed == 1 ? deadline.elapsed : deadline.elapsed / speed
        try await ContinuousClock().sleep(until: start + real, tolerance: tolerance.map { $0 / speed })
    }
}
