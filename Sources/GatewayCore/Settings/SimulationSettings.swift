import Configuration
import Readings
import SimulatedHardware

/// The air of the simulated mode.
package struct SimulationSettings: Sendable {
    /// How fast the simulated world runs.
    enum Speed: Sendable, Equatable {
        /// Simulated seconds in a real one.
        case times(Double)
        /// Who waits makes the time pass: as fast as the machine allows, and exact.
        case unlimited

        /// Whether its time passes faster than what the machine does in it.
        var isFast: Bool {
            if case .times(let speed) = self { speed > 1 } else { false }
        }
    }

    /// A recording to replay.
    struct Recording: Sendable {
        var file: String
        var columns: RecordedEnvironment.Columns
        /// How far the recording's local times are ahead of UTC, minutes.
        var offsetMinutes: Int
        /// Where to begin, in the recording's own time; nil is its first row.
        var start: Timestamp?
        /// Whether the recording's time of its beginning becomes the present; else its times are kept.
        var isMovedToNow: Bool
    }

    /// Something that goes wrong with a chip by itself.
    struct Fault: Sendable {
        var sensorID: Identifier
        /// What the configuration calls the chip.
        var chip: Identifier
        /// What happens, and when, since the simulation's beginning.
        var episode: FaultScript.Episode
    }

    var seed: UInt64 = 1
    var speed = Speed.times(1)
    var recording: Recording?
    var faults: [Fault] = []

    init(_ section: Section?, stations: [StationSettings], path: (String) -> String) {
        guard let section else { return }
        faults = section.sections("faults", each: "fault", namedBy: "chip").map { Fault($0, stations: stations) }
        seed = section.value("seed", as: .integer(0...UInt64.max), default: 1)
        speed = section.value("speed", as: .speed, default: .times(1))
        guard let recording = section.optionalSection("recording") else { return }
        let columns = recording.section("columns")
        var quantities: [Quantity: RecordedEnvironment.Columns.Column] = [:]
        for quantity in Quantity.measured {
            quantities[quantity] = columns.optional(quantity.settingName, as: .column)
        }
        let times = recording.value("times", as: .choice(Times.kept), default: .kept)
        self.recording = Recording(
            file: path(recording.required("file", as: .text)),
            columns: RecordedEnvironment.Columns(
                time: columns.required("time", as: .column), quantities: quantities),
            offsetMinutes: recording.value("utc_offset_minutes", as: .integer(-1080...1080), default: 0),
            start: recording.optional("start", as: .time), isMovedToNow: times == .now)
        if times == .now, speed != .times(1) {
            recording.problem("times that are moved to now need speed 1, else they lie in the future", at: "times")
        }
    }

    private enum Times: String, CaseIterable {
        case kept, now
    }
}

extension SimulationSettings.Fault {
    fileprivate init(_ section: Section, stations: [StationSettings]) {
        sensorID = section.required("sensor_id", as: .identifier)
        chip = section.required("chip", as: .identifier)
        let start = section.value("start", as: .duration(), default: .seconds(60))
        episode = FaultScript.Episode(
            section.required("kind", as: .choice(.nack)), from: start,
            to: start + section.value("length", as: .duration(), default: .seconds(600)))
        let known = stations.flatMap { station in station.chips.map { (station.sensorID, $0.name) } }
        if section.has("sensor_id"), section.has("chip"), !known.contains(where: { $0 == (sensorID, chip) }) {
            let names = known.map { "\($0.1) of \($0.0)" }.joined(separator: ", ")
            section.problem("no such chip; there are \(names)", at: "chip")
        }
    }
}

extension Setting where Value == SimulationSettings.Speed {
    fileprivate static var speed: Setting {
        Setting(expected: "a speed from 0.001 to 1000000, or unlimited", standIn: .times(1)) { text in
            if text == "unlimited" { return .unlimited }
            guard let speed = Double(text), ScaledClock.speeds.contains(speed) else { return nil }
            return .times(speed)
        }
    }
}

extension Setting where Value == RecordedEnvironment.Columns.Column {
    fileprivate static var column: Setting {
        Setting(expected: "a column's name, or its number from 1", standIn: .number(1)) { text in
            guard !text.isEmpty else { return nil }
            guard let number = Int(text) else { return .name(text) }
            return number >= 1 ? .number(number) : nil
        }
    }
}

extension Setting where Value == Timestamp {
    fileprivate static var time: Setting {
        Setting(expected: "a time such as 2026-03-01T06:30:00Z", standIn: Timestamp(milliseconds: 0)) { Timestamp($0) }
    }
}
