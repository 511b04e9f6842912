/// Two resistors that bring a battery's voltage into the converter's range.
public struct VoltageDivider: Sendable, Hashable {
    /// From the battery to the converter's input, ohms.
    public let upper: Double
    /// From the converter's input to ground, ohms.
    public let lower: Double

    /// Makes a divider.
    /// - Returns: nil unless both are finite, `upper` is not negative and `lower` is positive.
    public init?(upper: Double, lower: Double) {
        guard upper >= 0, upper.isFinite, lower > 0, lower.isFinite else { return nil }
        self.upper = upper
        self.lower = lower
    }

    private init(direct: Void) {
        upper = 0
        lower = 1
    }

    /// The battery straight at the input.
    public static let none = VoltageDivider(direct: ())

    /// The battery's voltage from the input's.
    func source(of voltage: Voltage) -> Voltage {
        Voltage(volts: voltage.volts * (upper + lower) / lower)
    }
}

/// How a cell's voltage falls as it is emptied, by its chemistry.
///
/// The curves are of a cell at rest at room temperature. Under load, in the cold, and on LiFePO4's flat middle the level
/// that they give is a rough estimate.
public enum BatteryCurve: String, Sendable, CaseIterable {
    /// Lithium-ion with a cobalt or manganese cathode, 4.2 V when full.
    case liIon
    /// Lithium iron phosphate, 3.4 V at rest when full.
    case liFePO4

    /// Millivolts at 0, 10 ... 100 %.
    private var millivolts: [Double] {
        switch self {
        case .liIon: [3100, 3300, 3420, 3530, 3630, 3720, 3800, 3890, 3990, 4050, 4190]
        case .liFePO4: [3000, 3120, 3200, 3230, 3250, 3260, 3270, 3290, 3320, 3350, 3400]
        }
    }

    /// An estimate of what is left in one cell: linear between the curve's points, 0 and 100 % beyond its ends.
    public func level(of voltage: Voltage) -> ChargeLevel {
        let millivolts = self.millivolts
        let value = voltage.volts * 1000
        guard let above = millivolts.firstIndex(where: { value < $0 }) else { return ChargeLevel(percent: 100) }
        guard above > 0 else { return ChargeLevel(percent: 0) }
        let fraction = (value - millivolts[above - 1]) / (millivolts[above] - millivolts[above - 1])
        return ChargeLevel(percent: (Double(above - 1) + fraction) * 10)
    }
}
