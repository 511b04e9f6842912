import Readings

/// One stretch of `WindowPolicy.paneSize`.
public struct Pane: Sendable, Equatable {
    /// The beginning, milliseconds since 1970, a multiple of the pane size.
    public var start: Int64
    /// What fell into it.
    public var totals: Totals
    /// Whether the open windows that contain it have not been given since it changed.
    var isChanged = true

    /// Makes a pane of readings that were added up elsewhere.
    public init(start: Int64, totals: Totals) {
        self.start = start
        self.totals = totals
    }
}

/// The panes of one sensor in the order of their beginnings, of which windows are the sums.
public struct PaneList: Sendable {
    private(set) var panes: [Pane]

    /// Takes up panes, in any order, none twice.
    public init(_ panes: [Pane] = []) {
        self.panes = panes.sorted { $0.start < $1.start }
    }

    /// Whether there is none.
    var isEmpty: Bool { panes.isEmpty }
    /// How many there are.
    var count: Int { panes.count }
    /// The last one.
    var last: Pane? { panes.last }
    /// Bytes that they have in memory, room for more of them included.
    var bytes: Int { panes.capacity * MemoryLayout<Pane>.stride }
    /// Whether one has changed since `forgetChanges`.
    var hasChanges: Bool { panes.contains(where: \.isChanged) }

    /// Notes that every open window has been given.
    mutating func forgetChanges() {
        for index in panes.indices { panes[index].isChanged = false }
    }

    /// Adds a reading to its pane, which is made if need be.
    mutating func add(_ observation: Observation, isLate: Bool, policy: WindowPolicy) {
        let index = index(for: observation.eventTime.floored(to: policy.paneSize), policy)
        panes[index].totals.add(observation, isLate: isLate)
        panes[index].isChanged = true
    }

    /// Drops panes.
    mutating func removeAll(where isDone: (Pane) -> Bool) { panes.removeAll(where: isDone) }

    /// The index of the pane that begins at `start`, made if need be. Readings mostly come in order.
    private mutating func index(for start: Int64, _ policy: WindowPolicy) -> Int {
        if let last = panes.last, last.start == start { return panes.count - 1 }
        let index = lowerBound(start)
        if index == panes.count || panes[index].start != start {
            if panes.count == panes.capacity { makeRoom(policy) }
            panes.insert(Pane(start: start, totals: Totals()), at: index)
        }
        return index
    }

    /// Makes room for a few panes, then at once for all that a sensor comes to, if they are not many: to grow twofold, or
    /// by a little many times, leaves as much again unused, which of a hundred thousand sensors is half a gigabyte. Where
    /// there may be many, most of them may never have a reading: room grows by a quarter.
    private mutating func makeRoom(_ policy: WindowPolicy) {
        let all = policy.paneCount
        let isSmall = panes.count < 8 || panes.count >= all
        panes.reserveCapacity(isSmall ? panes.count + 4 : all <= 64 ? all : min(all, panes.count + panes.count / 4))
    }

    /// The first pane that begins at or after `start`.
    private func lowerBound(_ start: Int64) -> Int {
        var low = 0
        var high = panes.count
        while low < high {
            let middle = (low + high) / 2
            if panes[middle].start < start { low = middle + 1 } else { high = middle }
        }
        return low
    }

    // MARK: Windows

    /// What the panes from one time up to another add up to.
    public func totals(from start: Int64, to end: Int64) -> Totals {
        var totals = Totals()
        var index = lowerBound(start)
        while index < panes.count, panes[index].start < end {
            totals.merge(panes[index].totals)
            index += 1
        }
        return totals
    }

    /// Calls `body` with the end of every window of a specification that ends in (after, through] and contains a pane of
    /// interest, each once and in order.
    func forEachEnd(
        of specification: WindowSpecification, after: Int64, through: Int64, containing isOfInterest: (Pane) -> Bool,
        _ body: (Int64) -> Void
    ) {
        var done = after
        for pane in panes where isOfInterest(pane) {
            for end in specification.ends(containing: pane.start) where end > done && end <= through {
                body(end)
                done = end
            }
        }
    }
}
