import Commands
import ProcessorCore

/// The option that every subcommand has.
private let defaultConfiguration = "/etc/vigie/processor.yaml"

struct Run: Command {
    static let name = "run"
    static let summary = "Process readings until SIGTERM or SIGINT."
    static let discussion = "Brings the schema up to date first, and waits for a database or a broker that is away."
    static var options: [CommandOption<Run>] {
        [.value("config", short: "c", "FILE", \.configuration, "The configuration file.")]
    }
    var configuration = defaultConfiguration

    func run() async throws {
        try await Processor(ProcessorSettings(file: configuration)).run()
    }
}

struct Migrate: Command {
    static let name = "migrate"
    static let summary = "Bring the database's schema up to date and exit."
    static var options: [CommandOption<Migrate>] {
        [.value("config", short: "c", "FILE", \.configuration, "The configuration file.")]
    }
    var configuration = defaultConfiguration

    func run() async throws {
        let applied = try await Processor(ProcessorSettings(file: configuration)).migrate()
        print(applied.isEmpty ? "the schema is up to date" : "applied: \(applied.joined(separator: "; "))")
    }
}

struct Verify: Command {
    static let name = "verify"
    static let summary = "Recompute windows and streams from the raw readings, and print a certificate."
    static let discussion = "The exit status is 1 if anything does not agree. Processors may go on running."
    static var options: [CommandOption<Verify>] {
        [.value("config", short: "c", "FILE", \.configuration, "The configuration file.")]
    }
    var configuration = defaultConfiguration

    struct Mismatch: Error, CustomStringConvertible {
        var description: String { "the tables do not agree with the readings" }
    }

    func run() async throws {
        let certificate = try await Processor(ProcessorSettings(file: configuration)).verify()
        print(certificate)
        if !certificate.isGood { throw Mismatch() }
    }
}

struct Check: Command {
    static let name = "check"
    static let summary = "Validate the configuration and exit."
    static var options: [CommandOption<Check>] {
        [.value("config", short: "c", "FILE", \.configuration, "The configuration file.")]
    }
    var configuration = defaultConfiguration

    func run() async throws {
        _ = try ProcessorSettings(file: configuration)
        print("\(configuration): valid")
    }
}
