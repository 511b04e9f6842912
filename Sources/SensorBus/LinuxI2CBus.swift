import CI2C
import Glibc
import Platform

/// A bus of the kernel's I2C character device, `/dev/i2c-N`, spoken to by combined transfers
/// (Documentation/i2c/dev-interface, I2C_RDWR).
///
/// A transfer has at most one read message and it comes last: bcm2835, the controller of the Raspberry Pi 0 to 4,
/// does no other.
public final class LinuxI2CBus: I2CBus {
    /// The device file's path.
    public let name: String
    /// The bus's thread.
    public let executor: ThreadExecutor
    private let device: Int32

    /// How often a transfer is tried when another master wins the bus.
    private static let arbitrationAttempts = 3

    private init(name: String, device: Int32) {
        self.name = name
        self.device = device
        executor = ThreadExecutor(name: String(name.suffix(15)))
    }

    deinit {
        close(device)
    }

    /// What a program asks of the others of Vigie while it has a bus open, by flock(2) on the device file.
    public enum Claim: Sendable {
        /// Others may use it too, if they ask for no more.
        case shared
        /// Nobody else may: two programs that command one chip spoil each other's answers.
        case exclusive
        /// Nothing: it goes on beside whoever is there.
        case none
    }

    /// Opens a bus.
    /// - Parameters:
    ///   - path: the device file, such as `/dev/i2c-1`, the header's pins 3 and 5 on a Raspberry Pi.
    ///   - claim: what is asked of other programs of Vigie.
    /// - Throws: `.missing`, `.permissionDenied`; `.unsupported` if it is no I2C adapter or one for SMBus only; `.inUse`.
    public static func open(_ path: String, claim: Claim = .shared) throws(BusError) -> LinuxI2CBus {
        let device: Int32
        do {
            device = try systemCall("open", path) { Glibc.open(path, O_RDWR | O_CLOEXEC) }
        } catch {
            throw BusError(BusError.Kind(code: error.code), bus: path)
        }
        // From here on the bus owns the file and closes it also when it is refused.
        let bus = LinuxI2CBus(name: path, device: device)
        var functions: UInt = 0
        do {
            try systemCall("ioctl", path) { vigie_i2c_functions(device, &functions) }
        } catch {
            throw BusError(BusError.Kind(code: error.code), bus: path)
        }
        guard functions & UInt(I2C_FUNC_I2C) != 0 else { throw BusError(.unsupported, bus: path) }
        guard claim != .none else { return bus }
        let isTaken: Bool
        do {
            isTaken = try FileLock.take(device, isShared: claim == .shared, path)
        } catch {
            throw BusError(BusError.Kind(code: error.code), bus: path)
        }
        guard isTaken else { throw BusError(.inUse(by: FileLock.holders(of: device)), bus: path) }
        return bus
    }

    /// Writes `bytes` to a chip in one transfer.
    public func write(_ bytes: [UInt8], to address: I2CAddress) throws(BusError) {
        _ = try transfer(writing: bytes, reading: 0, at: address)
    }

    /// Reads `count` bytes from a chip in one transfer.
    public func read(_ count: Int, from address: I2CAddress) throws(BusError) -> [UInt8] {
        try transfer(writing: [], reading: count, at: address)
    }

    /// Writes `bytes` and, after a repeated start, reads `count` bytes.
    public func write(_ bytes: [UInt8], thenRead count: Int, at address: I2CAddress) throws(BusError) -> [UInt8] {
        try transfer(writing: bytes, reading: count, at: address)
    }

    private func transfer(writing bytes: [UInt8], reading count: Int, at address: I2CAddress) throws(BusError)
        -> [UInt8]
    {
        // The kernel takes at most 8192 bytes a message (drivers/i2c/i2c-dev.c) and refuses more with EINVAL.
        guard let writeLength = UInt16(exactly: bytes.count), let readLength = UInt16(exactly: count) else {
            throw BusError(.other(code: EINVAL), bus: name, address: address)
        }
        var output = bytes
        var input = [UInt8](repeating: 0, count: count)
        var attempt = 1
        while true {
            let code = output.withUnsafeMutableBufferPointer { output in
                input.withUnsafeMutableBufferPointer { input in
                    transfer(
                        i2c_msg(addr: UInt16(address.value), flags: 0, len: writeLength, buf: output.baseAddress),
                        i2c_msg(
                            addr: UInt16(address.value), flags: UInt16(I2C_M_RD), len: readLength,
                            buf: input.baseAddress))
                }
            }
            if code == 0 { return input }
            let kind = BusError.Kind(code: code)
            guard kind == .arbitrationLost, attempt < LinuxI2CBus.arbitrationAttempts else {
                throw BusError(kind, bus: name, address: address)
            }
            attempt += 1
        }
    }

    /// Sends the write message, if it has bytes, then the read message, if it wants some.
    /// - Returns: 0 or the error number.
    private func transfer(_ write: i2c_msg, _ read: i2c_msg) -> Int32 {
        var messages: [i2c_msg] = []
        // A transfer of neither is a write of nothing, which asks only whether the chip answers.
        if write.len > 0 || read.len == 0 { messages.append(write) }
        if read.len > 0 { messages.append(read) }
        do {
            try systemCall("ioctl", name) { vigie_i2c_transfer(device, &messages, UInt32(messages.count)) }
            return 0
        } catch {
            return error.code
        }
    }
}
