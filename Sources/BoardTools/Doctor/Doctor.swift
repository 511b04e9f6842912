import Configuration
import GatewayCore
import Platform
import Readings
import SensorBus
import SensorDrivers

/// Looks at everything that a gateway needs, and says how to mend what is wrong: what `vigie-gateway doctor` does.
///
/// It changes nothing, and a gateway may be running meanwhile: a bus that one is using is not scanned. Each step is bounded
/// in time. What blocks, blocks the doctor's own thread.
public actor Doctor {
    private let file: String
    private let tree: SystemTree
    private nonisolated let executor = ThreadExecutor(name: "doctor")

    /// Runs on its own thread.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// The longest that the outbox's file is read for.
    private static let outboxBound = Duration.seconds(15)

    /// Makes a doctor.
    /// - Parameter file: the configuration file.
    public init(file: String) {
        self.init(file: file, tree: SystemTree())
    }

    init(file: String, tree: SystemTree) {
        self.file = file
        self.tree = tree
    }

    /// Looks at everything, one thing after the other.
    /// - Parameter progress: called with what is being looked at.
    public func run(progress: @escaping @Sendable (String) -> Void = { _ in }) async -> DoctorReport {
        progress("reading \(file)")
        let user = SystemUser.current(tree)
        let read: Result<GatewaySettings, ConfigurationError>
        do throws(ConfigurationError) {
            read = .success(try GatewaySettings(file: file, checkingFiles: true))
        } catch {
            read = .failure(error)
        }
        var checks = ConfigurationExamination(file: file, settings: read).checks
        // A file that keeps a gateway from starting keeps nobody from looking at the rest.
        let settings = (try? read.get()) ?? (try? GatewaySettings(file: file))
        // What does not depend on the settings is looked at even without them.
        let buses = examineBuses(settings, user, progress)
        checks += buses.flatMap(\.checks)
        if let settings {
            checks += await examineChips(settings, progress)
            if settings.mode == .hardware {
                progress("looking for the GPIO lines")
                checks += BoardExamination.gather(settings.board, gpio: LinuxGPIO(folder: tree.root + "/dev")).checks
            }
        }
        checks +=
            ClockExamination.gather(
                policy: settings?.clock ?? .kernel, isSimulated: settings?.mode == .simulated, tree: tree,
                now: SystemWallClock().now()
            ).checks
        if let settings {
            progress("reading the outbox")
            let passed = elapsed(on: ContinuousClock())
            checks +=
                StorageExamination.gather(
                    path: settings.outboxPath, bound: settings.outboxLimits.bytes, user: user,
                    isOverdue: { passed() > Doctor.outboxBound }
                ).checks
            checks +=
                await BrokerExamination.gather(
                    settings.kafka, topic: settings.topic, user: user, now: SystemWallClock().now(), progress: progress
                ).checks
            progress("looking at the monitoring endpoint")
            checks += MonitoringExamination.gather(settings.monitoring).checks
        }
        progress("asking systemd")
        checks += ServiceExamination.gather(tree: tree, user: user, buses: buses).checks
        return DoctorReport(file: file, user: user, checks: checks)
    }

    /// The buses of the configuration; without one, those that are there. In simulated mode there are none.
    private func examineBuses(
        _ settings: GatewaySettings?, _ user: SystemUser, _ progress: @Sendable (String) -> Void
    ) -> [BusExamination] {
        if settings?.mode == .simulated { return [] }
        let chips = settings?.stations.flatMap(\.chips) ?? []
        let numbers = settings == nil ? tree.adapters.map(\.number) : Set(chips.map(\.location.bus)).sorted()
        return numbers.map { number in
            progress("looking at /dev/i2c-\(number)")
            return BusExamination.gather(number: number, user: user, chips: chips, tree: tree)
        }
    }

    private func examineChips(
        _ settings: GatewaySettings, _ progress: @escaping @Sendable (String) -> Void
    ) async -> [Check] {
        var report = ScanReport(buses: [], comparison: nil)
        let numbers: [Int?] =
            settings.mode == .simulated ? [nil] : Set(settings.stations.flatMap(\.chips).map(\.location.bus)).sorted()
        let hasMultiplexers = settings.stations.flatMap(\.chips).contains { $0.location.channel != nil }
        for number in numbers {
            do {
                let scan = BusScan(
                    settings: settings, file: file, bus: number,
                    options: IdentificationOptions(opensMultiplexers: hasMultiplexers), tree: tree)
                report.buses += try await scan.run { progress("scanning \($0)") }.buses
            } catch {
                return [
                    Check(.chips, "simulation", .failure, "\(error)", remedy: "mend the settings under simulation:")
                ]
            }
        }
        report.comparison = ScanReport.compare(settings.stations, file: file, with: report.buses)
        return ChipExamination(report: report).checks
    }
}
