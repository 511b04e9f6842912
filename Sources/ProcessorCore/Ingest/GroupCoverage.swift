import KafkaClient

/// Tells which partitions of a topic the group has given to nobody, and who mends it.
///
/// A group of static members can leave a partition to nobody for good: one that is added while members restart within
/// their session belongs to none of them, as their return is no rebalance and the partition is not new to them.
struct GroupCoverage: Sendable {
    /// Between two looks. What is nobody's at two of them is not about to be given.
    static let interval = Duration.seconds(10)
    /// After so long without an owner it is a failure.
    static let limit = Duration.seconds(60)

    /// What a look comes to.
    struct Finding: Sendable, Equatable {
        /// Partitions that have been nobody's for longer than `limit`.
        var unowned: Set<Int32> = []
        /// Partitions for which this member is to join the group anew.
        var rejoinsFor: Set<Int32> = []
    }

    /// Since when partitions are nobody's.
    private var since: [Int32: ContinuousClock.Instant] = [:]
    private var nextRejoin: ContinuousClock.Instant?

    /// Looks at the group.
    /// - Parameters:
    ///   - partitionCount: how many partitions the topic has.
    ///   - member: this consumer's identifier. Of all members the first by name acts, so that only one does.
    mutating func observe(
        _ group: KafkaGroup, topic: String, partitionCount: Int, member: String, at now: ContinuousClock.Instant
    ) -> Finding {
        var finding = Finding()
        // While the group changes, partitions are nobody's for good reasons; what it was before is not mended by that.
        if group.isStable, !group.members.isEmpty {
            let owned = group.members.flatMap(\.partitions).filter { $0.topic == topic }.map(\.partition)
            let unowned = Set(0..<Int32(clamping: partitionCount)).subtracting(owned)
            since = Dictionary(uniqueKeysWithValues: unowned.map { ($0, since[$0] ?? now) })
            let standing = partitions(unownedFor: GroupCoverage.interval, now)
            if !standing.isEmpty, now >= nextRejoin ?? now, member == group.members.map(\.identifier).min() {
                finding.rejoinsFor = standing
                nextRejoin = now + GroupCoverage.interval * 3
            }
        }
        finding.unowned = partitions(unownedFor: GroupCoverage.limit, now)
        return finding
    }

    private func partitions(unownedFor limit: Duration, _ now: ContinuousClock.Instant) -> Set<Int32> {
        Set(since.filter { $0.value.duration(to: now) >= limit }.keys)
    }
}
