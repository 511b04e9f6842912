import SensorBus

/// The chips of a board, with all that can be changed of them while they run.
public struct SimulatedBoard: Sendable {
    /// A chip.
    public struct Chip: Sendable {
        /// The station that it belongs to.
        public var station: String
        /// What the configuration calls it: its type, unless it has a name of its own.
        public var name: String
        /// The number of its bus.
        public var bus: Int
        /// The channel of a multiplexer that it is behind; nil for the bus itself.
        public var channel: MultiplexerChannel?
        /// Its address there.
        public var address: I2CAddress
        /// What is wrong with it.
        public var faults: FaultSwitch

        /// Names a chip that is attached.
        public init(
            station: String, name: String, bus: Int, channel: MultiplexerChannel? = nil, address: I2CAddress,
            faults: FaultSwitch
        ) {
            self.station = station
            self.name = name
            self.bus = bus
            self.channel = channel
            self.address = address
            self.faults = faults
        }
    }

    /// A station with air of its own.
    public struct Station: Sendable {
        /// Its name.
        public var name: String
        /// Its air.
        public var air: AdjustableEnvironment

        /// Names a station.
        public init(name: String, air: AdjustableEnvironment) {
            self.name = name
            self.air = air
        }
    }

    /// The stations, in the order of the configuration.
    public var stations: [Station]
    /// The chips, in the order of the configuration.
    public var chips: [Chip]
    /// The buses by their numbers.
    public var buses: [Int: SimulatedI2CBus]

    /// Makes a board.
    public init(stations: [Station], chips: [Chip], buses: [Int: SimulatedI2CBus]) {
        self.stations = stations
        self.chips = chips
        self.buses = buses
    }

    /// Cuts the supply of all chips, or restores it.
    public func setPower(_ isOn: Bool) {
        for chip in chips { chip.faults.setPower(isOn) }
    }
}
