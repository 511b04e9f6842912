/// What one sensor measured at one moment, as it travels from the board to the centre: schema 1 of the contract.
///
/// A quantity that is nil was not measured; that is never the same as zero. Every number is finite.
public struct Reading: Sendable, Equatable {
    /// What numbers of readings may be. 2^53 - 1 is the largest integer that every JSON reader takes exactly (RFC 8259
    /// section 6).
    public static let numbers: ClosedRange<Int64> = 1...9_007_199_254_740_991
    /// What sampling intervals may be, milliseconds: up to a week.
    public static let intervals: ClosedRange<Int64> = 1...604_800_000

    /// The board that sampled it; also the message's key.
    public var gatewayID: Identifier
    /// The sensor, a station of one or more chips.
    public var sensorID: Identifier
    /// The run of numbers that its number belongs to.
    public var streamID: StreamID
    /// Its number, 1 to 2^53 - 1: one higher than that of the reading before it in the same outbox, over all its streams.
    public var sequence: Int64
    /// The first number of its stream; nil means 1.
    public var streamFirst: Int64?
    /// When the air was measured.
    public var eventTime: Timestamp
    /// How far `eventTime` can be trusted.
    public var timeQuality: TimeQuality
    /// The sensor's sampling interval, in milliseconds.
    public var intervalMilliseconds: Int64
    /// What was measured.
    public var values: Values
    /// What went wrong, in the order in which it was noticed.
    public var faults: [Fault]
    /// Where the sensor is.
    public var place: Place?
    /// Whether the air was simulated.
    public var isSimulated: Bool

    /// Makes a reading from its parts.
    public init(
        gatewayID: Identifier, sensorID: Identifier, streamID: StreamID, sequence: Int64,
        streamFirst: Int64? = nil, eventTime: Timestamp, timeQuality: TimeQuality = .synced,
        intervalMilliseconds: Int64, values: Values = Values(),
        faults: [Fault] = [], place: Place? = nil, isSimulated: Bool = false
    ) {
        self.gatewayID = gatewayID
        self.sensorID = sensorID
        self.streamID = streamID
        self.sequence = sequence
        self.streamFirst = streamFirst
        self.eventTime = eventTime
        self.timeQuality = timeQuality
        self.intervalMilliseconds = intervalMilliseconds
        self.values = values
        self.faults = faults
        self.place = place
        self.isSimulated = isSimulated
    }
}

/// How far an event time can be trusted.
public enum TimeQuality: String, Sendable {
    /// Taken from a synchronised clock.
    case synced
    /// Reconstructed, or taken from a clock of which nothing is known.
    case estimated
}

/// A position on the Earth, WGS 84.
public struct Place: Sendable, Equatable {
    /// Degrees north, -90 to 90.
    public let latitude: Double
    /// Degrees east, -180 to 180.
    public let longitude: Double

    /// Makes a place.
    /// - Returns: nil if a coordinate is not finite or out of range.
    public init?(latitude: Double, longitude: Double) {
        guard (-90...90).contains(latitude), (-180...180).contains(longitude) else { return nil }
        self.latitude = latitude
        self.longitude = longitude
    }
}

/// A fault as the contract writes it: `chip:what`, such as `scd41:crc`.
public struct Fault: Sendable, Hashable, CustomStringConvertible {
    /// The chip that failed, or the part of the gateway.
    public var chip: Identifier
    /// What it did.
    public var kind: Identifier

    /// Makes a fault.
    public init(chip: Identifier, kind: Identifier) {
        self.chip = chip
        self.kind = kind
    }

    /// `chip:what`.
    public var description: String { "\(chip):\(kind)" }
}

/// A name in the contract: 1 to 64 of `A-Z a-z 0-9 . _ -`.
public struct Identifier: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// The name.
    public let description: String

    /// Makes a name.
    /// - Returns: nil if it is empty, longer than 64 bytes, or holds another character.
    public init?(_ text: String) {
        guard (1...64).contains(text.utf8.count), text.utf8.allSatisfy(Identifier.isAllowed) else { return nil }
        description = text
    }

    /// Makes a name that is written in the source; one that is not allowed is a mistake of the programmer and stops
    /// the program.
    public init(constant name: StaticString) {
        guard let identifier = Identifier("\(name)") else { preconditionFailure("\(name) is no identifier") }
        self = identifier
    }

    /// Whether a byte may stand in a name.
    @inlinable
    public static func isAllowed(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
            true
        default: false
        }
    }

    /// Orders by bytes.
    public static func < (left: Identifier, right: Identifier) -> Bool {
        left.description < right.description
    }
}

/// The identity of a stream, a run of numbers that nobody else can give: 64 random bits, written as 16 lower-case
/// hexadecimal digits.
public struct StreamID: Sendable, Hashable, CustomStringConvertible {
    /// The bits.
    public let bits: UInt64

    /// Makes an identity from its bits.
    @inlinable
    public init(bits: UInt64) {
        self.bits = bits
    }

    /// Reads 16 hexadecimal digits.
    /// - Returns: nil if the text is anything else.
    public init?(_ text: String) {
        var text = text
        guard let value = text.withUTF8({ StreamID(hexadecimal: $0) }) else { return nil }
        self = value
    }

    /// Reads 16 hexadecimal digits, upper or lower case.
    /// - Returns: nil if the bytes are anything else.
    public init?(hexadecimal bytes: UnsafeBufferPointer<UInt8>) {
        guard bytes.count == 16 else { return nil }
        var bits: UInt64 = 0
        for byte in bytes {
            let digit: UInt8
            switch byte {
            case 48...57: digit = byte - 48
            case 65...70: digit = byte - 55
            case 97...102: digit = byte - 87
            default: return nil
            }
            bits = bits << 4 | UInt64(digit)
        }
        self.bits = bits
    }

    /// 16 lower-case hexadecimal digits.
    public var description: String {
        let digits = String(bits, radix: 16)
        return String(repeating: "0", count: 16 - digits.utf8.count) + digits
    }
}
