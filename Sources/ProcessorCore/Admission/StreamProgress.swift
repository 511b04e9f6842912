/// A run of sequence numbers of one stream that have not arrived.
struct Hole: Sendable, Equatable {
    /// The first number missing.
    var first: Int64
    /// The last number missing, at least `first`.
    var last: Int64
    /// The event time of the reading before the hole, milliseconds since 1970; nil if there is none.
    var timeBefore: Int64?
    /// The event time of the reading after the hole, milliseconds since 1970; nil if it is not known.
    var timeAfter: Int64?

    /// How many readings are missing.
    var count: Int64 { last - first + 1 }
}

/// What has arrived of one stream: all up to `last`, less the holes.
///
/// The order of arrival does not matter, so neither added partitions nor messages sent again do harm.
struct StreamProgress: Sendable, Equatable {
    /// The largest sequence number admitted; 0 before the first.
    private(set) var last: Int64
    /// The event time of the reading `last`, milliseconds since 1970.
    private(set) var lastEventTime: Int64?
    /// What is missing below `last`, in order, disjoint, not adjacent.
    private(set) var holes: [Hole]

    /// The progress of a stream; by default of one that nothing has arrived from.
    init(last: Int64 = 0, lastEventTime: Int64? = nil, holes: [Hole] = []) {
        self.last = last
        self.lastEventTime = lastEventTime
        self.holes = holes
    }

    /// How many readings are missing.
    var missing: Int64 { holes.reduce(0) { $0 + $1.count } }

    /// Admits a reading once.
    /// - Parameters:
    ///   - sequence: its number, at least 1.
    ///   - eventTime: milliseconds since 1970.
    /// - Returns: false if it was admitted before.
    mutating func admit(_ sequence: Int64, eventTime: Int64) -> Bool {
        if sequence > last {
            if sequence > last + 1 {
                holes.append(
                    Hole(first: last + 1, last: sequence - 1, timeBefore: lastEventTime, timeAfter: eventTime))
            }
            last = sequence
            lastEventTime = eventTime
            return true
        }
        guard let index = indexOfHole(containing: sequence) else { return false }
        let hole = holes[index]
        var rest: [Hole] = []
        if hole.first < sequence {
            rest.append(
                Hole(first: hole.first, last: sequence - 1, timeBefore: hole.timeBefore, timeAfter: eventTime))
        }
        if hole.last > sequence {
            rest.append(Hole(first: sequence + 1, last: hole.last, timeBefore: eventTime, timeAfter: hole.timeAfter))
        }
        holes.replaceSubrange(index...index, with: rest)
        return true
    }

    private func indexOfHole(containing sequence: Int64) -> Int? {
        var low = 0
        var high = holes.count
        while low < high {
            let middle = (low + high) / 2
            if holes[middle].last < sequence { low = middle + 1 } else { high = middle }
        }
        return low < holes.count && holes[low].first <= sequence ? low : nil
    }
}
