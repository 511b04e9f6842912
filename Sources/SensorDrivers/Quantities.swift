import Readings

/// A temperature.
public struct Temperature: Sendable, Hashable {
    /// Degrees Celsius.
    public var celsius: Double

    /// Makes a temperature from degrees Celsius.
    public init(celsius: Double) {
        self.celsius = celsius
    }
}

/// Relative humidity of the air.
public struct RelativeHumidity: Sendable, Hashable {
    /// Percent, 0 to 100.
    public var percent: Double

    /// Makes a humidity from percent.
    public init(percent: Double) {
        self.percent = percent
    }
}

/// A pressure.
public struct Pressure: Sendable, Hashable {
    /// Hectopascals (millibars).
    public var hectopascals: Double

    /// Makes a pressure from hectopascals.
    public init(hectopascals: Double) {
        self.hectopascals = hectopascals
    }
}

/// The share of a gas in the air, by volume.
public struct Concentration: Sendable, Hashable {
    /// Parts per million.
    public var partsPerMillion: Double

    /// Makes a concentration from parts per million.
    public init(partsPerMillion: Double) {
        self.partsPerMillion = partsPerMillion
    }
}

/// An electric potential.
public struct Voltage: Sendable, Hashable {
    /// Volts.
    public var volts: Double

    /// Makes a voltage from volts.
    public init(volts: Double) {
        self.volts = volts
    }
}

/// What is left in a battery.
public struct ChargeLevel: Sendable, Hashable {
    /// Percent, 0 to 100.
    public var percent: Double

    /// Makes a level from percent.
    public init(percent: Double) {
        self.percent = percent
    }
}

/// What a chip measured in one go; what is absent it did not measure.
public struct Measurement: Sendable, Equatable {
    /// The quantities, in the contract's units.
    public var values: Values

    /// Makes a measurement from quantities in the contract's units.
    public init(_ values: Values) {
        self.values = values
    }

    /// Makes a measurement; what is not named was not measured.
    public init(
        temperature: Temperature? = nil, humidity: RelativeHumidity? = nil, co2: Concentration? = nil,
        pressure: Pressure? = nil, batteryVoltage: Voltage? = nil, batteryLevel: ChargeLevel? = nil
    ) {
        values = [
            .temperature: temperature?.celsius, .humidity: humidity?.percent, .co2: co2?.partsPerMillion,
            .pressure: pressure?.hectopascals, .batteryVoltage: batteryVoltage?.volts,
            .batteryLevel: batteryLevel?.percent,
        ]
    }

    /// Of the air at the chip.
    public var temperature: Temperature? {
        get { values[.temperature].map { Temperature(celsius: $0) } }
        set { values[.temperature] = newValue?.celsius }
    }

    /// Of the air at the chip.
    public var humidity: RelativeHumidity? {
        get { values[.humidity].map { RelativeHumidity(percent: $0) } }
        set { values[.humidity] = newValue?.percent }
    }

    /// Carbon dioxide in the air.
    public var co2: Concentration? {
        get { values[.co2].map { Concentration(partsPerMillion: $0) } }
        set { values[.co2] = newValue?.partsPerMillion }
    }

    /// Of the air, at the station's height: not reduced to sea level.
    public var pressure: Pressure? {
        get { values[.pressure].map { Pressure(hectopascals: $0) } }
        set { values[.pressure] = newValue?.hectopascals }
    }

    /// Of the battery, ahead of the divider.
    public var batteryVoltage: Voltage? {
        get { values[.batteryVoltage].map { Voltage(volts: $0) } }
        set { values[.batteryVoltage] = newValue?.volts }
    }

    /// Of the battery, an estimate from its voltage.
    public var batteryLevel: ChargeLevel? {
        get { values[.batteryLevel].map { ChargeLevel(percent: $0) } }
        set { values[.batteryLevel] = newValue?.percent }
    }
}
