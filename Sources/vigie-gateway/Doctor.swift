import Commands
import BoardTools
import Presentation

struct Diagnose: Command {
    static let name = "doctor"
    static let summary = "Look at everything that a gateway needs, and say how to mend what is wrong."
    static let discussion = """
        Configuration, buses, chips, GPIO lines, clock, storage, broker, monitoring and the systemd unit. Nothing is \
        changed, and a gateway may run meanwhile. Permissions are those of the user who asks. The exit status is 1 if \
        there is a failure, 0 if there are warnings only.
        """
    static var options: [CommandOption<Diagnose>] {
        [
            .configuration(\.configuration),
            .flag("json", short: "j", \.json, "Print one JSON object."),
        ]
    }
    var configuration = defaultConfiguration
    var json = false

    func run() async throws {
        let line = ProgressLine()
        let report = await Doctor(file: configuration).run { line.show($0) }
        line.clear()
        print(json ? report.json.text + "\n" : report.text(.standardOutput), terminator: "")
        if report.failureCount > 0 { throw ProblemsFound(count: report.failureCount) }
    }
}
