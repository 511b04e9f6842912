import Commands
import GatewayCore

let defaultConfiguration = "/etc/vigie/gateway.yaml"

struct Run: Command {
    static let name = "run"
    static let summary = "Sample and publish until SIGTERM or SIGINT."
    static let discussion =
        "A stop publishes what is in the outbox for kafka.drain_time; the rest is kept for the next start."
    static var options: [CommandOption<Run>] {
        [.configuration(\.configuration)]
    }
    static let receivesSignals = true
    var configuration = defaultConfiguration

    func run() async throws {
        try await Gateway(GatewaySettings(file: configuration, checkingFiles: true)).run()
    }
}

struct Check: Command {
    static let name = "check"
    static let summary = "Validate the configuration and exit."
    static let discussion = """
        It says "valid" if and only if "run" would start, and looks at the files that the configuration names, too: run \
        it as one who may read these. A certificate, key or password of Kafka that cannot be used is a warning: the \
        gateway starts, samples, and sends when it can be used. An outbox.path that names what can never be an outbox, such \
        as a text or a folder, is an error; a damaged outbox is none. The network and the storage are for "doctor".
        """
    static var options: [CommandOption<Check>] {
        [.configuration(\.configuration)]
    }
    var configuration = defaultConfiguration

    func run() async throws {
        let settings = try GatewaySettings(file: configuration, checkingFiles: true)
        for remark in settings.remarks { print("warning: \(remark)") }
        print("\(configuration): valid")
    }
}
