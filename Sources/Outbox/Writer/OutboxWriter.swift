import Platform
import Synchronization

/// How many readings are committed together, and how long they may wait for it: a power cut loses what waits.
public struct CommitBudget: Sendable, Equatable {
    /// So many readings are committed at once; 0 or 1 commits each by itself.
    public var readings: Int
    /// The longest wait while the broker takes readings.
    public var within: Duration
    /// The longest wait while it does not, and nobody waits for them.
    public var offline: Duration

    /// Makes a budget.
    public init(readings: Int = 100, within: Duration = .milliseconds(100), offline: Duration = .seconds(2)) {
        self.readings = readings
        self.within = within
        self.offline = offline
    }

    /// Each reading is committed by itself.
    public static let each = CommitBudget(readings: 1, within: .zero, offline: .zero)

    /// The longest wait now.
    func wait(isOnline: Bool) -> Duration { isOnline ? within : offline }
}

/// What a writer tells. All is called on a thread of Swift's pool and must return at once.
public struct OutboxWriterObserver: Sendable {
    /// Readings were committed: how many, and how long the oldest of them was at risk.
    public var committed: @Sendable (_ count: Int, _ atRisk: Duration) -> Void
    /// The storage takes no readings; called with each attempt, with how many wait.
    public var refused: @Sendable (_ error: OutboxError, _ waiting: Int) -> Void
    /// It takes them again.
    public var recovered: @Sendable () -> Void
    /// Readings were given up, since the queue is full.
    public var dropped: @Sendable (_ count: Int) -> Void

    /// Makes an observer; what is not given is not told.
    public init(
        committed: @escaping @Sendable (_ count: Int, _ atRisk: Duration) -> Void = { _, _ in },
        refused: @escaping @Sendable (_ error: OutboxError, _ waiting: Int) -> Void = { _, _ in },
        recovered: @escaping @Sendable () -> Void = {}, dropped: @escaping @Sendable (_ count: Int) -> Void = { _ in }
    ) {
        self.committed = committed
        self.refused = refused
        self.recovered = recovered
        self.dropped = dropped
    }
}

/// Puts readings into the outbox, in groups, while the sampler goes on.
///
/// `enqueue` returns at once, whatever the storage does. Readings wait in a bounded queue; while the storage takes
/// none, the oldest are given up beyond its bound, and the outbox then tells the centre of their numbers.
public final class OutboxWriter: Sendable {
    private let outbox: Outbox
    private let budget: CommitBudget
    private let clock: any Clock<Duration>
    private let passed: @Sendable () -> Duration
    private let observer: OutboxWriterObserver
    private let wakes = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    private let state: Mutex<State>

    private struct State {
        var queue: WriteQueue
        var isOnline = false
        var isFinishing = false
        /// When the last attempt is due, once no further reading comes.
        var end: Duration?
        /// What is being committed: how many readings, and since when the oldest of them waits.
        var committing: (count: Int, oldest: Duration)?
        /// When the next attempt is due after one that failed; nil if the last one did not.
        var retry: Duration?
        var backoff = OutboxWriter.firstBackoff
        /// Whether the last attempt, after which no further reading came, failed.
        var hasGivenUp = false
        /// When a timer wakes the writer; nil if none runs.
        var timer: Duration?
        /// Who waits until nothing waits to be committed.
        var waiters: [CheckedContinuation<Void, Never>] = []

        /// Takes those who need not wait any more.
        mutating func takeWaiters() -> [CheckedContinuation<Void, Never>] {
            guard queue.isEmpty && committing == nil || retry != nil else { return [] }
            defer { waiters = [] }
            return waiters
        }
    }

    /// The most readings of one transaction.
    private static let largestGroup = 1000

    /// Makes a writer, which begins with `run`.
    /// - Parameters:
    ///   - capacity: the most readings that wait in memory, at least 1.
    ///   - clock: what the budget and the pauses between attempts are measured by.
    public init(
        outbox: Outbox, budget: CommitBudget = CommitBudget(), capacity: Int = 10_000,
        clock: any Clock<Duration> = ContinuousClock(), observer: OutboxWriterObserver = OutboxWriterObserver()
    ) {
        self.outbox = outbox
        self.budget = budget
        self.clock = clock
        self.observer = observer
        passed = elapsed(on: clock)
        state = Mutex(State(queue: WriteQueue(capacity: capacity)))
    }

    /// Adds a reading. Never waits.
    public func enqueue(_ record: OutboxRecord) {
        let now = passed()
        let dropped = state.withLock { state in
            let before = state.queue.dropped
            state.queue.append(record, at: now)
            return state.queue.dropped - before
        }
        if dropped > 0 { observer.dropped(dropped) }
        wakes.continuation.yield()
    }

