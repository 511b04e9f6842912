import Glibc

/// How values of seconds are spread: counts in buckets of equal ratio, eight to a factor of ten, from a millisecond to
/// a little more than a day. Fine enough that a percentile taken from it is within 15 % of the true one.
struct Distribution: Sendable, Equatable {
    private static let bucketsADecade = 8.0
    private static let smallest = 0.001
    /// The last one takes everything above 100,000 seconds.
    private static let bucketCount = 66

    private(set) var counts = [UInt32](repeating: 0, count: Distribution.bucketCount)
    /// How many values.
    private(set) var count: UInt64 = 0
    /// The largest value; nil of nothing.
    private(set) var maximum: Double?

    /// The upper bound of a bucket, inclusive, in seconds; infinite of the last one.
    static func upperBound(_ bucket: Int) -> Double {
        bucket < bucketCount - 1 ? smallest * pow(10, Double(bucket) / bucketsADecade) : .infinity
    }

    /// Counts a value; one below zero counts as zero.
    mutating func add(_ seconds: Double) {
        guard seconds.isFinite else { return }
        var bucket = 0
        if seconds > Distribution.smallest {
            // Less a hair, so that a bound itself falls into its own bucket whatever the logarithm's last digit is.
            let place = log10(seconds / Distribution.smallest) * Distribution.bucketsADecade - 1e-9
            bucket = min(Int(place.rounded(.up)), Distribution.bucketCount - 1)
        }
        counts[bucket] &+= 1
        count += 1
        maximum = max(maximum ?? 0, seconds)
    }

    /// Counts all values of another distribution.
    mutating func merge(_ other: Distribution) {
        guard other.count > 0 else { return }
        for index in counts.indices { counts[index] &+= other.counts[index] }
        count += other.count
        maximum = max(maximum ?? 0, other.maximum ?? 0)
    }

    /// The value that a share of all values does not exceed, interpolated within its bucket; nil of nothing.
    /// - Parameter share: from 0 to 1.
    func quantile(_ share: Double) -> Double? {
        guard count > 0, let maximum else { return nil }
        let rank = max(share * Double(count), .leastNonzeroMagnitude)
        var below = 0.0
        for (bucket, inBucket) in counts.enumerated() where inBucket > 0 {
            let through = below + Double(inBucket)
            if rank <= through {
                let upper = min(Distribution.upperBound(bucket), maximum)
                let lower = min(bucket == 0 ? 0 : Distribution.upperBound(bucket - 1), upper)
                return lower + (upper - lower) * (rank - below) / Double(inBucket)
            }
            below = through
        }
        return maximum
    }
}

/// A distribution of the last minutes: what is older is forgotten, a slot at a time.
struct RecentDistribution: Sendable {
    /// How many slots are remembered.
    static let slotCount = 10
    /// How many turns a slot lasts.
    static let turnsASlot = 60

    private var slots: [Distribution] = [Distribution()]
    private var turns = 0
    /// The values since the last turn.
    private(set) var latest = Distribution()

    /// Counts a value.
    mutating func add(_ seconds: Double) {
        latest.add(seconds)
    }

    /// Everything that is remembered.
    var all: Distribution {
        var all = latest
        for slot in slots { all.merge(slot) }
        return all
    }

    /// Ends a turn.
    /// - Returns: the values of it.
    mutating func turn() -> Distribution {
        defer { latest = Distribution() }
        slots[slots.count - 1].merge(latest)
        turns += 1
        if turns.isMultiple(of: RecentDistribution.turnsASlot) {
            slots.append(Distribution())
            if slots.count > RecentDistribution.slotCount { slots.removeFirst() }
        }
        return latest
    }
}
