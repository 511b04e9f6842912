import Glibc
import Platform

/// A GPIO chip of the kernel's, `/dev/gpiochipN`, whose lines are in this process: a HID device of user space that the
/// driver hid-cp2112 drives. The driver looks for edges about every 40 ms.
///
/// When the process ends, whatever ends it, the kernel removes the chip.
public final class VirtualGPIOChip: Sendable {
    /// The device file.
    public let path: String

    /// How gpiodetect(1) shows the chip: what a configuration names it by.
    public static let label = "cp2112_gpio"
    /// What `modprobe --all` needs.
    public static let modules = "uhid hid-cp2112"

    private static let device = "/dev/uhid"
    /// Silicon Labs CP2112.
    private static let identity: (vendor: UInt32, product: UInt32) = (0x10C4, 0xEA90)
    private static let longestWait = Duration.seconds(10)

    private init(path: String) {
        self.path = path
    }

    /// Plugs lines in, and waits until their device file is there.
    public static func plug(_ lines: SimulatedLines) async throws(KernelHardwareError) -> VirtualGPIOChip {
        let before = Set(chips())
        let file: Int32
        do {
            file = try systemCall("open", device) { open(device, O_RDWR | O_CLOEXEC) }
        } catch {
            throw KernelHardwareError(error, modules: modules)
        }
        let create = UHIDReply.create(
            name: "Vigie simulated GPIO", vendor: identity.vendor, product: identity.product,
            descriptor: CP2112.reportDescriptor)
        guard write(create, to: file) else {
            let error = SystemError("write", device, code: errno)
            close(file)
            throw .system(error)
        }
        serve(CP2112(lines: lines), on: file)
        let start = ContinuousClock.now
        while ContinuousClock.now - start < longestWait {
            if let chip = chips().first(where: { !before.contains($0) }), access("/dev/\(chip)", F_OK) == 0 {
                return VirtualGPIOChip(path: "/dev/\(chip)")
            }
            try? await Task.sleep(for: .milliseconds(20))
        }
        throw .noDriver(device: "GPIO chip", modules: modules)
    }

    private static func chips() -> [String] {
        folderContents("/sys/bus/gpio/devices").filter { $0.hasPrefix("gpiochip") }
    }

    /// Answers on a thread of its own for as long as the process lives.
    private static func serve(_ chip: CP2112, on file: Int32) {
        startThread(name: "gpio chip") {
            var chip = chip
            var buffer = [UInt8](repeating: 0, count: UHIDEvent.largest)
            while true {
                let count = read(file, &buffer, buffer.count)
                if count < 0 && errno == EINTR { continue }
                guard count > 0 else { return }
                if let reply = chip.answer(UHIDEvent(Array(buffer[..<count]))), !write(reply, to: file) { return }
            }
        }
    }

    /// One event is one call; errno says why not.
    private static func write(_ reply: UHIDReply, to file: Int32) -> Bool {
        let bytes = reply.bytes
        while true {
            let count = Glibc.write(file, bytes, bytes.count)
            if count < 0 && errno == EINTR { continue }
            return count == bytes.count
        }
    }
}
