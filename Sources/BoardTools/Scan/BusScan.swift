import GatewayCore
import Platform
import SensorBus
import SensorDrivers

/// Looks at every bus and names what it finds: what `vigie-gateway scan` does.
public struct BusScan: Sendable {
    private let settings: GatewaySettings?
    private let file: String
    private let number: Int?
    private let options: IdentificationOptions
    private let isBesideOthers: Bool
    private let tree: SystemTree

    /// Makes a scan.
    /// - Parameters:
    ///   - settings: what to compare with; in simulated mode the twins are scanned. nil: only look.
    ///   - file: the settings' file, for the report.
    ///   - bus: the only bus to look at, N of `/dev/i2c-N`; nil: all.
    ///   - opensMultiplexers: whether to look behind multiplexers.
    ///   - stopsMeasurements: whether to stop an SCD4x to learn its serial number.
    ///   - isBesideOthers: whether to scan a bus that a gateway is using, which may cost it a reading.
    public init(
        settings: GatewaySettings?, file: String, bus: Int? = nil, opensMultiplexers: Bool = false,
        stopsMeasurements: Bool = false, isBesideOthers: Bool = false
    ) {
        self.init(
            settings: settings, file: file, bus: bus,
            options: IdentificationOptions(
                opensMultiplexers: opensMultiplexers, stopsMeasurements: stopsMeasurements),
            isBesideOthers: isBesideOthers, tree: SystemTree())
    }

    init(
        settings: GatewaySettings?, file: String, bus: Int? = nil,
        options: IdentificationOptions = IdentificationOptions(), isBesideOthers: Bool = false, tree: SystemTree
    ) {
        self.settings = settings
        self.file = file
        number = bus
        self.options = options
        self.isBesideOthers = isBesideOthers
        self.tree = tree
    }

    /// Scans one bus after the other; a bus that fails does not keep it from the next.
    /// - Parameter progress: called with what is being asked, such as `/dev/i2c-1 0x44`.
    public func run(progress: @escaping @Sendable (String) -> Void = { _ in }) async throws -> ScanReport {
        var report = ScanReport(buses: [], comparison: nil)
        if let settings, settings.mode == .simulated {
            report.buses = try await simulatedBuses(settings, progress)
        } else {
            for adapter in tree.adapters where number == nil || number == adapter.number {
                report.buses.append(await scan(adapter, progress))
            }
            if let number, report.buses.isEmpty {
                let name = "/dev/i2c-\(number)"
                report.buses = [
                    .init(number: number, name: name, outcome: .failure(BusError(.missing, bus: name)))
                ]
            }
        }
        if let settings {
            report.comparison = ScanReport.compare(settings.stations, file: file, with: report.buses)
        }
        return report
    }

    private func scan(
        _ adapter: KernelAdapter, _ progress: @escaping @Sendable (String) -> Void
    ) async -> ScanReport.Bus {
        var scanned = ScanReport.Bus(
            number: adapter.number, name: adapter.path, adapter: adapter.name,
            areMultiplexersOpened: options.opensMultiplexers,
            outcome: .failure(BusError(.missing, bus: adapter.path)))
        do throws(BusError) {
            let bus = try LinuxI2CBus.open(tree.root + adapter.path, claim: isBesideOthers ? .none : .exclusive)
            let tree = tree
            scanned.outcome = .success(
                await identifyChips(
                    on: bus, probes: ChipType.probes, options: options, clock: ContinuousClock(),
                    kernelDriver: { tree.driver(bus: adapter.number, address: $0.value) },
                    progress: { progress("\(adapter.path) \($0)") }))
        } catch {
            scanned.outcome = .failure(error)
        }
        return scanned
    }

    private func simulatedBuses(
        _ settings: GatewaySettings, _ progress: @escaping @Sendable (String) -> Void
    ) async throws -> [ScanReport.Bus] {
        let hardware = try settings.hardware()
        var buses: [ScanReport.Bus] = []
        for (index, station) in settings.stations.enumerated() {
            for bus in Set(station.chips.map(\.location.bus)).sorted() where number == nil || number == bus {
                let simulated = try hardware.bus(index, bus)
                let inventory = await identifyChips(
                    on: simulated, probes: ChipType.probes, options: options, clock: hardware.clock,
                    progress: { progress("\(simulated.name) \($0)") })
                buses.append(
                    ScanReport.Bus(
                        number: bus, name: simulated.name, adapter: "twins of the chips", station: station.sensorID,
                        areMultiplexersOpened: options.opensMultiplexers, outcome: .success(inventory)))
            }
        }
        return buses
    }
}
