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

/// A bus whose chips are models, so that the real drivers run without hardware.
public final class SimulatedI2CBus: I2CBus {
    private struct Place {
        var chip: any SimulatedChip
        var lastTransfer: Duration
    }

    /// The name that it was given.
    public let name: String
    /// The bus's thread.
    public let executor: ThreadExecutor
    private let world: SimulatedWorld
    private let places = Mutex<[I2CAddress: Place]>([:])

    /// Makes a bus without chips.
    public init(name: String = "simulated", world: SimulatedWorld) {
        self.name = name
        self.world = world
        executor = ThreadExecutor(name: name)
    }

    /// Puts a chip on the bus, in place of the one that was at the address.
    public func attach(_ chip: any SimulatedChip, at address: I2CAddress) {
        let place = Place(chip: chip, lastTransfer: world.elapsed())
        places.withLock { $0[address] = place }
    }

    /// Writes to the chip at the address.
    public func write(_ bytes: [UInt8], to address: I2CAddress) throws(BusError) {
        let isAcknowledged = access(address) { chip, time in chip.write(bytes, at: time) ? true : nil }
        guard isAcknowledged != nil else { throw BusError(.notAcknowledged, bus: name, address: address) }
    }

    /// Reads from the chip at the address.
    public func read(_ count: Int, from address: I2CAddress) throws(BusError) -> [UInt8] {
        guard let bytes = access(address, { chip, time in chip.read(count, at: time) }) else {
            throw BusError(.notAcknowledged, bus: name, address: address)
        }
        return bytes
    }

    /// Writes to the chip at the address and reads from it.
    public func write(_ bytes: [UInt8], thenRead count: Int, at address: I2CAddress) throws(BusError) -> [UInt8] {
        let answer = access(address) { chip, time in
            chip.write(bytes, at: time) ? chip.read(count, at: time) : nil
        }
        guard let answer else { throw BusError(.notAcknowledged, bus: name, address: address) }
        return answer
    }

    /// Calls `body` with the chip, unless it is not there or does not hear.
    private func access<Answer: Sendable>(
        _ address: I2CAddress, _ body: (inout any SimulatedChip, Duration) -> Answer?
    ) -> Answer? {
        let time = world.elapsed()
        return places.withLock { places in
            guard var place = places[address] else { return nil }
            defer { places[address] = place }
            let faults = place.chip.faults
            if let reconnection = faults.lastReconnection(after: place.lastTransfer, until: time) {
                place.chip.powerUp(at: reconnection)
            }
            place.lastTransfer = time
            guard !faults.has(.unplug, at: time), !faults.has(.nack, at: time) else { return nil }
            return body(&place.chip, time)
        }
    }
}
