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

    /// A window that was computed elsewhere.
    public init(
        specification: WindowSpecification, start: Int64, isFinal: Bool, isNew: Bool, totals: Totals
    ) {
        self.specification = specification
        self.start = start
        self.isFinal = isFinal
        self.isNew = isNew
        self.totals = totals
    }
}

/// What late readings add to a final window.
public struct LateWindow: Sendable, Equatable {
    /// Which windows it is one of.
    public var specification: WindowSpecification
    /// Its beginning, milliseconds since 1970.
    public var start: Int64
    /// What the late readings alone add up to.
    public var totals: Totals
}

/// The windows of one sensor: its watermark, and panes of event time that add up to the windows that are open.
///
/// A reading is late if it is before the watermark: the largest event time of those before it less the allowed lateness.
/// So it depends on the order of the sensor's readings and on nothing else. A reading goes through `add`; after a batch of
/// them `drainLateReadings` gives what late ones add to final windows, `advance` the windows that the watermark has
/// passed, and `drainDirtyWindows` the open ones that have changed.
///
/// Panes are a cache of rows. While `hasPanes` is false, readings move only the watermark, and no open window is given;
/// `restore` takes up the panes as the rows have them.
public struct SensorWindows: Sendable {
    /// The largest event time admitted, milliseconds since 1970; nil before the first.
    public private(set) var largestEventTime: Int64?
    /// Windows that end at or before this are final, milliseconds since 1970.
    public private(set) var finalThrough: Int64
    /// Whether the panes of all open windows are in memory.
    public private(set) var hasPanes: Bool
    private var panes = PaneList()
    /// The late readings since `drainLateReadings` that fell into final windows.
    private var latePanes = PaneList()
    /// Since when windows are open again, since `takeReopening`.
    private var reopenedFrom: Int64?
    /// No open window that begins after it was ever given.
    private var givenThrough = Int64.min
    /// The largest event time when open windows were last given; the smallest number if they never were.
    private var drainedThrough = Int64.min

    /// The state of a sensor that nobody has heard of.
    public init() {
        finalThrough = .min
        hasPanes = true
    }

    /// Takes up the state of a sensor again. If rows may be in an open window, its panes are to be restored.
    /// - Parameters:
    ///   - largestEventTime: as it was, milliseconds since 1970.
    ///   - finalThrough: as it was, milliseconds since 1970.
    public init(largestEventTime: Int64, finalThrough: Int64, policy: WindowPolicy) {
        self.largestEventTime = largestEventTime
        self.finalThrough = finalThrough
        hasPanes = largestEventTime + policy.longestWindow <= finalThrough
    }

    /// Takes up the panes. Every open window counts as changed.
    /// - Parameter restored: all panes with an end after `finalThrough - policy.longestWindow`, in any order.
    public mutating func restore(_ restored: [Pane]) {
        panes = PaneList(restored)
        hasPanes = true
        givenThrough = panes.last?.start ?? .min
        drainedThrough = .min
    }

    /// How many panes are in memory.
    public var paneCount: Int { panes.count }

    /// Bytes that the panes have in memory, room for more of them included.
    public var paneBytes: Int { panes.bytes }

    /// Calls `body` with the beginning of each pane, in order.
    func forEachPaneStart(_ body: (Int64) -> Void) {
        for pane in panes.panes { body(pane.start) }
    }

    /// Whether no window is open that has a reading.
    public var isEmpty: Bool { hasPanes && panes.isEmpty }

    /// Whether an open window that is in memory has changed since `drainDirtyWindows`.
    public var hasChanges: Bool { hasPanes && panes.hasChanges }

    /// Nothing is expected before it, milliseconds since 1970.
    private func watermark(_ policy: WindowPolicy) -> Int64 {
        largestEventTime.map { $0 - policy.lateness } ?? .min
    }

    // MARK: Readings

    /// Whether a reading of some event time, milliseconds since 1970, is late if it comes next.
    public func isLate(_ time: Int64, policy: WindowPolicy) -> Bool { time < watermark(policy) }

    /// Takes a reading in.
    /// - Parameters:
    ///   - observation: the reading.
    ///   - policy: the same one at every call.
    /// - Returns: whether it is late.
    @discardableResult
    public mutating func add(_ observation: Observation, policy: WindowPolicy) -> Bool {
        let time = observation.eventTime
        let isLate = isLate(time, policy: policy)
        if !isLate {
            let before = largestEventTime
            largestEventTime = max(before ?? time, time)
            if time < finalThrough { reopen(readingsThrough: before, policy) }
        } else if policy.specifications.contains(where: { time.floored(to: $0.slide) + $0.slide <= finalThrough }) {
            latePanes.add(observation, isLate: true, policy: policy)
        }
        // Windows that contain the reading end after it, so at or past the last final end they are all open.
        if hasPanes,
            time >= finalThrough
                || policy.specifications.contains(where: { time.floored(to: $0.slide) + $0.size > finalThrough })
        {
            panes.add(observation, isLate: isLate, policy: policy)
        }
        return isLate
    }

