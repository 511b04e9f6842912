import BoardTools
import Commands
import GatewayCore
import Outbox
import Presentation

/// Readings that were to be sent once more are not in the quarantine.
struct NotInQuarantine: Error, CustomStringConvertible {
    var numbers: [Int64]

    var description: String {
        let list = numbers.map { "\($0)" }.joined(separator: ", ")
        return "not in the quarantine: \(list); \"vigie-gateway buffer quarantine\" lists what is"
    }
}

struct Buffer: Command {
    static let name = "buffer"
    static let summary = "Look at the outbox: how full it is, and what the broker refused."
    static let operands = "[ACTION [NUMBER]...]"
    static let operandCompletions = [Completion.words(["status", "quarantine", "export", "requeue"])]
    static let discussion = """
        Actions:
          status       how full it is, how long it lasts without a broker, how long it takes to drain (the default)
          quarantine   the readings that the broker refused, with the reason of each
          export       the same with their content, one JSON object a line
          requeue      have the gateway send these once more, by their numbers, or all of them by --all

        A gateway may be running: it sends what is requeued within seconds after its next reading, and what is refused once \
        more goes back. All but requeue leave the file as it is, and requeue does not touch one that it does not understand.
        """
    static var options: [CommandOption<Buffer>] {
        [
            .configuration(\.configuration),
            .flag("all", short: "a", \.all, "For requeue: all of them."),
            .flag("json", short: "j", \.json, "For status: print one JSON object."),
        ]
    }
    var configuration = defaultConfiguration
    var all = false
    var json = false
    private var words: [String] = []

    mutating func take(operands: [String]) throws(UsageError) {
        words = operands
    }

    func run() async throws {
        let action = words.first ?? "status"
        guard ["status", "quarantine", "export", "requeue"].contains(action) else {
            throw UsageError("unknown action \"\(action)\"")
        }
        if all, action != "requeue" { throw UsageError("--all is for requeue") }
        if json, action != "status" { throw UsageError("--json is for status; export prints JSON") }
        if action != "requeue", words.count > 1 { throw UsageError("unexpected argument \"\(words[1])\"") }
        let numbers = try action == "requeue" ? numbers() : nil
        let settings = try GatewaySettings(file: configuration)
        switch action {
        case "quarantine":
            var table = TextTable(["NUMBER", "EVENT TIME", "REQUEUED", "REASON"], rightAligned: [0])
            try OutboxQuarantine(path: settings.outboxPath, isReadOnly: true).forEach { reading in
                table.append([
                    "\(reading.sequence)", "\(reading.eventTime)", reading.isRequeued ? "yes" : "no", reading.reason,
                ])
            }
            print(table.text, terminator: "")
        case "export":
            try OutboxQuarantine(path: settings.outboxPath, isReadOnly: true).forEach { print($0.json.text) }
        case "requeue":
            let (count, missing) = try OutboxQuarantine(path: settings.outboxPath, isReadOnly: false).requeue(numbers)
            print(count == 1 ? "1 reading is sent once more" : "\(count) readings are sent once more")
            if !missing.isEmpty { throw NotInQuarantine(numbers: missing) }
        default:
            let report = try BufferReport(settings)
            print(json ? report.json.text + "\n" : report.text, terminator: "")
        }
    }

    /// The numbers that are to be sent once more; nil for all.
    private func numbers() throws(UsageError) -> Set<Int64>? {
        let texts = words.dropFirst()
        if all {
            guard texts.isEmpty else { throw UsageError("requeue: numbers or --all, not both") }
            return nil
        }
        guard !texts.isEmpty else { throw UsageError("requeue: numbers are expected, or --all") }
        var numbers: Set<Int64> = []
        for text in texts {
            guard let number = Int64(text), number > 0 else {
                throw UsageError("requeue: expected a number, found \"\(text)\"")
            }
            numbers.insert(number)
        }
        return numbers
    }
}
