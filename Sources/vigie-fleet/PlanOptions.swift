import Commands
import FleetCore
import Readings

/// A subcommand with the options that say what is produced.
protocol Planned: Command {
    var plan: PlanOptions { get set }
}

/// The options that say what is produced; both subcommands have them.
struct PlanOptions: Sendable {
    var name = "gateway"
    var gateways = 100
    var boardsPerGateway = 1
    var sensorsPerGateway = 4
    var count = 100_000
    var seed: UInt64?
    var start: Timestamp?
    var interval: Duration?
    var duplicates = 0.0
    var malformed = 0.0
    var anomalies = 0.0
    var episodes = 0.0
    var faults = 0.0
    var silent = 0
    var outOfOrder = 0.0
    var late = 0.0
    var lateBy = Duration.seconds(3 * 3600)
    var alternate = Duration.zero
    var pause = Duration.zero
    var readingsPerStream = 0
    var first = 1
    var jump = 0
    var lost = 0.0
    var reportedLost = 0.0
    var oddReports = 0.0
    var conflicts = 0.0
    var extremes: WordList<Extreme>?
    var malformedAs: WordList<Malformation>?
    var scattered = false
    var announced = false

    static func options<Owner: Planned>() -> [CommandOption<Owner>] {
        [
            .value("name", "TEXT", \.plan.name, "What the gateways' ids begin with; gateway by default."),
            .value("gateways", "N", \.plan.gateways, "Gateways; 100 by default."),
            .value(
                "boards-per-gateway", "N", \.plan.boardsPerGateway,
                "Boards that send under one gateway_id in turn; 1 by default."),
            .value(
                "sensors-per-gateway", "N", \.plan.sensorsPerGateway,
                "Sensors on each gateway; 4 by default."),
            .value("count", short: "n", "N", \.plan.count, "Messages in all but reports; 100000 by default."),
            .value("seed", "N", \.plan.seed, "Decides all that is random; by default drawn and told."),
            .value(
                "start", "TIME", \.plan.start,
                "Event time of the first sample (RFC 3339); by default now, or without a rate so that the last is now."),
            .value(
                "interval", "DURATION", \.plan.interval,
                "Between two samples of a sensor; by default what the rate gives, or 1s without a rate."),
            .value("duplicates", "SHARE", \.plan.duplicates, "Messages that repeat a reading, 0 to 1."),
            .value("malformed", "SHARE", \.plan.malformed, "Messages that are no readings, 0 to 1."),
            .value(
                "anomalies", "SHARE", \.plan.anomalies, "Readings of air that nobody should breathe."),
            .value(
                "episodes", "SHARE", \.plan.episodes,
                "Stretches of \(FleetPlan.stretch) samples of a sensor with such air for several in a row."),
            .value(
                "silent", "N", \.plan.silent, "Sensors, the last ones, that send nothing after the first half."),
            .value("faults", "SHARE", \.plan.faults, "Readings of which a chip failed."),
            .value(
                "out-of-order", "SHARE", \.plan.outOfOrder, "Readings that later ones overtake."),
            .value("late", "SHARE", \.plan.late, "Readings that come 20 minutes or more late."),
            .value("late-by", "DURATION", \.plan.lateBy, "How late they come at most; 3h by default."),
            .value(
                "alternate", "DURATION", \.plan.alternate,
                "Every second reading of a sensor says to be older by so much."),
            .value("pause", "DURATION", \.plan.pause, "Nobody measures for so long after the first half."),
            .value(
                "readings-per-stream", "N", \.plan.readingsPerStream,
                "A board starts again after so many readings; 0, the default, is never."),
            .value("first", "N", \.plan.first, "The first number of every outbox; 1 by default."),
            .value("jump", "N", \.plan.jump, "Numbers that every board leaves out after its first reading."),
            .value("lost", "SHARE", \.plan.lost, "Readings before which a number never comes."),
            .value(
                "reported-lost", "SHARE", \.plan.reportedLost,
                "Readings before which numbers never come, and a report says why."),
            .value(
                "odd-reports", "SHARE", \.plan.oddReports,
                "Readings before which a report comes that is allowed and that no gateway sends."),
            .value(
                "conflicts", "SHARE", \.plan.conflicts, "Messages that give the number of a reading to another one."),
            .value(
                "extreme", "WORDS", \.plan.extremes,
                "What is at an end of what the contract allows: \(WordList<Extreme>.words)."),
            .value(
                "malformed-as", "WORDS", \.plan.malformedAs,
                "What malformed messages are, of: \(WordList<Malformation>.words)."),
            .flag(
                "announced", \.plan.announced,
                "Boards report their first streams before the first reading, as gateways do."),
            .flag("scattered", \.plan.scattered, "The messages of a gateway go to all partitions."),
        ]
    }

