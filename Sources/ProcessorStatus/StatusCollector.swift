import Monitoring
import Readings
import Synchronization

/// One second of the past.
struct HistoryPoint: Sendable, Equatable {
    /// Its end, milliseconds since 1970.
    var time: Int64
    var messagesPerSecond: Double
    var rowsPerSecond: Double
    /// The slowest batch; nil without one.
    var batchSeconds: Double?
    var lag: Int64?
    /// From the measurement to the row, seconds; nil without a sample.
    var latencyMedian: Double?
    var latency95: Double?
    /// Of one core: 1 is all of it.
    var cpuShare: Double?
    var residentBytes: Double?
}

/// Gathers what the page, the terminal and Prometheus show of this process: its pipelines, its past ten minutes, and
/// what the database tells of the others.
package final class StatusCollector: Sendable {
    /// How many seconds of the past are remembered.
    static let rememberedSeconds = 600

    package let identity: ProcessorIdentity
    private let health: Health
    private let registry: MetricsRegistry
    private let histograms: LatencyHistograms
    private let usage: @Sendable () -> (cpuSeconds: Double?, residentBytes: Double?)
    private let state = Mutex(State())

    private struct State {
        var pipelines: [PipelineStatus] = []
        var history = Ring<HistoryPoint>(capacity: StatusCollector.rememberedSeconds)
        var counts = WorkCounts()
        var cpuSeconds: Double?
        var database: DatabaseView?
        var databaseError: String?
        /// By the number of the pipeline.
        var watchdogs: [Int: PartitionWatchdog] = [:]
        var namedPartitions: Set<Int32> = []
        var namedAlerts: Set<[String]> = []
    }

    /// - Parameters:
    ///   - usage: what the process takes of the machine, since its start and now.
    package init(
        identity: ProcessorIdentity, health: Health, registry: MetricsRegistry,
        usage: @escaping @Sendable () -> (cpuSeconds: Double?, residentBytes: Double?) = {
            (ProcessUsage.cpuSeconds, ProcessUsage.residentBytes)
        }
    ) {
        self.identity = identity
        self.health = health
        self.registry = registry
        self.usage = usage
        histograms = LatencyHistograms(registry)
        addMetrics()
    }

    /// Makes the monitor of the next pipeline; they are numbered from 0.
    package func addPipeline() -> PipelineStatus {
        state.withLock { state in
            let monitor = PipelineStatus(worker: state.pipelines.count + 1, histograms: histograms)
            state.pipelines.append(monitor)
            return monitor
        }
    }

    /// The pipelines' monitors, in the order of their numbers.
    package var pipelines: [PipelineStatus] { state.withLock { $0.pipelines } }

    // MARK: The passing of time

    /// Ends a turn, about once a second.
    /// - Parameters:
    ///   - now: the time.
    ///   - seconds: since the turn before.
    package func turn(now: Timestamp, seconds: Double) {
        let usage = usage()
        let length = max(seconds, 0.001)
        state.withLock { state in
            var counts = WorkCounts()
            var latency = Distribution()
            var slowest: Double?
            var lag: Int64?
            for pipeline in state.pipelines {
                let turn = pipeline.turn(seconds: length)
                counts += turn.counts
                latency.merge(turn.latency)
                if let value = turn.slowestBatch { slowest = max(slowest ?? 0, value) }
                if let value = turn.lag { lag = (lag ?? 0) + value }
            }
            var cpuShare: Double?
            if let before = state.cpuSeconds, let after = usage.cpuSeconds { cpuShare = (after - before) / length }
            state.history.append(
                HistoryPoint(
                    time: now.milliseconds,
                    messagesPerSecond: Double(counts.messages - state.counts.messages) / length,
                    rowsPerSecond: Double(counts.rows - state.counts.rows) / length, batchSeconds: slowest, lag: lag,
                    latencyMedian: latency.quantile(0.5), latency95: latency.quantile(0.95), cpuShare: cpuShare,
                    residentBytes: usage.residentBytes))
            state.counts = counts
            state.cpuSeconds = usage.cpuSeconds
        }
        nameMetrics()
    }

    /// Looks whether the partitions of a pipeline stand still.
    /// - Parameters:
    ///   - isHeldUp: whether the pipeline cannot write for now, which is said elsewhere.
    /// - Returns: what has changed, and what is to be said of the pipeline's partitions.
    package func watch(
        _ pipeline: PipelineStatus, isHeldUp: Bool, at instant: ContinuousClock.Instant
    ) -> (findings: [PartitionWatchdog.Finding], health: Health.State) {
        let views = pipeline.partitions
        return state.withLock { state in
            var watchdog = state.watchdogs[pipeline.worker] ?? PartitionWatchdog()
            let findings = watchdog.observe(
                views, isHeldUp: isHeldUp || state.databaseError != nil, at: instant)
            state.watchdogs[pipeline.worker] = watchdog
            return (findings, watchdog.health(topic: identity.topic))
        }
    }

    // MARK: The database

    /// Takes note of what the database tells.
    package func note(_ view: DatabaseView) {
        state.withLock { state in
            state.database = view
            state.databaseError = nil
        }
        nameMetrics()
    }

    /// Takes note that the database cannot be asked.
    package func note(databaseError: String) {
        state.withLock { $0.databaseError = databaseError }
    }

    /// This process's pipelines, as the others are to see them.
    package func members(endpoint: String?) -> [ProcessorMember] {
        guard identity.role == .processing else { return [member(1, endpoint: endpoint)] }
        return pipelines.map { pipeline in
            var member = member(Int32(pipeline.worker), endpoint: endpoint)
            let partitions = pipeline.partitions
            member.partitions = partitions.map(\.partition)
            member.lag = partitions.totalLag
            member.messagesPerSecond = pipeline.messagesPerSecond
            return member
        }
    }

    /// This process, as one that reads nothing.
    private func member(_ worker: Int32, endpoint: String?) -> ProcessorMember {
        ProcessorMember(
            instance: identity.instance, worker: worker, host: identity.host, processID: identity.processID,
            version: identity.version, partitions: [], endpoint: endpoint, lag: nil, messagesPerSecond: 0,
            state: health.word, startedAt: identity.startedAt, age: 0)
    }

    // MARK: What is shown

    /// Everything, as of now.
    func report(now: Timestamp) -> StatusReport {
        let held = state.withLock { state in
            (
                pipelines: state.pipelines, history: state.history.elements, rate: state.history.recentRate,
                database: state.database, databaseError: state.databaseError
            )
        }
        return StatusReport(
            identity: identity, now: now, parts: health.all.map { ($0.part, $0.state) }, healthWord: health.word,
            isReady: health.isReady, pipelines: held.pipelines.map(\.view), history: held.history,
            messagesPerSecond: held.rate.messages, rowsPerSecond: held.rate.rows, database: held.database,
            databaseError: held.databaseError)
    }

    // MARK: Metrics

    private func addMetrics() {
        registry.gauge(
            "vigie_build_info", "Always 1; the label says the release.", labels: ["version": identity.version]
        ).set(1)
        let sizes: [(String, String, @Sendable (StateSize) -> Int)] = [
            ("vigie_sensors", "Sensors in memory.", { $0.sensors }),
            ("vigie_open_panes", "Stretches of event time in memory, which add up to windows.", { $0.panes }),
            ("vigie_open_windows", "Windows that are not final.", { $0.windows }),
            ("vigie_state_bytes", "Memory of sensors and their windows.", { $0.bytes }),
        ]
        for (name, help, value) in sizes {
            registry.gauge(name, help) { [weak self] in
                self.map { Double($0.pipelines.reduce(0) { $0 + value($1.size) }) }
            }
        }
        registry.gauge("vigie_assigned_partitions", "Partitions that this processor reads.") { [weak self] in
            self.map { Double($0.pipelines.reduce(0) { $0 + $1.partitions.count }) }
        }
        registry.gauge(
            "vigie_stalled_partitions",
            "Partitions that have not advanced for a minute although there are messages that nobody has read."
        ) { [weak self] in
            self?.state.withLock { state in Double(state.watchdogs.values.reduce(0) { $0 + $1.stalled.count }) }
        }
        registry.gauge(
            "vigie_missing_readings",
            "Readings of all streams in the database that were numbered and have not arrived, as of the last look."
        ) { [weak self] in
            self?.state.withLock { $0.database.map { Double($0.missing) } }
        }
        registry.gauge("vigie_processors", "Pipelines of all processors that give heartbeats.") { [weak self] in
            self?.state.withLock { $0.database.map { Double($0.members.count { !$0.isGone }) } }
        }
        registry.gauge("vigie_postgres_up", "Whether the last look at the database succeeded.") { [weak self] in
            self?.state.withLock { state in
                state.databaseError != nil ? 0 : state.database.map { _ in 1 }
            }
        }
    }

    /// Makes the series of partitions and alerts that were not seen before.
    private func nameMetrics() {
        let (partitions, alerts) = state.withLock { state in
            let seen = Set(state.pipelines.flatMap { $0.partitions.map(\.partition) })
            let open = Set((state.database?.alerts ?? []).map { [$0.kind, $0.severity] })
            defer {
                state.namedPartitions.formUnion(seen)
                state.namedAlerts.formUnion(open)
            }
            return (seen.subtracting(state.namedPartitions), open.subtracting(state.namedAlerts))
        }
        for partition in partitions.sorted() {
            registry.gauge(
                "vigie_consumer_lag_messages", "Messages of a partition that are not in the database yet.",
                labels: ["partition": "\(partition)"]
            ) { [weak self] in
                self?.pipelines.lazy.compactMap { $0.lag(of: partition) }.first.map { Double($0) }
            }
            registry.gauge(
                "vigie_held_back_messages",
                "Offsets of a partition that cannot be read yet, as they belong to an open transaction or follow one.",
                labels: ["partition": "\(partition)"]
            ) { [weak self] in
                self?.pipelines.lazy.flatMap(\.partitions).first { $0.partition == partition }
                    .map { Double($0.heldBack) }
            }
        }
        for alert in alerts {
            registry.gauge(
                "vigie_open_alerts", "Alerts that are open in the database, as of the last look.",
                labels: ["kind": alert[0], "severity": alert[1]]
            ) { [weak self] in
                self?.state.withLock { state in
                    let open = state.database?.alerts?.first { $0.kind == alert[0] && $0.severity == alert[1] }
                    return Double(open?.count ?? 0)
                }
            }
        }
    }
}

extension Ring<HistoryPoint> {
    /// The mean of the last five seconds.
    fileprivate var recentRate: (messages: Double, rows: Double) {
        let recent = suffix(5)
        guard !recent.isEmpty else { return (0, 0) }
        return (
            recent.reduce(0) { $0 + $1.messagesPerSecond } / Double(recent.count),
            recent.reduce(0) { $0 + $1.rowsPerSecond } / Double(recent.count)
        )
    }
}

extension Health {
    /// The whole in one word: the worst that a part says of itself.
    fileprivate var word: String {
        var worst = (rank: 0, word: "healthy")
        for (_, state) in all {
            let rank: (Int, String) =
                switch state {
                case .healthy: (0, "healthy")
                case .starting: (1, "starting")
                case .degraded: (2, "degraded")
                case .failed: (3, "failed")
                }
            if rank.0 > worst.rank { worst = rank }
        }
        return worst.word
    }
}
