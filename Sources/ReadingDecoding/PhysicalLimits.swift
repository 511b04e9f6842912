/// What a number of the contract may be; anything beyond is a message that no sensor on Earth sent.
public struct PhysicalLimits: Sendable, Equatable {
    /// Degrees Celsius.
    public var temperature: ClosedRange<Double> = -100...200
    /// Relative humidity, percent.
    public var humidity: ClosedRange<Double> = 0...100
    /// Carbon dioxide, parts per million.
    public var co2: ClosedRange<Double> = 0...1_000_000
    /// Air pressure, hectopascals.
    public var pressure: ClosedRange<Double> = 1...2000
    /// Battery charge, percent.
    public var batteryLevel: ClosedRange<Double> = 0...100
    /// Battery voltage, volts.
    public var batteryVoltage: ClosedRange<Double> = 0...1000
    /// Event times before this are a clock that was never set, in milliseconds since 1970.
    public var earliestEventTime: Int64 = 946_684_800_000  // 2000-01-01
    /// How far an event may lie in the processor's future, in milliseconds.
    public var futureTolerance: Int64 = 300_000

    /// The defaults.
    public init() {}
}
