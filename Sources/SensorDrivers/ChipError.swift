import Readings
import SensorBus

/// A chip that could not be opened or did not measure: which one, doing what, and why.
public struct ChipError: Error, Sendable, Equatable {
    /// Why.
    public enum Kind: Sendable, Equatable {
        /// A transfer failed.
        case bus(BusError)
        /// A word came with the wrong checksum: noise on the lines, or a cable too long.
        case crc(expected: UInt8, received: UInt8)
        /// The chip did not finish within its longest time.
        case timedOut
        /// The input is beyond what the chip can convert.
        case saturated
        /// The value is beyond what the chip can measure; its unit is in the step's name.
        case outOfRange(value: Double)
        /// The calibration in the chip cannot be right.
        case calibration
        /// Another chip answers at the address; what it said, and what that means if known.
        case wrongChip(answer: UInt64, hint: String?)
        /// The chip has no value to give.
        case notReady
        /// The chip gives the same values over and over, which no chip that measures does.
        case frozen
        /// The chip says that a part of it has failed; which.
        case partFailed(String)
        /// A setting is beyond what the chip takes.
        case invalidSetting(String)
        /// The chip does not take this command in its present state.
        case notAllowed(String)
        /// The chip refused the reference that it was given.
        case recalibrationFailed
        /// The task was cancelled while it waited for the chip.
        case cancelled
    }

    /// The chip's name in faults, such as `scd41`.
    public var chip: Identifier
    /// Where it is on its bus.
    public var address: I2CAddress
    /// What was being done, such as `read chip id`.
    public var step: String
    /// Why.
    public var kind: Kind

    /// Makes an error.
    public init(_ kind: Kind, chip: Identifier, address: I2CAddress, step: String) {
        self.kind = kind
        self.chip = chip
        self.address = address
        self.step = step
    }

    /// How a reading says it, such as `scd41:crc`.
    public var fault: Fault {
        Fault(chip: chip, kind: Identifier(constant: faultName))
    }

    private var faultName: StaticString {
        switch kind {
        case .bus(let error):
            switch error.kind {
            case .notAcknowledged: "not_acknowledged"
            case .timedOut: "timed_out"
            case .arbitrationLost: "arbitration_lost"
            case .lengthOrStretch, .unsupported, .other: "bus"
            case .permissionDenied, .forbidden, .missing, .inUse: "no_bus"
            case .multiplexer: "multiplexer"
            }
        case .crc: "crc"
        case .timedOut: "timed_out"
        case .saturated: "saturated"
        case .outOfRange: "out_of_range"
        case .calibration: "calibration"
        case .wrongChip: "wrong_chip"
        case .notReady: "not_ready"
        case .frozen: "frozen"
        case .partFailed: "part_failed"
        case .invalidSetting, .notAllowed: "settings"
        case .recalibrationFailed: "recalibration"
        case .cancelled: "cancelled"
        }
    }
}

extension ChipError: CustomStringConvertible {
    /// One line for a person: which chip, doing what, why, and what to do.
    public var description: String {
        "\(chip) at \(address), \(step): \(kind)"
    }
}

extension ChipError.Kind: CustomStringConvertible {
    /// Why, and what to do.
    public var description: String {
        switch self {
        case .bus(let error): "\(error)"
        case .crc(let expected, let received):
            "checksum 0x\(String(received, radix: 16)) should be 0x\(String(expected, radix: 16));"
                + " shorten the cable or slow the bus to 100 kHz"
        case .timedOut: "the chip did not finish in time"
        case .saturated: "the input is beyond the range; check the divider and the range setting"
        case .outOfRange(let value): "\(value) is beyond what the chip measures"
        case .calibration: "the chip's calibration cannot be right; replace the chip if this stays after a power cycle"
        case .wrongChip(let answer, let hint):
            "another chip answers (0x\(String(answer, radix: 16)))" + (hint.map { ": \($0)" } ?? "")
        case .notReady: "the chip has no value to give"
        case .frozen: "the same values over and over; cycle the chip's power, and replace it if this comes back"
        case .partFailed(let part):
            "the chip says that \(part) of it has failed; cycle its power, and replace it if this comes back"
        case .invalidSetting(let what): "invalid setting: \(what)"
        case .notAllowed(let what): what
        case .recalibrationFailed:
            "the chip refused the reference; let it measure in steady air for three minutes and try again"
        case .cancelled: "cancelled"
        }
    }
}
