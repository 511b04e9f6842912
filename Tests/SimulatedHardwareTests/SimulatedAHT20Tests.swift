import Readings
import SensorBus
import SimulatedHardware
import TestSupport
import Testing

/// The AHT20's twin byte by byte, without a driver in between.
@Suite struct SimulatedAHT20Tests {
    private let clock = ImmediateClock()
    private let bus: SimulatedI2CBus
    private let world: SimulatedWorld
    /// Away from 100 s to 200 s.
    private let faults = FaultScript([.init(.unplug, from: .seconds(100), to: .seconds(200))])
    private let address: I2CAddress = 0x38

    init() {
        world = SimulatedWorld(
            environment: ConstantEnvironment(Conditions(temperature: 10, humidity: 0)),
            origin: Timestamp(milliseconds: 0), clock: clock)
        bus = SimulatedI2CBus(world: world)
        bus.attach(SimulatedAHT20(world: world, faults: faults), at: address)
    }

    /// The bytes of 10 degrees and 0 %, with the checksum that another program computes.
    @Test func aMeasurementTakesItsTimeAndStays() async throws {
        try bus.write([0xAC, 0x33, 0x00], to: address)
        #expect(try bus.read(1, from: address) == [0x98])
        try await clock.sleep(for: .milliseconds(80))
        let bytes: [UInt8] = [0x18, 0x00, 0x00, 0x04, 0xCC, 0xCD]
        #expect(try bus.read(6, from: address) == bytes)
        #expect(try bus.read(7, from: address).prefix(6) == bytes[...])
    }

    @Test func aResetTakesItsTime() async throws {
        try bus.write([0xBA], to: address)
        #expect(throws: BusError(.notAcknowledged, bus: "simulated", address: address)) {
            try self.bus.read(1, from: self.address)
        }
        try await clock.sleep(for: .milliseconds(20))
        #expect(try bus.read(1, from: address) == [0x18])
    }

    @Test func mostLoadTheirCalibrationByThemselves() async throws {
        try await clock.sleep(until: .init(elapsed: .seconds(201)), tolerance: nil)
        // The first transfer finds it plugged in again.
        #expect(try bus.read(1, from: address) == [0x18])
    }

    /// One that does not has to be initialised, and after a time without power once more.
    @Test func powerTakesTheCalibration() async throws {
        bus.attach(SimulatedAHT20(world: world, isCalibrated: false, faults: faults), at: address)
        #expect(try bus.read(1, from: address) == [0x10])
        try await clock.sleep(until: .init(elapsed: .seconds(200)), tolerance: nil)
        #expect(throws: BusError(.notAcknowledged, bus: "simulated", address: address)) {
            try self.bus.read(1, from: self.address)
        }
        try await clock.sleep(for: .milliseconds(20))
        #expect(try bus.read(1, from: address) == [0x10])
        try bus.write([0xBE, 0x08, 0x00], to: address)
        #expect(try bus.read(1, from: address) == [0x98])
        try await clock.sleep(for: .milliseconds(10))
        #expect(try bus.read(1, from: address) == [0x18])
    }

    @Test func whatIsNoCommandDoesNothing() throws {
        try bus.write([0x00], to: address)
        try bus.write([0xAC], to: address)
        #expect(try bus.read(1, from: address) == [0x18])
    }
}
