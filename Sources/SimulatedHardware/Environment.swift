import Readings

/// The air of a place and the station's battery at one moment.
public struct Conditions: Sendable, Equatable {
    private var values = QuantityArray<Double>(repeating: 0)

    /// Makes the air of an ordinary room, but for what is named.
    public init(
        temperature: Double? = nil, humidity: Double? = nil, co2: Double? = nil, pressure: Double? = nil,
        battery: Double? = nil
    ) {
        for quantity in Quantity.measured { values[quantity] = quantity.ofAnOrdinaryRoom }
        let named: Values = [
            .temperature: temperature, .humidity: humidity, .co2: co2, .pressure: pressure, .batteryVoltage: battery,
        ]
        for quantity in named.present.members { values[quantity] = named[quantity] ?? 0 }
    }

    /// A quantity that chips measure, in the contract's unit.
    public subscript(quantity: Quantity) -> Double {
        get { values[quantity] }
        set { values[quantity] = newValue }
    }

    /// Degrees Celsius.
    public var temperature: Double { self[.temperature] }
    /// Relative humidity, percent.
    public var humidity: Double { self[.humidity] }
    /// Carbon dioxide, parts per million.
    public var co2: Double { self[.co2] }
    /// Air pressure, hectopascals.
    public var pressure: Double { self[.pressure] }
    /// Battery voltage, volts.
    public var battery: Double { self[.batteryVoltage] }
}

extension Quantity {
    /// Its value in a room in which nothing happens.
    fileprivate var ofAnOrdinaryRoom: Double {
        switch self {
        case .temperature: 21
        case .humidity: 45
        case .co2: 600
        case .pressure: 1013.25
        case .batteryVoltage: 3.9
        case .batteryLevel, .vocIndex: 100
        case .pm2_5: 6
        }
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
