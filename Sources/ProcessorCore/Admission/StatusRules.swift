import Readings
import Windowing

/// A quantity that the rules and the windows know.
enum Quantity: String, CaseIterable, Sendable {
    case temperature, humidity, co2, pressure
    case batteryLevel = "battery_level"

    /// Its value in a reading.
    func value(in values: Values) -> Double? {
        switch self {
        case .temperature: values.temperature
        case .humidity: values.humidity
        case .co2: values.co2
        case .pressure: values.pressure
        case .batteryLevel: values.batteryLevel
        }
    }
}

/// Some of the quantities.
struct QuantitySet: OptionSet, Sendable, Hashable {
    /// One bit a quantity.
    var rawValue: UInt8

    /// The quantities that a reading has.
    init(of values: Values) {
        rawValue =
            (values.temperature == nil ? 0 : 1) | (values.humidity == nil ? 0 : 2) | (values.co2 == nil ? 0 : 4)
            | (values.pressure == nil ? 0 : 8) | (values.batteryLevel == nil ? 0 : 16)
    }

    /// From the database.
    init(rawValue: UInt8) {
        self.rawValue = rawValue
    }
}

/// When a reading is worth a warning, and when it is a failure.
public struct StatusRules: Sendable, Equatable {
    /// The values of a quantity that are nothing to speak of, in the contract's units.
    var normal: [Quantity: ClosedRange<Double>] = [:]

    /// Rules that never warn.
    public init() {}

    /// Classifies a reading.
    /// - Parameters:
    ///   - values: its quantities.
    ///   - hasFaults: whether it reports faults.
    ///   - known: the quantities that its sensor has given before.
    func status(of values: Values, hasFaults: Bool, known: QuantitySet) -> Status {
        if hasFaults || !QuantitySet(of: values).isSuperset(of: known) { return .failure }
        for (quantity, range) in normal {
            if let value = quantity.value(in: values), !range.contains(value) { return .warning }
        }
        return .ok
    }
}
