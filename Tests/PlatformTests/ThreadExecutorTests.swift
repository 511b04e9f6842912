import Foundation
import Platform
import Synchronization
import Testing

/// The kernel's number of the calling thread: the last part of `<process>/task/<thread>` (proc_thread-self(5)).
private func currentThread() throws -> String {
    let path = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/thread-self")
    return URL(fileURLWithPath: path).lastPathComponent
}

/// An actor whose work runs on the executor that it is given.
private actor Worker {
    private nonisolated let executor: ThreadExecutor
    private var order: [Int] = []
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(_ executor: ThreadExecutor) {
        self.executor = executor
    }

    /// The kernel's number of the thread on which this runs.
    func thread() throws -> String { try currentThread() }

    /// The kernel's name of the thread on which this runs.
    func threadName() throws -> String {
        let bytes = try readFile("/proc/thread-self/comm", limit: 100)
        return String(decoding: bytes, as: UTF8.self).trimmingCharacters(in: .newlines)
    }

    /// Queues `count` jobs of mixed priorities while the thread is busy with this one.
    func order(of count: Int) async -> [Int] {
        let priorities: [TaskPriority] = [.background, .high, .medium]
        let tasks = (0..<count).map { number in
            Task(priority: priorities[number % priorities.count]) { self.order.append(number) }
        }
        for task in tasks { await task.value }
        return order
    }

    /// Holds the thread, as a slow device does, until `release` says so.
    func hold(_ started: DispatchSemaphore, _ release: DispatchSemaphore) {
        started.signal()
        release.wait()
    }
}

private func threadIsThere(_ thread: String) -> Bool {
    FileManager.default.fileExists(atPath: "/proc/self/task/\(thread)")
}

@Suite(.timeLimit(.minutes(1))) struct ThreadExecutorTests {
    @Test func everythingRunsOnItsOneThread() async throws {
        let worker = Worker(ThreadExecutor(name: "test"))
        let threads = try await withThrowingTaskGroup(of: String.self) { group in
            for _ in 0..<200 { group.addTask { try await worker.thread() } }
            return try await group.reduce(into: Set<String>()) { $0.insert($1) }
        }
        #expect(threads.count == 1)
        #expect(!threads.contains("\(getpid())"), "that is the main thread")
    }

    @Test func actorsThatShareOneAreOnOneThreadAndOthersAreNot() async throws {
        let shared = ThreadExecutor(name: "shared")
        let (first, second) = (Worker(shared), Worker(shared))
        let other = Worker(ThreadExecutor(name: "other"))
        #expect(try await first.thread() == second.thread())
        #expect(try await first.thread() != other.thread())
    }

    @Test func theThreadHasItsNameAsFarAsTheKernelKeepsIt() async throws {
        #expect(try await Worker(ThreadExecutor(name: "i2c-1")).threadName() == "i2c-1")
        #expect(try await Worker(ThreadExecutor(name: "a-name-of-20-letters")).threadName() == "a-name-of-20-le")
    }

    /// Devices are spoken to in the order of the calls, whatever the priorities of the callers.
    @Test func jobsRunInTheirOrder() async {
        #expect(await Worker(ThreadExecutor(name: "test")).order(of: 1000) == Array(0..<1000))
    }

    @Test func aBlockedThreadBlocksNoOther() async throws {
        let (started, release) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
        // More of them than Swift's own pool has threads.
        let blocked = (0..<64).map { _ in Worker(ThreadExecutor(name: "blocked")) }
        let holding = blocked.map { worker in Task { await worker.hold(started, release) } }
        await withCheckedContinuation { continuation in
            startThread(name: "wait") {
                for _ in blocked { started.wait() }
                continuation.resume()
            }
        }
        let free = Worker(ThreadExecutor(name: "free"))
        #expect(try await !free.thread().isEmpty)
        for _ in blocked { release.signal() }
        for task in holding { await task.value }
    }

    @Test func theThreadEndsWithTheLastReference() async throws {
        var worker: Worker? = Worker(ThreadExecutor(name: "test"))
        let thread = try #require(try await worker?.thread())
        #expect(threadIsThere(thread))
        worker = nil
        // The kernel takes the thread away a little after its last statement.
        let deadline = ContinuousClock.now + .seconds(10)
        while threadIsThere(thread), ContinuousClock.now < deadline { try await Task.sleep(for: .milliseconds(1)) }
        #expect(!threadIsThere(thread))
    }

    /// Closing drops nothing: what was queued when the program let go of the actor still runs.
    @Test func whatIsQueuedRunsBeforeTheThreadEnds() async throws {
        let (started, release) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
        var worker: Worker? = Worker(ThreadExecutor(name: "test"))
        let holding = Task { [worker] in await worker?.hold(started, release) }
        let queued = (0..<10).map { _ in Task { [worker] in try await worker?.thread() } }
        worker = nil
        release.signal()
        await holding.value
        var threads: Set<String?> = []
        for task in queued { threads.insert(try await task.value) }
        #expect(threads.count == 1 && !threads.contains(nil))
    }
}

@Suite struct StartThreadTests {
    @Test func runsOnceOnAThreadOfItsOwn() async throws {
        let calls = Atomic(0)
        let thread = try await withCheckedThrowingContinuation { continuation in
            startThread(name: "once") {
                calls.add(1, ordering: .relaxed)
                continuation.resume(with: Result { try currentThread() })
            }
        }
        #expect(thread != "\(getpid())")
        #expect(calls.load(ordering: .relaxed) == 1)
    }
}
