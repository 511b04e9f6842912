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

/// What a chip measured in one go; what is nil it did not measure.
public struct Measurement: Sendable, Hashable {
    /// Of the air at the chip.
    public var temperature: Temperature?
    /// Of the air at the chip.
    public var humidity: RelativeHumidity?
    /// Carbon dioxide in the air.
    public var co2: Concentration?
    /// Of the air, at the station's height: not reduced to sea level.
    public var pressure: Pressure?
    /// Of the battery, ahead of the divider.
    public var batteryVoltage: Voltage?
    /// Of the battery, an estimate from its voltage.
    public var batteryLevel: ChargeLevel?

    /// Makes a measurement; what is not named was not measured.
    public init(
        temperature: Temperature? = nil, humidity: RelativeHumidity? = nil, co2: Concentration? = nil,
        pressure: Pressure? = nil, batteryVoltage: Voltage? = nil, batteryLevel: ChargeLevel? = nil
    ) {
        self.temperature = temperature
        self.humidity = humidity
        self.co2 = co2
        self.pressure = pressure
        self.batteryVoltage = batteryVoltage
        self.batteryLevel = batteryLevel
    }
}
