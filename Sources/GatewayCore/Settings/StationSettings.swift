import Configuration
import Platform
import Readings
import SensorBus

/// A station: a sensor of the contract, made of chips.
package struct StationSettings: Sendable {
    package var sensorID: Identifier
    var place: Place?
    package var interval: Duration
    /// How many equal measurements in a row mean that a chip is frozen; 0: none do; nil: not set.
    var freezeLimit: Int?
    package var chips: [ChipSettings]
    /// The chips that give a quantity, by their index: the first that has it wins, the next ones replace it.
    var sources: [Quantity: [Int]]

    /// The limit of hardware: an hour of samples every 10 s.
    static let usualFreezeLimit = 360

    init(_ section: Section) {
        sensorID = section.required("sensor_id", as: .identifier)
        interval = section.value(
            "interval", as: .duration(.milliseconds(10)...(.seconds(86_400))), default: .seconds(10))
        freezeLimit = section.optional("frozen_after", as: .freezeLimit)
        if let place = section.optionalSection("place") {
            self.place = Place(
                latitude: place.required("latitude", as: .number(-90...90)),
                longitude: place.required("longitude", as: .number(-180...180)))
        }
        let channel = MultiplexerChannel(section.optionalSection("multiplexer"))
        let sections = section.sections("chips", each: "chip", namedBy: "type")
        let chips = sections.map { ChipSettings($0, behind: channel) }
        if chips.isEmpty { section.problem("at least one chip is needed", at: "chips") }
        for (index, chip) in chips.enumerated() {
            if let conflict = chips[..<index].lazy.compactMap({ chip.location.conflict(with: $0.location) }).first {
                sections[index].problem(conflict, at: "address")
            } else if chips[..<index].contains(where: { $0.name == chip.name }) {
                sections[index].problem(
                    "another chip is called \(chip.name): give this one a name of its own", at: "name")
            }
            // Its waking and the transfers come on top.
            if let sampleTime = chip.setup.sampleTime, interval < sampleTime * 1.2 {
                sections[index].problem(
                    "a sample takes \(sampleTime), and the station's interval is too short for that", at: "mode")
            }
        }
        self.chips = chips
        sources = StationSettings.sources(section.optionalSection("quantities"), chips: chips)
    }

    /// Reads which chips give which quantity: without a setting all that can, in the order of the chips.
    private static func sources(_ section: Section?, chips: [ChipSettings]) -> [Quantity: [Int]] {
        var sources: [Quantity: [Int]] = [:]
        for quantity in Quantity.measured {
            let able = chips.indices.filter { chips[$0].quantities.contains(quantity) }
            sources[quantity] = able
            guard let section, section.has(quantity.settingName) else { continue }
            var chosen: [Int] = []
            for name in section.list(quantity.settingName, as: .identifier) {
                guard let index = chips.firstIndex(where: { $0.name == name }) else {
                    let names = chips.map(\.name.description).joined(separator: ", ")
                    section.problem("no chip is called \(name); there are \(names)", at: quantity.settingName)
                    continue
                }
                if !able.contains(index) {
                    section.problem("\(name) does not measure it", at: quantity.settingName)
                } else if chosen.contains(index) {
                    section.problem("\(name) stands here twice", at: quantity.settingName)
                }
                chosen.append(index)
            }
            sources[quantity] = chosen
        }
        return sources
    }
}

extension Setting where Value == Int {
    /// A number of measurements.
    fileprivate static var freezeLimit: Setting {
        Setting(expected: "a number of equal measurements from 10 to 1000000, or off", standIn: 0) { text in
            if text == "off" { return 0 }
            return Int(text).flatMap { (10...1_000_000).contains($0) ? $0 : nil }
        }
    }
}
