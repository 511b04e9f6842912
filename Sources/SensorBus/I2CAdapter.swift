import CI2C
import Glibc
import Platform

/// A part of a transfer; parts follow each other with a repeated start in between.
enum I2CMessage: Sendable, Equatable {
    /// Bytes to the chip.
    case write([UInt8])
    /// So many bytes from the chip.
    case read(Int)
}

/// An open adapter. Its system calls and nothing else, so that what the bus makes of their errors can be tested.
protocol I2CAdapter: Sendable {
    /// Does one transfer.
    /// - Returns: what the read message, of which there is one at most, has read.
    func transfer(_ messages: [I2CMessage], at address: I2CAddress) throws(SystemError) -> [UInt8]

    /// Whether the adapter is still the one that has the device file: false after it was unplugged.
    var isPresent: Bool { get }
}

/// An adapter of the kernel's I2C character device (Documentation/i2c/dev-interface).
final class I2CAdapterFile: I2CAdapter {
    private let path: String
    private let descriptor: Int32

    /// How long the kernel waits for one transfer, in its unit of 10 ms. The longest that chips here need is some
    /// 40 bytes, 4 ms at 100 kHz; the kernel's own bound of a second would hold up the other chips of the bus.
    private static let timeout: UInt = 10
    /// The kernel's own attempts after a lost arbitration: the bus counts its own.
    private static let retries: UInt = 0

    /// Opens a device file and sets its bounds, which are the adapter's: they hold for the kernel's drivers on it too.
    /// - Throws: `.missing`, `.permissionDenied`, `.forbidden`; `.unsupported` if it is no I2C adapter, or one for SMBus
    ///   only; `.inUse`.
    init(path: String, claim: LinuxI2CBus.Claim) throws(BusError) {
        self.path = path
        do {
            descriptor = try systemCall("open", path) { Glibc.open(path, O_RDWR | O_CLOEXEC) }
        } catch {
            throw BusError(BusError.Kind(code: error.code), bus: path)
        }
        // From here on this owns the file and closes it also when it is refused.
        let descriptor = descriptor
        var functions: UInt = 0
        var isTaken = true
        do throws(SystemError) {
            try systemCall("ioctl", path) { vigie_i2c_functions(descriptor, &functions) }
            guard functions & UInt(I2C_FUNC_I2C) != 0 else { throw SystemError("ioctl", path, code: EOPNOTSUPP) }
            if claim != .none { isTaken = try FileLock.take(descriptor, isShared: claim == .shared, path) }
            try systemCall("ioctl", path) { vigie_i2c_set_timeout(descriptor, I2CAdapterFile.timeout) }
            try systemCall("ioctl", path) { vigie_i2c_set_retries(descriptor, I2CAdapterFile.retries) }
        } catch {
            throw BusError(BusError.Kind(code: error.code), bus: path)
        }
        guard isTaken else { throw BusError(.inUse(by: FileLock.holders(of: descriptor)), bus: path) }
    }

    deinit {
        close(descriptor)
    }

    var isPresent: Bool {
        var opened = stat()
        var named = stat()
        // The kernel removes the file of an adapter that goes, and keeps the adapter while it is open.
        return fstat(descriptor, &opened) == 0 && stat(path, &named) == 0 && opened.st_rdev == named.st_rdev
            && opened.st_ino == named.st_ino
    }

    func transfer(_ messages: [I2CMessage], at address: I2CAddress) throws(SystemError) -> [UInt8] {
        // All bytes in one piece of memory, so that every message can point into it.
        var bytes: [UInt8] = []
        var parts: [(flags: UInt16, offset: Int, length: UInt16)] = []
        var answer = 0..<0
        for message in messages {
            let offset = bytes.count
            var flags: UInt16 = 0
            switch message {
            case .write(let written): bytes += written
            case .read(let count):
                flags = UInt16(I2C_M_RD)
                bytes += [UInt8](repeating: 0, count: count)
                answer = offset..<bytes.count
            }
            // The kernel takes at most 8192 bytes a message (drivers/i2c/i2c-dev.c) and refuses more with EINVAL.
            guard let length = UInt16(exactly: bytes.count - offset) else {
                throw SystemError("ioctl", path, code: EINVAL)
            }
            parts.append((flags, offset, length))
        }
        let code: Int32 = bytes.withUnsafeMutableBufferPointer { buffer in
            var list = parts.map { part in
                i2c_msg(
                    addr: UInt16(address.value), flags: part.flags, len: part.length,
                    buf: buffer.baseAddress.map { $0 + part.offset })
            }
            do throws(SystemError) {
                try systemCall("ioctl", path) { vigie_i2c_transfer(descriptor, &list, UInt32(list.count)) }
                return 0
            } catch {
                return error.code
            }
        }
        guard code == 0 else { throw SystemError("ioctl", path, code: code) }
        return Array(bytes[answer])
    }
}
