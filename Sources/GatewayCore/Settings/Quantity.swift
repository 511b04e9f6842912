import Configuration
import Readings

extension Quantity {
    /// What the corrected value can be in air that people and sensors bear, in the contract's unit: a value beyond it
    /// is a chip or a correction that is wrong. The chips' own ranges, which are narrower, are their drivers' to watch.
    var plausibleRange: ClosedRange<Double> {
        switch self {
        case .temperature: -60...150
        case .co2: 0...50_000
        case .pressure: 300...1250
        default: physicalRange
        }
    }

    /// How far beyond its range a value is taken for the range's end. Saturated air reads up to some percent more than
    /// 100 through any correction, which says no more than the sensor's accuracy; it is no fault.
    var tolerance: Double { self == .humidity ? 5 : 0 }

    /// The largest correction of the offset, in the contract's unit; nil for what is not corrected here.
    ///
    /// The battery has none: what its converter is wrong by is its divider, and a level follows from it.
    fileprivate var largestOffset: Double? {
        switch self {
        case .temperature: 20
        case .humidity: 30
        case .co2: 1000
        case .pressure: 50
        default: nil
        }
    }
}

/// A linear correction of one quantity of one chip, found beside a reference: `gain * value + offset`, in the
/// contract's unit.
package struct Correction: Sendable, Equatable {
    /// What the chip's value is multiplied by, first.
    var gain = 1.0
    /// What is added then.
    var offset = 0.0

    /// The corrected value.
    /// - Returns: nil if it cannot be true of any air.
    func apply(to value: Double, of quantity: Quantity) -> Double? {
        let corrected = gain * value + offset
        let (range, tolerance) = (quantity.plausibleRange, quantity.tolerance)
        // Also what is not a number fails this.
        guard corrected >= range.lowerBound - tolerance, corrected <= range.upperBound + tolerance else { return nil }
        return min(max(corrected, range.lowerBound), range.upperBound)
    }
}

extension Correction {
    /// Reads a chip's `calibration`.
    static func read(_ section: Section?, of type: ChipType) -> [Quantity: Correction] {
        var corrections: [Quantity: Correction] = [:]
        guard let section else { return corrections }
        for quantity in Quantity.measured where section.has(quantity.settingName) {
            let entry = section.section(quantity.settingName)
            let bound = quantity.largestOffset ?? 0
            corrections[quantity] = Correction(
                gain: entry.value("gain", as: .number(0.5...2), default: 1),
                offset: entry.value("offset", as: .number(-bound...bound), default: 0))
            if quantity == .batteryVoltage {
                section.problem("the battery's correction is its divider", at: quantity.settingName)
            } else if !type.quantities.contains(quantity) {
                section.problem("a \(type.name) does not measure it", at: quantity.settingName)
            }
        }
        return corrections
    }
}
