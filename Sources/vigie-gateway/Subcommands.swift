import Commands
import GatewayCore

let defaultConfiguration = "/etc/vigie/gateway.yaml"

struct Run: Command {
    static let name = "run"
    static let summary = "Sample and publish until SIGTERM or SIGINT."
    static let discussion =
        "A stop publishes what is in the outbox for a few seconds; the rest is kept for the next start."
    static var options: [CommandOption<Run>] {
        [.configuration(\.configuration)]
    }
    static let receivesSignals = true
    var configuration = defaultConfiguration

    func run() async throws {
        try await Gateway(GatewaySettings(file: configuration)).run()
    }
}

struct Check: Command {
    static let name = "check"
    static let summary = "Validate the configuration and exit."
    static let discussion = "Looks at the file that monitoring.token_file names, too: run it as one who may read that."
    static var options: [CommandOption<Check>] {
        [.configuration(\.configuration)]
    }
    var configuration = defaultConfiguration

    func run() async throws {
        _ = try GatewaySettings(file: configuration, checkingFiles: true)
        print("\(configuration): valid")
    }
}
