import Monitoring
import Platform
import SensorBus

/// Follows an input of the board, debounced.
actor InputWatch: Service {
    /// What an input tells, and the words for it.
    struct Role: Sendable {
        /// Its name in health and metrics, as in the settings.
        var part: String
        /// What is logged when it becomes active.
        var active: String
        /// What is logged when it becomes inactive.
        var inactive: String
        /// Why the gateway is not well while it is inactive; nil if it is.
        var complaint: String?
    }

    private enum Event: Sendable {
        case edge(Result<GPIOEdge, GPIOError>)
        /// No edge came for the debouncing's period after so many edges.
        case quiet(Int)
        case recheck
    }

    private let role: Role
    private let settings: BoardSettings.Input
    private let gpio: any GPIOLines
    private let clock: any Clock<Duration>
    private let recheckInterval: Duration
    private let edges: Counter
    private let health: Health
    private let log: Log
    private let changed: @Sendable (Bool?) -> Void

    private var debouncer: Debouncer
    private var edgeCount = 0
    private var known: Bool?

    nonisolated var unownedExecutor: UnownedSerialExecutor { gpio.executor.asUnownedSerialExecutor() }

    /// - Parameters:
    ///   - recheckInterval: how often the line is read although it is quiet: edges may be missing, and a chip that was
    ///     unplugged may not say so.
    ///   - changed: called with what the input is, at first and after each change; nil when it is not known.
    init(
        _ role: Role, _ settings: BoardSettings.Input, gpio: any GPIOLines, clock: any Clock<Duration>,
        recheckInterval: Duration = .seconds(10), metrics: MetricsRegistry, health: Health, log: Log,
        changed: @escaping @Sendable (Bool?) -> Void
    ) {
        self.role = role
        self.settings = settings
        self.gpio = gpio
        self.clock = clock
        self.recheckInterval = recheckInterval
        self.health = health
        self.log = log
        self.changed = changed
        debouncer = Debouncer(period: .zero, isActive: false)
        edges = metrics.counter(
            "vigie_board_edges_total", "Edges of the board's inputs, before debouncing.", labels: ["line": role.part])
    }

    func run() async throws {
        do {
            try await cancelOnGracefulShutdown { try await self.watch() }
        } catch is CancellationError {}
    }

    private func watch() async throws {
        try await retryingLine(role.part, clock: clock, health: health, log: log) {
            do {
                try await follow(try gpio.input(settings.line, options: settings.options))
            } catch let error as GPIOError {
                known = nil
                changed(nil)
                throw error
            }
        }
    }

    private func follow(_ input: any GPIOInput) async throws {
        let (events, wake) = AsyncStream.makeStream(of: Event.self)
        try await withThrowingDiscardingTaskGroup { group in
            let (clock, recheckInterval) = (clock, recheckInterval)
            let stream = input.edges()
            group.addTask {
                for await edge in stream { wake.yield(.edge(edge)) }
            }
            group.addTask {
                while true {
                    try await clock.sleep(for: recheckInterval)
                    wake.yield(.recheck)
                }
            }
            debouncer = Debouncer(
                period: input.isDebounced ? .zero : settings.options.debounce, isActive: try input.isActive())
            accept(debouncer.isActive, input.name)
            for await event in events {
                guard let quiet = try handle(event, input) else { continue }
                let period = debouncer.period
                group.addTask {
                    try await clock.sleep(for: period)
                    wake.yield(quiet)
                }
            }
            throw CancellationError()
        }
    }

    /// - Returns: the event that is due when the line was quiet for the debouncing's period.
    private func handle(_ event: Event, _ input: any GPIOInput) throws(GPIOError) -> Event? {
        switch event {
        case .edge(let result):
            edges.increment()
            edgeCount += 1
            for change in debouncer.take(try result.get()) { accept(change.isActive, input.name) }
            return debouncer.isSettling ? .quiet(edgeCount) : nil
        case .quiet(let count):
            guard count == edgeCount else { return nil }
            if let change = debouncer.settle(reading: try input.isActive()) { accept(change.isActive, input.name) }
        case .recheck:
            let isActive = try input.isActive()
            guard !debouncer.isSettling, isActive != debouncer.isActive else { return nil }
            debouncer = Debouncer(period: debouncer.period, isActive: isActive)
            accept(isActive, input.name)
        }
        return nil
    }

    private func accept(_ isActive: Bool, _ name: String) {
        guard known != isActive else { return }
        known = isActive
        log.notice(isActive ? role.active : role.inactive, ["line": name])
        let complaint = isActive ? nil : role.complaint
        health.report(role.part, complaint.map { .degraded($0) } ?? .healthy)
        changed(isActive)
    }
}

extension InputWatch.Role {
    /// Power from outside.
    static let powerGood = InputWatch.Role(
        part: "power_good", active: "power is good", inactive: "power lost",
        complaint: "power lost: the board lives on its battery")

    /// The battery being charged.
    static let charging = InputWatch.Role(
        part: "charging", active: "charging", inactive: "not charging", complaint: nil)
}
