import Readings
import SensorBus
import SimulatedHardware
import TestSupport
import Testing

/// What the chips refuse, byte by byte, without a driver in between.
@Suite struct SimulatedBusTests {
    private let clock = ImmediateClock()

    private func world() -> SimulatedWorld {
        SimulatedWorld(environment: ConstantEnvironment(), origin: Timestamp(milliseconds: 0), clock: clock)
    }

    private func expectRefusal(at address: I2CAddress, _ body: () throws -> Void) {
        #expect(throws: BusError(.notAcknowledged, bus: "simulated", address: address), performing: body)
    }

    @Test func theSHT4xRefusesWhatTheRealOneRefuses() async throws {
        let world = world()
        let bus = SimulatedI2CBus(world: world)
        let faults = FaultScript([.init(.unplug, from: .seconds(1), to: .seconds(2))])
        bus.attach(SimulatedSHT4x(world: world, faults: faults), at: 0x44)
        // It answers to its bare address, and has nothing to say before it was asked.
        try bus.write([], to: 0x44)
        expectRefusal(at: 0x44) { _ = try bus.read(6, from: 0x44) }
        // Too early, and deaf meanwhile.
        try bus.write([0xFD], to: 0x44)
        expectRefusal(at: 0x44) { _ = try bus.read(6, from: 0x44) }
        expectRefusal(at: 0x44) { try bus.write([0x89], to: 0x44) }
        try await clock.sleep(for: .microseconds(8300))
        // 21 degrees and 45 %, once only.
        #expect(try bus.read(6, from: 0x44) == [0x60, 0x8C, 0xD3, 0x68, 0x72, 0x79])
        expectRefusal(at: 0x44) { _ = try bus.read(6, from: 0x44) }
        try bus.write([0x89], to: 0x44)
        #expect(try bus.read(6, from: 0x44) == [0x0D, 0x20, 0x47, 0x61, 0x01, 0x11])
        // The heater's commands, and what is no command.
        for command: UInt8 in [0x39, 0x15, 0x00] {
            expectRefusal(at: 0x44) { try bus.write([command], to: 0x44) }
        }
        // Busy while it resets, and while it starts up.
        try bus.write([0x94], to: 0x44)
        expectRefusal(at: 0x44) { try bus.write([0x89], to: 0x44) }
        try await clock.sleep(until: .init(elapsed: .seconds(2)), tolerance: nil)
        expectRefusal(at: 0x44) { try bus.write([0x89], to: 0x44) }
        try await clock.sleep(for: .milliseconds(1))
        try bus.write([0x89], to: 0x44)
    }

    @Test func theSHT3xRefusesWhatTheRealOneRefuses() async throws {
        let world = world()
        let bus = SimulatedI2CBus(world: world)
        bus.attach(SimulatedSHT3x(world: world), at: 0x45)
        try bus.write([0x24, 0x00], to: 0x45)
        expectRefusal(at: 0x45) { _ = try bus.read(6, from: 0x45) }
        expectRefusal(at: 0x45) { try bus.write([0xF3, 0x2D], to: 0x45) }
        try await clock.sleep(for: .milliseconds(15))
        // 21 degrees and 45 %; what was read is gone.
        #expect(try bus.read(6, from: 0x45) == [0x60, 0x8C, 0xD3, 0x73, 0x33, 0x01])
        expectRefusal(at: 0x45) { _ = try bus.read(6, from: 0x45) }
        // What was measured and not read goes with the next command.
        try bus.write([0x24, 0x16], to: 0x45)
        try await clock.sleep(for: .milliseconds(4))
        try bus.write([0x30, 0x41], to: 0x45)
        expectRefusal(at: 0x45) { _ = try bus.read(6, from: 0x45) }
        // Clock stretching is not simulated, nor is half a command one; the status tells of what was refused.
        expectRefusal(at: 0x45) { try bus.write([0x2C, 0x06], to: 0x45) }
        expectRefusal(at: 0x45) { try bus.write([0x24], to: 0x45) }
        try bus.write([0xF3, 0x2D], to: 0x45)
        #expect(try bus.read(3, from: 0x45) == [0x00, 0x02, 0xE3])
        // A reset is in the status until it is cleared.
        try bus.write([0x30, 0xA2], to: 0x45)
        expectRefusal(at: 0x45) { try bus.write([0xF3, 0x2D], to: 0x45) }
        try await clock.sleep(for: .milliseconds(2))
        try bus.write([0xF3, 0x2D], to: 0x45)
        #expect(try bus.read(3, from: 0x45) == [0x80, 0x10, 0xE1])
    }

    @Test func faultsAreSwitchedWhileTheChipRuns() async throws {
        let world = world()
        let bus = SimulatedI2CBus(world: world)
        let live = FaultSwitch(world: world)
        bus.attach(SimulatedSCD4x(world: world, faults: FaultScript(live: live)), at: 0x62)
        func serial() async throws -> [UInt8] {
            try bus.write([0x36, 0x82], to: 0x62)
            try await clock.sleep(for: .milliseconds(1))
            return try bus.read(3, from: 0x62)
        }
        #expect(try await serial() == [0x73, 0xB1, 0x19])
        live.set(.crc, true)
        #expect(try await serial() == [0x73, 0xB1, 0x18])
        live.set(.nack, true)
        #expect(live.faults == [.nack, .crc])
        expectRefusal(at: 0x62) { try bus.write([0x36, 0x82], to: 0x62) }
        // Not acknowledging is not being away: it goes on at once.
        live.heal()
        #expect(live.faults == [])
        #expect(try await serial() == [0x73, 0xB1, 0x19])

        // Without power and unplugged: it is there when neither is the case any more, and starts up first.
        live.set(.freeze, true)
        live.set(.crc, true)
        live.setPower(false)
        #expect(live.faults == [.crc], "what hung is let go, a bad cable stays one")
        live.set(.crc, false)
        live.set(.unplug, true)
        expectRefusal(at: 0x62) { try bus.write([0x36, 0x82], to: 0x62) }
        try await clock.sleep(for: .seconds(2))
        live.setPower(true)
        expectRefusal(at: 0x62) { try bus.write([0x36, 0x82], to: 0x62) }
        try await clock.sleep(for: .seconds(2))
        live.set(.unplug, false)
        try await clock.sleep(for: .milliseconds(999))
        expectRefusal(at: 0x62) { try bus.write([0x36, 0x82], to: 0x62) }
        try await clock.sleep(for: .milliseconds(1))
        #expect(try await serial() == [0x73, 0xB1, 0x19])
        // Power that was there all the time starts nothing.
        live.setPower(true)
        #expect(try await serial() == [0x73, 0xB1, 0x19])
    }

    @Test func theADS1115GivesTheLastResultUntilTheNewOneIsThere() async throws {
        let world = world()
        let bus = SimulatedI2CBus(world: world)
        bus.attach(SimulatedADS1115(world: world), at: 0x48)
        try bus.write([0x01, 0xC3, 0x83], to: 0x48)
        #expect(try bus.write([0x00], thenRead: 2, at: 0x48) == [0, 0])
        #expect(try bus.write([0x01], thenRead: 2, at: 0x48) == [0x43, 0x83])
        try await clock.sleep(for: .milliseconds(9))
        #expect(try bus.write([0x01], thenRead: 2, at: 0x48) == [0xC3, 0x83])
        // 3.9 V at 125 microvolts a step.
        #expect(try bus.write([0x00], thenRead: 2, at: 0x48) == [0x79, 0xE0])
    }
}
