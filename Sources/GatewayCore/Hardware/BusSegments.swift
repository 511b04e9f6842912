import SensorBus

/// The buses as chips see them: a bus itself, or what is behind a channel of one of its multiplexers.
package struct BusSegments {
    private let addresses: [Int: Set<I2CAddress>]
    private var multiplexers: [String: Multiplexers] = [:]

    /// Knows the multiplexers that `stations` name, of each bus all together.
    package init(_ stations: [StationSettings]) {
        addresses = stations.flatMap(\.chips).reduce(into: [:]) { addresses, chip in
            if let channel = chip.location.channel {
                addresses[chip.location.bus, default: []].insert(channel.multiplexer)
            }
        }
    }

    /// The bus to reach a chip's location by. Locations on one bus share its multiplexers' state, whichever station they belong to.
    /// - Parameter bus: the bus of the location's number.
    package mutating func bus(of location: BusLocation, on bus: any I2CBus) -> any I2CBus {
        guard let channel = location.channel else { return bus }
        let shared = multiplexers[bus.name] ?? Multiplexers(on: bus, at: addresses[location.bus] ?? [])
        multiplexers[bus.name] = shared
        return shared.channel(channel)
    }
}
