import Configuration
import SensorBus

/// Where a chip is: its bus, the channel of a multiplexer before it, and its address.
package struct BusLocation: Hashable, Sendable {
    package var bus: Int
    /// The channel of a multiplexer that it is behind; nil for the bus itself.
    package var channel: MultiplexerChannel?
    package var address: I2CAddress

    /// Why two chips cannot be where they are; nil if they can. What is on the bus itself is within reach whichever
    /// channel is open.
    func conflict(with other: BusLocation) -> String? {
        guard bus == other.bus else { return nil }
        if address == other.channel?.multiplexer || other.address == channel?.multiplexer {
            return "a multiplexer has the address of a chip"
        }
        guard address == other.address else { return nil }
        if channel == other.channel { return "another chip has this address" }
        return channel == nil || other.channel == nil
            ? "another chip has this address, one of them behind a multiplexer and one not" : nil
    }
}

extension BusLocation: CustomStringConvertible {
    /// Such as `0x76 on bus 1` or `0x76 on bus 1 behind 0x70 channel 2`.
    package var description: String {
        "\(address) on bus \(bus)" + (channel.map { " behind \($0.multiplexer) channel \($0.number)" } ?? "")
    }
}

extension MultiplexerChannel {
    /// Reads a `multiplexer` of a station or a chip.
    init?(_ section: Section?) {
        guard let section else { return nil }
        let address = section.value("address", as: .address(MultiplexerChannel.addresses), default: 0x70)
        let number = section.required("channel", as: .integer(MultiplexerChannel.numbers))
        self.init(multiplexer: address, number: number)
    }
}

extension Setting where Value == I2CAddress {
    /// One of the addresses that a chip can have.
    static func address(_ addresses: [I2CAddress]) -> Setting {
        let names = addresses.map(\.description).joined(separator: ", ")
        let expected = addresses.count == 1 ? "\(names), its only address" : "one of its addresses: \(names)"
        return Setting(expected: expected, standIn: addresses[0]) { text in
            let digits = text.hasPrefix("0x") ? Int(text.dropFirst(2), radix: 16) : Int(text)
            return digits.flatMap { I2CAddress(validating: $0) }.flatMap { addresses.contains($0) ? $0 : nil }
        }
    }
}
