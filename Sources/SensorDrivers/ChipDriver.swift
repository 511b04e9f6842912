import Readings
import SensorBus

/// A chip that is open and measures when asked. It runs on its bus's thread.
public protocol ChipDriver: Actor {
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
    func measure() async throws(ChipError) -> Measurement
}

/// A chip whose values depend on the air's pressure.
public protocol PressureCompensated: ChipDriver {
    /// The pressures that it takes, hPa.
    static var pressures: ClosedRange<Double> { get }

    /// Tells the chip the air's pressure. The same value again is not sent again.
    /// - Throws: `.invalidSetting` outside `pressures`, and bus errors.
    func setAmbientPressure(_ pressure: Pressure) async throws(ChipError)
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
