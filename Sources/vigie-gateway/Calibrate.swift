import Commands
import BoardTools
import GatewayCore
import Glibc
import Platform
import Presentation

struct Calibrate: Command {
    static let name = "calibrate"
    static let summary = "Read and set an SCD40 or SCD41 where it is mounted: settings, self test, recalibration."
    static let operands = "ACTION [VALUE]"
    static let operandCompletions = [
        Completion.words([
            "show", "self-test", "recalibrate", "temperature-offset", "altitude", "self-calibration", "factory-reset",
        ])
    ]
    static let discussion = """
        Actions:
          show                   what it measures, and the settings that are in force
          self-test              have it test itself, which takes 10 s
          recalibrate            tell it the true CO2 of the air, --reference PPM, after three minutes in steady air
          temperature-offset C   how much warmer it is than the air, 0 to 20
          altitude M             its height above sea level, 0 to 3000
          self-calibration on    take the lowest CO2 of a week for fresh air; or: off
          factory-reset          forget all of it

        No gateway may be using the bus: systemctl stop vigie-gateway. What changes the chip asks first. The exit status is \
        1 if the chip failed or nothing was done.
        """
    static var options: [CommandOption<Calibrate>] {
        [
            .configuration(\.configuration),
            .value("sensor", short: "s", "ID", \.sensor, "The station whose chip is meant, if several have one."),
            .value("reference", short: "r", "PPM", \.reference, "For recalibrate: the true CO2, 400 to 5000."),
            .flag(
                "persist", short: "p", \.persist, "Store the setting in the chip, whose memory bears about 2000 writes."
            ),
            .flag("yes", short: "y", \.yes, "Do not ask."),
            .flag("json", short: "j", \.json, "Print one JSON object."),
        ]
    }
    var configuration = defaultConfiguration
    var sensor: String?
    var reference: Int?
    var persist = false
    var yes = false
    var json = false
    private var words: [String] = []

    mutating func take(operands: [String]) throws(UsageError) {
        words = operands
    }

    func run() async throws {
        let action = try action()
        let settings = try GatewaySettings(file: configuration)
        let calibration = Calibration(settings: settings, station: sensor, action: action, persists: persist)
        let line = ProgressLine()
        defer { line.clear() }
        let isAsking = !yes
        let report = try await calibration.run { question in
            line.clear()
            return isAsking ? await ask(question) : true
        } progress: {
            line.show($0)
        }
        line.clear()
        print(json ? report.json.text + "\n" : report.text(.standardOutput), terminator: "")
        if report.problem != nil { throw ProblemsFound(count: 1) }
    }

    private func action() throws(UsageError) -> Calibration.Action {
        guard let word = words.first else { throw UsageError("an action is expected, such as show") }
        func value(_ expected: String) throws(UsageError) -> String {
            guard words.count == 2 else { throw UsageError("\(word): expected \(expected)") }
            return words[1]
        }
        let action: Calibration.Action
        switch word {
        case "show": action = .show
        case "self-test": action = .selfTest
        case "factory-reset": action = .factoryReset
        case "recalibrate":
            guard let reference, (400...5000).contains(reference) else {
                throw UsageError("recalibrate: --reference is expected, the true CO2 of 400 to 5000 ppm")
            }
            action = .recalibrate(reference: reference)
        case "temperature-offset":
            let text = try value("degrees Celsius, 0 to 20")
            guard let offset = Double(text), (0...20).contains(offset) else {
                throw UsageError("temperature-offset: expected degrees Celsius, 0 to 20, found \"\(text)\"")
            }
            action = .temperatureOffset(offset)
        case "altitude":
            let text = try value("metres, 0 to 3000")
            guard let altitude = Int(text), (0...3000).contains(altitude) else {
                throw UsageError("altitude: expected whole metres, 0 to 3000, found \"\(text)\"")
            }
            action = .altitude(altitude)
        case "self-calibration":
            let text = try value("on or off")
            guard text == "on" || text == "off" else {
                throw UsageError("self-calibration: expected on or off, found \"\(text)\"")
            }
            action = .selfCalibration(text == "on")
        default: throw UsageError("unknown action \"\(word)\"")
        }
        let isSetting = ["temperature-offset", "altitude", "self-calibration"].contains(word)
        if words.count > (isSetting ? 2 : 1) { throw UsageError("unexpected argument \"\(words[words.count - 1])\"") }
        if persist, !isSetting {
            throw UsageError("--persist is for a setting: temperature-offset, altitude or self-calibration")
        }
        if reference != nil, word != "recalibrate" { throw UsageError("--reference is for recalibrate") }
        return action
    }
}

/// Shows a question on standard error and reads the answer, on a thread that may wait. Without somebody to answer, it is
/// no.
private func ask(_ question: String) async -> Bool {
    await withCheckedContinuation { continuation in
        startThread(name: "question") {
            guard isatty(STDIN_FILENO) == 1 else {
                write("\(question)\nThere is nobody to ask; --yes goes on.\n")
                continuation.resume(returning: false)
                return
            }
            write("\(question)\nGo on? Type yes: ")
            continuation.resume(returning: readLine() == "yes")
        }
    }
}

private func write(_ text: String) {
    let bytes = Array(text.utf8)
    _ = Glibc.write(STDERR_FILENO, bytes, bytes.count)
}
