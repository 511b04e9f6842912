import Readings

/// A window to write.
public struct WindowResult: Sendable, Equatable {
    /// Which windows it is one of.
    public var specification: WindowSpecification
    /// Its beginning, milliseconds since 1970; it ends `specification.size` later.
    public var start: Int64
    /// Whether the watermark has passed its end.
    public var isFinal: Bool
    /// Whether it was surely never given before, so that there is no row of it yet.
    public var isNew: Bool
    /// What it holds.
    public var totals: Totals
}

/// A final window that a late reading fell into: it is to be computed again from the raw rows.
public struct LateWindow: Sendable, Hashable {
    /// Which windows it is one of.
    public var specification: WindowSpecification
    /// Its beginning, milliseconds since 1970.
    public var start: Int64

    /// Names a window.
    public init(specification: WindowSpecification, start: Int64) {
        self.specification = specification
        self.start = start
    }
}

/// The open windows of one sensor: its watermark, and panes of event time that add up to windows.
///
/// It keeps a pane while a window that contains it is open. A reading goes through `add`; after a batch of them
/// `advance` gives the windows that the watermark has passed. A reading that is late for some windows is still in time
/// for others: it is added to the panes of those, and the final ones are named for recomputation.
///
/// The state is a cache of rows: `init(restoring:)` takes it up again where the database left it.
public struct SensorWindows: Sendable {
    /// One stretch of `WindowPolicy.paneSize`.
    public struct Pane: Sendable, Equatable {
        /// The beginning, milliseconds since 1970, a multiple of the pane size.
        public var start: Int64
        /// What fell into it.
        public var totals: Totals
        /// Whether an open window that contains it has not been given since it changed.
        var isChanged = true

        /// Makes a pane, for `init(restoring:)`.
        public init(start: Int64, totals: Totals) {
            self.start = start
            self.totals = totals
        }
    }

    /// The largest event time admitted, milliseconds since 1970; nil before the first.
    public private(set) var largestEventTime: Int64?
    /// Windows that end at or before this are final, milliseconds since 1970.
    public private(set) var finalThrough: Int64
    private var panes: [Pane] = []
    /// The latest pane when open windows were last given: no window that begins after it was ever given.
    private var givenThrough = Int64.min

    /// The state of a sensor that nobody has heard of.
    public init() {
        finalThrough = .min
    }

    /// Takes up the state of a sensor again. Every open window counts as changed.
    /// - Parameters:
    ///   - panes: all panes with an end after `finalThrough - policy.longestWindow`, in any order.
    ///   - largestEventTime: as it was.
    ///   - finalThrough: as it was.
    public init(restoring panes: [Pane], largestEventTime: Int64?, finalThrough: Int64) {
        self.panes = panes.sorted { $0.start < $1.start }
        self.largestEventTime = largestEventTime
        self.finalThrough = finalThrough
        givenThrough = self.panes.last?.start ?? .min
    }

    /// How many panes are in memory.
    public var paneCount: Int { panes.count }

    /// Bytes that the panes have in memory, room for more of them included.
    public var paneBytes: Int { panes.capacity * MemoryLayout<Pane>.stride }

    /// Calls `body` with the beginning of each pane, in order.
    func forEachPaneStart(_ body: (Int64) -> Void) {
        for pane in panes { body(pane.start) }
    }

    /// Whether no pane is in memory, so that no window is open.
    public var isEmpty: Bool { panes.isEmpty }

    /// Whether an open window has changed since `drainDirtyWindows`.
    public var hasChanges: Bool { panes.contains(where: \.isChanged) }

    /// The watermark: nothing is expected before it, milliseconds since 1970.
    private func watermark(_ policy: WindowPolicy) -> Int64 {
        largestEventTime.map { max(finalThrough, $0 - policy.lateness) } ?? finalThrough
    }

