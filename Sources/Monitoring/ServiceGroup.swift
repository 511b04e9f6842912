import Glibc
import Platform
import Synchronization

/// A long-running part of a program.
public protocol Service: Sendable {
    /// Works until its group asks it to stop (`withGracefulShutdownHandler`) or its task is cancelled. To return or to
    /// throw before that stops the whole group.
    func run() async throws
}

/// A group's time to stop was over; these services had to be cancelled.
public struct ShutdownTimeout: Error, Equatable, Sendable, CustomStringConvertible {
    /// The names of the services that had not stopped, in the order of their start.
    public var services: [String]

    /// One line for a person.
    public var description: String {
        "did not stop in time and had to be cancelled: \(services.joined(separator: ", "))"
    }
}

/// Runs services together, and stops them in the reverse order of their start, each after the one before it has ended.
///
/// A service that others depend on comes first in the list. The group stops on SIGTERM, on SIGINT, or when one of its
/// services returns or throws. When the bound has passed, or on a second signal, what still runs is cancelled. What does
/// not even end then, such as a call into a library that never returns, ends with the process, which says so.
public struct ServiceGroup: Sendable {
    /// A service and the name that logs and errors give it.
    public struct Member: Sendable {
        /// The name.
        public var name: String
        /// The service.
        public var service: any Service

        /// Names a service.
        public init(_ name: String, _ service: any Service) {
            self.name = name
            self.service = service
        }
    }

    private let members: [Member]
    private let bound: Duration
    private let signals: [Int32]
    private let log: Log
    private let notifier: SystemdNotifier?
    private let watchdog: SystemdWatchdog?
    private let clock: any Clock<Duration>
    private let grace: Duration
    private let giveUp: @Sendable () -> Void

    /// Makes a group.
    /// - Parameters:
    ///   - members: the services, in the order of their start.
    ///   - bound: how long a graceful stop of all may take before what still runs is cancelled.
    ///   - signals: what begins the stop.
    ///   - log: where starts, stops and failures are written.
    ///   - notifier: told when the group is started and when it stops.
    ///   - watchdog: fed from the start on until everything has ended.
    ///   - clock: measures `bound`.
    ///   - grace: how long what was cancelled may take to end before the program gives up.
    ///   - giveUp: the last resort, called on a thread of its own; by default it ends the process with exit status 1.
    public init(
        _ members: [Member], bound: Duration = .seconds(30), signals: [Int32] = [SIGTERM, SIGINT], log: Log,
        notifier: SystemdNotifier? = .fromEnvironment, watchdog: SystemdWatchdog? = nil,
        clock: any Clock<Duration> = ContinuousClock(), grace: Duration = .seconds(5),
        giveUp: @escaping @Sendable () -> Void = { _exit(1) }
    ) {
        self.members = members
        self.bound = bound
        self.signals = signals
        self.log = log
        self.notifier = notifier
        self.watchdog = watchdog
        self.clock = clock
        self.grace = grace
        self.giveUp = giveUp
    }

    private enum Event: Sendable {
        case prepared((any Error)?)
        case signal(Int32)
        case signalsEnded
        case finished(Int, (any Error)?)
        case boundPassed
        case boundCancelled
    }

    /// Runs until every service has ended.
    ///
    /// systemd is told that the program is ready once it can be stopped: a preparation that waits for a server that is
    /// away holds up nobody, such as the upgrade of a package, and is not killed for its length.
    /// - Parameter preparation: what comes before the services. A stop that is asked for meanwhile cancels it, and then
    ///   no service starts.
    /// - Throws: what `preparation` threw; the first error that a service ended with; else `ShutdownTimeout` if services
    ///   had to be cancelled. Cancelling the task that runs this cancels every service.
    public func run(after preparation: @escaping @Sendable () async throws -> Void = {}) async throws {
        let requests = members.map { _ in ShutdownRequest() }
        let received = try signalStream(signals)
        notifier?.ready()
        // Cancelled when this function ends.
        async let _: Void? = watchdog?.run()
        try await withThrowingTaskGroup(of: Event.self) { group in
            addSignalWait(&group, received)
            guard try await prepare(&group, preparation) else { return }
            for (index, member) in members.enumerated() {
                group.addTask {
                    do {
                        try await ShutdownRequest.$current.withValue(requests[index]) { try await member.service.run() }
                        return .finished(index, nil)
                    } catch {
                        return .finished(index, error)
                    }
                }
            }
            try await supervise(&group, requests, received)
        }
    }

