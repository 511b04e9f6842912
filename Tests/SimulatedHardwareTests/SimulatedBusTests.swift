import Readings
import SensorBus
import SimulatedHardware
import Testing

/// What the chips refuse, byte by byte, without a driver in between.
@Suite struct SimulatedBusTests {
    private let clock = ImmediateClock()

    private func world() -> SimulatedWorld {
        SimulatedWorld(environment: ConstantEnvironment(), origin: Timestamp(milliseconds: 0), clock: clock)
    }

    private func expectRefusal(_ body: () throws -> Void) {
        #expect(throws: BusError(.notAcknowledged, bus: "simulated", address: 0x62), performing: body)
    }

    @Test func theSCD41RefusesWhatTheRealOneRefuses() async throws {
        let world = world()
        let bus = SimulatedI2CBus(world: world)
        bus.attach(SimulatedSCD41(world: world), at: 0x62)
        try bus.write([0x36, 0x82], to: 0x62)
        // Too early.
        expectRefusal { _ = try bus.read(9, from: 0x62) }
        try await clock.sleep(for: .milliseconds(1))
        #expect(
            try bus.read(9, from: 0x62) == [0x73, 0xB1, 0x19, 0xEB, 0x07, 0x7A, 0x3B, 0x0C, 0x54])
        // Once only.
        expectRefusal { _ = try bus.read(9, from: 0x62) }
        // A word with a wrong checksum.
        expectRefusal { try bus.write([0x24, 0x1D, 0x05, 0xDA, 0x00], to: 0x62) }
        try bus.write([0x21, 0xB1], to: 0x62)
        // Settings while it measures.
        expectRefusal { try bus.write([0x36, 0x82], to: 0x62) }
        // Nothing measured yet: not ready, in the form that has bits above the low 11, and no measurement.
        try bus.write([0xE4, 0xB8], to: 0x62)
        try await clock.sleep(for: .milliseconds(1))
        #expect(try bus.read(3, from: 0x62) == [0x80, 0x00, 0xA2])
        try bus.write([0xEC, 0x05], to: 0x62)
        try await clock.sleep(for: .milliseconds(1))
        expectRefusal { _ = try bus.read(9, from: 0x62) }
        // Busy while it stops.
        try bus.write([0x3F, 0x86], to: 0x62)
        try await clock.sleep(for: .milliseconds(499))
        expectRefusal { try bus.write([0x36, 0x82], to: 0x62) }
        try await clock.sleep(for: .milliseconds(1))
        try bus.write([0x36, 0x82], to: 0x62)
    }

    @Test func afterItIsPluggedInAgainAChipStartsUp() async throws {
        let world = world()
        let bus = SimulatedI2CBus(world: world)
        let faults = FaultScript([.init(.unplug, from: .seconds(1), to: .seconds(2))])
        bus.attach(SimulatedSCD41(world: world, faults: faults), at: 0x62)
        try await clock.sleep(for: .milliseconds(2500))
        expectRefusal { try bus.write([0x36, 0x82], to: 0x62) }
        try await clock.sleep(for: .milliseconds(500))
        try bus.write([0x36, 0x82], to: 0x62)
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
