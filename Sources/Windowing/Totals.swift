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
    /// The quantities; battery voltage is not aggregated.
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
    /// Degrees Celsius.
    public var temperature = Summary()
    /// Percent.
    public var humidity = Summary()
    /// Parts per million.
    public var co2 = Summary()
    /// Hectopascals.
    public var pressure = Summary()
    /// Percent.
    public var batteryLevel = Summary()

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
        if let value = observation.values.temperature { temperature.add(value) }
        if let value = observation.values.humidity { humidity.add(value) }
        if let value = observation.values.co2 { co2.add(value) }
        if let value = observation.values.pressure { pressure.add(value) }
        if let value = observation.values.batteryLevel { batteryLevel.add(value) }
    }

    /// Adds another stretch.
    public mutating func merge(_ other: Totals) {
        readingCount += other.readingCount
        warningCount += other.warningCount
        failureCount += other.failureCount
        lateCount += other.lateCount
        coveredTime += other.coveredTime
        temperature.merge(other.temperature)
        humidity.merge(other.humidity)
        co2.merge(other.co2)
        pressure.merge(other.pressure)
        batteryLevel.merge(other.batteryLevel)
    }

    /// The share of the expected readings that are there, 0 to 1.
    /// - Parameter size: the length of the stretch, milliseconds.
    public func coverage(of size: Int64) -> Double {
        min(1, Double(coveredTime) / Double(size))
    }
}
