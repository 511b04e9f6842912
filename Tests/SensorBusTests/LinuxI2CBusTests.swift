import Glibc
import Platform
import Synchronization
import Testing

@testable import SensorBus

/// An adapter that answers as a list says.
private final class ScriptedDevice: I2CAdapter {
    enum Outcome {
        /// What is read.
        case success([UInt8])
        /// An error number.
        case failure(Int32)
    }

    struct State {
        var outcomes: [Outcome]
        var transfers: [[I2CMessage]] = []
        var isPresent = true
    }

    private let state: Mutex<State>

    init(_ outcomes: Outcome...) {
        state = Mutex(State(outcomes: outcomes))
    }

    /// What was transferred.
    var transfers: [[I2CMessage]] { state.withLock { $0.transfers } }

    var isPresent: Bool { state.withLock { $0.isPresent } }

    func unplug() { state.withLock { $0.isPresent = false } }

    func transfer(_ messages: [I2CMessage], at address: I2CAddress) throws(SystemError) -> [UInt8] {
        let outcome = state.withLock { state in
            state.transfers.append(messages)
            // What is not on the list is a failure that no test expects.
            return state.outcomes.isEmpty ? Outcome.failure(EXFULL) : state.outcomes.removeFirst()
        }
        switch outcome {
        case .success(let bytes): return bytes
        case .failure(let code): throw SystemError("ioctl", "scripted", code: code)
        }
    }
}

@Suite struct LinuxI2CBusTests {
    private static let combined: [I2CMessage] = [.write([0xD0]), .read(1)]

    private func bus(_ device: ScriptedDevice) throws -> LinuxI2CBus {
        try LinuxI2CBus(name: "/dev/i2c-1", mayBeMissing: false) { () throws(BusError) in device }
    }

    @Test(arguments: ["/dev/i2c-there-is-none", "/dev/null/i2c-1"])
    func aMissingBus(path: String) throws {
        let missing = BusError(.missing, bus: path)
        #expect(throws: missing) { _ = try LinuxI2CBus.open(path) }
        #expect(missing.remedy?.contains("dtparam=i2c_arm=on") == true)
        let patient = try LinuxI2CBus.open(path, mayBeMissing: true)
        #expect(throws: missing) { try patient.write([], to: 0x76) }
    }

