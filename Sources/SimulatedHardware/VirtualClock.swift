import Glibc
import Platform
import Synchronization

/// A clock on which time passes only when there is nothing else to do: once everything on its executors has come to
/// rest, it jumps to the moment at which the next sleeper wakes.
///
/// So a day takes as long as the work in it, however many tasks wait for one another, and the same work always happens
/// at the same times: a machine that is busy with other things changes nothing. For this all that sleeps on it, and all
/// that sleepers wait for, must run on executors that it observes: actors on a `ThreadExecutor`, tasks on a
/// `ThreadTaskExecutor`. Who sleeps elsewhere makes the time pass at once if nothing else is at work.
public final class VirtualClock: Clock, WorkObserver {
    /// A point in time: how long after the clock's making.
    public typealias Instant = ScaledClock.Instant

    private struct Sleeper {
        var number: Int
        var deadline: Duration
        var wake: @Sendable (_ isCancelled: Bool) -> Void
    }

    private struct State {
        var elapsed = Duration.zero
        /// Executors that have something to do.
        var work = 0
        var lastNumber = 0
        /// In the order in which they wake.
        var sleepers: [Sleeper] = []
        /// Cancelled before they were asleep.
        var cancelled: Set<Int> = []
    }

    private let state = Mutex(State())

    /// Makes a clock at zero.
    public init() {}

    /// The time now.
    public var now: Instant { Instant(elapsed: state.withLock { $0.elapsed }) }

    /// One attosecond.
    public var minimumResolution: Duration { Duration(secondsComponent: 0, attosecondsComponent: 1) }

    /// Somebody is at work: time stands still.
    public func workBegan() {
        state.withLock { $0.work += 1 }
    }

    /// Somebody has come to rest: if it was the last, time goes on.
    public func workEnded() {
        while true {
            let sleeper: Sleeper? = state.withLock { state in
                state.work -= 1
                guard state.work == 0, !state.sleepers.isEmpty else { return nil }
                let sleeper = state.sleepers.removeFirst()
                state.elapsed = max(state.elapsed, sleeper.deadline)
                // To wake somebody is work, until that has led to a job.
                state.work = 1
                return sleeper
            }
            guard let sleeper else { return }
            sleeper.wake(false)
        }
    }

    /// Sleeps until `deadline`. Sleepers with the same deadline wake one after the other, each when all that the one
    /// before led to has come to rest.
    public func sleep(until deadline: Instant, tolerance: Duration?) async throws {
        try Task.checkCancellation()
        workBegan()
        let number = state.withLock { state in
            state.lastNumber += 1
            return state.lastNumber
        }
        defer { state.withLock { _ = $0.cancelled.remove(number) } }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                let isCancelled = insert(
                    Sleeper(number: number, deadline: deadline.elapsed) { isCancelled in
                        if isCancelled {
                            continuation.resume(throwing: CancellationError())
                        } else {
                            continuation.resume()
                        }
                    })
                if isCancelled { continuation.resume(throwing: CancellationError()) }
                workEnded()
            }
        } onCancel: {
            cancel(number)
        }
    }

    /// Blocks a thread until `deadline`, as a transfer that hangs in the kernel does. To be called from a job on an
    /// observed executor.
    public func block(until deadline: Instant) {
        let semaphore = Semaphore()
        let number = state.withLock { state in
            state.lastNumber += 1
            return state.lastNumber
        }
        _ = insert(
            Sleeper(number: number, deadline: deadline.elapsed) { [self] _ in
                // The job goes on.
                workBegan()
                semaphore.signal()
            })
        workEnded()
        semaphore.wait()
    }

    /// Adds a sleeper, unless it was cancelled already.
    private func insert(_ sleeper: Sleeper) -> Bool {
        state.withLock { state in
            if state.cancelled.contains(sleeper.number) { return true }
            let index =
                state.sleepers.firstIndex { $0.deadline > sleeper.deadline } ?? state.sleepers.endIndex
            state.sleepers.insert(sleeper, at: index)
            return false
        }
    }

    private func cancel(_ number: Int) {
        let sleeper: Sleeper? = state.withLock { state in
            guard let index = state.sleepers.firstIndex(where: { $0.number == number }) else {
                state.cancelled.insert(number)
                return nil
            }
            return state.sleepers.remove(at: index)
        }
        sleeper?.wake(true)
    }
}

/// sem_overview(7).
private final class Semaphore: @unchecked Sendable {
    private let semaphore = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

    init() { sem_init(semaphore, 0, 0) }

    deinit {
        sem_destroy(semaphore)
        semaphore.deallocate()
    }

    func signal() { sem_post(semaphore) }

    /// Returns once `signal` was called.
    func wait() {
        // A signal handler may interrupt it.
        while sem_wait(semaphore) != 0 {}
    }
}
