import Readings
import SensorBus
import SensorDrivers
import SimulatedHardware
import TestSupport
import Testing

/// Chips of equal addresses on one bus, behind multiplexers.
@Suite struct MultiplexedBusTests {
    private let clock = ImmediateClock()
    private let bus: SimulatedI2CBus

    init() {
        bus = SimulatedI2CBus(world: SimulatedMultiplexers.world(Conditions(), clock))
    }

    private func channel(_ multiplexer: I2CAddress, _ number: Int) throws -> MultiplexerChannel {
        try #require(MultiplexerChannel(multiplexer: multiplexer, number: number))
    }

    private enum SimulatedMultiplexers {
        static func world(_ conditions: Conditions, _ clock: ImmediateClock) -> SimulatedWorld {
            SimulatedWorld(
                environment: ConstantEnvironment(conditions), origin: Timestamp(milliseconds: 0), clock: clock)
        }
    }

    /// Puts a barometer and a CO2 chip behind a channel, in air of their own.
    private func attach(_ conditions: Conditions, behind channel: MultiplexerChannel, faults: FaultScript = .init()) {
        let world = SimulatedMultiplexers.world(conditions, clock)
        bus.attach(SimulatedBME280(world: world, faults: faults), at: 0x76, behind: channel)
        bus.attach(SimulatedSCD4x(world: world), at: 0x62, behind: channel)
    }

    /// The channels' chips measure at once, interleaved as they wait, and each gives its own air.
    @Test func stationsWithEqualAddressesKeepTheirOwnAir() async throws {
        let channels = try [channel(0x70, 0), channel(0x70, 5), channel(0x71, 0)]
        for (index, channel) in channels.enumerated() {
            attach(Conditions(temperature: Double(10 + index * 10), co2: Double(500 + index)), behind: channel)
        }
        let multiplexers = Multiplexers(on: bus, at: [0x70, 0x71])
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (index, channel) in channels.enumerated() {
                let segment = multiplexers.channel(channel)
                group.addTask { [clock] in
                    let barometer = try await BME280.open(bus: segment, address: 0x76, clock: clock)
                    let chip = try await SCD4x.open(bus: segment, clock: clock)
                    for _ in 0..<50 {
                        let celsius = try await barometer.measure().temperature?.celsius ?? .nan
                        #expect(abs(celsius - Double(10 + index * 10)) < 0.02)
                        #expect(try await chip.measure().co2?.partsPerMillion == Double(500 + index))
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    /// Two channels open at once are one bus: the bits that are answered are those that neither chip pulls low.
    @Test func withTwoChannelsOpenTheChipsCollide() throws {
        attach(Conditions(), behind: try channel(0x70, 0))
        let world = SimulatedMultiplexers.world(Conditions(), clock)
        bus.attach(SimulatedBME280(world: world, variant: .bmp280), at: 0x76, behind: try channel(0x70, 1))
        func chipID() throws -> [UInt8] { try bus.write([0xD0], thenRead: 1, at: 0x76) }
        #expect(throws: BusError.self) { _ = try chipID() }
        try bus.write([0b01], to: 0x70)
        #expect(try chipID() == [0x60])
        try bus.write([0b10], to: 0x70)
        #expect(try chipID() == [0x58])
        try bus.write([0b11], to: 0x70)
        #expect(try chipID() == [UInt8(0x60 & 0x58)])
        #expect(try bus.read(1, from: 0x70) == [0b11])
        try bus.write([0], to: 0x70)
        #expect(throws: BusError.self) { _ = try chipID() }
    }

    /// A power cut closes the multiplexer's channels; the chip behind is found again all the same.
    @Test func afterAPowerCutTheChannelIsOpenedAgain() async throws {
        let place = try channel(0x70, 3)
        attach(Conditions(), behind: place)
        let cut = FaultScript([.init(.unplug, from: .seconds(10), to: .seconds(20))])
        bus.attach(SimulatedTCA9548A(faults: cut), at: 0x70)
        let segment = Multiplexers(on: bus, at: [0x70]).channel(place)
        let sensor = try await BME280.open(bus: segment, address: 0x76, clock: clock)
        _ = try await sensor.measure()
        try await clock.sleep(until: .init(elapsed: .seconds(15)), tolerance: nil)
        // The first attempt only finds that the chip is gone; with the second the channel is written again.
        do throws(ChipError) {
            _ = try await sensor.measure()
            Issue.record("the chip answered")
        } catch {
            #expect(error.kind == .bus(BusError(.multiplexer(.notAcknowledged), bus: "simulated", address: 0x70)))
            #expect(error.fault.description == "bme280:multiplexer")
        }
        try await clock.sleep(until: .init(elapsed: .seconds(25)), tolerance: nil)
        #expect(try await sensor.measure().temperature != nil)
    }
}
