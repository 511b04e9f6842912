import Readings
import Windowing

/// How bad it is.
public enum Severity: String, CaseIterable, Sendable, Comparable {
    /// Somebody should look.
    case warning
    /// Somebody must act.
    case critical

    /// Critical is above warning.
    public static func < (left: Severity, right: Severity) -> Bool { left == .warning && right == .critical }
}

/// The values of a quantity that are passed when something is wrong; infinite where there is no bound.
public struct Bounds: Sendable, Equatable {
    /// Passed by a value below it.
    public var below: Double
    /// Passed by a value above it.
    public var above: Double

    /// Makes bounds.
    public init(below: Double = -.infinity, above: Double = .infinity) {
        self.below = below
        self.above = above
    }

    /// Whether a value passes one.
    @inlinable
    func isPassed(by value: Double) -> Bool { value > above || value < below }
}

/// The side of its bounds on which a value is.
public enum Side: String, CaseIterable, Sendable {
    /// Too low.
    case below
    /// Too high.
    case above
}

/// What is wrong with the values of one quantity, and for how long before it is an alert.
public struct QuantityRule: Sendable, Equatable {
    /// Beyond them a reading has the status warning.
    public var warning: Bounds
    /// Beyond them too; never inside the warning bounds.
    public var critical: Bounds
    /// How far a value must come back inside the bounds before an alert closes.
    public var hysteresis: Double
    /// How long values must have been beyond a bound, in event time, milliseconds.
    public var minimumDuration: Int64

    /// Makes a rule; without bounds it never applies.
    public init(
        warning: Bounds = Bounds(), critical: Bounds = Bounds(), hysteresis: Double = 0, minimumDuration: Int64 = 0
    ) {
        self.warning = warning
        self.critical = critical
        self.hysteresis = hysteresis
        self.minimumDuration = minimumDuration
    }

    /// A value below it passes a bound.
    @inlinable var lowest: Double { max(warning.below, critical.below) }
    /// A value above it passes a bound.
    @inlinable var highest: Double { min(warning.above, critical.above) }

    /// Which bound a value passes; nil for none.
    func passed(by value: Double) -> (severity: Severity, side: Side)? {
        if value > highest { return (value > critical.above ? .critical : .warning, .above) }
        if value < lowest { return (value < critical.below ? .critical : .warning, .below) }
        return nil
    }

    /// Whether a value is far enough inside the bounds of a side for an alert to close.
    func isBack(_ value: Double, from side: Side) -> Bool {
        switch side {
        case .above: value <= highest - hysteresis
        case .below: value >= lowest + hysteresis
        }
    }
}

/// When a chip's faults are an alert.
public struct FaultRule: Sendable, Equatable {
    /// How bad they are.
    public var severity: Severity
    /// How long every reading must have had a fault of the chip, in event time, milliseconds.
    public var minimumDuration: Int64

    /// Makes a rule.
    public init(severity: Severity = .warning, minimumDuration: Int64 = 0) {
        self.severity = severity
        self.minimumDuration = minimumDuration
    }
}

/// When a sensor that sends nothing is an alert.
public struct SilenceRule: Sendable, Equatable {
    /// How bad it is.
    public var severity: Severity
    /// After so many of the sensor's own intervals.
    public var intervals: Int64
    /// But never before this, milliseconds.
    public var least: Int64

    /// Makes a rule.
    public init(severity: Severity = .warning, intervals: Int64, least: Int64) {
        self.severity = severity
        self.intervals = intervals
        self.least = least
    }

    /// The silence that is an alert, milliseconds.
    public func limit(interval: Int64) -> Int64 {
        let (product, overflow) = intervals.multipliedReportingOverflow(by: interval)
        return max(least, overflow ? .max : product)
    }
}

/// When holes in a stream are an alert.
public struct LossRule: Sendable, Equatable {
    /// How bad they are.
    public var severity: Severity
    /// How long a hole must have been there, in the stream's event time, milliseconds.
    public var minimumDuration: Int64
    /// After this a hole that stays is history, in the stream's event time, milliseconds.
    public var clearAfter: Int64

    /// Makes a rule.
    public init(severity: Severity = .warning, minimumDuration: Int64, clearAfter: Int64) {
        self.severity = severity
        self.minimumDuration = minimumDuration
        self.clearAfter = clearAfter
    }
}

/// All rules of the centre.
public struct AlertRules: Sendable, Equatable {
    /// The rules of the quantities, by the order of `Quantity.all`.
    @usableFromInline
    var quantities = [QuantityRule](repeating: QuantityRule(), count: Quantity.all.count)
    /// Nil: faults are no alerts.
    public var fault: FaultRule?
    /// Nil: silence is no alert.
    public var silence: SilenceRule?
    /// Nil: loss is no alert.
    public var loss: LossRule?
    /// Nil: conflicts are no alert.
    public var conflict: ConflictRule?

    /// Rules that never apply.
    public init() {}

    /// The rule of a quantity. The alerts of the battery's level are of the kind battery.
    @inlinable
    public subscript(quantity: Quantity) -> QuantityRule {
        get { quantities[Int(quantity.rawValue)] }
        set { quantities[Int(quantity.rawValue)] = newValue }
    }

    /// Classifies a reading: this and `SensorAlerts.isQuiet` are all that a reading costs when nothing is wrong.
    /// - Parameters:
    ///   - values: its quantities.
    ///   - hasFaults: whether it reports faults.
    ///   - known: the quantities that its sensor has given before.
    @inlinable
    public func status(of values: Values, hasFaults: Bool, known: QuantitySet) -> Status {
        if hasFaults || !QuantitySet(of: values).isSuperset(of: known) { return .failure }
        return passesABound(values) ? .warning : .ok
    }

    /// Whether any value passes any bound.
    @inlinable
    public func passesABound(_ values: Values) -> Bool {
        for quantity in values.present.members {
            if self[quantity].isPassed(by: values[quantity]) { return true }
        }
        return false
    }
}

extension QuantityRule {
    @inlinable
    func isPassed(by value: Double?) -> Bool {
        guard let value else { return false }
        return warning.isPassed(by: value) || critical.isPassed(by: value)
    }
}
