import Platform
import Synchronization

/// A channel of a TCA9548A, a switch between one bus and eight others (TCA9548A datasheet SCPS207; PCA9548A is the same
/// to its bus).
public struct MultiplexerChannel: Sendable, Hashable {
    /// The addresses that a multiplexer can be strapped to (8.5.1).
    public static let addresses: [I2CAddress] = [0x70, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77]
    /// The channels that it has.
    public static let numbers = 0...7

    /// The multiplexer's address.
    public let multiplexer: I2CAddress
    /// The channel's number.
    public let number: Int

    /// Names a channel.
    /// - Returns: nil unless the address and the number are among those that there are.
    public init?(multiplexer: I2CAddress, number: Int) {
        guard MultiplexerChannel.addresses.contains(multiplexer), MultiplexerChannel.numbers.contains(number) else {
            return nil
        }
        self.multiplexer = multiplexer
        self.number = number
    }

    /// The control register with this channel alone open (8.5.3).
    var control: UInt8 { 1 << UInt8(number) }
}

/// The multiplexers of one bus, behind whose channels chips have equal addresses.
///
/// One channel is open at a time, of all multiplexers together; it is written when it changes, and when it is not known
/// which one is open: at first, and after any transfer that failed, since the multiplexer may have lost its power.
/// What hangs on the bus itself is always reached, so it must not have an address of a chip behind a channel.
public final class Multiplexers: Sendable {
    /// The bus that they are on.
    public let bus: any I2CBus
    private let addresses: [I2CAddress]
    /// The open channel; nil if it is not known.
    private let open = Mutex<MultiplexerChannel?>(nil)

    /// Names the multiplexers of a bus.
    /// - Parameter addresses: of all of them, also of those whose channels are not used: any may have been left open.
    public init(on bus: any I2CBus, at addresses: Set<I2CAddress>) {
        self.bus = bus
        self.addresses = addresses.sorted()
    }

    /// The bus behind a channel.
    public func channel(_ channel: MultiplexerChannel) -> MultiplexedBus {
        MultiplexedBus(multiplexers: self, channel: channel)
    }

    /// Does a transfer while a channel is open. No other transfer behind a multiplexer comes in between.
    fileprivate func transfer<Answer: Sendable>(
        behind channel: MultiplexerChannel, _ body: () throws(BusError) -> Answer
    ) throws(BusError) -> Answer {
        try open.withLock { open throws(BusError) in
            let before = open
            // Until all has gone well it is not known.
            open = nil
            try select(channel, before: before)
            let answer = try body()
            open = channel
            return answer
        }
    }

    /// Closes what may be open and opens a channel.
    private func select(_ channel: MultiplexerChannel, before: MultiplexerChannel?) throws(BusError) {
        if channel == before { return }
        for other in addresses where other != channel.multiplexer {
            // Closed when the channel before it was opened.
            if let before, before.multiplexer != other { continue }
            do {
                try write(0, to: other)
            } catch {
                // Who does not answer has no power, and then nothing behind it answers: no reason to give up the others.
                guard error.kind == .multiplexer(.notAcknowledged) else { throw error }
            }
        }
        try write(channel.control, to: channel.multiplexer)
    }

    private func write(_ control: UInt8, to multiplexer: I2CAddress) throws(BusError) {
        do {
            try bus.write([control], to: multiplexer)
        } catch {
            throw BusError(.multiplexer(error.kind), bus: error.bus, address: error.address)
        }
    }
}

/// A bus behind a channel of a multiplexer. It has the thread of the bus that the multiplexer is on, so opening the
/// channel and the transfer cannot be torn apart.
public final class MultiplexedBus: I2CBus {
    /// The bus, the multiplexer and the channel, such as `/dev/i2c-1:0x70:2`.
    public let name: String
    /// The thread of the bus that the multiplexer is on.
    public var executor: ThreadExecutor { multiplexers.bus.executor }

    private let multiplexers: Multiplexers
    private let channel: MultiplexerChannel

    fileprivate init(multiplexers: Multiplexers, channel: MultiplexerChannel) {
        self.multiplexers = multiplexers
        self.channel = channel
        name = "\(multiplexers.bus.name):\(channel.multiplexer):\(channel.number)"
    }

    /// Writes `bytes` to a chip behind the channel.
    /// - Throws: `.multiplexer` if the channel cannot be opened; as the bus does else.
    public func write(_ bytes: [UInt8], to address: I2CAddress) throws(BusError) {
        try transfer { bus throws(BusError) in try bus.write(bytes, to: address) }
    }

    /// Reads `count` bytes from a chip behind the channel.
    /// - Throws: `.multiplexer` if the channel cannot be opened; as the bus does else.
    public func read(_ count: Int, from address: I2CAddress) throws(BusError) -> [UInt8] {
        try transfer { bus throws(BusError) in try bus.read(count, from: address) }
    }

    /// Writes `bytes` to a chip behind the channel and, after a repeated start, reads `count` bytes.
    /// - Throws: `.multiplexer` if the channel cannot be opened; as the bus does else.
    public func write(_ bytes: [UInt8], thenRead count: Int, at address: I2CAddress) throws(BusError) -> [UInt8] {
        try transfer { bus throws(BusError) in try bus.write(bytes, thenRead: count, at: address) }
    }

    private func transfer<Answer: Sendable>(
        _ body: (any I2CBus) throws(BusError) -> Answer
    ) throws(BusError) -> Answer {
        try multiplexers.transfer(behind: channel) { () throws(BusError) -> Answer in
            do throws(BusError) {
                return try body(multiplexers.bus)
            } catch {
                throw BusError(error.kind, bus: name, address: error.address)
            }
        }
    }
}
