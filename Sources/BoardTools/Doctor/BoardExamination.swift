import GatewayCore
import SensorBus

/// The GPIO lines that the configuration names: whether they are there, and who has them.
struct BoardExamination: Examination {
    /// A line of the configuration.
    struct Line: Sendable {
        /// Its setting, such as `power_good`.
        var setting: String
        /// Where it is, and the program that has it; or why it cannot be found.
        var location: Result<LinuxGPIO.Location, GPIOError>
    }

    var lines: [Line]

    /// Looks for the lines without taking any: taking an output would drive it.
    static func gather(_ settings: BoardSettings, gpio: LinuxGPIO) -> BoardExamination {
        let lines: [(String, GPIOLineID?)] = [
            ("power_good", settings.powerGood?.line), ("charging", settings.charging?.line),
            ("sensor_power", settings.sensorPower?.output.line), ("status_light", settings.statusLight?.line),
        ]
        return BoardExamination(
            lines: lines.compactMap { setting, line in
                guard let line else { return nil }
                do throws(GPIOError) {
                    return Line(setting: setting, location: .success(try gpio.location(of: line)))
                } catch {
                    return Line(setting: setting, location: .failure(error))
                }
            })
    }

    var checks: [Check] {
        lines.map { line in
            switch line.location {
            case .failure(let error):
                Check(
                    .board, line.setting, .failure, "\(error.line): \(error.kind)",
                    remedy: error.remedy ?? "gpioinfo shows the chips and lines; name one by its chip's label and line")
            case .success(let location) where location.consumer.isEmpty || location.consumer == LinuxGPIO.consumer:
                Check(
                    .board, line.setting, .ok,
                    "\(location.chip), line \(location.offset)"
                        + (location.consumer.isEmpty ? "" : ", in use by a running gateway"))
            case .success(let location):
                Check(
                    .board, line.setting, .failure,
                    "\(location.chip), line \(location.offset): in use by \(location.consumer)",
                    remedy: "end that program or remove its overlay, or name another line")
            }
        }
    }
}
