import BoardTools
import GatewayCore
import Commands
import Glibc
import Presentation

struct Scan: Command {
    static let name = "scan"
    static let summary = "Name the chips on every I2C bus, with the evidence, and compare them with the configuration."
    static let discussion = """
        No chip is left in another state than it was in, and none is written to that could take it for a setting. \
        With a configuration in simulated mode its simulated chips are scanned. The exit status is 1 if a bus could not be \
        scanned, or if a configured chip is not there.
        """
    static var options: [CommandOption<Scan>] {
        [
            .value(
                "config", short: "c", "FILE", \.configuration,
                "Compare with it (default: \(defaultConfiguration), if it is there).", completion: .files),
            .value("bus", short: "b", "N", \.bus, "Only /dev/i2c-N."),
            .flag(
                "multiplexers", short: "m", \.multiplexers,
                "Look behind TCA9548A multiplexers, channel by channel; their selection is restored."),
            .flag("stop-measurement", \.stopMeasurement, "Stop an SCD4x that measures, to learn its serial number."),
            .flag("beside", \.beside, "Scan a bus that a gateway is using, too: it may cost the gateway a reading."),
            .flag("json", short: "j", \.json, "Print one JSON object."),
            .flag(
                "yaml", short: "y", \.yaml, "Print the stations that were found, ready to paste into a configuration."),
        ]
    }
    var configuration: String?
    var bus: Int?
    var multiplexers = false
    var stopMeasurement = false
    var beside = false
    var json = false
    var yaml = false

    func run() async throws {
        if multiplexers, beside {
            throw UsageError("--multiplexers moves the channels under a gateway's hands: not with --beside")
        }
        if json, yaml { throw UsageError("--json or --yaml, not both") }
        let file = configuration ?? defaultConfiguration
        var settings: GatewaySettings?
        if configuration != nil || access(file, F_OK) == 0 {
            settings = try GatewaySettings(file: file)
        }
        let scan = BusScan(
            settings: settings, file: file, bus: bus, opensMultiplexers: multiplexers,
            stopsMeasurements: stopMeasurement, isBesideOthers: beside)
        let line = ProgressLine()
        let report = try await scan.run { line.show("scanning \($0)") }
        line.clear()
        print(
            yaml ? report.yaml : json ? report.json.text + "\n" : report.text(.standardOutput), terminator: "")
        if !report.problems.isEmpty { throw ProblemsFound(count: report.problems.count) }
    }
}

/// What was shown says what is wrong.
struct ProblemsFound: Error, CustomStringConvertible {
    var count: Int
    var description: String { count == 1 ? "1 problem, see above" : "\(count) problems, see above" }
}
