import Readings
import SensorBus
import SimulatedHardware
import TestSupport
import Testing

/// The SEN55's twin byte by byte, without a driver in between.
@Suite struct SimulatedSEN55Tests {
    private let clock = ImmediateClock()
    private let bus: SimulatedI2CBus
    /// Away from 100 s to 200 s.
    private let faults = FaultScript([.init(.unplug, from: .seconds(100), to: .seconds(200))])
    private let address: I2CAddress = 0x69

    init() {
        let world = SimulatedWorld(
            environment: ConstantEnvironment(Conditions(temperature: 20, humidity: 50)),
            origin: Timestamp(milliseconds: 0), clock: clock)
        bus = SimulatedI2CBus(world: world)
        bus.attach(SimulatedSEN55(world: world, faults: faults), at: address)
    }

    private func ask(_ command: [UInt8], _ count: Int) async throws -> [UInt8] {
        try bus.write(command, to: address)
        try await clock.sleep(for: .milliseconds(20))
        return try bus.read(count, from: address)
    }

    /// Checksums that another program computes: of 0 it is 0x81, of 1 it is 0xB0.
    @Test func aValueIsReadyOnceASecondWhileItMeasures() async throws {
        #expect(try await ask([0x02, 0x02], 3) == [0, 0, 0x81], "it is idle")
        #expect(try await ask([0x03, 0xC4], 3) == [0xFF, 0xFF, 0xAC])
        try bus.write([0x00, 0x21], to: address)
        try await clock.sleep(for: .milliseconds(1000))
        #expect(try await ask([0x02, 0x02], 3) == [0, 1, 0xB0])
        let first = try await ask([0x03, 0xC4], 24)
        // 6 ug/m3 is the second word, 50 % the fifth, 20 degrees the sixth; there is no index yet.
        #expect(Array(first[3..<5]) == [0, 60])
        #expect(Array(first[12..<14]) == [0x13, 0x88] && Array(first[15..<17]) == [0x0F, 0xA0])
        #expect(Array(first[18..<20]) == [0x7F, 0xFF] && Array(first[21..<23]) == [0x7F, 0xFF])
        #expect(try await ask([0x02, 0x02], 3) == [0, 0, 0x81], "it was read")
        try await clock.sleep(for: .seconds(12))
        let later = try await ask([0x03, 0xC4], 24)
        #expect(Array(later[18..<20]) == [0x03, 0xE8] && Array(later[21..<23]) == [0, 10])
    }

    @Test func powerEndsTheMeasuring() async throws {
        try bus.write([0x00, 0x21], to: address)
        try await clock.sleep(until: .init(elapsed: .seconds(200)), tolerance: nil)
        #expect(throws: BusError(.notAcknowledged, bus: "simulated", address: address)) {
            try self.bus.write([0x02, 0x02], to: self.address)
        }
        try await clock.sleep(for: .seconds(5))
        #expect(try await ask([0x02, 0x02], 3) == [0, 0, 0x81])
    }

    @Test func whatIsNoCommandIsNotAcknowledged() {
        for bytes: [UInt8] in [[0x00], [0x12, 0x34], [0x00, 0x21, 0x00]] {
            #expect(throws: BusError(.notAcknowledged, bus: "simulated", address: address)) {
                try self.bus.write(bytes, to: self.address)
            }
        }
    }
}