    @Test func aDeviceThatIsNoBus() {
        for mayBeMissing in [false, true] {
            #expect(throws: BusError(.unsupported, bus: "/dev/null")) {
                _ = try LinuxI2CBus.open("/dev/null", mayBeMissing: mayBeMissing)
            }
        }
    }

    /// One read message at most, and it comes last.
    @Test func transfersAreWhatTheKernelsDriversBear() throws {
        let device = ScriptedDevice(.success([]), .success([]), .success([1, 2]), .success([3]))
        let bus = try bus(device)
        try bus.write([], to: 0x76)
        try bus.write([0xE0, 0xB6], to: 0x76)
        #expect(try bus.read(2, from: 0x76) == [1, 2])
        #expect(try bus.write([0xD0], thenRead: 1, at: 0x76) == [3])
        #expect(device.transfers == [[.write([])], [.write([0xE0, 0xB6])], [.read(2)], Self.combined])
    }

    @Test(
        arguments: [
            (ENXIO, .notAcknowledged), (EREMOTEIO, .notAcknowledged), (ETIMEDOUT, .timedOut), (EIO, .lengthOrStretch),
            (EINVAL, .other(code: EINVAL)),
        ] as [(Int32, BusError.Kind)])
    func aFailureIsSaidAndNotTriedAgain(code: Int32, kind: BusError.Kind) throws {
        let device = ScriptedDevice(.failure(code))
        let bus = try bus(device)
        #expect(throws: BusError(kind, bus: "/dev/i2c-1", address: 0x76)) {
            _ = try bus.write([0xD0], thenRead: 1, at: 0x76)
        }
        #expect(device.transfers.count == 1)
    }

    @Test func aLostArbitrationIsTriedThreeTimes() throws {
        let device = ScriptedDevice(
            .failure(EAGAIN), .failure(EAGAIN), .success([0x60]), .failure(EAGAIN), .failure(EAGAIN), .failure(EAGAIN))
        let bus = try bus(device)
        #expect(try bus.write([0xD0], thenRead: 1, at: 0x76) == [0x60])
        #expect(throws: BusError(.arbitrationLost, bus: "/dev/i2c-1", address: 0x76)) {
            _ = try bus.write([0xD0], thenRead: 1, at: 0x76)
        }
        #expect(device.transfers.count == 6)
    }

    /// An adapter that cannot repeat a start has the write and the read apart, from then on without being asked.
    @Test func anAdapterThatCannotCombineHasItInParts() throws {
        let device = ScriptedDevice(
            .failure(EOPNOTSUPP), .success([]), .success([0x60]), .success([]), .success([0x61]))
        let bus = try bus(device)
        #expect(try bus.write([0xD0], thenRead: 1, at: 0x76) == [0x60])
        #expect(try bus.write([0xD0], thenRead: 1, at: 0x76) == [0x61])
        #expect(
            device.transfers == [
                Self.combined, [.write([0xD0])], [.read(1)], [.write([0xD0])], [.read(1)],
            ])
    }

    /// Only an adapter that never combined is thought unable to.
    @Test func whatTheAdapterDoesNotDoIsUnsupported() throws {
        let never = ScriptedDevice(
            .failure(EOPNOTSUPP), .failure(EOPNOTSUPP), .failure(EOPNOTSUPP), .failure(EOPNOTSUPP))
        let unsupported = BusError(.unsupported, bus: "/dev/i2c-1", address: 0x76)
        var bus = try bus(never)
        for _ in 0..<2 {
            #expect(throws: unsupported) { _ = try bus.write([0xD0], thenRead: 1, at: 0x76) }
        }
        #expect(never.transfers == [Self.combined, [.write([0xD0])], Self.combined, [.write([0xD0])]])
        let once = ScriptedDevice(.success([0x60]), .failure(EOPNOTSUPP))
        bus = try self.bus(once)
        #expect(try bus.write([0xD0], thenRead: 1, at: 0x76) == [0x60])
        #expect(throws: unsupported) { _ = try bus.write([0xD0], thenRead: 1, at: 0x76) }
        #expect(once.transfers.count == 2)
    }

    /// The kernel waits until an adapter that was unplugged is let go, and gives its number to the next one only then.
    @Test func anUnpluggedAdapterIsLetGoAndFoundAgain() throws {
        final class Socket: Sendable {
            let device = Mutex<ScriptedDevice?>(nil)
        }
        let socket = Socket()
        weak var released: ScriptedDevice?
        let bus: LinuxI2CBus
        do {
            let first = ScriptedDevice(.success([0x60]), .failure(EIO))
            released = first
            socket.device.withLock { $0 = first }
            bus = try LinuxI2CBus(name: "/dev/i2c-1", mayBeMissing: false) { () throws(BusError) in
                guard let device = socket.device.withLock({ $0 }) else { throw BusError(.missing, bus: "/dev/i2c-1") }
                return device
            }
            #expect(try bus.write([0xD0], thenRead: 1, at: 0x76) == [0x60])
            first.unplug()
            socket.device.withLock { $0 = nil }
        }
        let missing = BusError(.missing, bus: "/dev/i2c-1")
        #expect(released != nil)
        #expect(throws: missing) { _ = try bus.write([0xD0], thenRead: 1, at: 0x76) }
        #expect(released == nil)
        #expect(throws: missing) { _ = try bus.write([0xD0], thenRead: 1, at: 0x76) }
        // The next adapter may be of another make, which cannot combine.
        socket.device.withLock { $0 = ScriptedDevice(.failure(EOPNOTSUPP), .success([]), .success([0x58])) }
        #expect(try bus.write([0xD0], thenRead: 1, at: 0x76) == [0x58])
    }
}
