import Monitoring
import Readings

/// Everything that is shown of a processor at one instant: plain values, so that each form of it can be tested.
struct StatusReport: Sendable {
    var identity: ProcessorIdentity
    var now: Timestamp
    var parts: [(name: String, state: Health.State)]
    /// The worst that a part says of itself.
    var healthWord: String
    var isReady: Bool
    var pipelines: [PipelineStatus.View]
    /// The past, a second a point, the newest last.
    var history: [HistoryPoint]
    /// The means of the last seconds.
    var messagesPerSecond: Double
    var rowsPerSecond: Double
    /// As of the last look; nil before the first.
    var database: DatabaseView?
    /// Why the last look failed; nil if it did not.
    var databaseError: String?

    var uptime: Double { Double(max(0, now.milliseconds - identity.startedAt.milliseconds)) / 1000 }

    /// Since the start, of all pipelines.
    var counts: WorkCounts { pipelines.reduce(into: WorkCounts()) { $0 += $1.counts } }

    /// In memory, of all pipelines.
    var size: StateSize { pipelines.reduce(into: StateSize()) { $0 += $1.size } }

    var lag: Int64? { pipelines.flatMap(\.partitions).totalLag }

    /// From the measurement to the row, of the last minutes.
    var latency: Distribution { pipelines.reduce(into: Distribution()) { $0.merge($1.latency) } }

    /// A part of the way, of the last minutes.
    func latency(of stage: LatencyStage) -> Distribution {
        pipelines.reduce(into: Distribution()) { $0.merge($1.stages[stage] ?? Distribution()) }
    }

    /// The last batches of all pipelines, the newest last.
    var batches: [BatchRecord] {
        Array(pipelines.flatMap(\.batches).sorted { $0.time < $1.time }.suffix(PipelineStatus.rememberedBatches))
    }

    /// Why the database cannot be used; nil if it can, or if nobody has tried yet.
    var databaseTrouble: String? {
        if let databaseError { return databaseError }
        for (name, state) in parts where name.hasPrefix("postgres") {
            switch state {
            case .degraded(let reason), .failed(let reason): return reason
            case .starting, .healthy: break
            }
        }
        return nil
    }

    /// `healthy`, `starting`, `degraded` or `failed`: an idle pipeline does not notice that the database is away.
    var state: String { healthWord == "healthy" && databaseTrouble != nil ? "degraded" : healthWord }

    /// Whether all is well: what the exit status of `vigie-processor status` says.
    var isGood: Bool { isReady && state == "healthy" }
}
