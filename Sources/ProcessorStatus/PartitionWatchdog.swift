import Monitoring

/// Tells which partitions of a pipeline stand still although they have something to read, and in which an open
/// transaction holds messages back: from what the broker and the database say alone, so that it does not matter what
/// the reader believes.
package struct PartitionWatchdog: Sendable {
    /// For so long a partition may stand still.
    static let limit = Duration.seconds(60)

    /// What has changed.
    package enum Finding: Sendable, Equatable {
        /// A partition has not advanced for `limit` although it could have. The offset is nil if nobody knows where it
        /// is to be read.
        case stalled(Int32, offset: Int64?, end: Int64)
        /// One that stood still goes on.
        case advances(Int32)
        /// An open transaction that begins at an offset has held back so many offsets for `limit`.
        case heldBack(Int32, offset: Int64, count: Int64)
        /// They can be read.
        case released(Int32)
    }

    fileprivate struct Watched: Sendable {
        /// The next offset in the database, as it was last known.
        var committed: Int64?
        /// Since when it could have advanced and has not.
        var since: ContinuousClock.Instant
        var end: Int64 = 0
        var isStalled = false

        /// Where the readable messages end, while something is held back behind that.
        var heldBackFrom: Int64?
        var heldBackSince: ContinuousClock.Instant
        var heldBack: Int64 = 0
        var isHeldBack = false
    }

    private var watched: [Int32: Watched] = [:]

    /// The partitions that stand still.
    var stalled: [Int32] { watched.filter(\.value.isStalled).keys.sorted() }

    /// Looks at all partitions of the pipeline, about once a second.
    /// - Parameter isHeldUp: whether the database cannot be written, or the rejected topic takes nothing. That is reported
    ///   as what it is; the time does not count.
    /// - Returns: what has changed, in the order of the partitions.
    mutating func observe(
        _ views: [PartitionView], isHeldUp: Bool, at now: ContinuousClock.Instant
    ) -> [Finding] {
        var findings: [Finding] = []
        var known: [Int32: Watched] = [:]
        for view in views.sorted(by: { $0.partition < $1.partition }) {
            var entry =
                watched[view.partition] ?? Watched(committed: view.committed, since: now, heldBackSince: now)
            findings += entry.observe(view, isHeldUp: isHeldUp, at: now)
            findings += entry.observeHeldBack(view, at: now)
            known[view.partition] = entry
        }
        watched = known
        return findings
    }

    /// What the part says of itself.
    func health(topic: String) -> Health.State {
        let stalled = watched.filter(\.value.isStalled).sorted { $0.key < $1.key }
        if let (partition, entry) = stalled.first {
            let others = stalled.count == 1 ? "" : ", and \(stalled.count - 1) others"
            let place = entry.committed.map { "offset \($0)" } ?? "an unknown offset"
            return .failed(
                """
                partition \(partition) stands still at \(place) although there are messages up to \(entry.end)\(others); \
                restart the processor
                """)
        }
        let held = watched.filter(\.value.isHeldBack).sorted { $0.key < $1.key }
        if let (partition, entry) = held.first {
            let others = held.count == 1 ? "" : ", and more in \(held.count - 1) others"
            let remedy = PartitionWatchdog.remedy(topic: topic, partition: partition)
            return .degraded(
                """
                an open transaction holds back \(entry.heldBack) messages of partition \(partition) from offset \
                \(entry.heldBackFrom ?? 0) on\(others); \(remedy)
                """)
        }
        return .healthy
    }

    /// What to do about an open transaction.
    package static func remedy(topic: String, partition: Int32) -> String {
        """
        "kafka-transactions.sh describe-producers --topic \(topic) --partition \(partition)" names its producer: \
        let it commit or end it, or abort the transaction with the same tool
        """
    }
}

extension PartitionWatchdog.Watched {
    fileprivate mutating func observe(
        _ view: PartitionView, isHeldUp: Bool, at now: ContinuousClock.Instant
    ) -> [PartitionWatchdog.Finding] {
        var hasAdvanced = false
        if let offset = view.committed {
            hasAdvanced = committed != nil && committed != offset
            committed = offset
        }
        // Without an answer of the broker nobody knows whether there is something to read.
        guard let end = view.freshEnd else {
            since = now
            return []
        }
        self.end = end
        let isAtEnd = view.committed.map { $0 >= end } ?? (end == 0)
        if hasAdvanced || isAtEnd {
            since = now
            defer { isStalled = false }
            return isStalled ? [.advances(view.partition)] : []
        }
        if isHeldUp { since = now }
        guard !isStalled, since.duration(to: now) >= PartitionWatchdog.limit else { return [] }
        isStalled = true
        return [.stalled(view.partition, offset: committed, end: end)]
    }

    fileprivate mutating func observeHeldBack(
        _ view: PartitionView, at now: ContinuousClock.Instant
    ) -> [PartitionWatchdog.Finding] {
        let from = view.heldBack > 0 ? view.position : nil
        heldBack = view.heldBack
        if from == nil || from != heldBackFrom {
            (heldBackFrom, heldBackSince) = (from, now)
            defer { isHeldBack = false }
            return isHeldBack ? [.released(view.partition)] : []
        }
        guard let from, !isHeldBack, heldBackSince.duration(to: now) >= PartitionWatchdog.limit else { return [] }
        isHeldBack = true
        return [.heldBack(view.partition, offset: from, count: view.heldBack)]
    }
}
