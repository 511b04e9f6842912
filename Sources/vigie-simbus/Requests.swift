import Commands
import KernelHardware
import Readings
import SimulatedHardware

/// A subcommand that is one request to a running `vigie-simbus run`.
protocol Request: Command {
    var control: String { get set }
    var words: [String] { get set }
}

extension Request {
    static var options: [CommandOption<Self>] { [controlOption] }

    static var controlOption: CommandOption<Self> {
        .value("control", "SOCKET", \.control, "Where 'vigie-simbus run' listens.", completion: .files)
    }

    mutating func take(operands: [String]) throws(UsageError) {
        words = [Self.name] + operands
        do throws(ControlRequest.Malformed) {
            _ = try ControlRequest(words)
        } catch {
            throw UsageError("\(error)")
        }
    }

    func run() async throws {
        print(try ControlSocket.send(words, to: control), terminator: "")
    }
}

private let quantities = Quantity.measured.map(\.settingName).joined(separator: ", ")
private let kinds = FaultScript.Kind.allCases.map(\.rawValue).joined(separator: ", ")
private let chipNames = "A CHIP is an address such as 0x76, BUS:ADDRESS, or STATION/NAME such as cellar-air/bme280."

struct Set: Request {
    static let name = "set"
    static let summary = "Hold a station's air or battery at values."
    static let discussion = """
        Quantities are \(quantities): degrees Celsius, %, ppm, hPa and volts.
        The value 'free' lets the quantity go.
        """
    static let operands = "STATION QUANTITY=VALUE..."
    var control = ControlSocket.usualPath
    var words: [String] = []
}

struct Unplug: Request {
    static let name = "unplug"
    static let summary = "Take a chip off its bus."
    static let discussion = chipNames
    static let operands = "CHIP"
    var control = ControlSocket.usualPath
    var words: [String] = []
}

struct Plug: Request {
    static let name = "plug"
    static let summary = "Put a chip back; it starts up without its settings."
    static let discussion = chipNames
    static let operands = "CHIP"
    var control = ControlSocket.usualPath
    var words: [String] = []
}

struct Stick: Request {
    static let name = "stick"
    static let summary = "Let a chip answer, and never finish a measurement."
    static let discussion = chipNames
    static let operands = "CHIP"
    var control = ControlSocket.usualPath
    var words: [String] = []
}

struct Fault: Request {
    static let name = "fault"
    static let summary = "Begin any fault of a chip."
    static let discussion = "Kinds are \(kinds).\n\(chipNames)"
    static let operands = "CHIP KIND"
    static let operandCompletions = [Completion.none, .words(FaultScript.Kind.allCases.map(\.rawValue))]
    var control = ControlSocket.usualPath
    var words: [String] = []
}

struct Wedge: Request {
    static let name = "wedge"
    static let summary = "Hold a bus's lines low: every transfer on it fails after 2 s."
    static let operands = "BUS"
    var control = ControlSocket.usualPath
    var words: [String] = []
}

struct Heal: Request {
    static let name = "heal"
    static let summary = "End all faults of a chip; without a chip, of all chips and buses."
    static let discussion = chipNames
    static let operands = "[CHIP]"
    var control = ControlSocket.usualPath
    var words: [String] = []
}

struct Line: Request {
    static let name = "line"
    static let summary = "Drive a GPIO line, by its number from 0 to 7 or its role, from outside."
    static let operands = "LINE high|low"
    static let operandCompletions = [Completion.none, .words(["high", "low"])]
    var control = ControlSocket.usualPath
    var words: [String] = []
}

struct Status: Request {
    static let name = "status"
    static let summary = "Show chips, faults, what is held, and the levels of the lines."
    static var options: [CommandOption<Status>] {
        [controlOption, .flag("json", \.isJSON, "As one line of JSON.")]
    }
    var control = ControlSocket.usualPath
    var words: [String] = []
    var isJSON = false

    mutating func take(operands: [String]) throws(UsageError) {
        if let operand = operands.first { throw UsageError("unexpected argument \"\(operand)\"") }
        words = [Self.name] + (isJSON ? ["json"] : [])
    }
}
