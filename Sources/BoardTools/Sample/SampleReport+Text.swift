import GatewayCore
import Presentation
import Readings
import SensorDrivers

extension SampleReport {
    /// The report for a terminal of 80 columns or more.
    /// - Parameter isVerbose: whether to show what each chip says of itself.
    public func text(_ brush: Brush, isVerbose: Bool) -> String {
        stations.map { section(of: $0, brush, isVerbose: isVerbose) }.joined(separator: "\n")
    }

    private func section(of station: Station, _ brush: Brush, isVerbose: Bool) -> String {
        let reading = station.reading
        var heading = "\(brush.paint("\(reading.sensorID)", .strong))  \(reading.eventTime)"
        if reading.timeQuality == .estimated { heading += "  " + brush.paint("clock not synchronised", .doubtful) }
        if reading.isSimulated { heading += "  simulated" }
        var text = heading + "\n"
        if !station.values.isEmpty {
            var table = TextTable(["quantity", "value", "unit", "from"], rightAligned: [1], brush: brush)
            for value in station.values {
                let source = value.source.map { station.chips[$0].label } ?? ""
                table.append([
                    value.quantity.replacing("_", with: " "), PlainNumbers.fixed(value.number, digits: value.digits),
                    value.unit, source,
                ])
            }
            text += table.text
        }
        for chip in station.chips {
            if let problem = chip.problem { text += "  " + brush.paint("✗ \(problem)", .bad) + "\n" }
            // Said even without being asked for: the configuration expects something else.
            if let remark = chip.identity?.remark, !isVerbose {
                text += "  " + brush.paint("! \(chip.label): \(remark)", .doubtful) + "\n"
            }
        }
        if station.values.isEmpty, station.chips.allSatisfy({ $0.fault == nil }) {
            text += "  " + brush.paint("! no chip gave a value", .doubtful) + "\n"
        }
        if isVerbose {
            var table = TextTable(["chip", "at", "says of itself"], brush: brush)
            for row in station.chips.flatMap({ $0.rows }) { table.append(cells: row) }
            text += "\n" + table.text
        }
        return text
    }
}

extension SampleReport.Chip {
    /// What it says of itself, a line each.
    fileprivate var rows: [[TextTable.Cell]] {
        let address = TextTable.Cell("\(settings.location)")
        guard let identity else { return [[.init("\(settings.name)", .strong), address, "it never answered"]] }
        var facts = identity.facts.map { TextTable.Cell("\($0.name) \($0.value)") }
        if let serialNumber = identity.serialNumber { facts.insert(.init("serial number \(serialNumber)"), at: 0) }
        if let remark = identity.remark { facts.append(.init("! \(remark)", .doubtful)) }
        let first = [.init(identity.part, .strong), address] + Array(facts.prefix(1))
        let others: [[TextTable.Cell]] = facts.dropFirst().map { ["", "", $0] }
        return [first] + others
    }
}
