import Readings

/// What a number of the contract may be; anything beyond is a message that no sensor on Earth sent.
public struct PhysicalLimits: Sendable, Equatable {
    /// By the order of `Quantity.all`.
    private(set) var ranges = Quantity.all.map(\.physicalRange)
    /// Event times before this are a clock that was never set, in milliseconds since 1970.
    public var earliestEventTime: Int64 = 946_684_800_000  // 2000-01-01
    /// How far an event may lie in the processor's future, in milliseconds.
    public var futureTolerance: Int64 = 300_000

    /// The defaults.
    public init() {}

    /// What the values of a quantity may be, in the contract's unit.
    public subscript(quantity: Quantity) -> ClosedRange<Double> {
        get { ranges[Int(quantity.rawValue)] }
        set { ranges[Int(quantity.rawValue)] = newValue }
    }
}
