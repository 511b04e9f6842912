import Readings

/// What the centre thinks of a reading.
public enum Status: UInt8, Sendable {
    /// Nothing to say.
    case ok
    /// A value beyond a bound.
    case warning
    /// A fault, or a quantity missing that the sensor is known to give.
    case failure

    /// As the tables write it.
    public var name: String {
        switch self {
        case .ok: "ok"
        case .warning: "warning"
        case .failure: "failure"
        }
    }
}

/// What the windows need to know of one admitted reading.
public struct Observation: Sendable, Equatable {
    /// When the air was measured, milliseconds since 1970.
    public var eventTime: Int64
    /// The sampling interval, milliseconds.
    public var interval: Int64
    /// What the centre thinks of it.
    public var status: Status
    /// The quantities; those that are not aggregated are ignored.
    public var values: Values

    /// Makes an observation.
    public init(eventTime: Int64, interval: Int64, status: Status, values: Values) {
        self.eventTime = eventTime
        self.interval = interval
        self.status = status
        self.values = values
    }
}

/// What a stretch of event time of one sensor adds up to: a pane, or a window merged from panes.
public struct Totals: Sendable, Equatable {
    /// Readings in the stretch.
    public var readingCount: Int64 = 0
    /// Those with status warning.
    public var warningCount: Int64 = 0
    /// Those with status failure.
    public var failureCount: Int64 = 0
    /// Those that came after the sensor's watermark had passed them.
    public var lateCount: Int64 = 0
    /// The sum of the readings' sampling intervals, milliseconds: the time that they stand for.
    public var coveredTime: Int64 = 0
    /// What the values of each quantity add up to; of a quantity that is not aggregated nothing.
    public var summaries = QuantityArray(repeating: Summary())

    /// Totals of nothing.
    public init() {}

    /// Adds one reading.
    public mutating func add(_ observation: Observation, isLate: Bool) {
        readingCount += 1
        switch observation.status {
        case .ok: break
        case .warning: warningCount += 1
        case .failure: failureCount += 1
        }
        if isLate { lateCount += 1 }
        coveredTime += observation.interval
        for quantity in QuantitySet(of: observation.values).members {
            if let value = observation.values[quantity] { summaries[quantity].add(value) }
        }
    }

    /// Adds another stretch.
    public mutating func merge(_ other: Totals) {
        readingCount += other.readingCount
        warningCount += other.warningCount
        failureCount += other.failureCount
        lateCount += other.lateCount
        coveredTime += other.coveredTime
        for quantity in Quantity.aggregated where other.summaries[quantity].count > 0 {
            summaries[quantity].merge(other.summaries[quantity])
        }
    }

    /// The quantities of which it has a value.
    public var quantities: QuantitySet {
        Quantity.aggregated.reduce(into: QuantitySet()) { set, quantity in
            if summaries[quantity].count > 0 { set.insert(QuantitySet(quantity)) }
        }
    }

    /// The share of the expected readings that are there, 0 to 1.
    /// - Parameter size: the length of the stretch, milliseconds.
    public func coverage(of size: Int64) -> Double {
        min(1, Double(coveredTime) / Double(size))
    }
}
