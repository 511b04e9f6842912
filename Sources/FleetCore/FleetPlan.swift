import Readings

/// What a fleet is to produce. With the same plan, two generators produce the same messages.
public struct FleetPlan: Sendable, Equatable {
    /// What the gateways' ids begin with.
    public var name = "gateway"
    /// Gateways.
    public var gateways = 100
    /// Boards that send under one gateway_id in turn, each with an outbox of its own.
    public var boardsPerGateway = 1
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
    /// The share of readings measured long before they come: 20 minutes to `longestLateness`.
    public var late = 0.0
    /// The most by which a reading is late, in milliseconds; above 20 minutes.
    public var longestLateness: Int64 = 3 * 3_600_000
    /// How long every second reading of a sensor lies in the past, in milliseconds: a sensor with two clocks.
    public var alternation: Int64 = 0
    /// How long nobody measures anything after the first half, in milliseconds of event time.
    public var pause: Int64 = 0
    /// Whether boards report their first streams before the first reading, as gateways do.
    public var isAnnounced = false
    /// Readings of a stream, after which its board starts again and has a new one; 0 is never.
    public var readingsPerStream = 0
    /// The first number of every outbox.
    public var firstNumber: Int64 = 1
    /// How many numbers every board leaves out after its first reading.
    public var jump: Int64 = 0
    /// The share of readings before which a number is given to one that never comes.
    public var lost = 0.0
    /// The share of readings before which up to three numbers never come, and a report says why.
    public var reportedLost = 0.0
    /// The share of readings before which a report comes that is allowed and that no gateway sends.
    public var oddReports = 0.0
    /// The share of messages that give the number of an earlier reading to another one.
    public var conflicts = 0.0
    /// What of every reading is at an end of what the contract allows.
    public var extremes: Set<Extreme> = []
    /// What malformed messages are.
    public var malformations = Malformation.allCases
    /// Whether the messages of a gateway go to all partitions.
    public var isScattered = false

    /// Samples of a sensor, of which one episode may take a part.
    public static let stretch = 40

    /// A reading that is late is so by more than this, in milliseconds.
    static let shortestLateness: Int64 = 20 * 60_000
    /// A hundred years, in milliseconds.
    private static let longest: Int64 = 100 * 365 * 86_400_000

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
        let pause = sample < messages / 2 ? 0 : pause
        return Timestamp(milliseconds: start.milliseconds + offset / 1000 + pause)
    }

    /// Checks that the plan can be produced.
    /// - Throws: which part of it cannot.
    public func validate() throws(FleetError) {
        try require((1...99_999).contains(gateways), "gateways", "\(gateways)", "1 to 99999")
        try require(
            (1...100_000).contains(sensorsPerGateway), "sensors-per-gateway", "\(sensorsPerGateway)", "1 to 100000")
        try require((1...100).contains(boardsPerGateway), "boards-per-gateway", "\(boardsPerGateway)", "1 to 100")
        try require(
            Identifier(name) != nil && name.utf8.count <= 40, "name", name, "1 to 40 of A-Z a-z 0-9 . _ -")
        try require((0...1_000_000_000_000).contains(messages), "count", "\(messages)", "0 to 10^12")
        // 31 days, the longest interval that the contract has.
        try require(
            (1...2_678_400_000_000).contains(intervalMicroseconds), "interval", "\(intervalMicroseconds) µs",
            "1 microsecond to 31 days")
        try require((0...FleetPlan.longest).contains(pause), "pause", "\(pause) ms", "0 to 100 years")
        try require((0...FleetPlan.longest).contains(alternation), "alternate", "\(alternation) ms", "0 to 100 years")
        try require(
            (FleetPlan.shortestLateness + 1...FleetPlan.longest).contains(longestLateness), "late-by",
            "\(longestLateness) ms", "more than 20 minutes, to 100 years")
        try require(
            (0...1_000_000_000_000).contains(readingsPerStream), "readings-per-stream", "\(readingsPerStream)",
            "0 to 10^12")
        // Besides the jump, no message takes more than five numbers.
        let room = Reading.numbers.upperBound - 5 * Int64(messages)
        try require(
            Reading.numbers.contains(firstNumber) && jump >= 0 && jump <= room - firstNumber, "first + jump",
            "\(firstNumber) + \(jump)", "1 to \(room)")
        try require(!malformations.isEmpty, "malformed-as", "nothing", "kinds of malformed messages")
        let rounds = Int64(messages / max(1, sensors - max(0, silent)) + 1)
        let (span, overflow) = rounds.multipliedReportingOverflow(by: intervalMicroseconds)
        let last = start.milliseconds.addingReportingOverflow(span / 1000 + pause)
        try require(
            !overflow && !last.overflow && Timestamp.representable.contains(start)
                && Timestamp.representable.contains(Timestamp(milliseconds: last.partialValue)),
            "start", "\(start)", "such that all event times lie in the years 0 to 9999")
        for (name, share) in [
            ("duplicates", duplicates), ("malformed", malformed), ("anomalies", anomalies), ("episodes", episodes),
            ("faults", faults), ("out-of-order", outOfOrder), ("late", late), ("lost", lost),
            ("reported-lost", reportedLost), ("odd-reports", oddReports), ("conflicts", conflicts),
        ] {
            try require((0...1).contains(share), name, "\(share)", "0 to 1")
        }
        try require((0..<sensors).contains(silent), "silent", "\(silent)", "0 to one less than there are sensors")
        let others = duplicates + malformed + conflicts
        try require(others < 1, "duplicates + malformed + conflicts", "\(others)", "less than 1")
        // Else nobody could say which of two readings came first.
        try require(
            conflicts == 0 || outOfOrder == 0 && !isScattered, "conflicts", "\(conflicts)",
            "0 with --out-of-order and --scattered")
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
