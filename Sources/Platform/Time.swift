extension Duration {
    /// Whole milliseconds, rounded towards zero.
    public var millisecondsRoundedDown: Int64 {
        components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000
    }
}

/// The time since this call on a clock of any kind.
public func elapsed(on clock: any Clock<Duration>) -> @Sendable () -> Duration {
    func begin<C: Clock<Duration>>(_ clock: C) -> @Sendable () -> Duration {
        let start = clock.now
        return { start.duration(to: clock.now) }
    }
    return begin(clock)
}
