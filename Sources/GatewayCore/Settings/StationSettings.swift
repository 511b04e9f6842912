import Configuration
import Platform
import Readings

/// A station: a sensor of the contract, made of chips.
struct StationSettings: Sendable {
    var sensorID: Identifier
    var place: Place?
    var interval: Duration
    var chips: [ChipSettings]

    init(_ section: Section) {
        sensorID = section.required("sensor_id", as: .identifier)
        interval = section.value(
            "interval", as: .duration(.milliseconds(10)...(.seconds(86_400))), default: .seconds(10))
        if let place = section.optionalSection("place") {
            self.place = Place(
                latitude: place.required("latitude", as: .number(-90...90)),
                longitude: place.required("longitude", as: .number(-180...180)))
        }
        let sections = section.sections("chips", each: "chip", namedBy: "type")
        chips = sections.map { ChipSettings($0) }
        if chips.isEmpty { section.problem("at least one chip is needed", at: "chips") }
        for (index, chip) in chips.enumerated() where chips[..<index].contains(where: { $0.place == chip.place }) {
            sections[index].problem("another chip has this address", at: "address")
        }
    }
}
