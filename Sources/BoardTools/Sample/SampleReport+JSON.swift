import GatewayCore
import Presentation
import Readings
import SensorDrivers

extension SampleReport {
    /// The report for a program: one object.
    ///
    /// `stations`: for each `station`, `reading` (as it would travel to Kafka, but with `seq` 0), `values` (`quantity`,
    /// `value`, `unit`, `chip`, `bus`, `address`) and `chips`: `chip`, `type`, `bus`, `address` ("0x76"), `multiplexer` and
    /// `channel` (null on the bus itself), `fault` (as in
    /// the reading) and `error` (a sentence with the remedy), both null if it measured, `measured` (by the contract's
    /// names, before any correction; null if it did not), `part`, `serial_number`, `facts` (`name`, `value`) and
    /// `remark`, as the chip says them, null if it was never open. `problems`: sentences; the exit status is 1 if there
    /// are any.
    public var json: JSON {
        [
            "stations": .array(stations.map(\.json)),
            "problems": .array(problems.map { .string($0) }),
        ]
    }
}

extension SampleReport.Station {
    fileprivate var json: JSON {
        [
            "station": .string("\(reading.sensorID)"),
            "reading": .encoded(String(decoding: reading.encoded(), as: UTF8.self)),
            "values": .array(
                values.map { value in
                    let chip = value.source.map { chips[$0].settings }
                    return [
                        "quantity": .string(value.quantity), "value": .number(value.number),
                        "unit": .string(value.unit), "chip": .of(chip.map { "\($0.name)" }),
                        "bus": .of(chip?.location.bus), "address": .of(chip.map { "\($0.location.address)" }),
                    ]
                }),
            "chips": .array(chips.map(\.json)),
        ]
    }
}

extension SampleReport.Chip {
    fileprivate var json: JSON {
        var measured = JSON.null
        if case .success(let measurement)? = result { measured = .object(measurement.members) }
        return [
            "chip": .string("\(settings.name)"), "type": .string("\(settings.type.name)"),
            "bus": .of(settings.location.bus), "address": .string("\(settings.location.address)"),
            "multiplexer": .of(settings.location.channel.map { "\($0.multiplexer)" }),
            "channel": .of(settings.location.channel?.number),
            "fault": .of(fault?.description), "error": .of(problem), "measured": measured,
            "part": .of(identity?.part), "serial_number": .of(identity?.serialNumber),
            "facts": identity.map { identity in
                .array(identity.facts.map { ["name": .string($0.name), "value": .string($0.value)] })
            } ?? .null,
            "remark": .of(identity?.remark),
        ]
    }
}

extension Measurement {
    fileprivate var members: [JSON.Member] {
        values.present.members.compactMap { quantity in
            values[quantity].map { JSON.Member(name: quantity.name, value: .number($0)) }
        }
    }
}
