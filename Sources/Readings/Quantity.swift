/// What a reading may say of the air and of the battery: the one list of quantities from which encoder, parser, limits,
/// outbox, windows, rules and tables take what they need.
///
/// To add one: a case at the end with its properties below, a migration with its columns, and its words in the dashboard.
/// `QuantityArray` must have room for it.
public enum Quantity: UInt8, CaseIterable, Sendable {
    // The raw values are bits of `sensor.quantities` in the database; they never change.
    case temperature = 0
    case humidity
    case co2
    case pressure
    case batteryLevel
    case batteryVoltage
    case vocIndex
    case pm2_5

    /// The name in the contract, and of its column in the outbox and in `sensor_data` and `sensor`.
    public var name: String {
        switch self {
        case .temperature: "temperature"
        case .humidity: "humidity"
        case .co2: "co2"
        case .pressure: "pressure"
        case .batteryLevel: "battery_level"
        case .batteryVoltage: "battery_voltage"
        case .vocIndex: "voc_index"
        case .pm2_5: "pm2_5"
        }
    }

    /// The unit in the contract, for a person.
    public var unit: String {
        switch self {
        case .temperature: "°C"
        case .humidity: "%RH"
        case .co2: "ppm"
        case .pressure: "hPa"
        case .batteryLevel: "%"
        case .batteryVoltage: "V"
        case .vocIndex: ""
        case .pm2_5: "µg/m³"
        }
    }

    /// Digits behind the point that mean something in one reading.
    public var digits: Int {
        switch self {
        case .temperature: 2
        case .humidity, .pressure, .pm2_5: 1
        case .co2, .batteryLevel, .vocIndex: 0
        case .batteryVoltage: 3
        }
    }

    /// What physics allows, in the contract's unit: the default of the processor's `limits`. A value beyond it makes the
    /// message rejected.
    public var physicalRange: ClosedRange<Double> {
        switch self {
        case .temperature: -100...200
        case .humidity: 0...100
        case .co2: 0...1_000_000
        case .pressure: 1...2000
        case .batteryLevel: 0...100
        case .batteryVoltage: 0...1000
        // 100 is the mean of the sensor's last day, 1 the cleanest air.
        case .vocIndex: 1...500
        case .pm2_5: 0...1000
        }
    }

    /// Whether windows, rules and a sensor's status take it into account. The battery's voltage only stands in its row:
    /// what matters of it is the level.
    public var isAggregated: Bool { self != .batteryVoltage }

    /// All quantities, in the contract's order.
    public static let all = Array(allCases)
    /// Those that windows and rules know, in the same order.
    public static let aggregated = allCases.filter(\.isAggregated)

    /// What chips measure, in the same order. The level of a battery follows from its voltage.
    public static let measured = allCases.filter { $0 != .batteryLevel }

    /// The name where people set what chips measure: `battery` is the voltage with the level, which belong together.
    public var settingName: String { self == .batteryVoltage ? "battery" : name }

    /// The quantity of a name in the contract; nil if there is none.
    public init?(name: some StringProtocol) {
        guard let quantity = Quantity.all.first(where: { $0.name == name }) else { return nil }
        self = quantity
    }
}

/// Some of the quantities, one bit each.
public struct QuantitySet: OptionSet, Sendable, Hashable {
    /// Bit i is the quantity whose raw value is i.
    public var rawValue: UInt16

    /// A set from its bits.
    @inlinable
    public init(rawValue: UInt16) {
        self.rawValue = rawValue
    }

    /// The set of one quantity.
    @inlinable
    public init(_ quantity: Quantity) {
        rawValue = 1 << UInt16(quantity.rawValue)
    }

    /// The quantities that windows and rules know.
    public static let aggregated = Quantity.aggregated.reduce(into: QuantitySet()) { $0.insert(QuantitySet($1)) }

    /// The quantities that a reading has, of those that windows and rules know.
    @inlinable
    public init(of values: Values) {
        self = values.present.intersection(.aggregated)
    }

    /// Whether a quantity is among them.
    @inlinable
    public func contains(_ quantity: Quantity) -> Bool { rawValue & (1 << UInt16(quantity.rawValue)) != 0 }
}

extension QuantitySet {
    /// The quantities one by one, in the order of their bits.
    public struct Members: Sequence, IteratorProtocol {
        @usableFromInline
        var rest: UInt16

        @inlinable
        init(rest: UInt16) {
            self.rest = rest
        }

        /// The next quantity.
        @inlinable
        public mutating func next() -> Quantity? {
            guard rest != 0 else { return nil }
            defer { rest &= rest - 1 }
            return Quantity(rawValue: UInt8(truncatingIfNeeded: rest.trailingZeroBitCount))
        }
    }

    /// The quantities one by one, in the order of their bits.
    @inlinable
    public var members: Members { Members(rest: rawValue) }
}

/// One element for each quantity, in place: making or copying it allocates nothing.
public struct QuantityArray<Element: BitwiseCopyable & Sendable>: Sendable {
    @usableFromInline
    var elements: (Element, Element, Element, Element, Element, Element, Element, Element)

    /// How many quantities there is room for.
    public static var capacity: Int { 8 }

    /// The same element for each quantity.
    @inlinable
    public init(repeating element: Element) {
        elements = (element, element, element, element, element, element, element, element)
    }

    /// The element of a quantity.
    @inlinable
    public subscript(quantity: Quantity) -> Element {
        get {
            switch quantity.rawValue {
            case 0: elements.0
            case 1: elements.1
            case 2: elements.2
            case 3: elements.3
            case 4: elements.4
            case 5: elements.5
            case 6: elements.6
            default: elements.7
            }
        }
        set {
            switch quantity.rawValue {
            case 0: elements.0 = newValue
            case 1: elements.1 = newValue
            case 2: elements.2 = newValue
            case 3: elements.3 = newValue
            case 4: elements.4 = newValue
            case 5: elements.5 = newValue
            case 6: elements.6 = newValue
            default: elements.7 = newValue
            }
        }
    }
}

extension QuantityArray: Equatable where Element: Equatable {
    /// Equal if the elements of every quantity are.
    public static func == (left: QuantityArray, right: QuantityArray) -> Bool {
        Quantity.all.allSatisfy { left[$0] == right[$0] }
    }
}

/// The quantities of a reading, each in its unit of the contract; what is absent was not measured, which is never the same
/// as zero.
public struct Values: Sendable, Equatable, ExpressibleByDictionaryLiteral {
    /// The quantities that are there.
    @inlinable
    public var present: QuantitySet { presence }
    @usableFromInline
    var presence: QuantitySet = []
    /// Zero where nothing is there, so that equal values have equal bits.
    @usableFromInline
    var numbers = QuantityArray<Double>(repeating: 0)

    /// Nothing.
    public init() {}

    /// What is named; nil is the same as what is not named.
    public init(dictionaryLiteral elements: (Quantity, Double?)...) {
        for (quantity, value) in elements { self[quantity] = value }
    }

    /// The value of a quantity; nil if it is absent.
    @inlinable
    public subscript(quantity: Quantity) -> Double? {
        get { presence.contains(quantity) ? numbers[quantity] : nil }
        set {
            if let newValue {
                insert(newValue, of: quantity)
            } else {
                remove(quantity)
            }
        }
    }

    /// Sets the value of a quantity.
    @inlinable
    public mutating func insert(_ value: Double, of quantity: Quantity) {
        presence.formUnion(QuantitySet(quantity))
        numbers[quantity] = value
    }

    @inlinable
    mutating func remove(_ quantity: Quantity) {
        presence.subtract(QuantitySet(quantity))
        numbers[quantity] = 0
    }
}
