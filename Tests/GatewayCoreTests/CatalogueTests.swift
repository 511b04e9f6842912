import Configuration
import Foundation
import Glibc
import Platform
import Readings
import SensorBus
import SensorDrivers
import SimulatedHardware
import Synchronization
import TestSupport
import Testing

@testable import GatewayCore

/// What holds for every chip of the catalogue: driver, twin, probe and documentation belong together.
@Suite struct CatalogueTests {
    private let clock = ImmediateClock()
    private let world: SimulatedWorld

    init() {
        world = SimulatedWorld(
            environment: ConstantEnvironment(), origin: Timestamp(milliseconds: 1_772_000_000_000), clock: clock)
    }

    /// A chip with no settings but its type and its address.
    private func chip(_ type: ChipType, at address: I2CAddress) throws -> ChipSettings {
        try #require(
            settings(
                stations: "  - {sensor_id: hall, chips: [{type: \(type.name), address: \(address)}]}"
            ).stations.first?.chips.first)
    }

    private func bus(with chip: ChipSettings) -> WatchedBus {
        let bus = SimulatedI2CBus(world: world)
        bus.attach(chip.setup.twin(in: world, faults: FaultScript()), at: chip.location.address)
        return WatchedBus(bus)
    }

    @Test func namesAreDifferent() {
        #expect(Set(ChipType.all.map(\.name)).count == ChipType.all.count)
    }

    /// The driver works with the twin at every address, gives what the catalogue says, and never holds another thread than
    /// the bus's: transfers block, those of opening a chip too.
    @Test(arguments: ChipType.all)
    func theDriverMeasuresTheTwin(type: ChipType) async throws {
        for address in type.addresses {
            let chip = try chip(type, at: address)
            let bus = bus(with: chip)
            let driver = try await chip.setup.open(bus: bus, address: address, clock: clock)
            #expect(driver.chip == type.name && driver.address == address)
            let measurement = try await driver.measure()
            #expect(measurement.quantities == chip.quantities)
            #expect(bus.threads == 1)
            #expect(type.isPressureCompensated == (driver is any PressureCompensated))
            // It starts within the time that the catalogue has for it.
            #expect(driver.longestMeasurement <= chip.setup.longestStart || !type.hasNoise)
        }
    }

    /// A chip that goes wrong is a typed error, and once it is sound again it measures, opened anew.
    @Test(arguments: ChipType.all, FaultScript.Kind.allCases)
    func everyFaultIsATypedErrorAndPasses(type: ChipType, kind: FaultScript.Kind) async throws {
        let chip = try chip(type, at: type.addresses[0])
        let live = FaultSwitch(world: world)
        let bus = SimulatedI2CBus(world: world)
        bus.attach(chip.setup.twin(in: world, faults: FaultScript(live: live)), at: chip.location.address)
        let driver = try await chip.setup.open(bus: bus, address: chip.location.address, clock: clock)
        _ = try await driver.measure()
        live.set(kind, true)
        try await clock.sleep(for: .seconds(60))
        var found: ChipError?
        do throws(ChipError) {
            _ = try await driver.measure()
        } catch {
            found = error
        }
        switch (kind, found?.kind) {
        case (.nack, .bus(let error)?), (.unplug, .bus(let error)?): #expect(error.kind == .notAcknowledged)
        case (.freeze, .timedOut?), (.freeze, .notReady?), (.freeze, .bus?): break
        case (.saturate, .outOfRange?), (.saturate, .saturated?): break
        // A chip without checksums sends none that could be wrong.
        case (.crc, .crc?), (.crc, nil): break
        default: Issue.record("\(kind): \(found.map { "\($0)" } ?? "nothing failed")")
        }
        if let found { #expect(found.chip == type.name && found.address == chip.location.address) }
        live.set(kind, false)
        try await clock.sleep(for: .seconds(60))
        let again = try await chip.setup.open(bus: bus, address: chip.location.address, clock: clock)
        #expect(try await again.measure().quantities == chip.quantities)
    }

    /// A scan names the twin, and the configuration that it proposes is for this type.
    @Test(arguments: ChipType.all)
    func theProbeRecognisesTheTwin(type: ChipType) async throws {
        for address in type.addresses {
            let inventory = await identifyChips(
                on: bus(with: try chip(type, at: address)), probes: ChipType.probes, clock: clock)
            let finding = try #require(inventory.findings.first)
            #expect(inventory.findings.count == 1 && inventory.trouble == nil && finding.address == address)
            #expect(finding.part == type.parts[0])
            #expect(finding.part.flatMap(ChipType.type) == type)
            #expect(type.quantitiesMissing(with: type.parts[0]).isEmpty)
        }
    }

    @Test(
        arguments: [
            (ChipPart.bme280, "bme280"), (.bmp280, "bmp280"), (.bmp390, "bmp390"), (.scd40, "scd40"), (.scd41, "scd41"),
            (.scd43, "scd41"),
            (.scd4x, "scd41"), (.sht3x, "sht3x"), (.aht20, "aht20"), (.sen55, "sen55"),
            (.ads1115, "ads1115"), (.bmp180, nil), (.bme680, nil),
            (.tca9548a, nil),
        ] as [(ChipPart, String?)])
    func thePartDecidesTheType(part: ChipPart, name: String?) {
        #expect(ChipType.type(for: part)?.name.description == name)
    }

    @Test func whatAnotherPartLacksIsKnown() {
        #expect(ChipType.bme280.quantitiesMissing(with: .bmp280) == [.humidity])
        #expect(ChipType.scd41.quantitiesMissing(with: .scd40).isEmpty)
    }

    /// chips.md has a row for each, with its addresses.
    @Test(arguments: ChipType.all)
    func theDocumentationHasARow(type: ChipType) throws {
        let page = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../documentation/chips.md")
        let rows = try String(contentsOf: page, encoding: .utf8).components(separatedBy: "\n")
        let row = try #require(rows.first { $0.hasPrefix("| `\(type.name)` |") }, "\(type.name) has no row")
        let addresses = row.components(separatedBy: " | ")[1]
        // A range is written by its ends.
        #expect(addresses.contains("\(type.addresses[0])".uppercasedDigits))
        #expect(addresses.contains("\(type.addresses[type.addresses.count - 1])".uppercasedDigits))
    }
}

extension ChipType: CustomTestStringConvertible {
    /// As the configuration names it.
    public var testDescription: String { "\(name)" }
}

extension String {
    /// `0x4b` as documentation writes it, `0x4B`.
    fileprivate var uppercasedDigits: String { "0x" + dropFirst(2).uppercased() }
}

extension SensorDrivers.Measurement {
    /// What was measured.
    fileprivate var quantities: Set<Quantity> {
        Set(values.present.members).intersection(Quantity.measured)
    }
}

/// A simulated bus that notes on which threads it is used.
private final class WatchedBus: I2CBus {
    private let bus: SimulatedI2CBus
    private let users = Mutex<Set<pthread_t>>([])

    init(_ bus: SimulatedI2CBus) {
        self.bus = bus
    }

    var name: String { bus.name }
    var executor: ThreadExecutor { bus.executor }
    /// How many there were.
    var threads: Int { users.withLock { $0.count } }

    private func note() {
        _ = users.withLock { $0.insert(pthread_self()) }
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
