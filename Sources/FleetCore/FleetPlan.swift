import Readings

/// What a fleet is to produce. With the same plan, two generators produce the same messages.
public struct FleetPlan: Sendable, Equatable {
    /// Boards.
    public var gateways = 100
    /// Sensors on each board.
    public var sensorsPerGateway = 4
    /// Messages in all: readings, duplicates and malformed ones.
    public var messages = 100_000
    /// Decides everything that is random.
    public var seed: UInt64 = 1
    /// The event time of the first sample.
    public var start: Timestamp
    /// Between two samples of one sensor, in microseconds; at least 1. What a reading says of itself is rounded to
    /// milliseconds.
    public var intervalMicroseconds: Int64 = 1_000_000
    /// The share of messages that repeat an earlier reading.
    public var duplicates = 0.0
    /// The share of messages that are not readings.
    public var malformed = 0.0
    /// The share of readings of which a value lies beyond what a healthy room shows.
    public var anomalies = 0.0
    /// The share of stretches of `FleetPlan.stretch` samples of a sensor in which something is wrong for several samples in
    /// a row.
    public var episodes = 0.0
    /// The share of readings of which a chip failed.
    public var faults = 0.0
    /// How many sensors, the last ones, send nothing any more after the first half.
    public var silent = 0
    /// The share of readings that are overtaken by later ones of their board.
    public var outOfOrder = 0.0
    /// The share of readings measured 20 minutes to 3 hours before they come.
    public var late = 0.0

    /// Samples of a sensor, of which one episode may take a part.
    public static let stretch = 40

    /// A plan with the defaults above.
    public init(start: Timestamp) {
        self.start = start
    }

    /// Sensors of the whole fleet.
    public var sensors: Int { gateways * sensorsPerGateway }

    /// The interval as readings state it: at least 1.
    public var intervalMilliseconds: Int64 { max(1, (intervalMicroseconds + 500) / 1000) }

    /// When the sample with this number is taken: one round of all sensors an interval, evenly spread over it.
    public func eventTime(ofSample sample: Int) -> Timestamp {
        let (round, sensor) = sample.quotientAndRemainder(dividingBy: sensors)
        let offset = Int64(round) * intervalMicroseconds + Int64(sensor) * intervalMicroseconds / Int64(sensors)
        return Timestamp(milliseconds: start.milliseconds + offset / 1000)
    }

    /// Checks that the plan can be produced.
    /// - Throws: which part of it cannot.
    public func validate() throws(FleetError) {
        try require((1...99_999).contains(gateways), "gateways", "\(gateways)", "1 to 99999")
        try require((1...999).contains(sensorsPerGateway), "sensors-per-gateway", "\(sensorsPerGateway)", "1 to 999")
        try require((0...1_000_000_000_000).contains(messages), "count", "\(messages)", "0 to 10^12")
        // 31 days, the longest interval that the contract has.
        try require(
            (1...2_678_400_000_000).contains(intervalMicroseconds), "interval", "\(intervalMicroseconds) µs",
            "1 microsecond to 31 days")
        let rounds = Int64(messages / max(1, sensors - max(0, silent)) + 1)
        let (span, overflow) = rounds.multipliedReportingOverflow(by: intervalMicroseconds)
        let last = start.milliseconds.addingReportingOverflow(span / 1000)
        try require(
            !overflow && !last.overflow && Timestamp.representable.contains(start)
                && Timestamp.representable.contains(Timestamp(milliseconds: last.partialValue)),
            "start", "\(start)", "such that all event times lie in the years 0 to 9999")
        for (name, share) in [
            ("duplicates", duplicates), ("malformed", malformed), ("anomalies", anomalies), ("episodes", episodes),
            ("faults", faults),
            ("out-of-order", outOfOrder), ("late", late),
        ] {
            try require((0...1).contains(share), name, "\(share)", "0 to 1")
        }
        try require((0..<sensors).contains(silent), "silent", "\(silent)", "0 to one less than there are sensors")
        try require(duplicates + malformed < 1, "duplicates + malformed", "\(duplicates + malformed)", "less than 1")
    }

    private func require(
        _ condition: Bool, _ option: String, _ found: String, _ allowed: String
    ) throws(FleetError) {
        guard condition else { throw FleetError.invalid(option: option, found: found, allowed: allowed) }
    }
}

/// Why a fleet cannot run.
public enum FleetError: Error, Equatable, Sendable, CustomStringConvertible {
    /// An option is out of range.
    case invalid(option: String, found: String, allowed: String)
    /// The broker did not take messages that it was given; what the first one failed with.
    case undelivered(messages: Int, reason: String)
    /// The client cannot start or send.
    case kafka(String)

    /// One line for a person.
    public var description: String {
        switch self {
        case .invalid(let option, let found, let allowed): "\(option): found \(found), allowed is \(allowed)"
        case .kafka(let reason): reason
        case .undelivered(let messages, let reason): "\(messages) messages were not delivered: \(reason)"
        }
    }
}
