import Glibc

/// Tells the fetching thread whether the writer waits for it: while the writer is busy a batch may grow, when it waits
/// the batch goes at once. So batches are as small as the load allows.
final class WriterGate: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var isOpen = true
    private var limit: Int

    /// - Parameter limit: the most messages of the first batch.
    init(limit: Int) {
        self.limit = limit
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(condition, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    /// The writer is busy.
    func close() {
        pthread_mutex_lock(mutex)
        isOpen = false
        pthread_mutex_unlock(mutex)
    }

    /// The writer waits for a batch.
    func open() {
        pthread_mutex_lock(mutex)
        isOpen = true
        pthread_cond_broadcast(condition)
        pthread_mutex_unlock(mutex)
    }

    /// The most messages of the batch that is being fetched.
    var batchLimit: Int {
        get {
            pthread_mutex_lock(mutex)
            defer { pthread_mutex_unlock(mutex) }
            return limit
        }
        set {
            pthread_mutex_lock(mutex)
            limit = newValue
            pthread_mutex_unlock(mutex)
        }
    }

    /// Blocks until the writer waits.
    /// - Returns: whether it does; false if the time ran out.
    func wait(milliseconds: Int64) -> Bool {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        if isOpen || milliseconds <= 0 { return isOpen }
        var deadline = timespec()
        clock_gettime(CLOCK_MONOTONIC, &deadline)
        deadline.tv_sec += Int(milliseconds / 1000)
        deadline.tv_nsec += Int(milliseconds % 1000) * 1_000_000
        if deadline.tv_nsec >= 1_000_000_000 {
            deadline.tv_sec += 1
            deadline.tv_nsec -= 1_000_000_000
        }
        while !isOpen, pthread_cond_timedwait(condition, mutex, &deadline) == 0 {}
        return isOpen
    }
}
