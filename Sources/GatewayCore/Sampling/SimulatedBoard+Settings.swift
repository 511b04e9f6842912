import Readings
import SensorBus
import SimulatedHardware

extension SimulatedBoard {
    /// Two chips that cannot both be where they are; in simulated mode each station has buses of its own.
    public struct Conflict: Error, Equatable, CustomStringConvertible {
        var bus: Int
        var address: I2CAddress
        var stations: [String]
        var problem: String

        /// One line for a person.
        public var description: String {
            "bus \(bus), \(address), stations \(stations.joined(separator: " and ")): \(problem)"
        }
    }

    /// Models of all chips of a gateway's configuration, on the buses that it names.
    /// - Parameters:
    ///   - settings: the gateway's.
    ///   - base: the air of each station, by its place among them, as far as nothing is held.
    ///   - clock: the time that passes for the chips.
    public init(
        _ settings: GatewaySettings, base: (Int) -> any Environment, clock: any Clock<Duration>
    ) throws(Conflict) {
        let world = SimulatedWorld(
            environment: ConstantEnvironment(), origin: SystemWallClock().now(), clock: clock)
        var board = SimulatedBoard(stations: [], chips: [], buses: [:])
        var places: [(place: ChipSettings.Location, station: String)] = []
        for (index, station) in settings.stations.enumerated() {
            let name = "\(station.sensorID)"
            for place in station.chips.map(\.place) {
                for other in places {
                    guard let problem = place.conflict(with: other.place) else { continue }
                    throw Conflict(
                        bus: place.bus, address: place.address, stations: [other.station, name], problem: problem)
                }
            }
            places += station.chips.map { ($0.place, name) }
            board.attachMultiplexers(of: station, in: world)
            let air = AdjustableEnvironment(base(index))
            board.stations.append(Station(name: name, air: air))
            station.attachModels(in: world.with(air)) { chip in
                let live = FaultSwitch(world: world)
                board.chips.append(
                    Chip(
                        station: name, name: "\(chip.name)", bus: chip.place.bus, channel: chip.place.channel,
                        address: chip.place.address, faults: live))
                return FaultScript(live: live)
            } bus: { number in
                board.bus(number, in: world)
            }
        }
        self = board
    }

    /// Multiplexers hang on the supply too, and can be unplugged; several stations share one.
    private mutating func attachMultiplexers(of station: StationSettings, in world: SimulatedWorld) {
        for place in station.chips.map(\.place) {
            guard let address = place.channel?.multiplexer,
                !chips.contains(where: { $0.bus == place.bus && $0.address == address && $0.channel == nil })
            else { continue }
            let live = FaultSwitch(world: world)
            bus(place.bus, in: world).attach(SimulatedTCA9548A(faults: FaultScript(live: live)), at: address)
            chips.append(
                Chip(
                    station: "\(station.sensorID)", name: "tca9548a", bus: place.bus, address: address, faults: live))
        }
    }

    /// The bus of a number, which is made if there is none yet.
    private mutating func bus(_ number: Int, in world: SimulatedWorld) -> SimulatedI2CBus {
        let bus = buses[number] ?? SimulatedI2CBus(name: "bus \(number)", world: world)
        buses[number] = bus
        return bus
    }
}
