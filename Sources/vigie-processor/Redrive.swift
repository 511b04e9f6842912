import Commands
import ProcessorCore
import Readings

extension Timestamp: OptionValue {
    /// Reads an RFC 3339 date-time.
    public init?(optionText: String) { self.init(optionText) }
    /// A time.
    public static var expected: String { "a time such as 2026-03-01T06:30:00Z" }
}

struct Redrive: Command {
    static let name = "redrive"
    static let summary = "Send rejected messages back to the topic that they came from."
    static let discussion = """
        Reads the rejected topic from its beginning to where it ends now. Sends what is valid under the present settings
        and not stored yet, with its key and its headers, and with headers that count how often it was sent back. Nothing
        is removed from the rejected topic, and a reading that arrives twice is stored once, so doing this again is
        harmless. A time-out, a signal or a crash in the middle is too.

        With --repair every selected message is given to COMMAND, run by /bin/sh, on its standard input; what it prints
        is judged and sent instead. Exit status other than 0, or no output, leaves the message out. For instance:
            --reason out_of_range --repair "jq -c 'del(.humidity)'"

        The exit status is 1 if something that was to be sent was not.
        """
    static var options: [CommandOption<Redrive>] {
        [
            .configuration(\.configuration),
            .flag("dry-run", short: "n", \.isDryRun, "Say what would be sent, and send nothing."),
            .value(
                "reason", "LIST", \.reasons, "Only messages with one of these reasons, separated by commas.",
                completion: .words(RedriveOptions.knownReasons.sorted())),
            .value("gateway", "ID", \.gateway, "Only messages of this gateway."),
            .value("since", "TIME", \.since, "Only messages rejected at this time or later."),
            .value("until", "TIME", \.until, "Only messages rejected before this time."),
            .value("partition", "NUMBER", \.partition, "Only messages read from this partition."),
            .value("offset", "NUMBER", \.offset, "Only the message read from this offset."),
            .value("limit", "COUNT", \.limit, "Send at most so many."),
            .value("repair", "COMMAND", \.repair, "Send what this command makes of each message."),
            .flag("force", \.isForced, "Send also what would be rejected again."),
        ]
    }
    var configuration = defaultConfiguration
    var isDryRun = false
    var reasons: String?
    var gateway: String?
    var since: Timestamp?
    var until: Timestamp?
    var partition: Int?
    var offset: Int?
    var limit: Int?
    var repair: String?
    var isForced = false

    struct Incomplete: Error, CustomStringConvertible {
        var description: String { "not everything was sent" }
    }

    func run() async throws {
        var selection = RedriveOptions()
        selection.reasons = Set((reasons ?? "").split(separator: ",").map(String.init))
        if let unknown = selection.reasons.subtracting(RedriveOptions.knownReasons).min() {
            throw UsageError(
                "--reason: \"\(unknown)\" is none of \(RedriveOptions.knownReasons.joined(separator: ", "))")
        }
        if let limit, limit < 0 { throw UsageError("--limit: expected a whole number, zero or more") }
        if let partition {
            guard let number = Int32(exactly: partition), number >= 0 else {
                throw UsageError("--partition: expected a partition's number, zero or more")
            }
            selection.partition = number
        }
        selection.gateway = gateway
        selection.since = since
        selection.until = until
        selection.offset = offset.map { Int64($0) }
        selection.limit = limit
        selection.isDryRun = isDryRun
        selection.isForced = isForced
        selection.repair = repair
        let report = try await Processor(ProcessorSettings(file: configuration)).redrive(selection) { print($0) }
        print(report)
        if !report.isGood { throw Incomplete() }
    }
}
