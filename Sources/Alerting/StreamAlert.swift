/// The alert for the holes of one stream: open or not.
///
/// What is pending needs no memory of its own, as it follows from the holes: how old each is in the stream's own time.
public struct StreamAlert: Sendable, Equatable {
    /// A hole, as far as an alert needs to know it.
    public struct Hole: Sendable, Equatable {
        /// When it was seen: the event time of the reading behind it, milliseconds since 1970.
        public var seen: Int64
        /// How many readings are missing.
        public var count: Int64
        /// Why they are missing; nil if nobody knows.
        public var reason: String?

        /// Makes a hole.
        public init(seen: Int64, count: Int64, reason: String? = nil) {
            self.seen = seen
            self.count = count
            self.reason = reason
        }
    }

    /// The open alert; nil if there is none.
    public private(set) var state: AlertState?
    /// Whether the state has changed since this was last set to false.
    public var hasChanged = false

    /// Takes up a state.
    public init(_ state: AlertState? = nil) {
        self.state = state
    }

    /// Looks at the holes.
    /// - Parameters:
    ///   - holes: all of them.
    ///   - stream: its name.
    ///   - time: the latest event time of the stream, milliseconds since 1970.
    public mutating func evaluate(
        _ holes: some Sequence<Hole>, stream: @autoclosure () -> String, time: Int64, rule: LossRule?,
        emit: (AlertEvent) -> Void
    ) {
        var missing: Int64 = 0
        var first: Int64?
        var reasons: Set<String> = []
        if let rule {
            for hole in holes where time - hole.seen < rule.clearAfter {
                missing += hole.count
                first = min(first ?? hole.seen, hole.seen)
                if let reason = hole.reason { reasons.insert(reason) }
            }
        }
        guard let rule, let first else {
            guard let state else { return }
            self.state = nil
            hasChanged = true
            emit(state.event(.closed, at: time, value: 0))
            return
        }
        if var state {
            state.worst = max(state.worst ?? 0, Double(missing))
            if state != self.state { hasChanged = true }
            self.state = state
        } else if time - first >= rule.minimumDuration {
            let state = AlertState(
                key: AlertKey(.loss, stream()), since: first, worst: Double(missing),
                detail: StreamAlert.detail(missing, reasons), severity: rule.severity)
            self.state = state
            hasChanged = true
            emit(state.event(.opened, at: time, value: Double(missing)))
        }
    }

    private static func detail(_ missing: Int64, _ reasons: Set<String>) -> String {
        let why = reasons.isEmpty ? "" : " (\(reasons.sorted().joined(separator: ", ")))"
        return "\(missing) readings missing\(why)"
    }
}
