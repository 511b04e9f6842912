import Commands
import BoardTools
import GatewayCore
import Presentation

struct Sample: Command {
    static let name = "sample"
    static let summary = "Read every station once and show what each chip measured."
    static let discussion = """
        Nothing is recorded or published. The buses must not be in use by a running gateway. The exit status is 1 if a \
        chip failed.
        """
    static var options: [CommandOption<Sample>] {
        [
            .configuration(\.configuration),
            .value("station", short: "s", "ID", \.station, "Only this station."),
            .flag("verbose", short: "v", \.verbose, "Show what each chip says of itself, such as its serial number."),
            .flag("json", short: "j", \.json, "Print one JSON object, with all of it."),
        ]
    }
    var configuration = defaultConfiguration
    var station: String?
    var verbose = false
    var json = false

    func run() async throws {
        let gateway = Gateway(try GatewaySettings(file: configuration))
        let line = ProgressLine()
        defer { line.clear() }
        let report: SampleReport
        do {
            report = try await gateway.sample(station: station) { line.show($0) }
        } catch let error as Gateway.UnknownStation {
            throw UsageError("--station: \(error)")
        }
        line.clear()
        print(json ? report.json.text + "\n" : report.text(.standardOutput, isVerbose: verbose), terminator: "")
        if !report.problems.isEmpty { throw ProblemsFound(count: report.problems.count) }
    }
}
