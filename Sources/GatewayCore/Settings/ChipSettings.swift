import Configuration
import Readings
import SensorBus

/// A chip: what it is, where it is, and how it is set.
package struct ChipSettings: Sendable {
    package var type: ChipType
    package var location: BusLocation
    /// The settings that its type has.
    package var setup: any ChipSetup

    /// What the configuration calls it: its type, unless it has a name of its own.
    package var name: Identifier
    /// Whether it has a name of its own, which then stands in its faults too.
    var isNamed: Bool
    /// What is corrected of what it measures.
    var corrections: [Quantity: Correction]

    /// - Parameter channel: the station's; a chip may have another one.
    init(_ section: Section, behind channel: MultiplexerChannel? = nil) {
        type = section.required("type", as: .chipType)
        location = BusLocation(
            bus: section.value("bus", as: .integer(0...255), default: 1),
            channel: MultiplexerChannel(section.optionalSection("multiplexer")) ?? channel,
            address: section.value("address", as: .address(type.addresses), default: type.addresses[0]))
        if location.address == location.channel?.multiplexer {
            section.problem("its multiplexer has this address", at: "address")
        }
        isNamed = section.has("name")
        name = section.value("name", as: .identifier, default: type.name)
        corrections = Correction.read(section.optionalSection("calibration"), of: type)
        setup = type.read(section)
    }

    /// What it measures as it is set.
    var quantities: Set<Quantity> { type.quantities.subtracting(setup.omittedQuantities) }
}
