import Monitoring
import Readings
import Synchronization

/// A partition as its reader sees it.
struct PartitionView: Sendable, Equatable {
    var partition: Int32
    /// The next offset to read; nil while it is not known.
    var position: Int64?
    /// Up to where there are messages to read, as of the broker's last answer; nil before the first one.
    var end: Int64?
    /// The same, if the broker said so within the last seconds.
    var freshEnd: Int64?
    /// How many offsets after the last one that can be read belong to open transactions, or to what waits for them.
    var heldBack: Int64 = 0
    /// The next offset in PostgreSQL: what was read before it is in the tables.
    var committed: Int64?

    /// Messages that are not in PostgreSQL yet.
    var lag: Int64? {
        guard let end, let committed else { return nil }
        return max(0, end - committed)
    }
}

/// How much a pipeline keeps of sensors in memory.
struct StateSize: Sendable, Equatable {
    var sensors = 0
    var panes = 0
    /// Windows that are not final.
    var windows = 0
    var bytes = 0

    static func += (left: inout StateSize, right: StateSize) {
        left.sensors += right.sensors
        left.panes += right.panes
        left.windows += right.windows
        left.bytes += right.bytes
    }
}

/// A committed batch.
struct BatchRecord: Sendable, Equatable {
    /// When it was committed, milliseconds since 1970.
    var time: Int64
    var messages: Int
    var rows: Int
    /// From its first statement to its commit, seconds.
    var seconds: Double
}

/// What was done since the start.
struct WorkCounts: Sendable, Equatable {
    var messages = 0
    var rows = 0
    var duplicates = 0
    var late = 0
    var rejected = 0
    var windows = 0
    var batches = 0

    mutating func add(_ summary: BatchSummary) {
        messages += summary.messages
        rows += summary.rows
        duplicates += summary.duplicates
        late += summary.late
        rejected += summary.rejected
        windows += summary.windows
        if summary.messages > 0 { batches += 1 }
    }

    static func += (left: inout WorkCounts, right: WorkCounts) {
        left.messages += right.messages
        left.rows += right.rows
        left.duplicates += right.duplicates
        left.late += right.late
        left.rejected += right.rejected
        left.windows += right.windows
        left.batches += right.batches
    }
}

/// Listens to one pipeline: told once a batch by its writer and once a second by its fetcher, read by whoever shows it.
final class PipelineMonitor: Sendable {
    /// How many batches are remembered one by one.
    static let rememberedBatches = 120

    /// The pipeline's number in its process, from 0.
    let worker: Int
    private let histograms: LatencyHistograms
    private let state = Mutex(State())

    private struct State {
        var counts = WorkCounts()
        var batches = Ring<BatchRecord>(capacity: PipelineMonitor.rememberedBatches)
        var slowestBatch: Double?
        var messagesThroughTurn = 0
        var recentRates = Ring<Double>(capacity: 5)
        var latency = RecentDistribution()
        var stages = Dictionary(uniqueKeysWithValues: LatencyStage.allCases.map { ($0, RecentDistribution()) })
        var partitions: [Int32: PartitionView] = [:]
        var size = StateSize()

        mutating func advance(_ offsets: [Int32: ReadingBatch.OffsetRange]) {
            for (partition, range) in offsets {
                guard var view = partitions[partition] else { continue }
                view.committed = range.to
                // The end was asked for up to a second ago.
                if let end = view.end { view.end = max(end, range.to) }
                partitions[partition] = view
            }
        }
    }

    init(worker: Int, histograms: LatencyHistograms) {
        self.worker = worker
        self.histograms = histograms
    }

    // MARK: What the fetcher tells

    /// Takes note of what the database says of where partitions are to be read.
    func locate(_ offsets: [Int32: Int64]) {
        state.withLock { state in
            for (partition, offset) in offsets {
                state.partitions[partition, default: PartitionView(partition: partition)].committed = offset
            }
        }
    }

    /// Takes note of the partitions that are assigned, and of how far each was read. One that was not known starts where
    /// the database says, so that is what is committed of it.
    func observe(_ views: [PartitionView]) {
        state.withLock { state in
            var partitions: [Int32: PartitionView] = [:]
            for var view in views {
                view.committed = state.partitions[view.partition]?.committed ?? view.position
                partitions[view.partition] = view
            }
            state.partitions = partitions
        }
    }

