import GatewayCore
import Readings
import SensorBus
import SensorDrivers

/// What is on the buses, and how that agrees with the configuration.
public struct ScanReport: Sendable {
    /// One bus.
    struct Bus: Sendable {
        /// The N of `/dev/i2c-N`.
        var number: Int
        /// Such as `/dev/i2c-1`, or a simulated bus's name.
        var name: String
        /// What its driver calls it.
        var adapter: String?
        /// The station whose bus it is, in simulated mode: there each has its own.
        var station: Identifier?
        /// Whether it was looked behind multiplexers.
        var areMultiplexersOpened = false
        /// What was found, or why it was not looked at.
        var outcome: Result<BusInventory, BusError>

        var findings: [Finding] {
            if case .success(let inventory) = outcome { inventory.findings } else { [] }
        }

        /// Whether what is behind a channel would have been found.
        func isLookedInto(_ channel: MultiplexerChannel) -> Bool {
            areMultiplexersOpened && findings.contains { $0.address == channel.multiplexer && $0.part == .tca9548a }
        }

        /// Why not all of the bus is known; nil if it is.
        var trouble: String? {
            switch outcome {
            case .success(let inventory): inventory.trouble.map { "\($0)" }
            case .failure(let error): "\(error)"
            }
        }
    }

    /// What became of a chip that the configuration names.
    struct Expectation: Sendable {
        enum Outcome: Sendable {
            case present(Finding)
            /// Another chip answers there, or the kernel has it.
            case other(Finding)
            case absent
            /// Its bus was not scanned, or not to the end.
            case notScanned
        }

        var station: Identifier
        var chip: ChipSettings
        var outcome: Outcome

        var label: String { "\(chip.name) at \(chip.location)" }
    }

    /// A chip that the configuration does not name.
    struct Surplus: Sendable {
        var bus: Int
        var finding: Finding
        /// What to write under `chips:` of a station; nil if there is no driver for it.
        var line: String?
    }

    /// The comparison with a configuration.
    struct Comparison: Sendable {
        var file: String
        var expectations: [Expectation]
        var surplus: [Surplus]
    }

    var buses: [Bus]
    var comparison: Comparison?

    /// What is wrong, a sentence each; empty if nothing is.
    public var problems: [String] {
        var problems: [String] = []
        if buses.isEmpty { problems.append(ScanReport.noBus) }
        // A bus that the configuration does not name is somebody else's, such as a display's, and may be as it likes.
        let configured = comparison.map { Set($0.expectations.map(\.chip.location.bus)) }
        problems += buses.filter { configured?.contains($0.number) ?? true }.compactMap(\.trouble)
        for expectation in comparison?.expectations ?? [] {
            switch expectation.outcome {
            case .present, .notScanned: break
            case .absent: problems.append("\(expectation.station): \(expectation.label) does not answer")
            case .other:
                problems.append("\(expectation.station): another chip answers instead of \(expectation.label)")
            }
        }
        return problems
    }

    static let noBus =
        "there is no I2C bus: enable it (dtparam=i2c_arm=on in config.txt on a Raspberry Pi), and load the driver of"
        + " the device files (modprobe i2c-dev)"
}

extension ScanReport {
    /// Compares what was found with what a configuration names.
    static func compare(_ stations: [StationSettings], file: String, with buses: [Bus]) -> Comparison {
        var comparison = Comparison(file: file, expectations: [], surplus: [])
        for station in stations {
            for chip in station.chips {
                let bus = buses.first {
                    $0.number == chip.location.bus && ($0.station == nil || $0.station == station.sensorID)
                }
                comparison.expectations.append(
                    Expectation(station: station.sensorID, chip: chip, outcome: outcome(of: chip, on: bus)))
            }
        }
        for bus in buses {
            let chips = stations.filter { bus.station == nil || bus.station == $0.sensorID }.flatMap(\.chips)
            for finding in bus.findings where finding.kernelDriver == nil && finding.part != .tca9548a {
                let isConfigured = chips.contains { chip in
                    chip.location.bus == bus.number && chip.location.address == finding.address
                        && chip.location.channel == finding.channel
                }
                guard !isConfigured, finding.part != nil else { continue }
                comparison.surplus.append(Surplus(bus: bus.number, finding: finding, line: line(finding, bus.number)))
            }
        }
        return comparison
    }

    private static func outcome(of chip: ChipSettings, on bus: Bus?) -> Expectation.Outcome {
        guard let bus else { return .notScanned }
        let finding = bus.findings.first { $0.address == chip.location.address && $0.channel == chip.location.channel }
        if let finding {
            return finding.part.map(chip.type.parts.contains) ?? false ? .present(finding) : .other(finding)
        }
        // Behind a multiplexer there is nobody if somebody looked.
        if let channel = chip.location.channel, bus.trouble == nil, !bus.isLookedInto(channel) { return .notScanned }
        return bus.trouble == nil ? .absent : .notScanned
    }

    /// The configuration's line for a chip.
    private static func line(_ finding: Finding, _ bus: Int) -> String? {
        guard let type = finding.part.flatMap(ChipType.type) else { return nil }
        let multiplexer =
            finding.channel.map { "multiplexer: {address: \($0.multiplexer), channel: \($0.number)}, " } ?? ""
        return "- {type: \(type.name), bus: \(bus), \(multiplexer)address: \(finding.address)}"
    }
}
