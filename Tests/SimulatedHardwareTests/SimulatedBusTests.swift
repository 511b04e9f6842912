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

    private func expectRefusal(at address: I2CAddress = 0x62, _ body: () throws -> Void) {
        #expect(throws: BusError(.notAcknowledged, bus: "simulated", address: address), performing: body)
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

    @Test(arguments: SimulatedModel.allCases)
    func everyModelIsMadeAndAnswersToItsAddress(model: SimulatedModel) throws {
        let world = world()
        let bus = SimulatedI2CBus(world: world)
        bus.attach(model.chip(in: world), at: 0x10)
        try bus.write([], to: 0x10)
        #expect(throws: BusError.self) { try bus.write([], to: 0x11) }
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
