import Monitoring
import Readings
import Synchronization

/// The state of one pipeline: its writer reports each batch, its fetcher reports once a second, and the status page reads it.
package final class PipelineStatus: Sendable {
    /// How many batches are remembered one by one.
    static let rememberedBatches = 120

    /// The pipeline's number in its process, from 0.
    package let worker: Int
    private let histograms: LatencyHistograms
    private let state = Mutex(State())

    private struct State {
        var counts = WorkCounts()
        var batches = Ring<BatchRecord>(capacity: PipelineStatus.rememberedBatches)
        var slowestBatch: Double?
        var messagesThroughTurn = 0
        var recentRates = Ring<Double>(capacity: 5)
        var latency = RecentDistribution()
        var stages = Dictionary(uniqueKeysWithValues: LatencyStage.allCases.map { ($0, RecentDistribution()) })
        var partitions: [Int32: PartitionView] = [:]
        var size = StateSize()

        mutating func advance(_ offsets: [Int32: Int64]) {
            for (partition, next) in offsets {
                guard var view = partitions[partition] else { continue }
                view.committed = next
                // The end was asked for up to a second ago.
                if let end = view.end { view.end = max(end, next) }
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
    package func locate(_ offsets: [Int32: Int64]) {
        state.withLock { state in
            for (partition, offset) in offsets {
                state.partitions[partition, default: PartitionView(partition: partition)].committed = offset
            }
        }
    }

    /// Takes note of the partitions that are assigned, and of how far each was read. One that was not known starts where
    /// the database says, so that is what is committed of it.
    package func observe(_ views: [PartitionView]) {
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
    package func forgetPositions() {
        state.withLock { state in
            for partition in state.partitions.keys {
                state.partitions[partition]?.position = nil
                state.partitions[partition]?.committed = nil
            }
        }
    }

    /// The next offset in PostgreSQL of each partition for which it is known.
    package var committed: [Int32: Int64] {
        state.withLock { $0.partitions.compactMapValues(\.committed) }
    }

    // MARK: What the writer tells

    /// Adds a committed batch.
    /// - Parameters:
    ///   - work: what it came to.
    ///   - offsets: the next offset of each partition that it advanced.
    ///   - samples: the way of a few of its readings.
    ///   - duration: from its first statement to its commit.
    ///   - now: when it was committed.
    package func record(
        _ work: WorkCounts, offsets: [Int32: Int64], samples: [LatencySample], duration: Duration, now: Timestamp
    ) {
        let seconds = duration / .seconds(1)
        for sample in samples { histograms.observe(sample, stored: now.milliseconds) }
        state.withLock { state in
            state.counts += work
            state.batches.append(
                BatchRecord(time: now.milliseconds, messages: work.messages, rows: work.rows, seconds: seconds))
            state.slowestBatch = max(state.slowestBatch ?? 0, seconds)
            state.advance(offsets)
            for sample in samples {
                state.latency.add(Double(now.milliseconds - sample.sampled) / 1000)
                for stage in LatencyStage.allCases {
                    if let seconds = sample.seconds(stage, stored: now.milliseconds) {
                        state.stages[stage]?.add(seconds)
                    }
                }
            }
        }
    }

    /// Notes the next offsets after a batch that had been committed although the answer was lost; what it came to is
    /// not known.
    package func advance(_ offsets: [Int32: Int64]) {
        state.withLock { $0.advance(offsets) }
    }

    /// Adds what the passing of time has made due.
    package func record(_ work: WorkCounts) {
        state.withLock { $0.counts += work }
    }

    /// Takes note of what is in memory.
    package func measure(_ size: StateSize) {
        state.withLock { $0.size = size }
    }

    // MARK: What is shown

    /// What happened in a turn of the collector's clock.
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
    package var messagesPerSecond: Double {
        let rates = state.withLock { $0.recentRates.elements }
        return rates.isEmpty ? 0 : rates.reduce(0, +) / Double(rates.count)
    }

    /// The lag of a partition; nil if it is not this pipeline's or not known.
    package func lag(of partition: Int32) -> Int64? {
        state.withLock { $0.partitions[partition]?.lag }
    }

    /// The partitions, in order.
    package var partitions: [PartitionView] {
        state.withLock { $0.partitions.values.sorted { $0.partition < $1.partition } }
    }

    package var size: StateSize { state.withLock { $0.size } }
}
