import Glibc
import Platform

/// The files in which the kernel and the system say how they are: /dev, /sys, /proc, /etc. Tests put a folder of
/// their own in its place.
struct SystemTree: Sendable {
    /// What stands before every path; empty for the system itself.
    var root = ""

    /// Whether there is anything at a path.
    func exists(_ path: String) -> Bool { access(root + path, F_OK) == 0 }

    /// The names in a folder, ordered; empty if it cannot be read.
    func names(in folder: String) -> [String] {
        guard let stream = opendir(root + folder) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { name in
                name.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// A small file's text without the white space and zero bytes at its end; nil if it cannot be read.
    func text(_ path: String) -> String? {
        guard var bytes = try? readFile(root + path, limit: 1 << 20) else { return nil }
        while let last = bytes.last, last <= 0x20 { bytes.removeLast() }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Where a symbolic link leads, its last component; nil if there is none.
    func linkTarget(_ path: String) -> String? {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink(root + path, &buffer, buffer.count)
        guard count > 0 else { return nil }
        let target = String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return target.split(separator: "/").last.map { String($0) }
    }
}

/// An I2C adapter of the kernel that programs can open.
struct KernelAdapter: Sendable, Equatable {
    /// The N of `/dev/i2c-N`.
    var number: Int
    /// What its driver calls it, such as `bcm2835 (i2c@7e804000)`; nil if it does not say.
    var name: String?

    /// The device file.
    var path: String { "/dev/i2c-\(number)" }
}

extension SystemTree {
    /// The adapters that have a device file, by number.
    var adapters: [KernelAdapter] {
        names(in: "/dev").compactMap { name in
            guard name.hasPrefix("i2c-"), let number = Int(name.dropFirst(4)) else { return nil }
            return KernelAdapter(number: number, name: text("/sys/class/i2c-dev/\(name)/name"))
        }.sorted { $0.number < $1.number }
    }

    /// The kernel's driver that has the chip at an address (sysfs, Documentation/i2c/instantiating-devices); nil: none.
    func driver(bus: Int, address: UInt8) -> String? {
        let digits = String(address, radix: 16)
        let name = "\(bus)-" + String(repeating: "0", count: 4 - digits.utf8.count) + digits
        return linkTarget("/sys/bus/i2c/devices/\(name)/driver")
    }
}
