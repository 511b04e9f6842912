import CPlatform
import Glibc

/// A serial executor with one thread of its own, for actors whose work blocks: a device, a file, a socket.
///
/// An actor that returns `executor.asUnownedSerialExecutor()` as its `unownedExecutor` runs on that thread alone,
/// so a blocking call never holds a thread of Swift's cooperative pool. Several actors may share one executor; then
/// they also exclude each other between suspension points, as the chips on one I2C bus must.
///
/// The thread ends when the last reference to the executor goes.
public final class ThreadExecutor: SerialExecutor {
    private let queue: JobQueue

    /// Starts the thread.
    /// - Parameters:
    ///   - name: shown by `ps -L` and debuggers; the kernel keeps its first 15 bytes (prctl(2), PR_SET_NAME).
    ///   - observer: told when there is something to do.
    public init(name: String, observer: (any WorkObserver)? = nil) {
        let queue = JobQueue(observer: observer)
        self.queue = queue
        startThread(name: name) { queue.run() }
    }

    deinit {
        queue.close()
    }

    /// Queues a job of an actor that runs here. Called by the runtime.
    public func enqueue(_ job: consuming ExecutorJob) {
        queue.append(UnownedJob(job), on: .serial(asUnownedSerialExecutor()))
    }

    /// This executor as an actor's `unownedExecutor` returns it.
    public func asUnownedSerialExecutor() -> UnownedSerialExecutor {
        UnownedSerialExecutor(ordinary: self)
    }
}

/// A task executor with one thread of its own: what tasks that prefer it do outside of actors with executors of their
/// own happens there, in order.
public final class ThreadTaskExecutor: TaskExecutor {
    private let queue: JobQueue

    /// Starts the thread, as `ThreadExecutor` does.
    public init(name: String, observer: (any WorkObserver)? = nil) {
        let queue = JobQueue(observer: observer)
        self.queue = queue
        startThread(name: name) { queue.run() }
    }

    deinit {
        queue.close()
    }

    /// Queues a job of a task that prefers this executor. Called by the runtime.
    public func enqueue(_ job: consuming ExecutorJob) {
        queue.append(UnownedJob(job), on: .task(asUnownedTaskExecutor()))
    }
}

/// Told when executors have something to do, so that it knows when all of them have come to rest.
public protocol WorkObserver: AnyObject, Sendable {
    /// An executor that had come to rest has a job. Called with a lock held: must return at once.
    func workBegan()

    /// An executor has no job left. What its jobs led to on other executors has begun before.
    func workEnded()
}

/// Starts a detached thread that runs `body` once.
/// - Parameters:
///   - name: as in `ThreadExecutor.init(name:)`.
///   - body: what the thread does; the thread ends when it returns.
public func startThread(name: String, _ body: @escaping @Sendable () -> Void) {
    final class Start {
        let name: String
        let body: @Sendable () -> Void
        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }
    let start = Unmanaged.passRetained(Start(name: name, body: body))
    var thread = pthread_t()
    let status = pthread_create(
        &thread, nil,
        { argument in
            guard let argument else { return nil }
            let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
            vigie_set_thread_name(start.name)
            start.body()
            return nil
        }, start.toOpaque())
    // Without a thread the program cannot do anything that it promises.
    precondition(status == 0, "pthread_create failed with error \(status): too many threads or too little memory")
    pthread_detach(thread)
}

/// The jobs that wait for the thread, behind a mutex and a condition variable.
private final class JobQueue: @unchecked Sendable {
    /// As what a job runs.
    enum Role {
        case serial(UnownedSerialExecutor)
        case task(UnownedTaskExecutor)
    }

    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private let observer: (any WorkObserver)?
    private var jobs: [(job: UnownedJob, role: Role)] = []
    private var isClosed = false
    /// Whether there are jobs, or one runs.
    private var isBusy = false

    init(observer: (any WorkObserver)?) {
        self.observer = observer
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, nil)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    func append(_ job: UnownedJob, on role: Role) {
        pthread_mutex_lock(mutex)
        jobs.append((job, role))
        let isIdle = !isBusy
        if isIdle {
            isBusy = true
            observer?.workBegan()
        }
        pthread_mutex_unlock(mutex)
        // A thread that is busy looks for jobs by itself. Signalled with the mutex held, the thread would wake for nothing.
        if isIdle { pthread_cond_signal(condition) }
    }

    func close() {
        pthread_mutex_lock(mutex)
        isClosed = true
        pthread_cond_signal(condition)
        pthread_mutex_unlock(mutex)
    }

    /// Runs jobs in order until closed and empty.
    func run() {
        var taken: [(job: UnownedJob, role: Role)] = []
        while true {
            pthread_mutex_lock(mutex)
            while jobs.isEmpty {
                if isBusy {
                    isBusy = false
                    // It may lead to jobs here.
                    pthread_mutex_unlock(mutex)
                    observer?.workEnded()
                    pthread_mutex_lock(mutex)
                } else if isClosed {
                    break
                } else {
                    pthread_cond_wait(condition, mutex)
                }
            }
            swap(&taken, &jobs)
            pthread_mutex_unlock(mutex)
            if taken.isEmpty { return }
            for (job, role) in taken {
                switch role {
                case .serial(let executor): job.runSynchronously(on: executor)
                case .task(let executor): job.runSynchronously(on: executor)
                }
            }
            taken.removeAll(keepingCapacity: true)
        }
    }
}
