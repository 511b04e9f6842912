import Readings
import SensorBus
import SimulatedHardware

/// What somebody wants of simulated hardware while it runs: a line of words, as a shell gives them.
public enum ControlRequest: Sendable, Equatable {
    /// Which chip: by its address, its address on a bus, or its name in a station.
    public enum ChipName: Sendable, Equatable, CustomStringConvertible {
        /// Such as `0x76`, where only one chip has that address.
        case address(I2CAddress)
        /// Such as `1:0x76`.
        case location(bus: Int, I2CAddress)
        /// Such as `cellar-air/bme280`.
        case member(station: String, name: String)

        /// Reads a name.
        init?(_ text: some StringProtocol) {
            func address(_ text: some StringProtocol) -> I2CAddress? {
                guard text.hasPrefix("0x"), let number = Int(text.dropFirst(2), radix: 16) else { return nil }
                return I2CAddress(validating: number)
            }
            if let slash = text.firstIndex(of: "/") {
                self = .member(station: String(text[..<slash]), name: String(text[text.index(after: slash)...]))
            } else if let colon = text.firstIndex(of: ":") {
                guard let bus = Int(text[..<colon]), let address = address(text[text.index(after: colon)...])
                else { return nil }
                self = .location(bus: bus, address)
            } else {
                guard let address = address(text) else { return nil }
                self = .address(address)
            }
        }

        /// As it is written.
        public var description: String {
            switch self {
            case .address(let address): "\(address)"
            case .location(let bus, let address): "\(bus):\(address)"
            case .member(let station, let name): "\(station)/\(name)"
            }
        }
    }

    /// A quantity and its value; nil gives it free.
    public struct Holding: Sendable, Equatable {
        var quantity: Quantity
        var value: Double?
    }

    /// Hold quantities of a station's air and battery at values.
    case set(station: String, [Holding])
    /// Begin a fault of a chip, or end it.
    case fault(ChipName, FaultScript.Kind, Bool)
    /// Hold a bus's lines low, or let them go.
    case wedge(bus: Int, Bool)
    /// End the faults of a chip; of all chips and buses if nil.
    case heal(ChipName?)
    /// Drive a GPIO line, by its number or its role, from outside.
    case line(String, high: Bool)
    /// Say how everything is.
    case status(json: Bool)

    /// A request that cannot be read.
    public struct Malformed: Error, Sendable, Equatable, CustomStringConvertible {
        /// What was expected, and what was found.
        public var description: String
    }

    /// The longest line that is read, bytes.
    static let longestLine = 1024

    /// Reads a line's words.
    public init(_ words: [String]) throws(Malformed) {
        let operands = Array(words.dropFirst())
        func count(_ counts: ClosedRange<Int>, _ expected: String) throws(Malformed) {
            guard counts.contains(operands.count) else {
                throw Malformed(description: "expected \(words[0]) \(expected)")
            }
        }
        func chip() throws(Malformed) -> ChipName {
            guard let name = ChipName(operands[0]) else {
                throw Malformed(
                    description:
                        "\"\(operands[0])\" is no chip: expected an address such as 0x76, BUS:ADDRESS or STATION/NAME")
            }
            return name
        }
        func bus() throws(Malformed) -> Int {
            guard let bus = Int(operands[0]) else {
                throw Malformed(description: "\"\(operands[0])\" is no bus: expected its number")
            }
            return bus
        }
        switch words.first {
        case "set":
            try count(2...16, "STATION QUANTITY=VALUE...")
            var holdings: [Holding] = []
            for word in operands.dropFirst() { holdings.append(try Holding(word)) }
            self = .set(station: operands[0], holdings)
        case "unplug":
            try count(1...1, "CHIP")
            self = .fault(try chip(), .unplug, true)
        case "plug":
            try count(1...1, "CHIP")
            self = .fault(try chip(), .unplug, false)
        case "stick":
            try count(1...1, "CHIP")
            self = .fault(try chip(), .freeze, true)
        case "fault":
            try count(2...2, "CHIP KIND")
            guard let kind = FaultScript.Kind(rawValue: operands[1]) else {
                let kinds = FaultScript.Kind.allCases.map(\.rawValue).joined(separator: ", ")
                throw Malformed(description: "\"\(operands[1])\" is no fault: expected \(kinds)")
            }
            self = .fault(try chip(), kind, true)
        case "heal":
            try count(0...1, "[CHIP]")
            self = .heal(operands.isEmpty ? nil : try chip())
        case "wedge":
            try count(1...1, "BUS")
            self = .wedge(bus: try bus(), true)
        case "line":
            try count(2...2, "LINE high|low")
            guard operands[1] == "high" || operands[1] == "low" else {
                throw Malformed(description: "\"\(operands[1])\" is no level: expected high or low")
            }
            self = .line(operands[0], high: operands[1] == "high")
        case "status":
            try count(0...1, "[json]")
            guard operands.isEmpty || operands == ["json"] else {
                throw Malformed(description: "expected status [json]")
            }
            self = .status(json: !operands.isEmpty)
        default:
            throw Malformed(description: "unknown request \"\(words.first ?? "")\"")
        }
    }
}

extension ControlRequest.Holding {
    fileprivate init(_ text: String) throws(ControlRequest.Malformed) {
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, let quantity = Quantity.measured.first(where: { $0.settingName == parts[0] }) else {
            let names = Quantity.measured.map(\.settingName).joined(separator: ", ")
            throw ControlRequest.Malformed(
                description: "\"\(text)\": expected QUANTITY=VALUE, where the quantity is one of \(names)")
        }
        self.quantity = quantity
        if parts[1] == "free" { return }
        guard let value = Double(parts[1]), quantity.physicalRange.contains(value) else {
            throw ControlRequest.Malformed(
                description:
                    "\"\(text)\": expected a number from \(quantity.physicalRange.lowerBound) to \(quantity.physicalRange.upperBound), or free"
            )
        }
        self.value = value
    }
}
