import Commands
import GatewayCore

let defaultConfiguration = "/etc/vigie/gateway.yaml"

struct Run: Command {
    static let name = "run"
    static let summary = "Sample and publish until SIGTERM or SIGINT."
    static let discussion =
        "A stop publishes what is in the outbox for a few seconds; the rest is kept for the next start."
    static var options: [CommandOption<Run>] {
        [.value("config", short: "c", "FILE", \.configuration, "The configuration file.")]
    }
    var configuration = defaultConfiguration

    func run() async throws {
        try await Gateway(GatewaySettings(file: configuration)).run()
    }
}

struct Sample: Command {
    static let name = "sample"
    static let summary = "Read every station once, print the readings as JSON, and exit."
    static let discussion = "Nothing is recorded or published: seq is 0. The exit status is 1 if a chip failed."
    static var options: [CommandOption<Sample>] {
        [.value("config", short: "c", "FILE", \.configuration, "The configuration file.")]
    }
    var configuration = defaultConfiguration

    struct ChipsFailed: Error, CustomStringConvertible {
        var description: String { "a chip failed; the log says which, and what to do" }
    }

    func run() async throws {
        let readings = try await Gateway(GatewaySettings(file: configuration)).sample()
        for reading in readings { print(String(decoding: reading.encoded(), as: UTF8.self)) }
        if readings.contains(where: { !$0.faults.isEmpty }) { throw ChipsFailed() }
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
        _ = try GatewaySettings(file: configuration)
        print("\(configuration): valid")
    }
}
