import Glibc
import Platform
import Synchronization

/// A blocking call on a thread of its own, which its caller may let go of: the call goes on alone, and what it returns
/// is thrown away.
final class AsideCall<Value: Sendable>: Sendable {
    private struct State {
        var value: Value?
        var isLetGo = false
    }

    private let state = Mutex(State())
    /// Readable, by its other end being closed, when the call has returned.
    private let done: Int32

    /// Begins the call; nil if there is no descriptor left for it.
    /// - Parameter discard: takes what the call returned after it was let go of.
    init?(
        thread name: String, _ body: @escaping @Sendable () -> Value,
        discard: @escaping @Sendable (Value) -> Void = { _ in }
    ) {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { return nil }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        done = ends[0]
        let writeEnd = ends[1]
        startThread(name: name) { [self] in
            let value = body()
            let isWanted = state.withLock { state in
                if !state.isLetGo { state.value = value }
                return !state.isLetGo
            }
            if !isWanted { discard(value) }
            close(writeEnd)
        }
    }

    deinit {
        close(done)
    }

    /// What the call has returned; nil while it runs.
    var value: Value? { state.withLock { $0.value } }

    /// Waits for the call for as long as `mayGoOn` says, which is asked several times a second.
    /// - Returns: what it returned; nil if it was let go of.
    func wait(while mayGoOn: () -> Bool) -> Value? {
        while true {
            var descriptor = pollfd(fd: done, events: Int16(POLLIN), revents: 0)
            _ = poll(&descriptor, 1, PostgresConnection.slice)
            if let value { return value }
            if mayGoOn() { continue }
            return state.withLock { state in
                state.isLetGo = true
                return state.value
            }
        }
    }
}
