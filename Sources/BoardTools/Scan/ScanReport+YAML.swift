import GatewayCore
import Presentation
import SensorBus
import SensorDrivers

extension ScanReport {
    /// What was found as the section `stations` of a configuration, ready to paste: a station for each bus, and one for each
    /// channel of a multiplexer. What has no driver, or belongs to the kernel, is a comment; a configuration of the machine
    /// is not looked at.
    public var yaml: String {
        var lines = ["stations:"]
        for bus in buses {
            if let trouble = bus.trouble { lines.append("  # \(bus.name): \(trouble)") }
            let groups = Dictionary(grouping: bus.findings, by: \.channel)
            for channel in groups.keys.sorted(by: ScanReport.isBefore) {
                lines += ScanReport.station(on: bus, behind: channel, groups[channel] ?? [])
            }
        }
        if lines.count == 1 {
            lines = ["stations: []"] + (buses.isEmpty ? ["# \(ScanReport.noBus)"] : ["# no chip answers"])
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private static func isBefore(_ first: MultiplexerChannel?, _ second: MultiplexerChannel?) -> Bool {
        func order(_ channel: MultiplexerChannel?) -> Int {
            channel.map { Int($0.multiplexer.value) << 8 | $0.number + 1 } ?? 0
        }
        return order(first) < order(second)
    }

    /// A station of what is on a bus itself, or behind a channel of it.
    private static func station(
        on bus: Bus, behind channel: MultiplexerChannel?, _ findings: [Finding]
    ) -> [String] {
        var chips: [String] = []
        var remarks: [String] = []
        let types = findings.map { $0.kernelDriver == nil ? $0.part.flatMap(ChipType.type) : nil }
        for (finding, type) in zip(findings, types) {
            guard let type else {
                // What leads to other chips is no chip of a station.
                if finding.part != .tca9548a { remarks.append("  # \(finding.address): \(why(finding))") }
                continue
            }
            // Two chips of a kind are told apart by names.
            let isOne = types.filter { $0 == type }.count == 1
            let name = isOne ? "" : "name: \(type.name)-\(finding.address.description.dropFirst(2)), "
            let remark = type.remark.map { "   # \($0)" } ?? ""
            chips.append(
                "      - {type: \(type.name), \(name)bus: \(bus.number), address: \(finding.address)}\(remark)")
        }
        if chips.isEmpty { return remarks }
        var lines = remarks
        let name = bus.station.map { "\($0)" } ?? "station-\(bus.number)"
        lines.append(
            "  - sensor_id: \(name)\(channel.map { "-\($0.multiplexer.description.dropFirst(2))-\($0.number)" } ?? "")")
        lines.append("    interval: 10s")
        if let channel {
            lines.append("    multiplexer: {address: \(channel.multiplexer), channel: \(channel.number)}")
        }
        return lines + ["    chips:"] + chips
    }

    private static func why(_ finding: Finding) -> String {
        if let driver = finding.kernelDriver { return "the kernel's driver \(driver) has it" }
        if let part = finding.part { return "\(part.name), for which there is no driver here" }
        return "an unknown chip"
    }
}
