/// How many rows the file has. After a crash they are counted in portions, so that a start with a million of them does
/// not wait for that; until then the largest number that it can be is taken.
struct RowCount {
    /// Rows that are known.
    private var known = 0
    /// Rows are counted up to and with this number,
    private(set) var countedThrough: Int64 = 0
    /// and there are others up to this one.
    private(set) var last: Int64 = 0
    /// Whether the file holds the count of an orderly end, which the next change makes wrong.
    var isStored = false

    init() {}

    /// - Parameters:
    ///   - stored: the count that the file holds; nil if it holds none.
    ///   - first: the lowest number of a row; nil: there is none.
    ///   - last: the highest one.
    init(stored: Int64?, first: Int64?, last: Int64?) {
        isStored = stored != nil
        guard let first, let last else { return }
        self.last = last
        if let stored, stored > 0, stored <= last - first + 1 {
            known = Int(stored)
            countedThrough = last
        } else {
            countedThrough = first - 1
        }
    }

    /// Whether `count` is exact.
    var isExact: Bool { countedThrough >= last }

    /// The rows, or the most that there may be.
    var count: Int { known + Int(max(0, last - countedThrough)) }

    /// Takes the next portion.
    mutating func counted(_ count: Int, through number: Int64?) {
        known += count
        countedThrough = number ?? last
    }

    /// Takes rows that were inserted above all others.
    mutating func inserted(_ count: Int) {
        known += count
    }

    /// Takes rows that were deleted, all of them counted.
    mutating func deleted(_ count: Int) {
        known -= count
    }
}
