import Glibc
import Platform
import Synchronization

/// A bus of the kernel's I2C character device, `/dev/i2c-N`.
///
/// A transfer has at most one read message and it comes last: bcm2835, the controller of the Raspberry Pi 0 to 4, does
/// no other. An adapter that cannot repeat a start has the write and the read apart.
///
/// An adapter that is unplugged is let go, which the kernel waits for, and looked for again at every transfer.
public final class LinuxI2CBus: I2CBus {
    private struct State {
        /// Nil while the adapter is not there.
        var device: (any I2CAdapter)?
        /// Whether the adapter does a write and a read as one transfer; nil while it has not shown it.
        var combines: Bool?
    }

    /// The device file's path.
    public let name: String
    /// The bus's thread.
    public let executor: ThreadExecutor
    private let open: @Sendable () throws(BusError) -> any I2CAdapter
    private let state: Mutex<State>

    /// How often a transfer is tried when another master wins the bus.
    private static let arbitrationAttempts = 3

    /// Makes a bus of what `open` gives.
    /// - Parameter mayBeMissing: whether it is made also while the adapter is not there.
    init(
        name: String, mayBeMissing: Bool, open: @escaping @Sendable () throws(BusError) -> any I2CAdapter
    ) throws(BusError) {
        var state = State()
        do throws(BusError) {
            state.device = try open()
        } catch {
            guard mayBeMissing, error.kind == .missing else { throw error }
        }
        self.name = name
        self.open = open
        self.state = Mutex(state)
        executor = ThreadExecutor(name: String(name.suffix(15)))
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
    ///   - mayBeMissing: whether an adapter that is not there is no error; every transfer then looks for it.
    /// - Throws: `.missing`, `.permissionDenied`, `.forbidden`; `.unsupported` if it is no I2C adapter, or one for SMBus
    ///   only; `.inUse`.
    public static func open(
        _ path: String, claim: Claim = .shared, mayBeMissing: Bool = false
    ) throws(BusError) -> LinuxI2CBus {
        try LinuxI2CBus(name: path, mayBeMissing: mayBeMissing) { () throws(BusError) in
            try I2CAdapterFile(path: path, claim: claim)
        }
    }

    /// Writes `bytes` to a chip in one transfer; none asks only whether the chip answers.
    public func write(_ bytes: [UInt8], to address: I2CAddress) throws(BusError) {
        _ = try transfer([.write(bytes)], at: address)
    }

    /// Reads `count` bytes from a chip in one transfer.
    public func read(_ count: Int, from address: I2CAddress) throws(BusError) -> [UInt8] {
        try transfer([.read(count)], at: address)
    }

    /// Writes `bytes` and, after a repeated start, reads `count` bytes.
    public func write(_ bytes: [UInt8], thenRead count: Int, at address: I2CAddress) throws(BusError) -> [UInt8] {
        try transfer([.write(bytes), .read(count)], at: address)
    }

    private func transfer(_ messages: [I2CMessage], at address: I2CAddress) throws(BusError) -> [UInt8] {
        try state.withLock { state throws(BusError) in
            let device: any I2CAdapter
            if let open = state.device { device = open } else { device = try open() }
            state.device = device
            do throws(BusError) {
                return try transfer(messages, at: address, on: device, combines: &state.combines)
            } catch {
                guard !device.isPresent else { throw error }
                state = State()
                throw BusError(.missing, bus: name)
            }
        }
    }

    /// Does a transfer in one, or in parts on an adapter that does no other.
    private func transfer(
        _ messages: [I2CMessage], at address: I2CAddress, on device: any I2CAdapter, combines: inout Bool?
    ) throws(BusError) -> [UInt8] {
        guard messages.count > 1 else { return try attempt(messages, at: address, on: device) }
        if combines != false {
            do throws(BusError) {
                let answer = try attempt(messages, at: address, on: device)
                combines = true
                return answer
            } catch {
                guard error.kind == .unsupported, combines == nil else { throw error }
            }
        }
        var answer: [UInt8] = []
        for message in messages { answer = try attempt([message], at: address, on: device) }
        combines = false
        return answer
    }

    private func attempt(
        _ messages: [I2CMessage], at address: I2CAddress, on device: any I2CAdapter
    ) throws(BusError) -> [UInt8] {
        var attempt = 1
        while true {
            do throws(SystemError) {
                return try device.transfer(messages, at: address)
            } catch {
                let kind = BusError.Kind(code: error.code)
                guard kind == .arbitrationLost, attempt < LinuxI2CBus.arbitrationAttempts else {
                    throw BusError(kind, bus: name, address: address)
                }
                attempt += 1
            }
        }
    }
}
