import GatewayCore
import Presentation
import Readings
import SensorDrivers

/// What became of a chip that a person calibrated.
public struct CalibrationReport: Sendable {
    var station: Identifier
    var location: BusLocation
    var identity: ChipIdentity
    /// What is in force now.
    var settings: SCD4x.StoredSettings
    /// What was in force before a change; nil if nothing was changed.
    var before: SCD4x.StoredSettings?
    /// What it measures now.
    var reading: Measurement?
    /// What it measured before it was recalibrated.
    var readingBefore: Measurement?
    /// The CO2 that it was told, ppm.
    var reference: Int?
    /// By how much its values moved, ppm.
    var correction: Int?
    /// What the self test said; 0 is well.
    var selfTest: UInt16?
    /// Whether a changed setting is stored; nil if none was changed.
    var isPersisted: Bool?
    /// What a person should know.
    var notes: [String] = []

    init(station: Identifier, location: BusLocation, identity: ChipIdentity, settings: SCD4x.StoredSettings) {
        self.station = station
        self.location = location
        self.identity = identity
        self.settings = settings
    }

    /// What is wrong; nil if all is well.
    public var problem: String? {
        selfTest.flatMap {
            $0 == 0 ? nil : "the self test found a fault (\($0)): replace the chip if it stays after a power cycle"
        }
    }

    /// Such as `SCD41 at 0x62 on bus 1, station hall`.
    var name: String { "\(identity.part) at \(location), station \(station)" }

    static func text(of co2: Concentration?) -> String {
        co2.map { PlainNumbers.fixed($0.partsPerMillion, digits: 0) + " ppm" } ?? "no CO2"
    }

    /// The report for a terminal of 80 columns or more.
    public func text(_ brush: Brush) -> String {
        var lines: [(String, String, Tone?)] = []
        if let serialNumber = identity.serialNumber { lines.append(("serial number", serialNumber, nil)) }
        if let selfTest {
            lines.append(
                ("self test", selfTest == 0 ? "passed" : "failed, code \(selfTest)", selfTest == 0 ? .good : .bad))
        }
        if let reference { lines.append(("reference", "\(reference) ppm", nil)) }
        if let correction {
            lines.append(("correction", (correction > 0 ? "+" : "") + "\(correction) ppm", .good))
        }
        if let readingBefore { lines.append(("read before", CalibrationReport.text(of: readingBefore.co2), nil)) }
        if let reading {
            let parts = [
                CalibrationReport.text(of: reading.co2),
                reading.temperature.map { PlainNumbers.fixed($0.celsius, digits: 1) + " °C" },
                reading.humidity.map { PlainNumbers.fixed($0.percent, digits: 0) + " %RH" },
            ].compactMap { $0 }
            lines.append(("reads", parts.joined(separator: ", "), nil))
        }
        for (name, value) in settings.lines {
            let old = before?.lines.first { $0.name == name }?.value
            lines.append((name, old.map { $0 == value ? value : "\($0) → \(value)" } ?? value, nil))
        }
        if let isPersisted {
            lines.append(("stored", isPersisted ? "yes" : "no, it is lost with the chip's power", nil))
        }
        var text = brush.paint(name, .strong) + "\n"
        let width = lines.map(\.0.count).max() ?? 0
        for (name, value, tone) in lines {
            text +=
                "  " + name + String(repeating: " ", count: width - name.count + 2) + brush.paint(value, tone) + "\n"
        }
        if let remark = identity.remark { text += "  " + brush.paint("! \(remark)", .doubtful) + "\n" }
        if let problem { text += "  " + brush.paint("✗ \(problem)", .bad) + "\n" }
        for note in notes { text += "  → \(note)\n" }
        return text
    }

    /// The report for a program: one object.
    ///
    /// `station`, `bus`, `address` ("0x62"), `multiplexer` and `channel` (null on the bus itself), `part`,
    /// `serial_number`; `settings` and, after a change, `settings_before` (else null): `temperature_offset` (°C),
    /// `altitude` (m), `ambient_pressure` (hPa), `self_calibration`, `self_calibration_target` (ppm); `persisted` (null if no
    /// setting was changed); `reading`: `co2`, `temperature`, `humidity` (null if it was not asked for); after a
    /// recalibration `reference_ppm`, `correction_ppm` and `co2_before`, else null; `self_test`: its code, 0 is well, or
    /// null; `notes`: sentences.
    public var json: JSON {
        [
            "station": .string("\(station)"), "bus": .of(location.bus), "address": .string("\(location.address)"),
            "multiplexer": .of(location.channel.map { "\($0.multiplexer)" }), "channel": .of(location.channel?.number),
            "part": .string(identity.part), "serial_number": .of(identity.serialNumber), "settings": settings.json,
            "settings_before": before?.json ?? .null, "persisted": isPersisted.map { .bool($0) } ?? .null,
            "reading": reading.map { reading in
                [
                    "co2": .of(reading.co2?.partsPerMillion), "temperature": .of(reading.temperature?.celsius),
                    "humidity": .of(reading.humidity?.percent),
                ]
            } ?? .null,
            "reference_ppm": .of(reference), "correction_ppm": .of(correction),
            "co2_before": .of(readingBefore?.co2?.partsPerMillion), "self_test": .of(selfTest),
            "notes": .array(notes.map { .string($0) }),
        ]
    }
}

extension SCD4x.StoredSettings {
    /// As a person reads them.
    var lines: [(name: String, value: String)] {
        [
            ("temperature offset", PlainNumbers.fixed(temperatureOffset, digits: 2) + " °C"),
            ("altitude", "\(altitude) m"),
            ("ambient pressure", PlainNumbers.fixed(ambientPressure.hectopascals, digits: 0) + " hPa"),
            (
                "self-calibration",
                automaticSelfCalibration
                    ? "on, to \(PlainNumbers.fixed(selfCalibrationTarget.partsPerMillion, digits: 0)) ppm" : "off"
            ),
        ]
    }

    fileprivate var json: JSON {
        [
            "temperature_offset": .number(temperatureOffset), "altitude": .of(altitude),
            "ambient_pressure": .number(ambientPressure.hectopascals),
            "self_calibration": .bool(automaticSelfCalibration),
            "self_calibration_target": .number(selfCalibrationTarget.partsPerMillion),
        ]
    }
}