    /// Says whether the broker takes readings: they are committed sooner then.
    public func set(isOnline: Bool) {
        let isChanged = state.withLock { state in
            defer { state.isOnline = isOnline }
            return state.isOnline != isOnline
        }
        if isChanged { wakes.continuation.yield() }
    }

    /// Readings in memory that are not committed.
    public var waiting: Int { state.withLock { $0.queue.count + ($0.committing?.count ?? 0) } }

    /// How long the oldest reading that is not committed has been at risk.
    public var atRisk: Duration {
        let now = passed()
        return state.withLock { $0.committing?.oldest ?? $0.queue.oldest }.map { now - $0 } ?? .zero
    }

    /// Returns when no reading waits, or when the storage takes none.
    public func settled() async {
        await withCheckedContinuation { continuation in
            let free = state.withLock { state in
                state.waiters.append(continuation)
                return state.takeWaiters()
            }
            for waiter in free { waiter.resume() }
        }
    }

    /// No reading comes any more: `run` commits what waits at once and returns.
    /// - Parameter bound: how long it goes on trying while the storage takes none.
    public func finish(within bound: Duration = .zero) {
        let end = passed() + bound
        state.withLock { state in
            state.isFinishing = true
            state.end = end
            state.retry = nil
        }
        wakes.continuation.yield()
    }

    /// Commits readings until `finish`.
    /// - Returns: how many could not be committed and are lost.
    public func run() async -> Int {
        for await _ in wakes.stream {
            while let (group, isFinishing) = takeDue() { await commit(group, isFinishing: isFinishing) }
            let lost = state.withLock { state in
                state.isFinishing && (state.queue.isEmpty || state.hasGivenUp) ? state.queue.count : nil
            }
            if let lost { return lost }
        }
        return 0
    }

    /// Takes the readings that are to be committed now. If there are none, a timer wakes the writer when there will be.
    /// - Returns: the readings, and whether no further ones come.
    private func takeDue() -> (group: WriteQueue.Group, isFinishing: Bool)? {
        let now = passed()
        let (due, timer): ((WriteQueue.Group, Bool)?, Duration?) = state.withLock { state in
            guard let oldest = state.queue.oldest, !state.hasGivenUp else { return (nil, nil) }
            var due = oldest + budget.wait(isOnline: state.isOnline)
            // A queue that is full waits for nothing: what it gives up would put the time off again and again.
            if state.queue.count >= budget.readings || state.queue.isFull || state.isFinishing { due = now }
            if let retry = state.retry { due = retry }
            guard due > now else {
                let group = state.queue.take(Self.largestGroup)
                state.committing = group.map { ($0.records.count, $0.oldest) }
                return (group.map { ($0, state.isFinishing) }, nil)
            }
            if let timer = state.timer, timer <= due { return (nil, nil) }
            state.timer = due
            return (nil, due)
        }
        if let timer { wake(at: timer, in: timer - now) }
        return due
    }

    private func wake(at time: Duration, in pause: Duration) {
        Task { [self] in
            try? await clock.sleep(for: pause)
            state.withLock { if $0.timer == time { $0.timer = nil } }
            wakes.continuation.yield()
        }
    }

    /// - Parameter isFinishing: whether `finish` was called before the attempt began. One that began earlier is not the last:
    ///   what it failed for may be over by then.
    private func commit(_ group: WriteQueue.Group, isFinishing: Bool) async {
        let isBeyondBounds: Bool
        do throws(OutboxError) {
            isBeyondBounds = try await outbox.write(group.records, dropped: group.dropped).isBeyondBounds
        } catch {
            let now = passed()
            let (waiters, waiting) = state.withLock { state in
                state.queue.putBack(group)
                state.committing = nil
                state.retry = state.isFinishing && !isFinishing ? nil : now + state.backoff.next()
                state.hasGivenUp = isFinishing && state.end.map { now >= $0 } ?? false
                return (state.takeWaiters(), state.queue.count)
            }
            for waiter in waiters { waiter.resume() }
            observer.refused(error, waiting)
            return
        }
        let now = passed()
        let (isRecovered, waiters) = state.withLock { state in
            let isRecovered = state.retry != nil
            state.committing = nil
            state.retry = nil
            state.backoff = Self.firstBackoff
            return (isRecovered, state.takeWaiters())
        }
        if isRecovered { observer.recovered() }
        observer.committed(group.records.count, now - group.oldest)
        do throws(OutboxError) {
            if isBeyondBounds { while try await outbox.keepBounds() {} }
        } catch {
            observer.refused(error, waiting)
        }
        for waiter in waiters { waiter.resume() }
    }

    private static let firstBackoff = Backoff(firstMilliseconds: 200, longestMilliseconds: 2000)
}
