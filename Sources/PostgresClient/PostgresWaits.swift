import Synchronization

/// Bounds the waits of the connections that share it.
///
/// A server that vanishes with a packet lost is noticed by TCP (`tcp_user_timeout`, keepalives). One that is still
/// connected but gives no answer, such as behind a proxy that takes everything and forwards nothing, looks like one that
/// works on a long statement. So while an answer is missing for `silence`, and again and again, a second connection asks
/// the server whether it works on it; only if it does the wait goes on, however long that takes.
public final class PostgresWaits: Sendable {
    private struct State {
        /// The longest silence from `since` on, without asking.
        var limit: Duration?
        var since = ContinuousClock.now
        /// Every wait is over from then on.
        var end: ContinuousClock.Instant?
    }

    /// Silence after which the server is asked whether it works on what it was told; nil: never.
    let silence: Duration?
    private let state = Mutex(State())

    /// Makes bounds.
    /// - Parameter silence: after how long without an answer, and how often from then on, the server is asked.
    public init(silence: Duration = .seconds(15)) {
        self.silence = silence
    }

    /// The bounds of a connection that asks nobody and gives up by itself.
    init(limit: Duration) {
        silence = nil
        state.withLock { $0.limit = limit }
    }

    /// The program stops: a wait that is silent for longer than `limit` from now on fails, and then every other one with
    /// it, as the server is away; when `total` has passed every wait fails, also one that has not begun.
    public func stop(limit: Duration = .seconds(4), total: Duration = .seconds(10)) {
        state.withLock { state in
            state.limit = limit
            state.since = .now
            state.end = min(.now + total, state.end ?? .now + total)
        }
    }

    /// Every wait fails, also one that has not begun.
    public func end() {
        state.withLock { $0.end = .now }
    }

    /// Why a wait is over, if it is.
    /// - Parameter began: when it began, or its last answer came.
    func verdict(of began: ContinuousClock.Instant) -> String? {
        state.withLock { state in
            let now = ContinuousClock.now
            if let end = state.end, now >= end { return "the program stops and waits no longer" }
            guard let limit = state.limit, now - max(began, state.since) >= limit else { return nil }
            // Once a program that stops has waited in vain, nothing waits any more.
            if state.end != nil { state.end = now }
            return "the server does not answer (waited \(limit.components.seconds) s)"
        }
    }

    /// Whether the program stops.
    var isStopping: Bool { state.withLock { $0.end != nil } }
}
