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

    /// Twins of all chips of a gateway's configuration, on the buses that it names.
    /// - Parameters:
    ///   - settings: the gateway's.
    ///   - base: the air of each station, by its index among them, as far as nothing is held.
    ///   - clock: the time that passes for the chips.
    public init(
        _ settings: GatewaySettings, base: (Int) -> any Environment, clock: any Clock<Duration>
    ) throws(Conflict) {
        var occupied: [(location: BusLocation, station: String)] = []
        for station in settings.stations {
            let name = "\(station.sensorID)"
            for location in station.chips.map(\.location) {
                for other in occupied {
                    guard let problem = location.conflict(with: other.location) else { continue }
                    throw Conflict(
                        bus: location.bus, address: location.address, stations: [other.station, name], problem: problem)
                }
            }
            occupied += station.chips.map { ($0.location, name) }
        }
        let world = SimulatedWorld(
            environment: ConstantEnvironment(), origin: SystemWallClock().now(), clock: clock)
        self.init(
            settings.stations.enumerated().map { ($1, AdjustableEnvironment(base($0))) }, in: world
        ) { SimulatedI2CBus(name: "bus \($0)", world: world) }
    }

    /// Twins of the chips of stations whose locations do not conflict.
    /// - Parameters:
    ///   - stations: each with its air.
    ///   - world: the time that passes for all of them.
    ///   - faults: what goes wrong by itself.
    ///   - makeBus: makes the bus of a number.
    init(
        _ stations: [(settings: StationSettings, air: AdjustableEnvironment)], in world: SimulatedWorld,
        faults: [SimulationSettings.Fault] = [], makeBus: (Int) -> SimulatedI2CBus
    ) {
        var board = SimulatedBoard(stations: [], chips: [], buses: [:])
        for (station, air) in stations {
            board.stations.append(Station(name: "\(station.sensorID)", air: air))
            for number in Set(station.chips.map(\.location.bus)) where board.buses[number] == nil {
                board.buses[number] = makeBus(number)
            }
            board.attachMultiplexers(of: station, in: world)
            for chip in station.chips {
                let live = FaultSwitch(world: world)
                let episodes = faults.filter { $0.sensorID == station.sensorID && $0.chip == chip.name }.map(\.episode)
                let twin = chip.setup.twin(in: world.with(air), faults: FaultScript(episodes, live: live))
                board.attach(twin, live, chip.location, "\(chip.name)", of: station)
            }
        }
        self = board
    }

    /// Multiplexers hang on the supply too, and can be unplugged; several stations share one.
    private mutating func attachMultiplexers(of station: StationSettings, in world: SimulatedWorld) {
        for location in station.chips.map(\.location) {
            guard let address = location.channel?.multiplexer,
                !chips.contains(where: { $0.bus == location.bus && $0.address == address && $0.channel == nil })
            else { continue }
            let live = FaultSwitch(world: world)
            attach(
                SimulatedTCA9548A(faults: FaultScript(live: live)), live,
                BusLocation(bus: location.bus, address: address), "tca9548a", of: station)
        }
    }

    /// Puts a chip on its bus.
    private mutating func attach(
        _ chip: any SimulatedChip, _ live: FaultSwitch, _ location: BusLocation, _ name: String,
        of station: StationSettings
    ) {
        buses[location.bus]?.attach(chip, at: location.address, behind: location.channel)
        chips.append(
            Chip(
                station: "\(station.sensorID)", name: name, bus: location.bus, channel: location.channel,
                address: location.address, faults: live))
    }
}
