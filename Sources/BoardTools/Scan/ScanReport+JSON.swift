import Presentation
import SensorDrivers

extension ScanReport {
    /// The report for a program: one object.
    ///
    /// `buses`: for each `bus` (number), `name`, `adapter`, `station` (simulated mode), `trouble` (null if it was scanned
    /// to its end), `notes`, and `chips`: `address` ("0x76"), `multiplexer` and `channel` (null on the bus itself),
    /// `chip` (null if unknown), `certainty` ("certain", "likely", "unknown"), `evidence` (`asked`, `answer`,
    /// `meaning`), `note`, `kernel_driver`. `configuration` (null without one): `file`; `expected`: `station`, `type`,
    /// `bus`, `address`, `multiplexer`, `channel`, `state` ("present", "other", "absent", "not_scanned"), `found` (the chip that answers or
    /// null); `not_configured`: `bus`, `address`, `multiplexer`, `channel`, `chip`, `yaml` (null without a driver).
    /// `problems`: sentences; the exit status is 1 if there are any.
    public var json: JSON {
        [
            "buses": .array(
                buses.map { bus in
                    var notes: [String] = []
                    if case .success(let inventory) = bus.outcome { notes = inventory.notes }
                    return [
                        "bus": .of(bus.number), "name": .string(bus.name), "adapter": .of(bus.adapter),
                        "station": .of(bus.station?.description), "trouble": .of(bus.trouble),
                        "notes": .array(notes.map { .string($0) }), "chips": .array(bus.findings.map(\.json)),
                    ]
                }),
            "configuration": comparison.map(\.json) ?? .null,
            "problems": .array(problems.map { .string($0) }),
        ]
    }
}

extension ScanReport.Comparison {
    fileprivate var json: JSON {
        [
            "file": .string(file),
            "expected": .array(
                expectations.map { expectation in
                    let (state, found) =
                        switch expectation.outcome {
                        case .present(let finding): ("present", finding.part)
                        case .other(let finding): ("other", finding.part)
                        case .absent: ("absent", nil as ChipPart?)
                        case .notScanned: ("not_scanned", nil as ChipPart?)
                        }
                    return [
                        "station": .string("\(expectation.station)"), "type": .string("\(expectation.chip.type.name)"),
                        "bus": .of(expectation.chip.location.bus),
                        "address": .string("\(expectation.chip.location.address)"),
                        "multiplexer": .of(expectation.chip.location.channel.map { "\($0.multiplexer)" }),
                        "channel": .of(expectation.chip.location.channel?.number), "state": .string(state),
                        "found": .of(found?.name),
                    ]
                }),
            "not_configured": .array(
                surplus.map { surplus in
                    let finding = surplus.finding
                    return [
                        "bus": .of(surplus.bus), "address": .string("\(finding.address)"),
                        "multiplexer": .of(finding.channel.map { "\($0.multiplexer)" }),
                        "channel": .of(finding.channel?.number), "chip": .of(finding.part?.name),
                        "yaml": .of(surplus.line),
                    ]
                }),
        ]
    }
}

extension Finding {
    fileprivate var json: JSON {
        [
            "address": .string("\(address)"), "multiplexer": .of(channel.map { "\($0.multiplexer)" }),
            "channel": .of(channel?.number), "chip": .of(part?.name), "certainty": .string(certainty.rawValue),
            "evidence": .array(
                evidence.map {
                    ["asked": .string($0.asked), "answer": .string($0.answer), "meaning": .string($0.meaning)]
                }),
            "note": .of(note), "kernel_driver": .of(kernelDriver),
        ]
    }
}
