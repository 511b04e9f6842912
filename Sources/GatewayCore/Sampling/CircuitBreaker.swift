/// Whether a chip is asked at all: after a failure it is tried again beside the schedule, with growing pauses, and the
/// samples do without it meanwhile.
///
/// A pause is at most about as long as the chip has been away, and never longer than `longestPause`: that, and the time
/// that the chip needs to start, bounds how long its values stay away once it is sound again.
struct CircuitBreaker: Sendable, Equatable {
    /// Whether a chip is asked.
    enum State: String, CaseIterable, Sendable {
        /// It is.
        case closed
        /// It rests.
        case open
        /// It is being tried: initialised, then asked for a value.
        case halfOpen = "half_open"
    }

    /// The longest pause between two tries.
    static let longestPause = Duration.seconds(300)
    /// So many tries in a row must have failed before the chip's power is to be cycled ...
    static let failuresUntilDead = 5
    /// ... and so many more, about an hour of them, before it is to be cycled again.
    static let failuresBetweenCycles = 12

    private(set) var state = State.closed
    /// Failures in a row.
    private(set) var failures = 0

    /// How long the chip rests before the next try: not at all after the first failure, and then 1 s, 2 s, 4 s ...
    var pause: Duration {
        failures <= 1 ? .zero : min(.seconds(1) * (1 << min(failures - 2, 9)), CircuitBreaker.longestPause)
    }

    /// Whether nothing that can be said to the chip helps, and its power should be cycled.
    var isDead: Bool {
        failures >= CircuitBreaker.failuresUntilDead
            && (failures - CircuitBreaker.failuresUntilDead) % CircuitBreaker.failuresBetweenCycles == 0
    }

    /// The chip gave a value.
    mutating func succeeded() {
        self = CircuitBreaker()
    }

    /// The chip failed.
    mutating func failed() {
        failures += 1
        state = .open
    }

    /// The pause is over.
    mutating func tryAgain() {
        state = .halfOpen
    }

    /// What was before counts no longer: the chip had its power cycled.
    mutating func restarted() {
        failures = min(failures, 1)
        if state == .closed { state = .open }
    }
}
