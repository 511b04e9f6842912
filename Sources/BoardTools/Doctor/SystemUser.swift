import Glibc

/// Who asks, and what belongs to whom.
struct SystemUser: Sendable, Equatable {
    var id: UInt32
    var name: String
    /// The groups of this process.
    var groups: Set<UInt32>
    /// The system's groups by their number, each with those who are in it by /etc/group.
    var known: [UInt32: Group]

    struct Group: Sendable, Equatable {
        var name: String
        var members: Set<String>
    }

    var groupNames: [String] { groups.sorted().map { groupName($0) } }

    func groupName(_ id: UInt32) -> String { known[id]?.name ?? "\(id)" }

    /// The user of this process.
    static func current(_ tree: SystemTree) -> SystemUser {
        let id = geteuid()
        var list = [gid_t](repeating: 0, count: 1024)
        let count = getgroups(Int32(list.count), &list)
        var groups = Set(list.prefix(max(0, Int(count))))
        groups.insert(getegid())
        return SystemUser(
            id: id, name: name(id, in: tree.text("/etc/passwd") ?? ""), groups: groups,
            known: SystemUser.groups(in: tree.text("/etc/group") ?? ""))
    }

    /// The name of a user in /etc/passwd (passwd(5)).
    static func name(_ id: UInt32, in passwords: String) -> String {
        for line in passwords.split(separator: "\n") {
            let words = line.split(separator: ":", omittingEmptySubsequences: false)
            if words.count > 2, UInt32(words[2]) == id { return String(words[0]) }
        }
        return "user \(id)"
    }

    /// The groups of /etc/group (group(5)).
    static func groups(in text: String) -> [UInt32: Group] {
        var groups: [UInt32: Group] = [:]
        for line in text.split(separator: "\n") {
            let words = line.split(separator: ":", omittingEmptySubsequences: false)
            guard words.count > 3, let id = UInt32(words[2]), groups[id] == nil else { continue }
            groups[id] = Group(
                name: String(words[0]), members: Set(words[3].split(separator: ",").map { String($0) }))
        }
        return groups
    }
}

/// Who owns a file and who may do what with it.
struct FileOwnership: Sendable, Equatable {
    var user: UInt32
    var group: UInt32
    /// The permission bits.
    var mode: UInt32

    init(user: UInt32, group: UInt32, mode: UInt32) {
        self.user = user
        self.group = group
        self.mode = mode
    }

    /// Reads it; nil if the file cannot be looked at.
    init?(_ path: String) {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        self.init(user: status.st_uid, group: status.st_gid, mode: UInt32(status.st_mode) & 0o7777)
    }

    /// The mode as chmod(1) takes it, such as `0660`.
    var modeText: String {
        let digits = String(mode, radix: 8)
        return String(repeating: "0", count: max(0, 4 - digits.utf8.count)) + digits
    }

    /// How to let a user open a device.
    /// - Parameter conventional: the group that devices of this kind belong to, `i2c` or `gpio`.
    func remedy(for user: SystemUser, device: String, conventional: String) -> String {
        let name = user.groupName(group)
        guard group != 0, mode & 0o060 == 0o060 else {
            return "give the device to a group: echo 'KERNEL==\"\(device)\", GROUP=\"\(conventional)\", MODE=\"0660\"'"
                + " | sudo tee /etc/udev/rules.d/60-vigie.rules; sudo udevadm trigger"
        }
        if user.known[group]?.members.contains(user.name) == true {
            return "\(user.name) is in group \(name), and this session began before that: log in again"
        }
        return "sudo usermod -aG \(name) \(user.name), then log in again; in a unit SupplementaryGroups=\(name)"
    }
}
