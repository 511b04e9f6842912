import Configuration
import Platform
import Readings
import SensorBus
import SensorDrivers

/// A chip: what it is, where it is, and how it is set.
package struct ChipSettings: Sendable {
    /// The chips that there are drivers for.
    package enum Kind: String, CaseIterable, Sendable {
        case bme280, bmp280, scd40, scd41, sht3x, sht4x, ads1115

        /// The addresses that it can have, the usual one first.
        var addresses: [I2CAddress] {
            switch self {
            case .bme280, .bmp280: BME280.addresses
            case .scd40, .scd41: [SCD4x.address]
            case .sht3x: SHT3x.addresses
            case .sht4x: SHT4x.addresses
            case .ads1115: ADS1115.addresses
            }
        }

        /// What such a chip is called unless it has a name of its own.
        fileprivate var identifier: Identifier { Identifier(rawValue) ?? Identifier(constant: "chip") }
    }

    package var kind: Kind
    package var location: BusLocation
    package var bme280 = BME280.Settings()
    package var scd4x = SCD4x.Settings()
    var sht3x = SHT3x.Settings()
    var sht4x = SHT4x.Settings()
    var ads1115 = ADS1115.Settings()

    /// What the configuration calls it: its type, unless it has a name of its own.
    package var name: Identifier
    /// Whether it has a name of its own, which then stands in its faults too.
    var isNamed: Bool
    /// What is corrected of what it measures.
    var corrections: [Quantity: Correction]

    /// - Parameter channel: the station's; a chip may have another one.
    init(_ section: Section, behind channel: MultiplexerChannel? = nil) {
        kind = section.required("type", as: .choice(.bme280))
        location = BusLocation(
            bus: section.value("bus", as: .integer(0...255), default: 1),
            channel: MultiplexerChannel(section.optionalSection("multiplexer")) ?? channel,
            address: section.value("address", as: .address(kind.addresses), default: kind.addresses[0]))
        if location.address == location.channel?.multiplexer {
            section.problem("its multiplexer has this address", at: "address")
        }
        isNamed = section.has("name")
        name = section.value("name", as: .identifier, default: kind.identifier)
        corrections = Correction.read(section.optionalSection("calibration"), of: kind)
        switch kind {
        case .bme280: bme280.variant = .bme280
        case .bmp280: bme280.variant = .bmp280
        case .scd40, .scd41: scd4x = SCD4x.Settings(section, variant: kind == .scd40 ? .scd40 : .scd41)
        case .sht3x:
            sht3x.precision = section.value("precision", as: .choice(.high), default: .high)
        case .sht4x:
            sht4x.precision = section.value("precision", as: .choice(.high), default: .high)
        case .ads1115:
            ads1115.input = section.value("channel", as: .input, default: .a0)
            ads1115.range = section.value("range", as: .range, default: .volts4_096)
            ads1115.rate = section.value("data_rate", as: .rate, default: .perSecond128)
            ads1115.curve = section.optional("chemistry", as: .choice(Chemistry.liIon))?.curve
            if let divider = section.optionalSection("divider") {
                let upper = divider.required("upper", as: .number(0...1e9))
                let lower = divider.required("lower", as: .number(1...1e9))
                ads1115.divider = VoltageDivider(upper: upper, lower: lower) ?? .none
            }
        }
    }

    private enum Chemistry: String, CaseIterable {
        case liIon = "li_ion"
        case liFePO4 = "lifepo4"

        var curve: BatteryCurve { self == .liIon ? .liIon : .liFePO4 }
    }
}

extension SCD4x.Settings {
    fileprivate init(_ section: Section, variant: SCD4x.Variant) {
        self.init(variant: variant)
        mode = section.value("mode", as: .choice(.periodic), default: .periodic)
        isPoweredDown = section.value("power_down", as: .boolean, default: false)
        temperatureOffset = section.optional("temperature_offset", as: .number(0...20))
        altitude = section.optional("altitude", as: .integer(0...3000))
        automaticSelfCalibration = section.optional("self_calibration", as: .boolean)
        selfCalibrationTarget = section.optional("self_calibration_target", as: .integer(SCD4x.references))
        if mode.period == nil, !variant.hasSingleShot {
            section.problem("an \(variant.part) has no single shots: periodic or low_power", at: "mode")
        }
        if mode.period != nil, isPoweredDown {
            section.problem("it is powered down between single shots only", at: "power_down")
        }
    }
}

extension Setting where Value == I2CAddress {
    /// One of the addresses that a chip can have.
    static func address(_ addresses: [I2CAddress]) -> Setting {
        let names = addresses.map(\.description).joined(separator: ", ")
        let expected = addresses.count == 1 ? "\(names), its only address" : "one of its addresses: \(names)"
        return Setting(expected: expected, standIn: addresses[0]) { text in
            let digits = text.hasPrefix("0x") ? Int(text.dropFirst(2), radix: 16) : Int(text)
            return digits.flatMap { I2CAddress(validating: $0) }.flatMap { addresses.contains($0) ? $0 : nil }
        }
    }
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
