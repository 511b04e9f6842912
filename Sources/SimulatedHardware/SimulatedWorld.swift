import Platform
import Readings

/// What the simulated chips live in: their air, and the time that passes for them.
public struct SimulatedWorld: WallClock {
    /// The air.
    public let environment: any Environment
    /// The time of day at the world's beginning.
    public let origin: Timestamp
    /// The time since the world's beginning, which only grows.
    public let elapsed: @Sendable () -> Duration

    /// Makes a world whose time runs on `clock`, from now on.
    /// - Parameters:
    ///   - environment: the air.
    ///   - origin: the time of day now: the real one, or a recording's first.
    ///   - clock: such as a `ScaledClock`, for a world that runs faster than the real one.
    public init(environment: any Environment, origin: Timestamp, clock: any Clock<Duration>) {
        self.environment = environment
        self.origin = origin
        elapsed = Platform.elapsed(on: clock)
    }

    /// Other air at the same time.
    public func with(_ environment: any Environment) -> SimulatedWorld {
        SimulatedWorld(environment: environment, origin: origin, elapsed: elapsed)
    }

    private init(environment: any Environment, origin: Timestamp, elapsed: @escaping @Sendable () -> Duration) {
        self.environment = environment
        self.origin = origin
        self.elapsed = elapsed
    }

    /// The time of day in the world.
    public func now() -> Timestamp {
        time(at: elapsed())
    }

    /// The air at a time since the world's beginning.
    func conditions(at elapsed: Duration) -> Conditions {
        environment.conditions(at: time(at: elapsed))
    }

    private func time(at elapsed: Duration) -> Timestamp {
        Timestamp(milliseconds: origin.milliseconds + elapsed.millisecondsRoundedDown)
    }
}
