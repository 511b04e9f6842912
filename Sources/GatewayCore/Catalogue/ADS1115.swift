import Configuration
import SensorBus
import SensorDrivers
import SimulatedHardware

extension ChipType {
    /// The battery's voltage, and an estimate of its level.
    static let ads1115 = ChipType(
        "ads1115", addresses: ADS1115.addresses, quantities: [.batteryVoltage], parts: [.ads1115], probe: ADS1115.probe,
        hasNoise: false, remark: "the battery: add divider and chemistry"
    ) { section in
        ADS1115.Settings(section)
    }
}

extension ADS1115.Settings: ChipSetup {
    fileprivate init(_ section: Section) {
        self.init()
        input = section.value("channel", as: .input, default: .a0)
        range = section.value("range", as: .range, default: .volts4_096)
        rate = section.value("data_rate", as: .rate, default: .perSecond128)
        curve = section.optional("chemistry", as: .choice(Chemistry.liIon))?.curve
        if let divider = section.optionalSection("divider") {
            let upper = divider.required("upper", as: .number(0...1e9))
            let lower = divider.required("lower", as: .number(1...1e9))
            self.divider = VoltageDivider(upper: upper, lower: lower) ?? .none
        }
    }

    package func open(
        bus: any I2CBus, address: I2CAddress, clock: any Clock<Duration>
    ) async throws(ChipError) -> any ChipDriver {
        try await ADS1115.open(bus: bus, address: address, settings: self, clock: clock)
    }

    package func twin(in world: SimulatedWorld, faults: FaultScript) -> any SimulatedChip {
        SimulatedADS1115(
            world: world, dividerRatio: divider.lower / (divider.upper + divider.lower), faults: faults)
    }

    package var estimatesBatteryLevel: Bool { curve != nil }
}

private enum Chemistry: String, CaseIterable {
    case liIon = "li_ion"
    case liFePO4 = "lifepo4"

    var curve: BatteryCurve { self == .liIon ? .liIon : .liFePO4 }
}

extension Setting where Value == ADS1115.Settings.Input {
    /// An input of the converter.
    fileprivate static var input: Setting {
        Setting(expected: "a channel of 0 to 3", standIn: .a0) { text in
            let inputs: [ADS1115.Settings.Input] = [.a0, .a1, .a2, .a3]
            return Int(text).flatMap { inputs.indices.contains($0) ? inputs[$0] : nil }
        }
    }
}

extension Setting where Value == ADS1115.Settings.Range {
    /// Full scale by its volts.
    fileprivate static var range: Setting {
        let volts = Value.allCases.map { "\($0.volts)" }.joined(separator: ", ")
        return Setting(expected: "one of \(volts) (volts)", standIn: .volts4_096) { text in
            Double(text).flatMap { volts in Value.allCases.first { $0.volts == volts } }
        }
    }
}

extension Setting where Value == ADS1115.Settings.Rate {
    /// Conversions by their number in a second.
    fileprivate static var rate: Setting {
        let numbers = Value.allCases.map { "\($0.perSecond)" }.joined(separator: ", ")
        return Setting(expected: "one of \(numbers) (conversions a second)", standIn: .perSecond128) { text in
            Int(text).flatMap { number in Value.allCases.first { $0.perSecond == number } }
        }
    }
}