    /// Prepares the start.
    /// - Returns: whether the services may start; false if a stop was asked for.
    private func prepare(
        _ group: inout ThrowingTaskGroup<Event, any Error>,
        _ preparation: @escaping @Sendable () async throws -> Void
    ) async throws -> Bool {
        group.addTask {
            do {
                try await preparation()
                return .prepared(nil)
            } catch {
                return .prepared(error)
            }
        }
        while let event = try await group.next() {
            switch event {
            case .prepared(nil): return true
            case .prepared(.some(let error)):
                group.cancelAll()
                throw error
            case .signal(let number):
                log.notice("stopping before the services have started", ["signal": number])
                notifier?.stopping()
                let lastResort = LastResort(after: grace, log: log, giveUp)
                lastResort.arm(["the start"])
                defer { lastResort.disarm() }
                group.cancelAll()
                while try await group.next() != nil {}
                return false
            // The task that runs this was cancelled; so is the preparation, and it says so.
            default: break
            }
        }
        return false
    }

    private func supervise(
        _ group: inout ThrowingTaskGroup<Event, any Error>, _ requests: [ShutdownRequest],
        _ received: AsyncStream<Int32>
    ) async throws {
        var running = Set(members.indices)
        var isStopping = false
        var failure: (any Error)?
        var cancelled: [String]?
        let lastResort = LastResort(after: grace, log: log, giveUp)
        defer { lastResort.disarm() }
        while !running.isEmpty, let event = try await group.next() {
            let wasStopping = isStopping
            switch event {
            case .signal(let number):
                log.notice(isStopping ? "second signal: cancelling what still runs" : "stopping", ["signal": number])
                if isStopping { cancelled = cancelled ?? names(of: running) }
                isStopping = true
                addSignalWait(&group, received)
            case .signalsEnded:
                isStopping = true
            case .boundCancelled, .prepared:
                break
            case .finished(let index, let error):
                running.remove(index)
                let name = members[index].name
                if let error, cancelled == nil, !(error is CancellationError && isStopping) {
                    log.error("service failed", ["service": name, "error": "\(error)"])
                    failure = failure ?? error
                } else if !isStopping {
                    log.notice("service ended, stopping the others", ["service": name])
                } else {
                    log.debug("service stopped", ["service": name])
                }
                isStopping = true
            case .boundPassed:
                log.error(
                    "services did not stop in time, cancelling",
                    ["services": names(of: running).joined(separator: ","), "bound": "\(bound)"])
                cancelled = cancelled ?? names(of: running)
            }
            if isStopping && !wasStopping {
                notifier?.stopping()
                group.addTask { [clock, bound] in
                    do {
                        try await clock.sleep(for: bound)
                        return .boundPassed
                    } catch {
                        return .boundCancelled
                    }
                }
            }
            if isStopping, let last = running.max() { requests[last].make() }
            if cancelled != nil {
                group.cancelAll()
                lastResort.arm(names(of: running))
            }
        }
        group.cancelAll()
        if let failure { throw failure }
        if let cancelled { throw ShutdownTimeout(services: cancelled) }
    }

    /// Ends with the group: cancelling it ends the wait for the next signal.
    private func addSignalWait(_ group: inout ThrowingTaskGroup<Event, any Error>, _ received: AsyncStream<Int32>) {
        group.addTask {
            for await number in received { return .signal(number) }
            return .signalsEnded
        }
    }

    private func names(of running: Set<Int>) -> [String] {
        running.sorted().map { members[$0].name }
    }
}

/// Gives up when what was cancelled has not ended in time. On a thread of its own, for what does not end may hold every
/// thread of the cooperative pool.
private final class LastResort: Sendable {
    private struct State {
        var isArmed = false
        var isOver = false
        var names: [String] = []
    }

    private let state = Mutex(State())
    private let grace: Duration
    private let log: Log
    private let giveUp: @Sendable () -> Void

    init(after grace: Duration, log: Log, _ giveUp: @escaping @Sendable () -> Void) {
        self.grace = grace
        self.log = log
        self.giveUp = giveUp
    }

    /// Begins to wait, the first time, for what has these names; later calls name what is left.
    func arm(_ names: [String]) {
        let wasArmed = state.withLock { state in
            defer { state.isArmed = true }
            state.names = names
            return state.isArmed
        }
        if wasArmed { return }
        startThread(name: "last-resort") { [self] in
            let end = ContinuousClock.now + grace
            while ContinuousClock.now < end {
                if state.withLock({ $0.isOver }) { return }
                usleep(10_000)
            }
            let left = state.withLock { $0.isOver ? nil : $0.names }
            guard let left else { return }
            log.error(
                "giving up: services do not end although they were cancelled",
                ["services": left.joined(separator: ","), "waited": "\(grace)"])
            giveUp()
        }
    }

    /// Everything has ended.
    func disarm() { state.withLock { $0.isOver = true } }
}
