import Configuration
import Platform
import SensorBus

/// What of the board itself the gateway sees and drives, each on a GPIO line.
package struct BoardSettings: Sendable, Equatable {
    /// An input line.
    package struct Input: Sendable, Equatable {
        package var line: GPIOLineID
        var options: GPIOInputOptions
    }

    /// An output line.
    package struct Output: Sendable, Equatable {
        package var line: GPIOLineID
        var options: GPIOOutputOptions
    }

    /// The supply of the sensors.
    package struct SensorPower: Sendable, Equatable {
        package var output: Output
        /// How long it is off, for the chips' capacitors to empty.
        var offTime: Duration
        /// How long the chips then need before they answer.
        var settleTime: Duration
        /// The least time between two cycles.
        var interval: Duration
    }

    /// Active while the board has power from outside.
    package var powerGood: Input?
    /// Active while the battery is charged.
    package var charging: Input?
    package var sensorPower: SensorPower?
    package var statusLight: Output?

    init(_ section: Section?) {
        guard let section else { return }
        powerGood = section.optionalSection("power_good").map(Input.init)
        charging = section.optionalSection("charging").map(Input.init)
        sensorPower = section.optionalSection("sensor_power").map(SensorPower.init)
        statusLight = section.optionalSection("status_light").map(Output.init)

        let lines = [
            ("power_good", powerGood?.line), ("charging", charging?.line), ("sensor_power", sensorPower?.output.line),
            ("status_light", statusLight?.line),
        ]
        for (index, (key, line)) in lines.enumerated() {
            guard let line, let other = lines[..<index].first(where: { $0.1 == line }) else { continue }
            section.problem("\(other.0) has this line", at: key)
        }
    }
}

extension BoardSettings.Input {
    fileprivate init(_ section: Section) {
        line = GPIOLineID(section)
        options = GPIOInputOptions(
            isActiveLow: section.value("active_low", as: .boolean, default: false),
            bias: section.value("bias", as: .choice(.asIs), default: .asIs),
            debounce: section.value("debounce", as: .duration(.zero...(.seconds(10))), default: .milliseconds(50)))
    }
}

extension BoardSettings.Output {
    fileprivate init(_ section: Section) {
        line = GPIOLineID(section)
        options = GPIOOutputOptions(
            isActiveLow: section.value("active_low", as: .boolean, default: false),
            isOpenDrain: section.value("open_drain", as: .boolean, default: false),
            bias: section.value("bias", as: .choice(.asIs), default: .asIs))
    }
}

extension BoardSettings.SensorPower {
    /// An SCD41 answers 1000 ms after power-up (SCD4x datasheet, 3.1), the others sooner.
    private static let powerUp = Duration.seconds(1)

    fileprivate init(_ section: Section) {
        output = BoardSettings.Output(section)
        offTime = section.value(
            "off_time", as: .duration(.milliseconds(10)...(.seconds(60))), default: .seconds(2))
        settleTime = section.value(
            "settle_time", as: .duration(Self.powerUp...(.seconds(60))), default: .milliseconds(1500))
        interval = section.value(
            "at_most_every", as: .duration(.seconds(60)...(.seconds(86_400))), default: .seconds(600))
    }
}

extension GPIOLineID {
    /// Reads `line`, a number or a name, and `chip`.
    fileprivate init(_ section: Section) {
        let line = section.required("line", as: .line)
        let chip = section.optional("chip", as: .text)
        guard let offset = UInt32(line) else {
            self = .name(line, chip: chip)
            return
        }
        if chip == nil, section.has("line") {
            section.problem("a line's number needs its chip, such as chip: pinctrl-bcm2711", at: "line")
        }
        self = .offset(offset, chip: chip ?? "")
    }
}

extension Setting where Value == String {
    fileprivate static var line: Setting {
        Setting(expected: "a line's name such as GPIO17, or its number on its chip", standIn: "x") { text in
            text.isEmpty ? nil : text
        }
    }
}
