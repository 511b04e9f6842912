import Glibc
import Platform

/// The systemd unit of the gateway.
struct ServiceExamination: Examination {
    static let unit = "vigie-gateway.service"

    /// Whether systemd runs this machine (sd_booted(3)).
    var isSystemdRunning: Bool
    /// What `systemctl show` says of the unit; empty if it could not be asked.
    var properties: [String: String]
    /// The groups that own the buses of the configuration, by name; the unit needs them.
    var deviceGroups: Set<String>
    var user: SystemUser

    static func gather(tree: SystemTree, user: SystemUser, buses: [BusExamination]) -> ServiceExamination {
        var examination = ServiceExamination(
            isSystemdRunning: tree.exists("/run/systemd/system"), properties: [:],
            deviceGroups: Set(buses.compactMap(\.ownership).filter { $0.group != 0 }.map { user.groupName($0.group) }),
            user: user)
        guard examination.isSystemdRunning else { return examination }
        let names = [
            "LoadState", "ActiveState", "SubState", "UnitFileState", "Result", "NRestarts", "User", "Group",
            "SupplementaryGroups", "PrivateDevices",
        ]
        let command = "timeout 5 systemctl show \(unit) --property=\(names.joined(separator: ",")) 2>/dev/null"
        if let answer = try? ShellFilter(command).run([]), answer.status == 0 {
            examination.properties = properties(in: String(decoding: answer.output, as: UTF8.self))
        }
        return examination
    }

    /// Reads lines of `Name=value`.
    static func properties(in text: String) -> [String: String] {
        var properties: [String: String] = [:]
        for line in text.split(separator: "\n") {
            guard let equals = line.firstIndex(of: "=") else { continue }
            properties[String(line[..<equals])] = String(line[line.index(after: equals)...])
        }
        return properties
    }

    private func property(_ name: String) -> String { properties[name] ?? "" }

    var checks: [Check] {
        let unit = ServiceExamination.unit
        guard isSystemdRunning else { return [Check(.service, unit, .skipped, "systemd does not run here")] }
        guard !properties.isEmpty else { return [Check(.service, unit, .skipped, "systemctl does not answer")] }
        guard property("LoadState") == "loaded" else {
            return [
                Check(
                    .service, unit, .warning,
                    "not installed (\(property("LoadState"))): the gateway does not start with the board",
                    remedy: "install the package, or a unit that runs: vigie-gateway run --config FILE")
            ]
        }
        return [activity] + startup + devices
    }

    private var activity: Check {
        let unit = ServiceExamination.unit
        let state = "\(property("ActiveState")) (\(property("SubState")))"
        let restarts = Int(property("NRestarts")) ?? 0
        switch property("ActiveState") {
        case "active" where restarts > 0:
            return Check(
                .service, unit, .warning, "\(state), restarted \(restarts) \(restarts == 1 ? "time" : "times")",
                remedy: "journalctl -u vigie-gateway -p warning -n 50")
        case "active": return Check(.service, unit, .ok, state)
        case "failed":
            return Check(
                .service, unit, .failure, "\(state), result \(property("Result"))",
                remedy: "journalctl -u vigie-gateway -n 50; then sudo systemctl restart vigie-gateway")
        case "activating", "reloading", "deactivating":
            return Check(
                .service, unit, .warning, state, remedy: "look again in a minute; journalctl -u vigie-gateway -n 50")
        default:
            return Check(.service, unit, .warning, state, remedy: "sudo systemctl start vigie-gateway")
        }
    }

    private var startup: [Check] {
        let state = property("UnitFileState")
        guard ["disabled", "masked"].contains(state) else { return [] }
        return [
            Check(
                .service, "start", .warning, "\(state): the gateway does not start with the board",
                remedy: (state == "masked" ? "sudo systemctl unmask vigie-gateway; " : "")
                    + "sudo systemctl enable vigie-gateway")
        ]
    }

    /// Whether the unit's user may open the buses: whoever runs doctor is somebody else.
    private var devices: [Check] {
        guard !deviceGroups.isEmpty else { return [] }
        if property("PrivateDevices") == "yes" {
            return [
                Check(
                    .service, "devices", .failure, "PrivateDevices=yes hides the buses from it",
                    remedy: "sudo systemctl edit vigie-gateway: PrivateDevices=no, and DeviceAllow=char-i2c rw")
            ]
        }
        let name = property("User")
        guard !name.isEmpty, name != "root" else { return [] }
        var groups = Set(property("SupplementaryGroups").split(separator: " ").map { String($0) })
        groups.insert(property("Group").isEmpty ? name : property("Group"))
        groups.formUnion(user.known.values.filter { $0.members.contains(name) }.map(\.name))
        let missing = deviceGroups.subtracting(groups).sorted()
        guard !missing.isEmpty else { return [Check(.service, "devices", .ok, "\(name) is in the buses' groups")] }
        let list = missing.joined(separator: " ")
        return [
            Check(
                .service, "devices", .failure, "\(name) is not in \(list), which owns the buses",
                remedy: "sudo systemctl edit vigie-gateway: [Service] SupplementaryGroups=\(list)")
        ]
    }
}
