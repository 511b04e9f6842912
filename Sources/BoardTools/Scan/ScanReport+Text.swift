import Presentation
import SensorDrivers

extension ScanReport {
    /// The report for a terminal of 100 columns or more.
    public func text(_ brush: Brush) -> String {
        var text = ""
        if buses.isEmpty { text += brush.paint(ScanReport.noBus, .bad) + "\n" }
        for bus in buses { text += section(of: bus, brush) + "\n" }
        if let comparison { text += section(of: comparison, brush) }
        return text
    }

    private func section(of bus: Bus, _ brush: Brush) -> String {
        var heading = brush.paint(bus.name, .strong)
        if let adapter = bus.adapter { heading += "  \(adapter)" }
        if let station = bus.station { heading += "  station \(station)" }
        if bus.trouble == nil {
            heading += "  \(bus.findings.count) \(bus.findings.count == 1 ? "chip" : "chips")"
        }
        var text = heading + "\n"
        if !bus.findings.isEmpty {
            var table = TextTable(["address", "chip", "how sure", "evidence"], brush: brush)
            for row in bus.findings.flatMap(\.rows) { table.append(cells: row) }
            text += table.text
        }
        if case .success(let inventory) = bus.outcome {
            text += inventory.notes.map { "  " + brush.paint("! \($0)", .doubtful) + "\n" }.joined()
        }
        if let trouble = bus.trouble { text += "  " + brush.paint("✗ \(trouble)", .bad) + "\n" }
        return text
    }

    private func section(of comparison: Comparison, _ brush: Brush) -> String {
        var text = "Compared with " + brush.paint(comparison.file, .strong) + "\n"
        for expectation in comparison.expectations {
            let name = "\(expectation.station): \(expectation.label)"
            switch expectation.outcome {
            case .present(let finding):
                text += "  " + brush.paint("✓", .good) + " \(name)"
                if let part = finding.part, part != expectation.chip.type.parts.first {
                    text += ", and it is a \(part.title)"
                    let missing = expectation.chip.type.quantitiesMissing(with: part).map(\.settingName).sorted()
                    if !missing.isEmpty { text += ", without \(missing.joined(separator: " and "))" }
                }
                text += "\n"
            case .other(let finding):
                let who =
                    finding.kernelDriver.map {
                        "the kernel's driver \($0) has the chip: unbind it, or remove its overlay"
                    }
                    ?? finding.part.map { "a \($0.title) answers there" } ?? "another chip answers there"
                text += "  " + brush.paint("✗ \(name): \(who)", .bad) + "\n"
            case .absent:
                text +=
                    "  " + brush.paint("✗ \(name) does not answer: check its wiring, power and address", .bad) + "\n"
            case .notScanned:
                let reason =
                    expectation.chip.location.channel == nil
                    ? "its bus was not scanned to the end" : "it was not looked behind its multiplexer (--multiplexers)"
                text += "  " + brush.paint("? \(name): \(reason)", .doubtful) + "\n"
            }
        }
        let lines = comparison.surplus.compactMap(\.line)
        for surplus in comparison.surplus where surplus.line == nil {
            let title = surplus.finding.part?.title ?? "a chip"
            let location = surplus.finding.location
            text += "  \(title) at \(location) on bus \(surplus.bus) is not configured\n"
        }
        if !lines.isEmpty {
            text += "  not configured yet; to be pasted under chips: of a station\n"
            text += lines.map { "      \($0)\n" }.joined()
        }
        return text
    }
}

extension Finding {
    /// Where it answers, such as `0x76` or `0x70 channel 2: 0x76`.
    fileprivate var location: String {
        channel.map { "\($0.multiplexer) channel \($0.number): \(address)" } ?? "\(address)"
    }

    /// Its lines of the table: one for each thing that is known of it.
    fileprivate var rows: [[TextTable.Cell]] {
        if let kernelDriver {
            return [
                [.init(location), "?", .init("in use", .doubtful), .init("the kernel's driver \(kernelDriver) has it")]
            ]
        }
        var facts = evidence.map { "\($0.asked): \($0.answer)" + ($0.meaning.isEmpty ? "" : ", \($0.meaning)") }
        if let note { facts.append(note) }
        var rows: [[TextTable.Cell]] = [
            [
                .init(location), .init(part?.title ?? "?", .strong),
                .init(certainty.rawValue, certainty == .certain ? .good : .doubtful), .init(facts.first ?? ""),
            ]
        ]
        rows += facts.dropFirst().map { ["", "", "", .init($0)] }
        return rows
    }
}
