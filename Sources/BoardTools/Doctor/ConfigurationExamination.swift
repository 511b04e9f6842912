import Configuration
import GatewayCore

/// The configuration file.
struct ConfigurationExamination: Examination {
    var file: String
    /// What was read, or what is wrong in it.
    var settings: Result<GatewaySettings, ConfigurationError>

    var checks: [Check] {
        switch settings {
        case .success(let settings):
            let count = settings.stations.reduce(0) { $0 + $1.chips.count }
            let seen =
                "valid: \(settings.mode.rawValue), \(settings.stations.count)"
                + " \(settings.stations.count == 1 ? "station" : "stations"), \(count) \(count == 1 ? "chip" : "chips")"
            return [Check(.configuration, file, .ok, seen)]
                + settings.remarks.map { remark in
                    Check(
                        .configuration, "\(remark.file):\(remark.line)", .warning,
                        (remark.path + [remark.message]).joined(separator: ": "),
                        remedy: "see to that file; it is read again when it changes")
                }
        case .failure(let error):
            return error.problems.map { problem in
                let subject = problem.line > 0 ? "\(problem.file):\(problem.line)" : problem.file
                return Check(
                    .configuration, subject, .failure, (problem.path + [problem.message]).joined(separator: ": "),
                    remedy: problem.line > 0
                        ? "mend that line; configuration/gateway.yaml shows every setting"
                        : "name the file by --config FILE; configuration/gateway.yaml is an example")
            }
        }
    }
}
