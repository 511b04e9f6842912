import Platform
import SimulatedHardware
import Synchronization
import Testing

@Suite struct VirtualClockTests {
    private let clock = VirtualClock()
    private let noted = Notes()

    private final class Notes: Sendable {
        private let lines = Mutex<[String]>([])
        var all: [String] { lines.withLock { $0 } }
        func add(_ line: String) { lines.withLock { $0.append(line) } }
    }

    private func seconds() -> Int64 { clock.now.elapsed.components.seconds }

    /// Tasks that sleep, each at its own pace, wake in the order of their times, whatever the threads do.
    @Test func sleepersWakeInTheOrderOfTheirTimes() async throws {
        let (clock, noted) = (clock, noted)
        try await withTaskExecutorPreference(ThreadTaskExecutor(name: "virtual", observer: clock)) {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for pace in [2, 3, 5] {
                    group.addTask {
                        for _ in 0..<3 {
                            try await clock.sleep(for: .seconds(pace))
                            noted.add("\(pace) at \(clock.now.elapsed.components.seconds)")
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
        #expect(
            noted.all == [
                "2 at 2", "3 at 3", "2 at 4", "5 at 5", "3 at 6", "2 at 6", "3 at 9", "5 at 10", "5 at 15",
            ])
    }

    private actor Counter {
        let executor: ThreadExecutor
        var count = 0
        nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

        init(_ executor: ThreadExecutor) { self.executor = executor }

        func add() { count += 1 }

        func block(_ clock: VirtualClock, for duration: Duration) {
            clock.block(until: clock.now.advanced(by: duration))
        }
    }

    /// Work on any number of threads takes no time.
    @Test func workTakesNoTime() async throws {
        let clock = clock
        let counters = (0..<3).map { Counter(ThreadExecutor(name: "counter \($0)", observer: clock)) }
        try await withTaskExecutorPreference(ThreadTaskExecutor(name: "virtual", observer: clock)) {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await clock.sleep(for: .seconds(100)) }
                for counter in counters {
                    group.addTask {
                        for round in 1...50 {
                            try await clock.sleep(for: .milliseconds(10))
                            for other in counters { await other.add() }
                            await counter.add()
                            #expect(clock.now.elapsed == .milliseconds(10) * round)
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
        #expect(seconds() == 100)
        for counter in counters { #expect(await counter.count == 200) }
    }

    /// A thread that is blocked holds up its own actors only.
    @Test func aBlockedThreadHoldsUpNobodyElse() async throws {
        let (clock, noted) = (clock, noted)
        let blocked = Counter(ThreadExecutor(name: "blocked", observer: clock))
        try await withTaskExecutorPreference(ThreadTaskExecutor(name: "virtual", observer: clock)) {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    await blocked.block(clock, for: .seconds(10))
                    noted.add("free at \(clock.now.elapsed.components.seconds)")
                }
                group.addTask {
                    try await clock.sleep(for: .seconds(3))
                    noted.add("others at \(clock.now.elapsed.components.seconds)")
                    await blocked.add()
                    noted.add("behind it at \(clock.now.elapsed.components.seconds)")
                }
                try await group.waitForAll()
            }
        }
        #expect(noted.all.first == "others at 3")
        #expect(Set(noted.all.dropFirst()) == ["free at 10", "behind it at 10"])
    }

    @Test func whoIsCancelledWakesAtOnce() async throws {
        let clock = clock
        let isCancelled = await withTaskExecutorPreference(ThreadTaskExecutor(name: "virtual", observer: clock)) {
            await withTaskGroup(of: Bool.self) { group in
                group.addTask {
                    do {
                        try await clock.sleep(for: .seconds(1000))
                        return false
                    } catch {
                        return true
                    }
                }
                group.addTask {
                    try? await clock.sleep(for: .seconds(1))
                    return true
                }
                _ = await group.next()
                group.cancelAll()
                return await group.next() ?? false
            }
        }
        #expect(isCancelled)
        #expect(seconds() == 1)
    }
}
