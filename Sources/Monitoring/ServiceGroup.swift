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
/// services returns or throws. When the bound has passed, or on a second signal, what still runs is cancelled.
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
    private let clock: any Clock<Duration>

    /// Makes a group.
    /// - Parameters:
    ///   - members: the services, in the order of their start.
    ///   - bound: how long a graceful stop of all may take before what still runs is cancelled.
    ///   - signals: what begins the stop.
    ///   - log: where starts, stops and failures are written.
    ///   - notifier: told when the group is started and when it stops.
    ///   - clock: measures `bound`.
    public init(
        _ members: [Member], bound: Duration = .seconds(30), signals: [Int32] = [SIGTERM, SIGINT], log: Log,
        notifier: SystemdNotifier? = .fromEnvironment, clock: any Clock<Duration> = ContinuousClock()
    ) {
        self.members = members
        self.bound = bound
        self.signals = signals
        self.log = log
        self.notifier = notifier
        self.clock = clock
    }

    private enum Event: Sendable {
        case signal(Int32)
        case signalsEnded
        case finished(Int, (any Error)?)
        case boundPassed
        case boundCancelled
    }

    /// Runs until every service has ended.
    /// - Throws: the first error that a service ended with; else `ShutdownTimeout` if services had to be cancelled.
    ///   Cancelling the task that runs this cancels every service.
    public func run() async throws {
        let requests = members.map { _ in ShutdownRequest() }
        let received = try signalStream(signals)
        try await withThrowingTaskGroup(of: Event.self) { group in
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
            notifier?.ready()
            try await supervise(&group, requests, received)
        }
    }

    private func supervise(
        _ group: inout ThrowingTaskGroup<Event, any Error>, _ requests: [ShutdownRequest],
        _ received: AsyncStream<Int32>
    ) async throws {
        var running = Set(members.indices)
        var isStopping = false
        var failure: (any Error)?
        var cancelled: [String]?
        // Elapses with the group: cancelling it ends the wait for the next signal.
        addSignalWait(&group, received)
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
            case .boundCancelled:
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
            if cancelled != nil { group.cancelAll() }
        }
        group.cancelAll()
        if let failure { throw failure }
        if let cancelled { throw ShutdownTimeout(services: cancelled) }
    }

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
