import Commands
import ProcessorCore
import ProcessorStatus

let defaultConfiguration = "/etc/vigie/processor.yaml"

struct Run: Command {
    static let name = "run"
    static let summary = "Process readings until SIGTERM or SIGINT."
    static let discussion = """
        Brings the schema up to date first, and waits for a database or a broker that is away.

        With --maintenance it reads no readings and asks no broker: beside another engine that reads the topic, the Spark
        job, it makes partitions ahead, keeps retention, and tells the webhook of alerts.
        """
    static var options: [CommandOption<Run>] {
        [
            .configuration(\.configuration),
            .flag(
                "maintenance", short: "m", \.isMaintenanceOnly,
                "Only what the database needs beside another engine: partitions ahead, retention, the webhook."),
        ]
    }
    static let receivesSignals = true
    var configuration = defaultConfiguration
    var isMaintenanceOnly = false

    func run() async throws {
        try await Processor(ProcessorSettings(file: configuration, checkingFiles: true))
            .run(maintenanceOnly: isMaintenanceOnly)
    }
}

struct Migrate: Command {
    static let name = "migrate"
    static let summary = "Bring the database's schema up to date and exit."
    static let discussion = """
        Also writes the bounds of the rules into the table alert_rule, where readers find them, and lets the role \
        postgres.reader_role read all tables; makes that role if it is allowed to. A database that is away is waited for \
        for as long as --wait says.
        """
    static var options: [CommandOption<Migrate>] {
        [
            .configuration(\.configuration),
            .value(
                "wait", short: "w", "SECONDS", \.wait, "How long to wait for a database that is away (default: 30)."),
        ]
    }
    var configuration = defaultConfiguration
    var wait: Int?

    func run() async throws {
        let wait = wait ?? 30
        guard (0...86_400).contains(wait) else { throw UsageError("--wait is from 0 to 86400 seconds") }
        let processor = Processor(try ProcessorSettings(file: configuration))
        let applied = try await processor.migrate(within: .seconds(wait))
        print(applied.isEmpty ? "the schema is up to date" : "applied: \(applied.joined(separator: "; "))")
        print(try await processor.grantReader())
    }
}

struct Verify: Command {
    static let name = "verify"
    static let summary = "Recompute windows and streams from the raw readings, and print a certificate."
    static let discussion = """
        Also asks the broker, for a few seconds at most, for messages that nobody has read yet. The exit status is 1 if \
        anything does not agree, if a gateway has several streams whose end was not told, if readings came under numbers \
        of others and are no rows yet, or if readings are missing that may be among unread messages. Processors may go \
        on running.
        """
    static var options: [CommandOption<Verify>] {
        [.configuration(\.configuration)]
    }
    var configuration = defaultConfiguration

    struct Mismatch: Error, CustomStringConvertible {
        var description: String { "the tables do not agree with the readings" }
    }

    struct OpenStreams: Error, CustomStringConvertible {
        var description: String { "it is not known how far some streams go" }
    }

    struct OpenConflicts: Error, CustomStringConvertible {
        var description: String { "readings that came under numbers of others are no rows yet" }
    }

    struct Unfinished: Error, CustomStringConvertible {
        var description: String { "readings are missing, and there are messages that nobody has read yet" }
    }

    func run() async throws {
        let certificate = try await Processor(ProcessorSettings(file: configuration)).verify()
        print(certificate)
        if certificate.mismatchCount > 0 { throw Mismatch() }
        if certificate.openStreamCount > 0 { throw OpenStreams() }
        if certificate.openConflicts > 0 { throw OpenConflicts() }
        if !certificate.isGood { throw Unfinished() }
    }
}

struct Status: Command {
    static let name = "status"
    static let summary = "Show how all processors are: throughput, latency, lag, what is late, missing or wrong."
    static let discussion = """
        Asks each processor that has given a heartbeat in the database within the last hour, or one by its address. \
        The exit status is 1 if one does not answer or is not well, or if the database is away.
        """
    static var options: [CommandOption<Status>] {
        [
            .configuration(\.configuration),
            .value(
                "endpoint", short: "e", "ADDRESS", \.endpoint,
                "Ask only this one, such as http://127.0.0.1:9465/ or unix:/run/vigie/processor.sock."),
            .value(
                "token-file", short: "t", "FILE", \.tokenFile,
                "Show the token in this file; the configuration's monitoring.token_file without --endpoint."),
            .flag("watch", short: "w", \.watch, "Show it again every two seconds, until interrupted."),
        ]
    }
    var configuration = defaultConfiguration
    var endpoint: String?
    var tokenFile: String?
    var watch = false

    struct NotWell: Error, CustomStringConvertible {
        var problems: [String]
        var description: String { problems.joined(separator: "\n") }
    }

    func run() async throws {
        while watch {
            let overview = try await overview()
            // To the top left, and empties the screen (ECMA-48, CUP and ED).
            print("\u{1B}[H\u{1B}[2J" + overview.text + overview.problems.map { "! \($0)\n" }.joined())
            try await Task.sleep(for: .seconds(2))
        }
        let overview = try await overview()
        print(overview.text, terminator: "")
        if !overview.problems.isEmpty { throw NotWell(problems: overview.problems) }
    }

    private func overview() async throws -> StatusOverview {
        if let endpoint { return try await Processor.status(endpoint: endpoint, tokenFile: tokenFile) }
        return try await Processor(ProcessorSettings(file: configuration)).status(tokenFile: tokenFile)
    }
}

struct Check: Command {
    static let name = "check"
    static let summary = "Validate the configuration and exit."
    static let discussion = """
        It says "valid" if and only if "run" would start, and looks at the files that the configuration names, too: run \
        it as one who may read these.
        """
    static var options: [CommandOption<Check>] {
        [.configuration(\.configuration)]
    }
    var configuration = defaultConfiguration

    func run() async throws {
        _ = try ProcessorSettings(file: configuration, checkingFiles: true)
        print("\(configuration): valid")
    }
}
