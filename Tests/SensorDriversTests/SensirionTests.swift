import Readings
import SensorBus
import SimulatedHardware
import TestSupport
import Testing

@testable import SensorDrivers

/// What Sensirion's chips have in common: checksums, and what is asked for again.
@Suite struct SensirionTests {
    @Test(
        arguments: [
            (0xBEEF, 0x92), (0x0000, 0x81), (0x8000, 0xA2), (0x8006, 0x04), (0x01F4, 0x33), (0x03E8, 0xD4),
            (0xABCD, 0x6F), (0xFFFF, 0xAC),
        ] as [(UInt16, UInt8)])
    func checksum(word: UInt16, crc: UInt8) {
        #expect(sensirionWord(word) == [UInt8(word >> 8), UInt8(word & 0xFF), crc])
    }

    private func device(_ bus: PlaybackBus) -> I2CDevice {
        I2CDevice(bus: bus, address: 0x44, chip: Identifier(constant: "sht4x"), clock: ImmediateClock())
    }

    private let asking = PlaybackBus.Exchange.write([0x89], to: 0x44)
    private let sound = PlaybackBus.Exchange.read([0xBE, 0xEF, 0x92], from: 0x44)

    /// Whichever bit is wrong, of the word or of its checksum.
    @Test(arguments: 0..<24)
    func noSingleBitEscapes(bit: Int) async throws {
        var damaged = sound
        damaged.answer[bit / 8] ^= 1 << (bit % 8)
        let bus = PlaybackBus([asking, damaged, asking, damaged, asking, sound])
        #expect(try await device(bus).query(SHT4xCommand.readSerialNumber, words: 1) == [0xBEEF])
        try bus.finish()
    }

    @Test func anAnswerIsAskedForThreeTimesAtMost() async throws {
        var damaged = sound
        damaged.answer[2] = 0x93
        let bus = PlaybackBus([asking, damaged, asking, damaged, asking, damaged])
        let kind = await failure { _ = try await device(bus).query(SHT4xCommand.readSerialNumber, words: 1) }
        #expect(kind == .crc(expected: 0x92, received: 0x93))
        try bus.finish()
    }

    @Test func anAnswerThatComesOnlyOnceIsNotAskedForAgain() async throws {
        var damaged = sound
        damaged.answer[0] = 0xBF
        let bus = PlaybackBus([asking, damaged])
        let kind = await failure {
            _ = try await device(bus).query(SHT4xCommand.readSerialNumber, words: 1, isRepeatable: false)
        }
        #expect(kind != nil)
        try bus.finish()
    }

    /// An acknowledgement may be lost to a disturbance, so the transfer is tried once more, and not the whole command.
    @Test func whatIsNotAcknowledgedIsTriedOnceMore() async throws {
        let silent = sound.failing(.notAcknowledged)
        let bus = PlaybackBus([asking.failing(.notAcknowledged), asking, silent, sound, asking, silent, silent])
        let device = device(bus)
        #expect(try await device.query(SHT4xCommand.readSerialNumber, words: 1) == [0xBEEF])
        let kind = await failure { _ = try await device.query(SHT4xCommand.readSerialNumber, words: 1) }
        #expect(kind == .bus(BusError(.notAcknowledged, bus: "playback", address: 0x44)))
        try bus.finish()
    }

    /// What was to be read may be gone with these, and who hangs is not asked again.
    @Test(arguments: [BusError.Kind.timedOut, .lengthOrStretch, .arbitrationLost, .missing])
    func otherFailuresAreNotTriedAgain(kind: BusError.Kind) async throws {
        let bus = PlaybackBus([asking, sound.failing(kind)])
        let error = await failure { _ = try await device(bus).query(SHT4xCommand.readSerialNumber, words: 1) }
        #expect(error == .bus(BusError(kind, bus: "playback", address: 0x44)))
        try bus.finish()
    }
}
