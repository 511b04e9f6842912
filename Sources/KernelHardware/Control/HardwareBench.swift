import Presentation
import Readings
import SensorBus
import SimulatedHardware

/// Simulated hardware and what may be done to it while it runs.
public struct HardwareBench: Sendable {
    private let board: SimulatedBoard
    private let lines: SimulatedLines?
    /// The device files of the buses by their numbers, and of the lines.
    private let adapters: [Int: String]
    private let gpioChip: String?

    /// Makes a bench.
    /// - Parameters:
    ///   - board: the chips.
    ///   - adapters: the device file of each bus.
    ///   - lines: the GPIO lines, if there are any.
    ///   - gpioChip: their device file.
    public init(_ board: SimulatedBoard, adapters: [Int: String], lines: SimulatedLines?, gpioChip: String?) {
        self.board = board
        self.adapters = adapters
        self.lines = lines
        self.gpioChip = gpioChip
    }

    /// Something that is asked for and is not there.
    public struct Unknown: Error, Sendable, Equatable, CustomStringConvertible {
        /// What, and what there is.
        public var description: String
    }

    /// Does what is asked for.
    /// - Returns: what to print; often nothing.
    public func execute(_ request: ControlRequest) throws(Unknown) -> String {
        switch request {
        case .set(let name, let holdings):
            guard let station = board.stations.first(where: { $0.name == name }) else {
                throw unknown("station", name, board.stations.map(\.name))
            }
            for holding in holdings { station.air.hold(holding.quantity, at: holding.value) }
        case .fault(let name, let kind, let isInForce):
            try chip(name).faults.set(kind, isInForce)
        case .heal(let name?):
            try chip(name).faults.heal()
        case .heal(nil):
            for chip in board.chips { chip.faults.heal() }
            for bus in board.buses.values { bus.isWedged = false }
        case .wedge(let number, let isWedged):
            guard let bus = board.buses[number] else {
                throw unknown("bus", "\(number)", board.buses.keys.sorted().map(String.init))
            }
            bus.isWedged = isWedged
        case .line(let name, let isHigh):
            guard let lines else { throw Unknown(description: "there are no GPIO lines") }
            guard let offset = lines.offset(named: name) else {
                throw unknown("line", name, SimulatedLines.offsets.map { lines.roles[$0] ?? "\($0)" })
            }
            lines.drive(offset, high: isHigh)
        case .status(let isJSON):
            return isJSON ? statusJSON : statusText
        }
        return ""
    }

    private func chip(_ name: ControlRequest.ChipName) throws(Unknown) -> SimulatedBoard.Chip {
        let found = board.chips.filter { chip in
            switch name {
            case .address(let address): chip.address == address
            case .location(let bus, let address): chip.bus == bus && chip.address == address
            case .member(let station, let name): chip.station == station && chip.name == name
            }
        }
        guard let chip = found.first else {
            throw unknown("chip", "\(name)", board.chips.map { "\($0.station)/\($0.name)" })
        }
        guard found.count == 1 else {
            let names = found.map { "\($0.station)/\($0.name) at \($0.bus):\($0.address)" }.joined(separator: ", ")
            throw Unknown(description: "\(name) may be any of \(names)")
        }
        return chip
    }

    private func unknown(_ what: String, _ name: String, _ all: [String]) -> Unknown {
        Unknown(description: "there is no \(what) \(name); there are \(all.joined(separator: ", "))")
    }

    /// For a person.
    public var statusText: String {
        var text = ""
        for (number, bus) in board.buses.sorted(by: { $0.key < $1.key }) {
            text += "bus \(number)  \(adapters[number] ?? "not plugged in")\(bus.isWedged ? "  WEDGED" : "")\n"
            for chip in board.chips where chip.bus == number {
                let faults = chip.faults.faults.map(\.rawValue).joined(separator: ", ")
                let condition = chip.faults.isPowered ? faults.isEmpty ? "sound" : faults : "no power"
                let behind = chip.channel.map { "  behind \($0.multiplexer) channel \($0.number)" } ?? ""
                text += "  \(chip.address)  \(chip.name)  \(chip.station)  \(condition)\(behind)\n"
            }
        }
        for station in board.stations where !station.air.held.isEmpty {
            let held = Quantity.measured.compactMap { quantity in
                station.air.held[quantity].map { "\(quantity.settingName)=\($0)" }
            }
            text += "\(station.name)  \(held.joined(separator: " "))\n"
        }
        if let lines {
            text += "lines  \(gpioChip ?? "not plugged in")\n"
            for (offset, line) in lines.lines.enumerated() {
                let role = lines.roles[offset].map { "  \($0)" } ?? ""
                text += "  \(offset)  \(line.isOutput ? "output" : "input")  \(line.isHigh ? "high" : "low")\(role)\n"
            }
        }
        return text
    }

    /// For a program: one line.
    private var statusJSON: String {
        let buses = board.buses.sorted { $0.key < $1.key }.map { number, bus -> JSON in
            ["bus": .of(number), "device": .of(adapters[number]), "wedged": .bool(bus.isWedged)]
        }
        let chips = board.chips.map { chip -> JSON in
            [
                "station": .string(chip.station), "chip": .string(chip.name), "bus": .of(chip.bus),
                "address": .string("\(chip.address)"),
                "behind": chip.channel.map {
                    ["multiplexer": .string("\($0.multiplexer)"), "channel": .of($0.number)]
                } ?? .null,
                "powered": .bool(chip.faults.isPowered),
                "faults": .array(chip.faults.faults.map { .string($0.rawValue) }),
            ]
        }
        let stations = board.stations.map { station -> JSON in
            let held = station.air.held
            let quantities = Quantity.measured.filter { held[$0] != nil }
            return [
                "station": .string(station.name),
                "held": .object(quantities.map { .init(name: $0.settingName, value: .of(held[$0])) }),
            ]
        }
        let levels = (lines?.lines ?? []).enumerated().map { offset, line -> JSON in
            [
                "line": .of(offset), "role": .of(lines?.roles[offset]),
                "direction": line.isOutput ? "output" : "input", "level": line.isHigh ? "high" : "low",
                "changes": .of(line.changes),
            ]
        }
        let all: JSON = [
            "buses": .array(buses), "chips": .array(chips), "stations": .array(stations), "gpio": .of(gpioChip),
            "lines": .array(levels),
        ]
        return all.text + "\n"
    }
}
