/// A partition as its reader sees it.
package struct PartitionView: Sendable, Equatable {
    package var partition: Int32
    /// The next offset to read; nil while it is not known.
    package var position: Int64?
    /// Up to where there are messages to read, as of the broker's last answer; nil before the first one.
    package var end: Int64?
    /// The same, if the broker said so within the last seconds.
    package var freshEnd: Int64?
    /// How many offsets after the last one that can be read belong to open transactions, or to what waits for them.
    package var heldBack: Int64 = 0
    /// The next offset in PostgreSQL: what was read before it is in the tables.
    package var committed: Int64?

    /// Makes a view of which nothing but the position is known.
    package init(partition: Int32, position: Int64? = nil, end: Int64? = nil) {
        self.partition = partition
        self.position = position
        self.end = end
    }

    /// Messages that are not in PostgreSQL yet.
    package var lag: Int64? {
        guard let end, let committed else { return nil }
        return max(0, end - committed)
    }
}

extension Sequence<PartitionView> {
    /// The sum of what is known; nil if nothing is.
    var totalLag: Int64? {
        let known = compactMap(\.lag)
        return known.isEmpty ? nil : known.reduce(0, +)
    }
}
