import Readings

/// A quantity that the rules know.
public enum Quantity: String, CaseIterable, Sendable {
    /// Degrees Celsius.
    case temperature
    /// Percent.
    case humidity
    /// Parts per million.
    case co2
    /// Hectopascals.
    case pressure
    /// Percent.
    case batteryLevel = "battery_level"

    /// Its value in a reading.
    public func value(in values: Values) -> Double? {
        switch self {
        case .temperature: values.temperature
        case .humidity: values.humidity
        case .co2: values.co2
        case .pressure: values.pressure
        case .batteryLevel: values.batteryLevel
        }
    }
}

/// Some of the quantities, one bit each in the order of `Quantity.allCases`.
public struct QuantitySet: OptionSet, Sendable, Hashable {
    /// The bits.
    public var rawValue: UInt8

    /// From its bits.
    @inlinable
    public init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    /// The quantities that a reading has.
    @inlinable
    public init(of values: Values) {
        rawValue =
            (values.temperature == nil ? 0 : 1) | (values.humidity == nil ? 0 : 2) | (values.co2 == nil ? 0 : 4)
            | (values.pressure == nil ? 0 : 8) | (values.batteryLevel == nil ? 0 : 16)
    }
}
