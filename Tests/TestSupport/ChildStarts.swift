import Glibc

/// Keeps starts of child processes apart from what must not happen beside one: all unit tests run in one process.
///
/// From fork to exec a child has the sockets of this process too, also those that close at exec. librdkafka's mock cluster
/// closes the listener of a broker that goes down and binds another one to its port; while a child has the first one, the
/// port is in use, and librdkafka aborts the process (rdkafka_mock.c, 2.0.2 and 2.8.0).
public enum ChildStarts {
    private nonisolated(unsafe) static let lock: UnsafeMutablePointer<pthread_rwlock_t> = {
        let lock = UnsafeMutablePointer<pthread_rwlock_t>.allocate(capacity: 1)
        precondition(pthread_rwlock_init(lock, nil) == 0)
        return lock
    }()

    /// Starts a child, beside others.
    public static func allowed<Result>(_ body: () throws -> Result) rethrows -> Result {
        pthread_rwlock_rdlock(lock)
        defer { pthread_rwlock_unlock(lock) }
        return try body()
    }

    /// Does what must not meet the start of a child.
    public static func excluded<Result>(_ body: () throws -> Result) rethrows -> Result {
        pthread_rwlock_wrlock(lock)
        defer { pthread_rwlock_unlock(lock) }
        return try body()
    }
}
