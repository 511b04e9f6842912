import Readings
import SensorBus

/// A chip that is open and measures when asked. It runs on its bus's thread.
public protocol Sensor: Actor {
    /// The chip's name in faults, such as `scd41`.
    nonisolated var chip: Identifier { get }

    /// Where it is on its bus.
    nonisolated var address: I2CAddress { get }

    /// What it said of itself when it was opened.
    nonisolated var identity: ChipIdentity { get }

    /// What `measure` takes at most with a chip that works, without the transfers. With one that does not it may take
    /// longer, until that is known.
    nonisolated var longestMeasurement: Duration { get }

    /// Measures once. While the chip converts, the bus is free for others.
    ///
    /// After an error the chip may have lost its settings: open it again.
    func measure() async throws(SensorError) -> Measurement
}

/// A chip whose values depend on the air's pressure.
public protocol PressureCompensated: Sensor {
    /// The pressures that it takes, hPa.
    static var pressures: ClosedRange<Double> { get }

    /// Tells the chip the air's pressure. The same value again is not sent again.
    /// - Throws: `.invalidSetting` outside `pressures`, and bus errors.
    func setAmbientPressure(_ pressure: Pressure) async throws(SensorError)
}

/// What a chip says of itself, for people: which part, and which one of its kind.
public struct ChipIdentity: Sendable, Equatable {
    /// Something else that the chip says.
    public struct Fact: Sendable, Equatable {
        /// What, such as `chip id`.
        public var name: String
        /// As a person reads it, such as `0x60`.
        public var value: String

        /// Makes a fact.
        public init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    /// The part as its maker names it, such as `SCD41`.
    public var part: String
    /// Unique among its kind, hexadecimal as the maker prints it; nil if the chip has none.
    public var serialNumber: String?
    /// What else it says.
    public var facts: [Fact]
    /// What is not as the configuration has it, and what follows, such as a BMP280 that was sold as a BME280; nil if all is.
    public var remark: String?

    /// Makes an identity.
    public init(part: String, serialNumber: String? = nil, facts: [Fact] = [], remark: String? = nil) {
        self.part = part
        self.serialNumber = serialNumber
        self.facts = facts
        self.remark = remark
    }
}

/// A number as datasheets and labels print it: so many hexadecimal digits.
func hexadecimal(_ number: some BinaryInteger, digits: Int) -> String {
    let text = String(number, radix: 16, uppercase: true)
    return "0x" + String(repeating: "0", count: max(0, digits - text.utf8.count)) + text
}

/// A chip that could not be opened or did not measure: which one, doing what, and why.
public struct SensorError: Error, Sendable, Equatable {
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
        case .invalidSetting, .notAllowed: "settings"
        case .recalibrationFailed: "recalibration"
        case .cancelled: "cancelled"
        }
    }
}

extension SensorError: CustomStringConvertible {
    /// One line for a person: which chip, doing what, why, and what to do.
    public var description: String {
        "\(chip) at \(address), \(step): \(kind)"
    }
}

extension SensorError.Kind: CustomStringConvertible {
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
        case .invalidSetting(let what): "invalid setting: \(what)"
        case .notAllowed(let what): what
        case .recalibrationFailed:
            "the chip refused the reference; let it measure in steady air for three minutes and try again"
        case .cancelled: "cancelled"
        }
    }
}
