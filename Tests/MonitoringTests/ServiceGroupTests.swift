import Glibc
import Synchronization
import Testing

@testable import Monitoring

@Suite struct ServiceGroupTests {
    /// What happened, in order.
    private final class Journal: Sendable {
        private let entries = Mutex<[String]>([])
        var all: [String] { entries.withLock { $0 } }
        func add(_ entry: String) { entries.withLock { $0.append(entry) } }
    }

    /// A service made of a closure.
    private struct Work: Service {
        let body: @Sendable () async throws -> Void
        func run() async throws { try await body() }
    }

    private struct Broken: Error, Equatable {}

    private let quiet = Log("test", to: LogOutput(descriptor: STDERR_FILENO, format: .plain, minimum: .error))

    /// A service that waits for the request to stop and writes down when it stops.
    private func waiting(_ name: String, _ journal: Journal) -> ServiceGroup.Member {
        ServiceGroup.Member(
            name,
            Work {
                await gracefulShutdown()
                journal.add("\(name) asked")
                // Give the others the opportunity to be asked too early.
                for _ in 0..<20 { await Task.yield() }
                journal.add("\(name) stopped")
            })
    }

    /// A clock on which a time to wait never passes, or has always passed: how long a loaded machine takes to run a
    /// test is not what these tests are about.
    private struct FixedClock: Clock {
        let hasPassed: Bool
        var now: ContinuousClock.Instant { ContinuousClock.now }
        var minimumResolution: Duration { .nanoseconds(1) }

        func sleep(until deadline: ContinuousClock.Instant, tolerance: Duration?) async throws {
            if !hasPassed { try await Task.sleep(for: .seconds(1_000_000)) }
        }
    }

    private func group(
        _ members: [ServiceGroup.Member], signals: [Int32] = [], boundHasPassed: Bool = false
    ) -> ServiceGroup {
        // The default last resort would end the process of the tests.
        ServiceGroup(
            members, signals: signals, log: quiet, notifier: nil, clock: FixedClock(hasPassed: boundHasPassed),
            grace: .seconds(600)
        ) {
            Issue.record("it gave up")
        }
    }

    @Test func aServiceThatReturnsStopsTheOthersInReverseOrder() async throws {
        let journal = Journal()
        try await group([waiting("a", journal), waiting("b", journal), ServiceGroup.Member("c", Work {})]).run()
        #expect(journal.all == ["b asked", "b stopped", "a asked", "a stopped"])
    }