    /// The plan that the options describe.
    /// - Parameters:
    ///   - rate: messages a second, 0 if there is none.
    ///   - now: the time of day.
    func plan(rate: Double, now: Timestamp) throws -> FleetPlan {
        var plan = FleetPlan(start: start ?? now)
        plan.name = name
        plan.gateways = gateways
        plan.boardsPerGateway = boardsPerGateway
        plan.sensorsPerGateway = sensorsPerGateway
        plan.messages = count
        plan.seed = seed ?? .random(in: 0 ... .max)
        plan.duplicates = duplicates
        plan.malformed = malformed
        plan.anomalies = anomalies
        plan.episodes = episodes
        plan.faults = faults
        plan.silent = silent
        plan.outOfOrder = outOfOrder
        plan.late = late
        plan.longestLateness = Int64(clamping: lateBy / .milliseconds(1) as Double)
        plan.alternation = Int64(clamping: alternate / .milliseconds(1) as Double)
        plan.pause = Int64(clamping: pause / .milliseconds(1) as Double)
        plan.readingsPerStream = readingsPerStream
        plan.firstNumber = Int64(first)
        plan.jump = Int64(jump)
        plan.lost = lost
        plan.reportedLost = reportedLost
        plan.oddReports = oddReports
        plan.conflicts = conflicts
        plan.extremes = Set(extremes?.values ?? [])
        plan.malformations = malformedAs?.values ?? Malformation.allCases
        plan.isScattered = scattered
        plan.isAnnounced = announced
        if let interval {
            plan.intervalMicroseconds = Int64(clamping: interval / .microseconds(1) as Double)
        } else if rate > 0 {
            // As many samples a second as there are messages, less those that are no new reading.
            let readings = rate * (1 - duplicates - malformed - conflicts)
            plan.intervalMicroseconds = Int64(clamping: Double(gateways) * Double(sensorsPerGateway) / readings * 1e6)
        }
        try plan.validate()
        if start == nil, rate == 0 {
            let last = plan.eventTime(ofSample: plan.messages)
            plan.start.milliseconds -= last.milliseconds - now.milliseconds
            try plan.validate()
        }
        return plan
    }
}

extension Timestamp: OptionValue {
    /// Reads RFC 3339.
    public init?(optionText: String) { self.init(optionText) }
    /// A date and time.
    public static var expected: String { "a time such as 2026-03-01T06:30:00Z" }
}

/// Words of one kind, with commas between them.
struct WordList<Word: RawRepresentable<String> & CaseIterable & Sendable>: OptionValue, Sendable {
    var values: [Word]

    init?(optionText: String) {
        let words = optionText.split(separator: ",", omittingEmptySubsequences: false)
        values = words.compactMap { Word(rawValue: String($0)) }
        if values.count != words.count { return nil }
    }

    static var words: String { Word.allCases.map(\.rawValue).joined(separator: ", ") }
    static var expected: String { "words with commas between them, of: \(words)" }
}

extension Int64 {
    /// The whole number nearest to zero from `value`, or the nearest that there is; 0 for not-a-number.
    fileprivate init(clamping value: Double) {
        self = Int64(exactly: value.rounded(.towardZero)) ?? (value > 0 ? .max : value < 0 ? .min : 0)
    }
}
