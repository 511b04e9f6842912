import Commands
import FleetCore
import Readings

/// A subcommand with the options that say what is produced.
protocol Planned: Command {
    var plan: PlanOptions { get set }
}

/// The options that say what is produced; both subcommands have them.
struct PlanOptions: Sendable {
    var gateways = 100
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

    static func options<Owner: Planned>() -> [CommandOption<Owner>] {
        [
            .value("gateways", "N", \.plan.gateways, "Boards; 100 by default."),
            .value(
                "sensors-per-gateway", "N", \.plan.sensorsPerGateway,
                "Sensors on each board; 4 by default."),
            .value("count", short: "n", "N", \.plan.count, "Messages in all; 100000 by default."),
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
            .value("late", "SHARE", \.plan.late, "Readings that come 20 minutes to 3 hours late."),
        ]
    }

    /// The plan that the options describe.
    /// - Parameters:
    ///   - rate: messages a second, 0 if there is none.
    ///   - now: the time of day.
    func plan(rate: Double, now: Timestamp) throws -> FleetPlan {
        var plan = FleetPlan(start: start ?? now)
        plan.gateways = gateways
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
        if let interval {
            plan.intervalMicroseconds = Int64(clamping: interval / .microseconds(1) as Double)
        } else if rate > 0 {
            // As many samples a second as there are messages, less those that are no new reading.
            let readings = rate * (1 - duplicates - malformed)
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

extension Int64 {
    /// The whole number nearest to zero from `value`, or the nearest that there is; 0 for not-a-number.
    fileprivate init(clamping value: Double) {
        self = Int64(exactly: value.rounded(.towardZero)) ?? (value > 0 ? .max : value < 0 ? .min : 0)
    }
}
