import GatewayCore
import Glibc
import Platform
import SensorBus
import SensorDrivers

/// An I2C bus that the configuration names: whether it is there, whether we may open it, and how fast it is.
struct BusExamination: Examination {
    var number: Int
    var user: SystemUser
    /// The buses that have a device file.
    var available: [Int]
    /// Whether the kernel has the adapter, with or without a device file.
    var isKnownToKernel: Bool
    /// What the adapter's driver calls it.
    var adapter: String?
    /// nil if there is no device file.
    var ownership: FileOwnership?
    /// Why it cannot be opened; nil: it can.
    var failure: BusError.Kind?
    /// The programs that use it, with the name of each.
    var users: [String]
    /// The speed by the device tree, hertz; nil if it does not tell.
    var speed: Int?
    /// Whether a chip on it should run at 100 kHz.
    var needsStandardSpeed: Bool

    private var path: String { "/dev/i2c-\(number)" }

    static func gather(number: Int, user: SystemUser, chips: [ChipSettings], tree: SystemTree) -> BusExamination {
        let path = "/dev/i2c-\(number)"
        let device = "/sys/bus/i2c/devices/i2c-\(number)"
        var examination = BusExamination(
            number: number, user: user, available: tree.adapters.map(\.number),
            isKnownToKernel: tree.text(device + "/name") != nil,
            adapter: tree.text("/sys/class/i2c-dev/i2c-\(number)/name"), ownership: FileOwnership(tree.root + path),
            failure: nil, users: [],
            speed: tree.bigEndianNumber(device + "/of_node/clock-frequency"),
            needsStandardSpeed: chips.contains { $0.location.bus == number && $0.type.fastestClock < 400_000 })
        do throws(BusError) {
            _ = try LinuxI2CBus.open(tree.root + path, claim: .exclusive)
        } catch {
            if case .inUse(let processes) = error.kind {
                examination.users = processes.map { process in
                    "process \(process)" + (tree.text("/proc/\(process)/comm").map { " (\($0))" } ?? "")
                }
                if processes.isEmpty { examination.users = ["another program"] }
            } else {
                examination.failure = error.kind
            }
        }
        return examination
    }

    var checks: [Check] {
        guard let ownership else { return [missing] }
        let owner = "group \(user.groupName(ownership.group)), mode \(ownership.modeText)"
        let name = adapter.map { "\($0), \(owner)" } ?? owner
        var checks: [Check] = []
        switch failure {
        case nil:
            let use = users.isEmpty ? "" : ", in use by " + users.joined(separator: ", ")
            checks.append(Check(.buses, path, .ok, name + use))
        case .permissionDenied:
            checks.append(
                Check(
                    .buses, path, .failure, "\(user.name) may not open it: \(owner)",
                    remedy: ownership.remedy(for: user, device: "i2c-[0-9]*", conventional: "i2c")))
        case .unsupported:
            checks.append(
                Check(
                    .buses, path, .failure, "\(name): it does no plain I2C transfers",
                    remedy: "name another bus; an SMBus-only adapter cannot be used"))
        case let kind?:
            checks.append(
                Check(.buses, path, .failure, "\(name): \(kind)", remedy: BusError(kind, bus: path).remedy))
        }
        checks += speedCheck
        return checks
    }

    private var missing: Check {
        let others =
            available.isEmpty
            ? "there is none" : "there are " + available.map { "/dev/i2c-\($0)" }.joined(separator: ", ")
        if isKnownToKernel {
            return Check(
                .buses, path, .failure, "the kernel has the bus and shows no device file",
                remedy: "sudo modprobe i2c-dev; echo i2c-dev | sudo tee /etc/modules-load.d/i2c-dev.conf")
        }
        return Check(
            .buses, path, .failure, "no such bus; \(others)",
            remedy:
                "on a Raspberry Pi dtparam=i2c_arm=on in /boot/firmware/config.txt, then restart; else set bus: of the"
                + " chips to one that is there")
    }

    private var speedCheck: [Check] {
        guard let speed else { return [] }
        let kilohertz = "\(speed / 1000) kHz"
        guard needsStandardSpeed, speed > 100_000 else {
            return [Check(.buses, "\(path) speed", .ok, kilohertz)]
        }
        return [
            Check(
                .buses, "\(path) speed", .warning, "\(kilohertz); the SCD4x on it is made for 100 kHz",
                remedy: "dtparam=i2c_arm_baudrate=100000 in /boot/firmware/config.txt, then restart")
        ]
    }
}

extension SystemTree {
    /// A 32-bit cell of the device tree (Devicetree specification, 2.2.4); nil if there is none.
    func bigEndianNumber(_ path: String) -> Int? {
        guard let bytes = try? readFile(root + path, limit: 64), bytes.count == 4 else { return nil }
        return bytes.reduce(0) { $0 << 8 | Int($1) }
    }
}

/// The chips of the configuration, by a scan of their buses.
struct ChipExamination: Examination {
    var report: ScanReport

    var checks: [Check] {
        var checks: [Check] = []
        for bus in report.buses {
            guard let trouble = bus.trouble else { continue }
            if case .failure(let error) = bus.outcome {
                // That it cannot be opened is said of the bus already; here it only explains what follows.
                if case .inUse = error.kind {
                    checks.append(
                        Check(.chips, bus.name, .skipped, "a program is using it, and its chips are not disturbed"))
                }
            } else {
                checks.append(
                    Check(
                        .chips, bus.name, .failure, trouble,
                        remedy:
                            "sudo i2cdetect -y \(bus.number) shows the same; cycle the sensors' power, then the board's"
                    ))
            }
        }
        for expectation in report.comparison?.expectations ?? [] {
            let subject = "\(expectation.station): \(expectation.label)"
            switch expectation.outcome {
            case .present(let finding):
                let seen = "\(finding.part?.title ?? "a chip") answers"
                let missing = finding.part.map { expectation.chip.type.quantitiesMissing(with: $0) } ?? []
                if let part = finding.part, !missing.isEmpty {
                    checks.append(
                        Check(
                            .chips, subject, .warning,
                            "it is a \(part.title), which has no \(missing.map(\.settingName).sorted().joined(separator: " and "))",
                            remedy: "set type: \(part.name), or replace it by a \(expectation.chip.type.parts[0].title)"
                        ))
                } else {
                    checks.append(
                        Check(.chips, subject, .ok, finding.certainty == .certain ? seen : seen + ", likely"))
                }
            case .other(let finding):
                if let driver = finding.kernelDriver {
                    checks.append(
                        Check(
                            .chips, subject, .failure, "the kernel's driver \(driver) has it",
                            remedy:
                                "remove its overlay from config.txt, or: echo \(expectation.chip.location.device) | sudo"
                                + " tee /sys/bus/i2c/drivers/\(driver)/unbind"))
                } else {
                    checks.append(
                        Check(
                            .chips, subject, .failure,
                            finding.part.map { "\($0.title) answers there" } ?? "an unknown chip answers there",
                            remedy: "set its type: and address: to what vigie-gateway scan shows"))
                }
            case .absent:
                checks.append(
                    Check(
                        .chips, subject, .failure, "it does not answer",
                        remedy: "check its wiring, power and address; vigie-gateway scan shows who answers"))
            case .notScanned:
                checks.append(Check(.chips, subject, .skipped, "its bus could not be scanned"))
            }
        }
        return checks
    }
}

extension BusLocation {
    /// As sysfs names it, such as `1-0076`.
    fileprivate var device: String {
        let digits = String(address.value, radix: 16)
        return "\(bus)-" + String(repeating: "0", count: 4 - digits.utf8.count) + digits
    }
}
