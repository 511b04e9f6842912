import Platform
import SensorBus
import Synchronization

/// A chip as its bus sees it: bytes in, bytes out, or no acknowledgement. Times are since the world's beginning.
public protocol SimulatedChip: Sendable {
    /// What goes wrong with it. The bus sees to `nack` and `unplug`, the chip to the others.
    var faults: FaultScript { get }

    /// Power comes back after it was away: settings are lost.
    mutating func powerUp(at time: Duration)

    /// Takes the bytes of a write.
    /// - Returns: whether it acknowledges them.
    mutating func write(_ bytes: [UInt8], at time: Duration) -> Bool

    /// Gives `count` bytes.
    /// - Returns: nil if it does not acknowledge the read.
    mutating func read(_ count: Int, at time: Duration) -> [UInt8]?
}

/// A bus whose chips are twins, so that the real drivers run without hardware.
///
/// Chips may also be behind multiplexers. Where several of one address are within reach, all take what is written, and
/// the bits that they answer are those that none of them pulls low, as on a real bus.
public final class SimulatedI2CBus: I2CBus {
    private struct Position: Hashable {
        var channel: MultiplexerChannel?
        var address: I2CAddress
    }

    private struct Attachment {
        var chip: any SimulatedChip
        var lastTransfer: Duration
    }

    /// The name that it was given.
    public let name: String
    /// The bus's thread.
    public let executor: ThreadExecutor
    private let world: SimulatedWorld
    private let attachments = Mutex<[Position: Attachment]>([:])
    private let wedged = Mutex(false)

    /// Makes a bus without chips.
    /// - Parameter observer: told of the work of the bus's thread, as a `VirtualClock` must be.
    public init(name: String = "simulated", world: SimulatedWorld, observer: (any WorkObserver)? = nil) {
        self.name = name
        self.world = world
        executor = ThreadExecutor(name: name, observer: observer)
    }

    /// Whether a line is held low: every transfer times out.
    public var isWedged: Bool {
        get { wedged.withLock { $0 } }
        set { wedged.withLock { $0 = newValue } }
    }

    /// Puts a chip on the bus, in place of the one that was there.
    /// - Parameter channel: of the multiplexer that it is behind, which is put there too if none is; nil for the bus itself.
    public func attach(_ chip: any SimulatedChip, at address: I2CAddress, behind channel: MultiplexerChannel? = nil) {
        let now = world.elapsed()
        attachments.withLock { attachments in
            if let channel {
                let multiplexer = Position(address: channel.multiplexer)
                if !(attachments[multiplexer]?.chip is SimulatedTCA9548A) {
                    attachments[multiplexer] = Attachment(chip: SimulatedTCA9548A(), lastTransfer: now)
                }
            }
            attachments[Position(channel: channel, address: address)] = Attachment(chip: chip, lastTransfer: now)
        }
    }

    /// Writes to the chip at the address.
    public func write(_ bytes: [UInt8], to address: I2CAddress) throws(BusError) {
        _ = try access(address) { chip, time in chip.write(bytes, at: time) ? [] : nil }
    }

    /// Reads from the chip at the address.
    public func read(_ count: Int, from address: I2CAddress) throws(BusError) -> [UInt8] {
        try access(address) { chip, time in chip.read(count, at: time) }
    }

    /// Writes to the chip at the address and reads from it.
    public func write(_ bytes: [UInt8], thenRead count: Int, at address: I2CAddress) throws(BusError) -> [UInt8] {
        try access(address) { chip, time in chip.write(bytes, at: time) ? chip.read(count, at: time) : nil }
    }

    /// Calls `body` with every chip within reach that has the address and hears.
    /// - Returns: what they answer together.
    /// - Throws: `.notAcknowledged` if none does, `.timedOut` while the bus is wedged.
    private func access(
        _ address: I2CAddress, _ body: (inout any SimulatedChip, Duration) -> [UInt8]?
    ) throws(BusError) -> [UInt8] {
        if isWedged { throw BusError(.timedOut, bus: name, address: address) }
        let time = world.elapsed()
        let answers = attachments.withLock { attachments in
            positions(of: address, in: &attachments, at: time).compactMap { position in
                present(position, in: &attachments, at: time) { body(&$0, time) }
            }
        }
        guard var together = answers.first else { throw BusError(.notAcknowledged, bus: name, address: address) }
        for answer in answers.dropFirst() {
            together = zip(together, answer).map { $0 & $1 }
        }
        return together
    }

    /// Where an address is within reach: on the bus itself, and behind the channels that are open.
    private func positions(
        of address: I2CAddress, in attachments: inout [Position: Attachment], at time: Duration
    ) -> [Position] {
        let behind = attachments.keys.compactMap(\.channel)
        let open = Set(behind).filter { channel in
            present(Position(address: channel.multiplexer), in: &attachments, at: time) { chip in
                (chip as? SimulatedTCA9548A)?.isOpen(channel)
            } ?? false
        }
        return ([nil] + open).map { Position(channel: $0, address: address) }
    }

    /// Calls `body` with the chip at a position, unless it is not there or does not hear.
    private func present<Answer>(
        _ position: Position, in attachments: inout [Position: Attachment], at time: Duration,
        _ body: (inout any SimulatedChip) -> Answer?
    ) -> Answer? {
        guard var attachment = attachments[position] else { return nil }
        defer { attachments[position] = attachment }
        let faults = attachment.chip.faults
        if let reconnection = faults.lastReconnection(after: attachment.lastTransfer, until: time) {
            attachment.chip.powerUp(at: reconnection)
        }
        attachment.lastTransfer = time
        guard !faults.has(.unplug, at: time), !faults.has(.nack, at: time) else { return nil }
        return body(&attachment.chip)
    }
}
