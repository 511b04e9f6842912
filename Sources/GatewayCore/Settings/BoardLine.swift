import SensorBus

/// A line of the board's settings that is named by its number on a chip.
public struct BoardLine: Sendable, Equatable {
    /// What it is for, as the settings say it.
    public enum Role: String, Sendable {
        case powerGood = "power_good"
        case charging
        case sensorPower = "sensor_power"
        case statusLight = "status_light"
    }

    /// What it is for.
    public var role: Role
    /// Its number.
    public var offset: Int
    /// Whether low means active.
    public var isActiveLow: Bool
}

extension GatewaySettings {
    /// The board's lines on a chip, by its label.
    public func boardLines(chip label: String) -> [BoardLine] {
        let lines: [(BoardLine.Role, GPIOLineID?, Bool?)] = [
            (.powerGood, board.powerGood?.line, board.powerGood?.options.isActiveLow),
            (.charging, board.charging?.line, board.charging?.options.isActiveLow),
            (.sensorPower, board.sensorPower?.output.line, board.sensorPower?.output.options.isActiveLow),
            (.statusLight, board.statusLight?.line, board.statusLight?.options.isActiveLow),
        ]
        return lines.compactMap { role, line, isActiveLow in
            guard case .offset(let offset, chip: label)? = line, let isActiveLow else { return nil }
            return BoardLine(role: role, offset: Int(offset), isActiveLow: isActiveLow)
        }
    }
}
