import CPlatform
import Glibc
import Platform
import SensorBus

/// An I2C adapter of the kernel's, `/dev/i2c-N`, whose chips are those of a bus in this process.
///
/// It is a USB device on the kernel's virtual host controller (vhci-hcd), which speaks USB/IP with it over a socket.
/// When the process ends, whatever ends it, the socket closes and the kernel removes the adapter.
public final class VirtualAdapter: Sendable {
    /// The device file's number.
    public let number: Int
    /// The device file.
    public var path: String { "/dev/i2c-\(number)" }

    private let socket: Int32

    /// What `modprobe --all` needs.
    public static let modules = "vhci-hcd i2c-tiny-usb i2c-dev"
    private static let controller = "/sys/devices/platform/vhci_hcd.0"
    private static let fullSpeed = 2
    private static let longestWait = Duration.seconds(10)

    private init(number: Int, socket: Int32) {
        self.number = number
        self.socket = socket
    }

    deinit {
        shutdown(socket, Int32(SHUT_RDWR))
    }

    /// Plugs a bus in, and waits until its device file is there.
    /// - Parameters:
    ///   - bus: the bus.
    ///   - name: what lsusb(8) shows.
    public static func plug(_ bus: any I2CBus, name: String) async throws(KernelHardwareError) -> VirtualAdapter {
        var ends: [Int32] = [-1, -1]
        do {
            try systemCall("socketpair") { vigie_local_stream_pair(&ends) }
        } catch {
            throw .system(error)
        }
        // The kernel takes a reference of its own to its end.
        defer { close(ends[1]) }
        let socket = ends[0]
        serve(TinyUSBConnection(TinyUSBDevice(bus: bus, product: name)), on: socket, name: bus.name)
        do throws(KernelHardwareError) {
            let port = try attach(ends[1])
            let number = try await adapterNumber(at: port)
            return VirtualAdapter(number: number, socket: socket)
        } catch {
            shutdown(socket, Int32(SHUT_RDWR))
            throw error
        }
    }

    /// Answers on a thread of its own until the other end closes, then closes the socket.
    private static func serve(_ connection: TinyUSBConnection, on socket: Int32, name: String) {
        startThread(name: name) {
            defer { close(socket) }
            var connection = connection
            var chunk = [UInt8](repeating: 0, count: 16_384)
            while true {
                let count = read(socket, &chunk, chunk.count)
                if count < 0 && errno == EINTR { continue }
                guard count > 0, let answer = try? connection.receive(chunk[..<count]) else { return }
                guard sendAll(answer, socket) else { return }
            }
        }
    }

    /// Gives the kernel its end of the socket.
    /// - Returns: the port.
    private static func attach(_ socket: Int32) throws(KernelHardwareError) -> Int {
        let free = try ports().filter(\.isFree)
        for port in free {
            let request = "\(port.number) \(socket) \(1 << 16 | port.number + 1) \(fullSpeed)"
            do {
                try writeFile("\(controller)/attach", request)
                return port.number
            } catch  where error.code == EBUSY || error.code == EINVAL {
                continue  // Another program was quicker.
            } catch {
                throw KernelHardwareError(error, modules: modules)
            }
        }
        throw .noFreePort(ports: try ports().count)
    }

    private static func ports() throws(KernelHardwareError) -> [VirtualPort] {
        do {
            let text = try readFile("\(controller)/status", limit: 65_536)
            return VirtualPort.all(in: String(decoding: text, as: UTF8.self))
        } catch {
            throw KernelHardwareError(error, modules: modules)
        }
    }

    /// The number that the kernel gives to the adapter that hangs on a port.
    private static func adapterNumber(at port: Int) async throws(KernelHardwareError) -> Int {
        let start = ContinuousClock.now
        while ContinuousClock.now - start < longestWait {
            if let device = try ports().first(where: { $0.number == port })?.device,
                let number = folderContents("/sys/bus/usb/devices/\(device):1.0").lazy
                    .compactMap({ $0.hasPrefix("i2c-") ? Int($0.dropFirst(4)) : nil }).first,
                access("/dev/i2c-\(number)", F_OK) == 0
            {
                return number
            }
            try? await Task.sleep(for: .milliseconds(20))
        }
        throw .noDriver(device: "adapter", modules: modules)
    }
}

/// A port of the virtual host controller, as its file `status` shows it.
struct VirtualPort: Equatable {
    /// The port.
    var number: Int
    /// Whether a device can be plugged in.
    var isFree: Bool
    /// The device in it, as /sys/bus/usb/devices names it.
    var device: String?

    /// Reads the file: a heading, and a line for each port with its hub (`hs` for anything below USB 3), number, state (4
    /// free, 6 used; drivers/usb/usbip/usbip_common.h), speed, remote device, socket and local device.
    static func all(in status: String) -> [VirtualPort] {
        status.split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ")
            guard words.count == 7, words[0] == "hs", let number = Int(words[1]), let state = Int(words[2])
            else { return nil }
            return VirtualPort(
                number: number, isFree: state == 4, device: state == 6 && words[6] != "0-0" ? String(words[6]) : nil)
        }
    }
}

/// Writes a file of the kernel's in one call.
private func writeFile(_ path: String, _ text: String) throws(SystemError) {
    let descriptor = try systemCall("open", path) { open(path, O_WRONLY | O_CLOEXEC) }
    defer { close(descriptor) }
    let bytes = Array(text.utf8)
    try systemCall("write", path) { write(descriptor, bytes, bytes.count) }
}

/// The names in a folder; none if it is not there.
func folderContents(_ path: String) -> [String] {
    guard let folder = opendir(path) else { return [] }
    defer { closedir(folder) }
    var names: [String] = []
    while let entry = readdir(folder) {
        names.append(
            withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            })
    }
    return names
}