    @Test func aServiceThatThrowsStopsTheOthersAndItsErrorIsThrown() async {
        let journal = Journal()
        await #expect(throws: Broken()) {
            try await group([waiting("a", journal), ServiceGroup.Member("b", Work { throw Broken() })]).run()
        }
        #expect(journal.all == ["a asked", "a stopped"])
    }

    @Test func aSignalStopsTheGroup() async throws {
        let journal = Journal()
        let running = group(
            [
                waiting("a", journal),
                ServiceGroup.Member(
                    "b",
                    Work {
                        kill(getpid(), SIGUSR1)
                        await gracefulShutdown()
                        journal.add("b stopped")
                    }),
            ], signals: [SIGUSR1])
        try await running.run()
        #expect(journal.all == ["b stopped", "a asked", "a stopped"])
    }

    @Test func whatDoesNotStopInTimeIsCancelledAndNamed() async {
        await #expect(throws: ShutdownTimeout(services: ["stubborn"])) {
            try await group(
                [
                    ServiceGroup.Member("stubborn", Work { try await Task.sleep(for: .seconds(600)) }),
                    ServiceGroup.Member("brief", Work {}),
                ], boundHasPassed: true
            ).run()
        }
    }

    @Test func aSecondSignalCancels() async {
        await #expect(throws: ShutdownTimeout(services: ["stubborn"])) {
            try await group(
                [
                    ServiceGroup.Member(
                        "stubborn",
                        Work {
                            kill(getpid(), SIGUSR2)
                            await gracefulShutdown()
                            kill(getpid(), SIGUSR2)
                            try await Task.sleep(for: .seconds(600))
                        })
                ], signals: [SIGUSR2]
            ).run()
        }
    }

    @Test func whatDoesNotEndThoughCancelledIsTheLastResorts() async {
        let (stuck, continuation) = AsyncStream.makeStream(of: Never.self)
        let journal = Journal()
        let deaf = Work {
            // A task of its own knows nothing of the cancellation.
            await Task { for await _ in stuck {} }.value
        }
        await #expect(throws: ShutdownTimeout(services: ["deaf"])) {
            try await ServiceGroup(
                [ServiceGroup.Member("deaf", deaf), ServiceGroup.Member("brief", Work {})], signals: [],
                log: Log("test", to: LogOutput(descriptor: -1, format: .plain, minimum: .error)), notifier: nil,
                clock: FixedClock(hasPassed: true), grace: .milliseconds(20)
            ) {
                journal.add("gave up")
                continuation.finish()
            }.run()
        }
        #expect(journal.all == ["gave up"])
    }

    @Test func servicesStartAfterThePreparation() async throws {
        let journal = Journal()
        try await group([ServiceGroup.Member("a", Work { journal.add("a") })]).run { journal.add("prepared") }
        #expect(journal.all == ["prepared", "a"])
    }

    @Test func aPreparationThatFailsStartsNothing() async {
        let journal = Journal()
        await #expect(throws: Broken()) {
            try await group([ServiceGroup.Member("a", Work { journal.add("a") })]).run { throw Broken() }
        }
        #expect(journal.all.isEmpty)
    }

    @Test func aStopDuringThePreparationCancelsItAndStartsNothing() async throws {
        let journal = Journal()
        try await group([ServiceGroup.Member("a", Work { journal.add("a") })], signals: [SIGVTALRM]).run {
            kill(getpid(), SIGVTALRM)
            do { try await Task.sleep(for: .seconds(600)) } catch { journal.add("cancelled") }
        }
        #expect(journal.all == ["cancelled"])
    }

    @Test func cancellingTheGroupCancelsItsServices() async throws {
        let journal = Journal()
        let (started, continuation) = AsyncStream.makeStream(of: Void.self)
        let running = group([
            ServiceGroup.Member(
                "a",
                Work {
                    continuation.finish()
                    do { try await Task.sleep(for: .seconds(600)) } catch { journal.add("cancelled") }
                })
        ])
        let task = Task { try await running.run() }
        for await _ in started {}
        task.cancel()
        _ = await task.result
        #expect(journal.all == ["cancelled"])
    }

    @Test func workThatMayBeDroppedIsCancelledByTheRequest() async throws {
        let journal = Journal()
        try await group([
            ServiceGroup.Member(
                "loop",
                Work {
                    do {
                        try await cancelOnGracefulShutdown { try await Task.sleep(for: .seconds(600)) }
                    } catch is CancellationError {
                        journal.add("loop ended, task cancelled: \(Task.isCancelled)")
                    }
                }),
            ServiceGroup.Member("brief", Work {}),
        ]).run()
        #expect(journal.all == ["loop ended, task cancelled: false"])
    }

    @Test func aHandlerAddedAfterTheRequestRunsAtOnce() async {
        let request = ShutdownRequest()
        let journal = Journal()
        request.make()
        await ShutdownRequest.$current.withValue(request) {
            await withGracefulShutdownHandler {
                journal.add("operation")
            } onGracefulShutdown: {
                journal.add("handler")
            }
        }
        #expect(journal.all == ["handler", "operation"])
    }

    @Test func aHandlerDoesNotRunAfterItsOperation() async {
        let request = ShutdownRequest()
        let journal = Journal()
        await ShutdownRequest.$current.withValue(request) {
            await withGracefulShutdownHandler {
            } onGracefulShutdown: {
                journal.add("handler")
            }
        }
        request.make()
        request.make()
        #expect(journal.all.isEmpty)
    }
}
