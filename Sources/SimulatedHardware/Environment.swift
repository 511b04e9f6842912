import Readings

/// The air of a place and the station's battery at one moment.
public struct Conditions: Sendable, Equatable {
    /// Degrees Celsius.
    public var temperature: Double
    /// Relative humidity, percent.
    public var humidity: Double
    /// Carbon dioxide, parts per million.
    public var co2: Double
    /// Air pressure, hectopascals.
    public var pressure: Double
    /// Battery voltage, volts.
    public var battery: Double

    /// Makes conditions.
    public init(
        temperature: Double = 21, humidity: Double = 45, co2: Double = 600, pressure: Double = 1013.25,
        battery: Double = 3.9
    ) {
        self.temperature = temperature
        self.humidity = humidity
        self.co2 = co2
        self.pressure = pressure
        self.battery = battery
    }
}

/// The air of a place over time. The same time always gives the same air.
public protocol Environment: Sendable {
    /// The air at a time.
    func conditions(at time: Timestamp) -> Conditions
}

/// Air that never changes.
public struct ConstantEnvironment: Environment {
    /// The air.
    public var conditions: Conditions

    /// Makes such air.
    public init(_ conditions: Conditions = Conditions()) {
        self.conditions = conditions
    }

    /// The air, at any time.
    public func conditions(at time: Timestamp) -> Conditions {
        conditions
    }
}