    /// Forgets how far the partitions are, as they are read again from where the database says.
    func forgetPositions() {
        state.withLock { state in
            for partition in state.partitions.keys {
                state.partitions[partition]?.position = nil
                state.partitions[partition]?.committed = nil
            }
        }
    }

    /// The next offset in PostgreSQL of each partition for which it is known.
    var committed: [Int32: Int64] {
        state.withLock { $0.partitions.compactMapValues(\.committed) }
    }

    // MARK: What the writer tells

    /// Takes note of a committed batch.
    func record(_ batch: ReadingBatch, _ summary: BatchSummary, duration: Duration, now: Timestamp) {
        let seconds = duration / .seconds(1)
        for sample in batch.samples { histograms.observe(sample, stored: now.milliseconds) }
        state.withLock { state in
            state.counts.add(summary)
            state.batches.append(
                BatchRecord(
                    time: now.milliseconds, messages: summary.messages, rows: summary.rows, seconds: seconds))
            state.slowestBatch = max(state.slowestBatch ?? 0, seconds)
            state.advance(batch.offsets)
            for sample in batch.samples {
                state.latency.add(Double(now.milliseconds - sample.sampled) / 1000)
                for stage in LatencyStage.allCases {
                    if let seconds = sample.seconds(stage, stored: now.milliseconds) {
                        state.stages[stage]?.add(seconds)
                    }
                }
            }
        }
    }

    /// Takes note of a batch that had been committed although the answer was lost; what it came to is not known.
    func advance(_ offsets: [Int32: ReadingBatch.OffsetRange]) {
        state.withLock { $0.advance(offsets) }
    }

    /// Takes note of windows that the passing of time has made due.
    func record(_ summary: BatchSummary) {
        state.withLock { $0.counts.add(summary) }
    }

    /// Takes note of what is in memory.
    func measure(_ size: StateSize) {
        state.withLock { $0.size = size }
    }

    // MARK: What is shown

    /// What happened in a turn of the supervisor's clock.
    struct Turn: Sendable {
        /// Since the start.
        var counts: WorkCounts
        /// Of the turn alone.
        var latency: Distribution
        /// Of the turn alone; nil without a batch.
        var slowestBatch: Double?
        var lag: Int64?
    }

    /// Ends a turn.
    /// - Parameter seconds: its length.
    func turn(seconds: Double) -> Turn {
        state.withLock { state in
            state.recentRates.append(Double(state.counts.messages - state.messagesThroughTurn) / seconds)
            state.messagesThroughTurn = state.counts.messages
            for stage in LatencyStage.allCases { _ = state.stages[stage]?.turn() }
            defer { state.slowestBatch = nil }
            return Turn(
                counts: state.counts, latency: state.latency.turn(), slowestBatch: state.slowestBatch,
                lag: state.partitions.values.totalLag)
        }
    }

    /// All of it.
    struct View: Sendable {
        var worker: Int
        var counts: WorkCounts
        /// The newest last.
        var batches: [BatchRecord]
        var latency: Distribution
        var stages: [LatencyStage: Distribution]
        /// In the order of their numbers.
        var partitions: [PartitionView]
        var size: StateSize
    }

    var view: View {
        state.withLock { state in
            View(
                worker: worker, counts: state.counts, batches: state.batches.elements, latency: state.latency.all,
                stages: state.stages.mapValues(\.all),
                partitions: state.partitions.values.sorted { $0.partition < $1.partition }, size: state.size)
        }
    }

    /// Messages a second, the mean of the last few turns.
    var messagesPerSecond: Double {
        let rates = state.withLock { $0.recentRates.elements }
        return rates.isEmpty ? 0 : rates.reduce(0, +) / Double(rates.count)
    }

    /// The lag of a partition; nil if it is not this pipeline's or not known.
    func lag(of partition: Int32) -> Int64? {
        state.withLock { $0.partitions[partition]?.lag }
    }

    /// The partitions, in order.
    var partitions: [PartitionView] {
        state.withLock { $0.partitions.values.sorted { $0.partition < $1.partition } }
    }

    var size: StateSize { state.withLock { $0.size } }
}

extension Sequence<PartitionView> {
    /// The sum of what is known; nil if nothing is.
    var totalLag: Int64? {
        let known = compactMap(\.lag)
        return known.isEmpty ? nil : known.reduce(0, +)
    }
}
