import Readings

/// What an alert is about.
public enum AlertKind: String, CaseIterable, Sendable {
    /// A value beyond a bound.
    case threshold
    /// A battery that runs down.
    case battery
    /// A chip that reports faults.
    case fault
    /// A sensor that sends nothing.
    case silence
    /// Readings that were numbered and have not arrived.
    case loss
    /// Readings that came under the numbers of others.
    case conflict
    /// A partition of the topic whose log is another one than was read before, as after the topic was made anew.
    case log
}

/// Which of a sensor's alerts, or of a gateway's: at most one of each is open.
public struct AlertKey: Sendable, Hashable {
    /// What it is about.
    public var kind: AlertKind
    /// The quantity, the chip, the stream or the partition; empty for silence and conflicts.
    public var variable: String

    /// Names an alert.
    public init(_ kind: AlertKind, _ variable: String = "") {
        self.kind = kind
        self.variable = variable
    }

    init(_ quantity: Quantity) {
        self.init(quantity == .batteryLevel ? .battery : .threshold, quantity.name)
    }
}

/// Something that is wrong with a sensor: not yet for long enough (pending), or an alert that is open.
public struct AlertState: Sendable, Equatable {
    /// Which alert.
    public var key: AlertKey
    /// The side of the bounds; nil for what has none.
    public var side: Side?
    /// Since when it has been wrong without a break, milliseconds since 1970.
    public var since: Int64
    /// Since when it has been critical without a break, milliseconds since 1970; nil if it is not now.
    public var criticalSince: Int64?
    /// The value furthest beyond the bounds.
    public var worst: Double?
    /// More of it, for a person.
    public var detail: String
    /// The severity of the open alert; nil while it is pending.
    public var severity: Severity?

    /// Makes a state.
    public init(
        key: AlertKey, side: Side? = nil, since: Int64, criticalSince: Int64? = nil, worst: Double? = nil,
        detail: String = "", severity: Severity? = nil
    ) {
        self.key = key
        self.side = side
        self.since = since
        self.criticalSince = criticalSince
        self.worst = worst
        self.detail = detail
        self.severity = severity
    }

    /// What happens to it.
    /// - Parameters:
    ///   - time: when, milliseconds since 1970.
    ///   - value: the value that does it.
    public func event(_ action: AlertEvent.Action, at time: Int64, value: Double? = nil) -> AlertEvent {
        AlertEvent(
            action: action, key: key, severity: severity ?? .warning, time: time, since: since, value: value,
            worst: worst, detail: detail)
    }
}

/// A step in an alert's life.
public struct AlertEvent: Sendable, Equatable {
    /// What happened.
    public enum Action: String, Sendable {
        /// It began.
        case opened
        /// It became critical.
        case escalated
        /// It is over.
        case closed
    }

    /// What happened.
    public var action: Action
    /// To which alert.
    public var key: AlertKey
    /// Its severity from now on; of a closed one, the last.
    public var severity: Severity
    /// When, milliseconds since 1970: event time, and the processor's clock for silence and conflicts.
    public var time: Int64
    /// Since when it was wrong, milliseconds since 1970.
    public var since: Int64
    /// The value that did it.
    public var value: Double?
    /// The value furthest beyond the bounds.
    public var worst: Double?
    /// More of it, for a person.
    public var detail: String
}
