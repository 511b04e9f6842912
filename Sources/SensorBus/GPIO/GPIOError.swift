import Glibc

/// A GPIO line that could not be taken, or an access to it that failed.
public struct GPIOError: Error, Sendable, Equatable {
    /// What went wrong.
    public enum Kind: Sendable, Hashable {
        /// There is no such chip; these are there.
        case chipNotFound(available: [String])
        /// The chip, or no chip, has such a line; these are there.
        case lineNotFound(available: [String])
        /// Several have this name or label.
        case ambiguous(candidates: [String])
        /// Another program has the line, under this name; EBUSY.
        case busy(consumer: String)
        /// The device file is there, and its owner and mode do not let us open it. EACCES.
        case permissionDenied
        /// A device policy forbids it, whatever the file's owner and mode: that of a unit or a container. EPERM.
        case forbidden
        /// The file is no GPIO chip. ENOTTY.
        case notAChip
        /// The line does not do what is asked of it: the resistor, open drain, or edges, for which its chip needs an
        /// interrupt. EINVAL, ENXIO, EOPNOTSUPP and the kernel's own ENOTSUPP.
        case unsupported
        /// The chip was unplugged. ENODEV.
        case gone
        /// Any other error number (errno(3)).
        case other(code: Int32)

        /// The meaning of an error number. That a line is busy is told with the name of who has it, so not here.
        init(code: Int32) {
            /// include/linux/errno.h; the kernel gives it to programs although errno(3) does not have it.
            let kernelUnsupported: Int32 = 524
            switch code {
            case EACCES: self = .permissionDenied
            case EPERM: self = .forbidden
            case ENOTTY: self = .notAChip
            case EINVAL, ENXIO, EOPNOTSUPP, kernelUnsupported: self = .unsupported
            case ENODEV: self = .gone
            default: self = .other(code: code)
            }
        }
    }

    /// What happened.
    public var kind: Kind
    /// The line or the chip, as it was asked for.
    public var line: String

    /// Makes an error.
    public init(_ kind: Kind, line: String) {
        self.kind = kind
        self.line = line
    }

    /// What to do about it; nil if the kind says it all.
    public var remedy: String? {
        switch kind {
        case .chipNotFound(let available) where available.isEmpty:
            "this kernel shows no GPIO chip: look for its driver and for /dev/gpiochip*"
        case .busy: "end that program, or name another line"
        case .permissionDenied:
            "add the user to the group that owns the device (gpio), and the unit to SupplementaryGroups=gpio"
        case .forbidden:
            "allow the device: in a unit by DeviceAllow=char-gpiochip rw, and restart it if the chip came after its"
                + " start; in a container by --device"
        case .notAChip: "name a chip by its label, as gpiodetect(1) shows it"
        case .ambiguous: "name the chip by its device and the line by its number"
        case .unsupported: "leave out the resistor or open drain, or take a line whose chip has interrupts"
        case .chipNotFound, .lineNotFound, .gone, .other: nil
        }
    }
}

extension GPIOError: CustomStringConvertible {
    /// One line for a person: where, what, and what to do.
    public var description: String {
        "\(line): \(kind)" + (remedy.map { "; \($0)" } ?? "")
    }
}

extension GPIOError.Kind: CustomStringConvertible {
    /// A few words.
    public var description: String {
        switch self {
        case .chipNotFound(let available): "no such GPIO chip\(list(available))"
        case .lineNotFound(let available): "no such GPIO line\(list(available))"
        case .ambiguous(let candidates): "is not the only one\(list(candidates))"
        case .busy(let consumer): "is in use by \(consumer.isEmpty ? "another program" : consumer)"
        case .permissionDenied: "permission denied"
        case .forbidden: "forbidden by a device policy"
        case .notAChip: "is no GPIO chip"
        case .unsupported: "the line cannot do this"
        case .gone: "the GPIO chip is gone"
        case .other(let code): String(cString: strerror(code))
        }
    }

    /// What there is, the first few of many.
    private func list(_ names: [String]) -> String {
        let most = 40
        let rest = names.count > most ? " and \(names.count - most) more" : ""
        return names.isEmpty ? "" : "; there are " + names.prefix(most).joined(separator: ", ") + rest
    }
}
