import Readings
import SensorBus
import SimulatedHardware
import TestSupport
import Testing

/// The BMP3xx's twin byte by byte, without a driver in between.
@Suite struct SimulatedBMP3xxTests {
    private let clock = ImmediateClock()
    private let bus: SimulatedI2CBus
    private let address: I2CAddress = 0x76

    init() {
        let world = SimulatedWorld(
            environment: ConstantEnvironment(), origin: Timestamp(milliseconds: 0), clock: clock)
        bus = SimulatedI2CBus(world: world)
        let faults = FaultScript([.init(.unplug, from: .seconds(100), to: .seconds(200))])
        bus.attach(SimulatedBMP3xx(world: world, variant: .bmp388, faults: faults), at: address)
    }

    private func read(_ register: UInt8, _ count: Int = 1) throws -> [UInt8] {
        try bus.write([register], thenRead: count, at: address)
    }

    @Test func beforeTheFirstMeasurementThereIsNoValue() throws {
        #expect(try read(0x00) == [0x50])
        #expect(try read(0x03, 7) == [0x10, 0x00, 0x00, 0x80, 0x00, 0x00, 0x80])
        // Four conversions of pressure are the setting after a reset; asleep.
        #expect(try read(0x1B, 2) == [0x00, 0x02])
    }

    /// A measurement takes its time, sleeps afterwards, and its data are new until they are read.
    @Test func aMeasurementTakesItsTime() async throws {
        try bus.write([0x1B, 0x13], to: address)
        try await clock.sleep(for: .microseconds(10_888))
        #expect(try read(0x03) == [0x10] && read(0x1B) == [0x13])
        try await clock.sleep(for: .microseconds(1))
        #expect(try read(0x03) == [0x70] && read(0x1B) == [0x03])
        let data = try read(0x04, 6)
        #expect(data[2] != 0x80 && data[5] != 0x80)
        #expect(try read(0x03) == [0x10])
        #expect(try read(0x04, 6) == data)
    }

    @Test func whatIsSwitchedOffIsSkipped() async throws {
        try bus.write([0x1B, 0x12], to: address)
        try await clock.sleep(for: .milliseconds(20))
        let data = try read(0x03, 7)
        #expect(data[0] == 0x50 && Array(data[1...3]) == [0x00, 0x00, 0x80] && data[6] != 0x80)
    }

    @Test func aResetLosesTheSettingsAndTakesItsTime() async throws {
        try bus.write([0x1C, 0x0D], to: address)
        #expect(try read(0x1C) == [0x0D])
        try bus.write([0x7E, 0xB6], to: address)
        #expect(try read(0x03) == [0x00] && read(0x1C) == [0x02])
        try await clock.sleep(for: .milliseconds(2))
        #expect(try read(0x03) == [0x10])
    }

    @Test func itStartsUpWhenItIsPluggedInAgain() async throws {
        try bus.write([0x1C, 0x0D], to: address)
        try await clock.sleep(until: .init(elapsed: .seconds(200)), tolerance: nil)
        #expect(throws: BusError(.notAcknowledged, bus: "simulated", address: address)) { try self.read(0x00) }
        try await clock.sleep(for: .milliseconds(2))
        #expect(try read(0x00) == [0x50] && read(0x1C) == [0x02])
    }

    /// What is read only cannot be written.
    @Test func readOnlyRegistersStay() throws {
        try bus.write([0x00, 0x60, 0x31, 0x00], to: address)
        #expect(try read(0x00) == [0x50] && read(0x31) == [0x7C])
    }
}
