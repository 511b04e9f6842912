import Synchronization

/// A clock that a test moves by hand, and that tells when somebody sleeps.
public final class ManualClock: Clock {
    /// A time since the clock was made.
    public struct Instant: InstantProtocol {
        /// That time.
        public var elapsed: Duration

        /// Makes an instant.
        public init(elapsed: Duration) {
            self.elapsed = elapsed
        }

        /// Another time.
        public func advanced(by duration: Duration) -> Instant { Instant(elapsed: elapsed + duration) }

        /// The time to another one.
        public func duration(to other: Instant) -> Duration { other.elapsed - elapsed }

        /// Whether `left` is earlier.
        public static func < (left: Instant, right: Instant) -> Bool { left.elapsed < right.elapsed }
    }

    private struct State {
        var now = Duration.zero
        var nextSleeper = 0
        var sleepers: [Int: (deadline: Duration, continuation: CheckedContinuation<Void, any Error>)] = [:]
        var cancelled: Set<Int> = []
        var observers: [(count: Int, continuation: CheckedContinuation<Void, Never>)] = []
    }

    private let state = Mutex(State())

    /// Makes a clock that stands.
    public init() {}

    /// The time that it was moved to.
    public var now: Instant { Instant(elapsed: state.withLock { $0.now }) }
    /// The smallest step.
    public var minimumResolution: Duration { .nanoseconds(1) }

    /// Moves the time; whoever has slept enough wakes.
    public func advance(by duration: Duration) {
        let woken = state.withLock { state in
            state.now += duration
            let due = state.sleepers.filter { $0.value.deadline <= state.now }
            for identifier in due.keys { state.sleepers[identifier] = nil }
            return due.values.sorted { $0.deadline < $1.deadline }.map(\.continuation)
        }
        for continuation in woken { continuation.resume() }
    }

    /// Returns when so many sleep.
    public func untilSleepers(_ count: Int) async {
        await withCheckedContinuation { continuation in
            let isReached = state.withLock { state in
                if state.sleepers.count < count { state.observers.append((count, continuation)) }
                return state.sleepers.count >= count
            }
            if isReached { continuation.resume() }
        }
    }

    /// Sleeps until the clock has been moved so far.
    public func sleep(until deadline: Instant, tolerance: Duration?) async throws {
        let identifier = state.withLock { state in
            state.nextSleeper += 1
            return state.nextSleeper
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                lieDown(identifier, deadline.elapsed, continuation)
            }
        } onCancel: {
            let sleeper = state.withLock { state in
                state.cancelled.insert(identifier)
                return state.sleepers.removeValue(forKey: identifier)
            }
            sleeper?.continuation.resume(throwing: CancellationError())
        }
    }

    private func lieDown(
        _ identifier: Int, _ deadline: Duration, _ continuation: CheckedContinuation<Void, any Error>
    ) {
        let (isCancelled, isOver, observers) = state.withLock { state in
            if state.cancelled.contains(identifier) { return (true, false, [CheckedContinuation<Void, Never>]()) }
            if deadline <= state.now { return (false, true, []) }
            state.sleepers[identifier] = (deadline, continuation)
            let reached = state.observers.filter { $0.count <= state.sleepers.count }.map(\.continuation)
            state.observers.removeAll { $0.count <= state.sleepers.count }
            return (false, false, reached)
        }
        for observer in observers { observer.resume() }
        if isCancelled { continuation.resume(throwing: CancellationError()) }
        if isOver { continuation.resume() }
    }
}