    /// Opens the windows again that end after the watermark, for a reading that is not late although its windows are final:
    /// the sensor was silent and then sent what it had measured meanwhile, or the lateness was raised.
    private mutating func reopen(readingsThrough: Int64?, _ policy: WindowPolicy) {
        finalThrough = watermark(policy)
        reopenedFrom = min(reopenedFrom ?? finalThrough, finalThrough)
        if let readingsThrough, readingsThrough + policy.longestWindow > finalThrough {
            panes = PaneList()
            hasPanes = false
        }
    }

    /// Since when windows are open again that were final, milliseconds since 1970, and forgets it: those that end after
    /// this; nil if none is.
    public mutating func takeReopening() -> Int64? {
        defer { reopenedFrom = nil }
        return reopenedFrom
    }

    // MARK: Windows

    /// Gives what late readings since the last call add to final windows, each window once.
    public mutating func drainLateReadings(policy: WindowPolicy, emit: (LateWindow) -> Void) {
        guard !latePanes.isEmpty else { return }
        for specification in policy.specifications {
            latePanes.forEachEnd(of: specification, after: .min, through: finalThrough) { _ in
                true
            } _: { end in
                let start = end - specification.size
                emit(
                    LateWindow(
                        specification: specification, start: start, totals: latePanes.totals(from: start, to: end)))
            }
        }
        latePanes = PaneList()
    }

    /// Makes the final windows due again that late readings since `drainLateReadings` fell into, for when they cannot be
    /// written now. The panes are to be restored.
    public mutating func reopenLateWindows() {
        guard let first = latePanes.panes.first else { return }
        finalThrough = min(finalThrough, first.start)
        panes = PaneList()
        latePanes = PaneList()
        hasPanes = false
    }

    /// Gives the windows that the watermark has passed since the last call, each once, and forgets their panes. Without
    /// panes it does nothing.
    /// - Parameters:
    ///   - time: makes windows that end at or before it final even if the watermark has not passed them, for a sensor
    ///     that is silent; milliseconds since 1970.
    ///   - policy: the same one at every call.
    ///   - emit: gets each window.
    public mutating func advance(
        through time: Int64 = .min, policy: WindowPolicy, emit: (WindowResult) -> Void
    ) {
        let newFinal = max(watermark(policy), time)
        guard hasPanes, newFinal > finalThrough else { return }
        for specification in policy.specifications {
            panes.forEachEnd(of: specification, after: finalThrough, through: newFinal) { _ in
                true
            } _: { end in
                emit(window(specification, end: end, isFinal: true))
            }
        }
        finalThrough = newFinal
        panes.removeAll { pane in
            policy.specifications.allSatisfy { pane.start.floored(to: $0.slide) + $0.size <= newFinal }
        }
    }

    /// Gives the open windows that have changed since the last call and whose last slide has begun: a window that slides
    /// often is not worth a row while most of it is still to come.
    public mutating func drainDirtyWindows(policy: WindowPolicy, emit: (WindowResult) -> Void) {
        guard hasPanes, let largest = largestEventTime else { return }
        var lastStart = givenThrough
        for specification in policy.specifications {
            func lastEnd(at time: Int64) -> Int64 {
                time == .min ? .min : time.floored(to: specification.slide) + specification.slide
            }
            func give(_ end: Int64) {
                lastStart = max(lastStart, end - specification.size)
                emit(window(specification, end: end, isFinal: false))
            }
            let (known, through) = (lastEnd(at: drainedThrough), lastEnd(at: largest))
            panes.forEachEnd(of: specification, after: finalThrough, through: min(known, through)) {
                $0.isChanged
            } _: {
                give($0)
            }
            panes.forEachEnd(of: specification, after: max(finalThrough, known), through: through) { _ in
                true
            } _: {
                give($0)
            }
        }
        panes.forgetChanges()
        givenThrough = lastStart
        drainedThrough = largest
    }

    private func window(_ specification: WindowSpecification, end: Int64, isFinal: Bool) -> WindowResult {
        let start = end - specification.size
        return WindowResult(
            specification: specification, start: start, isFinal: isFinal, isNew: start > givenThrough,
            totals: panes.totals(from: start, to: end))
    }
}
