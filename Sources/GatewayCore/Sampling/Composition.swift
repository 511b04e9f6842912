import Readings
import SensorDrivers

/// What the chips of a station gave, put together to what a reading says.
package struct Composition: Sendable, Equatable {
    /// Of each quantity what the first of its chips that has it gave, corrected.
    package private(set) var values = Values()
    /// The chip that gave a quantity, by its index.
    package private(set) var winners: [Quantity: Int] = [:]
    /// What went wrong with each chip, in their order. The failure of a chip stands here also when another one gave its
    /// quantities.
    package private(set) var chipFaults: [Fault?] = []

    /// What went wrong, in the order of the chips.
    var faults: [Fault] { chipFaults.compactMap { $0 } }

    /// - Parameters:
    ///   - station: says which chips give what.
    ///   - results: what each of the station's chips gave, in their order; nil is a chip that was not asked.
    init(_ station: StationSettings, _ results: [Result<Measurement, ChipError>?]) {
        var isBeyondRange = Array(repeating: false, count: station.chips.count)
        for quantity in Quantity.measured {
            for index in station.sources[quantity] ?? [] {
                guard case .success(let measurement)? = results[index] else { continue }
                let correction = station.chips[index].corrections[quantity] ?? Correction()
                let outcome = values.take(quantity, from: measurement, correction)
                if outcome == .taken {
                    winners[quantity] = index
                    break
                }
                if outcome == .beyondRange { isBeyondRange[index] = true }
            }
        }
        for (index, chip) in station.chips.enumerated() {
            if case .failure(let error)? = results[index] {
                chipFaults.append(chip.isNamed ? Fault(chip: chip.name, kind: error.fault.kind) : error.fault)
            } else if isBeyondRange[index] {
                chipFaults.append(Fault(chip: chip.name, kind: Identifier(constant: "out_of_range")))
            } else {
                chipFaults.append(nil)
            }
        }
    }
}

extension Values {
    fileprivate enum Outcome {
        /// The measurement's value stands here now.
        case taken
        /// The chip did not measure it.
        case absent
        /// The chip's value cannot be true.
        case beyondRange
    }

    /// Takes one quantity of a chip's measurement, corrected.
    fileprivate mutating func take(
        _ quantity: Quantity, from measurement: Measurement, _ correction: Correction
    ) -> Outcome {
        guard let raw = measurement.values[quantity] else { return .absent }
        guard let value = correction.apply(to: raw, of: quantity) else { return .beyondRange }
        self[quantity] = value
        if quantity == .batteryVoltage { self[.batteryLevel] = measurement.values[.batteryLevel] }
        return .taken
    }
}