    /// Takes a reading in.
    /// - Parameters:
    ///   - observation: the reading.
    ///   - policy: the same one at every call.
    ///   - lateWindows: gets the final windows that the reading changes.
    /// - Returns: whether it came after the watermark had passed it.
    public mutating func add(
        _ observation: Observation, policy: WindowPolicy, lateWindows: inout Set<LateWindow>
    ) -> Bool {
        let time = observation.eventTime
        let isLate = time < watermark(policy)
        largestEventTime = max(largestEventTime ?? time, time)
        var isOpen = true
        // Windows that contain the reading end after it, so at or past the last final end they are all open.
        if time < finalThrough {
            isOpen = false
            for specification in policy.specifications {
                for end in specification.ends(containing: time) {
                    if end > finalThrough {
                        isOpen = true
                        break
                    }
                    lateWindows.insert(LateWindow(specification: specification, start: end - specification.size))
                }
            }
        }
        if isOpen {
            let index = paneIndex(for: time.floored(to: policy.paneSize), policy)
            panes[index].totals.add(observation, isLate: isLate)
            panes[index].isChanged = true
        }
        return isLate
    }

    /// The index of the pane that begins at `start`, made if need be. Readings mostly come in order.
    private mutating func paneIndex(for start: Int64, _ policy: WindowPolicy) -> Int {
        if let last = panes.last, last.start == start { return panes.count - 1 }
        let index = lowerBound(start)
        if index == panes.count || panes[index].start != start {
            if panes.count == panes.capacity { makeRoom(policy) }
            panes.insert(Pane(start: start, totals: Totals()), at: index)
        }
        return index
    }

    /// Makes room for a few panes, then at once for all that a sensor comes to: to grow twofold, or by a little many
    /// times, leaves as much again unused, which of a hundred thousand sensors is half a gigabyte.
    private mutating func makeRoom(_ policy: WindowPolicy) {
        let all = Int((policy.longestWindow + policy.lateness) / policy.paneSize) + 3
        panes.reserveCapacity(panes.count < 8 || panes.count >= all ? panes.count + 4 : all)
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

    /// Gives the windows that the watermark has passed since the last call, each once, and forgets their panes.
    /// - Parameters:
    ///   - time: makes windows that end at or before it final even if the watermark has not passed them, for a sensor
    ///     that is silent; milliseconds since 1970.
    ///   - policy: the same one at every call.
    ///   - emit: gets each window.
    public mutating func advance(
        through time: Int64 = .min, policy: WindowPolicy, emit: (WindowResult) -> Void
    ) {
        let newFinal = max(watermark(policy), time)
        guard newFinal > finalThrough else { return }
        forEachWindow(policy, ending: (finalThrough, newFinal)) { _ in
            true
        } emit: {
            emit($0)
        }
        finalThrough = newFinal
        panes.removeAll { pane in
            policy.specifications.allSatisfy { pane.start.floored(to: $0.slide) + $0.size <= newFinal }
        }
    }

    /// Gives the open windows that have changed since the last call.
    public mutating func drainDirtyWindows(policy: WindowPolicy, emit: (WindowResult) -> Void) {
        forEachWindow(policy, ending: (finalThrough, .max)) {
            $0.isChanged
        } emit: {
            emit($0)
        }
        for index in panes.indices { panes[index].isChanged = false }
        if let last = panes.last { givenThrough = max(givenThrough, last.start) }
    }

    /// Gives every window with an end in (after, through] that contains a pane of interest.
    private func forEachWindow(
        _ policy: WindowPolicy, ending range: (after: Int64, through: Int64), of isOfInterest: (Pane) -> Bool,
        emit: (WindowResult) -> Void
    ) {
        for specification in policy.specifications {
            var done = range.after
            for pane in panes where isOfInterest(pane) {
                for end in specification.ends(containing: pane.start) where end > done && end <= range.through {
                    emit(window(specification, end: end, isFinal: range.through != .max))
                    done = end
                }
            }
        }
    }

    private func window(_ specification: WindowSpecification, end: Int64, isFinal: Bool) -> WindowResult {
        let start = end - specification.size
        var totals = Totals()
        var index = lowerBound(start)
        while index < panes.count, panes[index].start < end {
            totals.merge(panes[index].totals)
            index += 1
        }
        return WindowResult(
            specification: specification, start: start, isFinal: isFinal, isNew: start > givenThrough, totals: totals)
    }
}
