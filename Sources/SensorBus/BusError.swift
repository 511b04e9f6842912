import Glibc

/// A bus or a transfer that failed.
public struct BusError: Error, Sendable, Equatable {
    /// What the kernel said, by meaning (Documentation/i2c/fault-codes).
    public enum Kind: Sendable, Hashable {
        /// Nobody answered at the address, or the chip refused a byte. ENXIO by the kernel's documentation, EREMOTEIO
        /// on bcm2835 and DesignWare (Raspberry Pi 5).
        case notAcknowledged
        /// The transfer did not finish in time: a line held low, or a controller that is stuck. ETIMEDOUT.
        case timedOut
        /// Another master won the bus, repeatedly. EAGAIN.
        case arbitrationLost
        /// The transfer had the wrong length, or the chip stretched the clock beyond what the controller bears. EIO.
        case lengthOrStretch
        /// The adapter cannot do such a transfer. EOPNOTSUPP, ENOTTY.
        case unsupported
        /// The device file is there, and its owner and mode do not let us open it. EACCES.
        case permissionDenied
        /// A device policy forbids it, whatever the file's owner and mode: that of a unit or a container. EPERM.
        case forbidden
        /// There is no such bus, or its adapter was unplugged. ENOENT, ENODEV.
        case missing
        /// The multiplexer that the chip is behind did not open its channel: it is the address of the error, and what
        /// it did stands here.
        indirect case multiplexer(Kind)
        /// Other programs of Vigie use the bus: their process ids, as far as the kernel tells.
        case inUse(by: [Int32])
        /// Any other error number (errno(3)).
        case other(code: Int32)

        /// The meaning of an error number.
        public init(code: Int32) {
            switch code {
            case ENXIO, EREMOTEIO: self = .notAcknowledged
            case ETIMEDOUT: self = .timedOut
            case EAGAIN: self = .arbitrationLost
            case EIO: self = .lengthOrStretch
            case EOPNOTSUPP, ENOTTY: self = .unsupported
            case EACCES: self = .permissionDenied
            case EPERM: self = .forbidden
            case ENOENT, ENODEV, ENOTDIR: self = .missing
            default: self = .other(code: code)
            }
        }
    }

    /// What happened.
    public var kind: Kind
    /// The bus, such as `/dev/i2c-1`.
    public var bus: String
    /// The chip that was addressed; nil if the bus itself failed.
    public var address: I2CAddress?

    /// Makes an error.
    public init(_ kind: Kind, bus: String, address: I2CAddress? = nil) {
        self.kind = kind
        self.bus = bus
        self.address = address
    }

    /// What to do about it; nil if the kind says it all.
    public var remedy: String? {
        switch kind {
        case .notAcknowledged: "check the wiring, the chip's power and its address"
        case .timedOut:
            "a line may be held low or the controller stuck: cycle the sensors' power, then the board's"
        case .permissionDenied:
            "add the user to the group that owns it (i2c), and the unit to SupplementaryGroups=i2c"
        case .forbidden:
            "allow the device: in a unit by DeviceAllow=char-i2c rw, and restart it if the module i2c-dev came after its"
                + " start; in a container by --device \(bus)"
        case .inUse: "stop that program first (systemctl stop vigie-gateway), so that two do not command one chip"
        case .missing: "enable the bus (dtparam=i2c_arm=on in config.txt on a Raspberry Pi) or name another one"
        case .unsupported: "use an adapter that does plain I2C transfers; one for SMBus only does not"
        case .multiplexer: "check the multiplexer's wiring, power and address"
        case .arbitrationLost, .lengthOrStretch, .other: nil
        }
    }
}

extension BusError: CustomStringConvertible {
    /// One line for a person: where, what, and what to do.
    public var description: String {
        let subject = address.map { "\(bus) \($0)" } ?? bus
        return "\(subject): \(kind)" + (remedy.map { "; \($0)" } ?? "")
    }
}

extension BusError.Kind: CustomStringConvertible {
    /// A few words.
    public var description: String {
        switch self {
        case .notAcknowledged: "not acknowledged"
        case .timedOut: "timed out"
        case .arbitrationLost: "arbitration lost"
        case .lengthOrStretch: "wrong length or clock stretched too long"
        case .unsupported: "not supported by the adapter"
        case .permissionDenied: "permission denied"
        case .forbidden: "forbidden by a device policy"
        case .missing: "no such bus"
        case .multiplexer(let kind): "the multiplexer did not open the channel: \(kind)"
        case .inUse(let processes):
            processes.isEmpty
                ? "in use by another program"
                : "in use by process \(processes.map { "\($0)" }.joined(separator: ", "))"
        case .other(let code): String(cString: strerror(code))
        }
    }
}
