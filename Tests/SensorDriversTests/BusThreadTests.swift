import Glibc
import Platform
import Readings
import SensorBus
import SimulatedHardware
import Synchronization
import Testing

@testable import SensorDrivers

/// A simulated bus that notes on which threads it is used.
private final class WatchedBus: I2CBus {
    let bus: SimulatedI2CBus
    let threads = Mutex<Set<pthread_t>>([])

    init(_ bus: SimulatedI2CBus) {
        self.bus = bus
    }

    var name: String { bus.name }
    var executor: ThreadExecutor { bus.executor }

    private func note() {
        _ = threads.withLock { $0.insert(pthread_self()) }
    }

    func write(_ bytes: [UInt8], to address: I2CAddress) throws(BusError) {
        note()
        try bus.write(bytes, to: address)
    }

    func read(_ count: Int, from address: I2CAddress) throws(BusError) -> [UInt8] {
        note()
        return try bus.read(count, from: address)
    }

    func write(_ bytes: [UInt8], thenRead count: Int, at address: I2CAddress) throws(BusError) -> [UInt8] {
        note()
        return try bus.write(bytes, thenRead: count, at: address)
    }
}

/// Transfers block: those of opening a chip, too, belong on the bus's thread, of which there is one.
@Suite struct BusThreadTests {
    @Test(arguments: [TwinKind.bme280, .scd41, .sht3x, .sht4x, .ads1115])
    func everyTransferIsOnTheBusThread(model: TwinKind) async throws {
        let clock = ImmediateClock()
        let world = SimulatedWorld(
            environment: ConstantEnvironment(), origin: Timestamp(milliseconds: 1_772_000_000_000), clock: clock)
        let simulated = SimulatedI2CBus(world: world)
        let address: I2CAddress = 0x44
        simulated.attach(model.chip(in: world), at: address)
        let bus = WatchedBus(simulated)
        let sensor: any ChipDriver =
            switch model {
            case .sht3x: try await SHT3x.open(bus: bus, address: address, clock: clock)
            case .sht4x: try await SHT4x.open(bus: bus, address: address, clock: clock)
            case .ads1115: try await ADS1115.open(bus: bus, address: address, clock: clock)
            case .scd40, .scd41: try await SCD4x.open(bus: bus, address: address, clock: clock)
            case .bme280, .bmp280: try await BME280.open(bus: bus, address: address, clock: clock)
            }
        _ = try await sensor.measure()
        #expect(bus.threads.withLock { $0.count } == 1)
    }
}
