import Platform
import Readings

/// A part of a reading that may be at an end of what the contract allows.
public enum Extreme: String, CaseIterable, Sendable {
    /// Each quantity is the smallest or the largest that physics allows, or absent.
    case values
    /// The interval is a millisecond or a week.
    case intervals
    /// The sensor is at a pole, east or west of which there is nothing.
    case places
    /// There are as many faults as a reading may have, with names as long as they may be.
    case faults
    /// The ids of gateways and sensors are as long as they may be.
    case names

    /// Makes this part of a reading extreme. Names are so from the beginning.
    func strike(_ reading: inout Reading, using random: inout SeededGenerator) {
        switch self {
        case .values:
            for quantity in Quantity.all {
                let range = quantity.physicalRange
                let ends = [nil, range.lowerBound, range.upperBound]
                reading.values[quantity] = ends[random.index(below: ends.count)]
            }
        case .intervals:
            reading.intervalMilliseconds =
                random.chance(0.5) ? Reading.intervals.lowerBound : Reading.intervals.upperBound
        case .places:
            reading.place = Place(
                latitude: random.chance(0.5) ? -90 : 90, longitude: random.chance(0.5) ? -180 : 180)
        case .faults:
            reading.faults = (0..<Extreme.mostFaults).compactMap { number in
                guard let chip = Identifier(longest("chip-\(number)")) else { return nil }
                return Identifier(longest("fault")).map { Fault(chip: chip, kind: $0) }
            }
        case .names: break
        }
    }

    /// How many faults the contract allows.
    private static let mostFaults = 64
}

/// A name, made as long as the contract allows.
func longest(_ name: String) -> String {
    let length = 64
    return name.utf8.count < length ? name + String(repeating: "-", count: length - name.utf8.count) : name
}
