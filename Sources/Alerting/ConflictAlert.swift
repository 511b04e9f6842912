/// When readings that came under the numbers of others are an alert.
public struct ConflictRule: Sendable, Equatable {
    /// How bad they are.
    public var severity: Severity

    /// Makes a rule.
    public init(severity: Severity = .warning) {
        self.severity = severity
    }
}

/// The alert for the conflicts of one gateway: open while any of them is not settled.
public struct ConflictAlert: Sendable, Equatable {
    /// The open alert; nil if there is none.
    public private(set) var state: AlertState?

    /// Takes up a state.
    public init(_ state: AlertState? = nil) {
        self.state = state
    }

    /// Looks at the conflicts.
    /// - Parameters:
    ///   - open: how many are not settled.
    ///   - time: when, by the processor's clock, milliseconds since 1970.
    ///   - rule: nil: conflicts are no alert.
    public mutating func evaluate(open: Int64, time: Int64, rule: ConflictRule?, emit: (AlertEvent) -> Void) {
        guard let rule, open > 0 else {
            guard let state else { return }
            self.state = nil
            emit(state.event(.closed, at: time, value: Double(open)))
            return
        }
        if var known = state {
            known.worst = max(known.worst ?? 0, Double(open))
            state = known
            return
        }
        let opened = AlertState(
            key: AlertKey(.conflict), since: time, worst: Double(open),
            detail: "\(open) readings under numbers that other readings have", severity: rule.severity)
        state = opened
        emit(opened.event(.opened, at: time, value: Double(open)))
    }
}
