import TestSupport
import Testing

@testable import SensorBus

@Suite struct MultiplexerTests {
    private typealias Exchange = PlaybackBus.Exchange

    private static func channel(_ multiplexer: I2CAddress, _ number: Int) throws -> MultiplexerChannel {
        try #require(MultiplexerChannel(multiplexer: multiplexer, number: number))
    }

    @Test func onlyChannelsThatThereAre() {
        #expect(MultiplexerChannel(multiplexer: 0x70, number: 0) != nil)
        #expect(MultiplexerChannel(multiplexer: 0x77, number: 7) != nil)
        #expect(MultiplexerChannel(multiplexer: 0x6F, number: 0) == nil)
        #expect(MultiplexerChannel(multiplexer: 0x70, number: 8) == nil)
        #expect(MultiplexerChannel(multiplexer: 0x70, number: -1) == nil)
    }

    @Test(arguments: 0...7)
    func everyChannelHasItsBit(number: Int) throws {
        let bus = PlaybackBus([.write([[1, 2, 4, 8, 16, 32, 64, 128][number]], to: 0x70), .write([0xE0], to: 0x76)])
        try Multiplexers(on: bus, at: [0x70]).channel(Self.channel(0x70, number)).write([0xE0], to: 0x76)
        try bus.finish()
    }

    /// A channel is written when it changes, by whichever of its buses, and not else.
    @Test func aChannelIsOpenedWhenItChanges() throws {
        let bus = PlaybackBus([
            .write([0x04], to: 0x70), .write([0xD0], thenRead: [0x60], at: 0x76), .read([0x01], from: 0x44),
            .write([0x02], to: 0x70), .write([0xF4, 0x25], to: 0x76),
            .write([0x04], to: 0x70), .write([0xF4, 0x25], to: 0x76),
        ])
        let multiplexers = Multiplexers(on: bus, at: [0x70])
        let second = try multiplexers.channel(Self.channel(0x70, 2))
        let again = try multiplexers.channel(Self.channel(0x70, 2))
        let first = try multiplexers.channel(Self.channel(0x70, 1))
        #expect(second.name == "playback:0x70:2")
        #expect(second.executor === bus.executor)
        #expect(try second.write([0xD0], thenRead: 1, at: 0x76) == [0x60])
        #expect(try again.read(1, from: 0x44) == [0x01])
        try first.write([0xF4, 0x25], to: 0x76)
        try second.write([0xF4, 0x25], to: 0x76)
        try bus.finish()
    }

    /// After a transfer that failed it is not known what is open: the multiplexer may have lost its power with the chip.
    @Test func afterAFailureTheChannelIsWrittenAgain() throws {
        let open = Exchange.write([0x04], to: 0x70)
        let transfer = Exchange.write([0xE0], to: 0x76)
        let bus = PlaybackBus([open, transfer, transfer.failing(.notAcknowledged), open, transfer, transfer])
        let channel = try Multiplexers(on: bus, at: [0x70]).channel(Self.channel(0x70, 2))
        try channel.write([0xE0], to: 0x76)
        #expect(throws: BusError(.notAcknowledged, bus: "playback:0x70:2", address: 0x76)) {
            try channel.write([0xE0], to: 0x76)
        }
        try channel.write([0xE0], to: 0x76)
        try channel.write([0xE0], to: 0x76)
        try bus.finish()
    }

    /// The multiplexer is named, not the chip, which was never reached; the next attempt begins with it again.
    @Test(arguments: [BusError.Kind.notAcknowledged, .timedOut])
    func aMultiplexerThatFailsIsNamed(kind: BusError.Kind) throws {
        let open = Exchange.write([0x04], to: 0x70)
        let bus = PlaybackBus([open.failing(kind), open, .write([0xE0], to: 0x76)])
        let channel = try Multiplexers(on: bus, at: [0x70]).channel(Self.channel(0x70, 2))
        let error = BusError(.multiplexer(kind), bus: "playback", address: 0x70)
        #expect(throws: error) { try channel.write([0xE0], to: 0x76) }
        #expect(error.description.hasPrefix("playback 0x70: the multiplexer did not open the channel: "))
        #expect(error.description.hasSuffix("; check the multiplexer's wiring, power and address"))
        try channel.write([0xE0], to: 0x76)
        try bus.finish()
    }

    /// Of several multiplexers only one has a channel open, else two chips of one address would answer.
    @Test func theOtherMultiplexersAreClosed() throws {
        let bus = PlaybackBus([
            // Not known: all others are closed first.
            .write([0x00], to: 0x71), .write([0x00], to: 0x72), .write([0x01], to: 0x70), .write([0xE0], to: 0x76),
            // Known: only the one that is open.
            .write([0x00], to: 0x70), .write([0x08], to: 0x71), .write([0xE0], to: 0x76),
            .write([0x10], to: 0x71), .write([0xE0], to: 0x76),
        ])
        let multiplexers = Multiplexers(on: bus, at: [0x70, 0x71, 0x72])
        try multiplexers.channel(Self.channel(0x70, 0)).write([0xE0], to: 0x76)
        try multiplexers.channel(Self.channel(0x71, 3)).write([0xE0], to: 0x76)
        try multiplexers.channel(Self.channel(0x71, 4)).write([0xE0], to: 0x76)
        try bus.finish()
    }

    /// A dead multiplexer takes only its own chips with it; one that may have a channel open takes all.
    @Test func aDeadMultiplexerLeavesTheOthers() throws {
        let close = Exchange.write([0x00], to: 0x71)
        let bus = PlaybackBus([
            close.failing(.notAcknowledged), .write([0x01], to: 0x70), .write([0xE0], to: 0x76),
            .write([0x00], to: 0x70), .write([0x01], to: 0x71).failing(.notAcknowledged), close.failing(.timedOut),
        ])
        let multiplexers = Multiplexers(on: bus, at: [0x70, 0x71])
        let living = try multiplexers.channel(Self.channel(0x70, 0))
        let dead = try multiplexers.channel(Self.channel(0x71, 0))
        try living.write([0xE0], to: 0x76)
        #expect(throws: BusError(.multiplexer(.notAcknowledged), bus: "playback", address: 0x71)) {
            try dead.write([0xE0], to: 0x76)
        }
        #expect(throws: BusError(.multiplexer(.timedOut), bus: "playback", address: 0x71)) {
            try living.write([0xE0], to: 0x76)
        }
        try bus.finish()
    }
}
