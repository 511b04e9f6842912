import TestSupport
import Testing

@testable import SensorBus

/// What the bus says when it is done; nil if it is content.
private func finishingError(_ bus: PlaybackBus) -> PlaybackBus.Mismatch? {
    do {
        try bus.finish()
        return nil
    } catch {
        return error
    }
}

@Suite struct PlaybackBusTests {
    @Test func answersAsTheListSays() throws {
        let bus = PlaybackBus([
            .write([1, 2], to: 0x10), .read([3], from: 0x10), .write([4], thenRead: [5, 6], at: 0x11),
        ])
        try bus.write([1, 2], to: 0x10)
        #expect(try bus.read(1, from: 0x10) == [3])
        #expect(try bus.write([4], thenRead: 2, at: 0x11) == [5, 6])
        try bus.finish()
    }

    @Test func failsAsTheListSays() throws {
        let bus = PlaybackBus([.read([3], from: 0x10).failing(.timedOut)])
        #expect(throws: BusError(.timedOut, bus: "playback", address: 0x10)) { try bus.read(1, from: 0x10) }
        try bus.finish()
    }

    @Test func anotherTransferIsReported() {
        let transfers: [(PlaybackBus) throws -> Void] = [
            { try $0.write([1, 3], to: 0x10) },
            { try $0.write([1, 2], to: 0x11) },
            { _ = try $0.write([1, 2], thenRead: 1, at: 0x10) },
            { _ = try $0.read(1, from: 0x10) },
        ]
        for transfer in transfers {
            let bus = PlaybackBus([.write([1, 2], to: 0x10)])
            #expect(throws: BusError.self) { try transfer(bus) }
            let mismatch = finishingError(bus)
            #expect(mismatch?.description.hasPrefix("transfer 1: expected 0x10 write [01 02] read 0, got ") == true)
        }
    }

    @Test func oneTooManyIsReported() {
        let bus = PlaybackBus([])
        #expect(throws: BusError.self) { try bus.write([0xFF], to: 0x08) }
        let mismatch = finishingError(bus)
        #expect(mismatch?.description == "not expected: 0x08 write [ff] read 0")
    }

    @Test func leftoversAreReported() throws {
        let bus = PlaybackBus([.write([1], to: 0x10), .write([2], to: 0x10), .read([3], from: 0x10)])
        try bus.write([1], to: 0x10)
        let mismatch = finishingError(bus)
        #expect(
            mismatch?.description
                == "never happened: 0x10 write [02] read 0\nnever happened: 0x10 write [] read 1")
    }
}
