import SensorBus

/// A TCA9548A as a twin at the level of its control register (TCA9548A datasheet SCPS207, 8.5): which channels it has open, several
/// at once if so told. Its bus sees to what that means (`SimulatedI2CBus`).
public struct SimulatedTCA9548A: SimulatedChip {
    /// Only `nack` and `unplug` concern it.
    public let faults: FaultScript
    private var control: UInt8 = 0

    /// Makes one with all channels closed.
    public init(faults: FaultScript = FaultScript()) {
        self.faults = faults
    }

    /// Power comes back: all channels are closed.
    public mutating func powerUp(at time: Duration) {
        control = 0
    }

    /// The last byte is the control register's new value.
    public mutating func write(_ bytes: [UInt8], at time: Duration) -> Bool {
        if let last = bytes.last { control = last }
        return true
    }

    /// The control register, as often as is asked.
    public mutating func read(_ count: Int, at time: Duration) -> [UInt8]? {
        [UInt8](repeating: control, count: count)
    }

    /// Whether a channel is open.
    func isOpen(_ channel: MultiplexerChannel) -> Bool {
        control & 1 << UInt8(channel.number) != 0
    }
}
