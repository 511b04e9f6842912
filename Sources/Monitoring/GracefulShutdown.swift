import Synchronization

/// A request to stop that is made once and reaches every handler, also those that are added after it.
public final class ShutdownRequest: Sendable {
    private struct State {
        var isMade = false
        var nextIdentifier = 0
        var handlers: [Int: @Sendable () -> Void] = [:]
    }

    /// The request that concerns the current task, set by `ServiceGroup`.
    @TaskLocal public static var current: ShutdownRequest?

    private let state = Mutex(State())

    /// Makes a request that is not made yet.
    public init() {}

    /// Whether it was made.
    public var isMade: Bool { state.withLock { $0.isMade } }

    /// Makes the request: calls every handler once. More calls do nothing.
    public func make() {
        let handlers = state.withLock { state in
            state.isMade = true
            defer { state.handlers = [:] }
            return state.handlers
        }
        for (_, handler) in handlers.sorted(by: { $0.key < $1.key }) { handler() }
    }

    /// Adds a handler, or calls it at once if the request was made. Returns what `remove` needs.
    fileprivate func add(_ handler: @escaping @Sendable () -> Void) -> Int? {
        let identifier = state.withLock { state -> Int? in
            if state.isMade { return nil }
            state.nextIdentifier += 1
            state.handlers[state.nextIdentifier] = handler
            return state.nextIdentifier
        }
        if identifier == nil { handler() }
        return identifier
    }

    fileprivate func remove(_ identifier: Int?) {
        guard let identifier else { return }
        state.withLock { _ = $0.handlers.removeValue(forKey: identifier) }
    }
}

/// Runs `operation`, and calls `handler` when the group of the current service asks it to stop.
///
/// The handler runs at most once, on the thread of whoever asks, at once if the request was made before. It should make
/// `operation` finish what it has begun and return. Outside a `ServiceGroup` it never runs.
public func withGracefulShutdownHandler<Result: Sendable>(
    isolation: isolated (any Actor)? = #isolation,
    operation: () async throws -> Result, onGracefulShutdown handler: @escaping @Sendable () -> Void
) async rethrows -> Result {
    guard let request = ShutdownRequest.current else { return try await operation() }
    let identifier = request.add(handler)
    defer { request.remove(identifier) }
    return try await operation()
}

/// Runs `operation` and cancels it when the group of the current service asks it to stop.
///
/// For work that may be dropped at any suspension point, such as a loop that sleeps. What `operation` throws then, as a
/// rule CancellationError, is thrown on.
public func cancelOnGracefulShutdown<Result: Sendable>(
    _ operation: @escaping @Sendable () async throws -> Result
) async throws -> Result {
    let task = Task(operation: operation)
    return try await withTaskCancellationHandler {
        try await withGracefulShutdownHandler {
            try await task.value
        } onGracefulShutdown: {
            task.cancel()
        }
    } onCancel: {
        task.cancel()
    }
}

/// Returns when the group of the current service asks it to stop, or when the task is cancelled.
public func gracefulShutdown() async {
    let (stream, continuation) = AsyncStream.makeStream(of: Never.self)
    await withGracefulShutdownHandler {
        for await _ in stream {}
    } onGracefulShutdown: {
        continuation.finish()
    }
}
