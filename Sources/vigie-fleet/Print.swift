import Commands
import FleetCore
import Glibc
import Readings

/// Prints a fleet's messages instead of sending them.
struct Print: Planned {
    static let name = "print"
    static let summary = "Print the fleet's messages, one a line, instead of sending them."
    static let discussion = "Malformed messages are printed as they are, whatever bytes they hold."
    static var options: [CommandOption<Print>] { PlanOptions.options() }

    var plan = PlanOptions()

    func run() async throws {
        let generator = try FleetGenerator(try plan.plan(rate: 0, now: SystemWallClock().now()))
        var output: [UInt8] = []
        for message in generator {
            output += message.bytes + [UInt8(ascii: "\n")]
            // A reader that has seen enough closes the pipe; that ends the program by SIGPIPE, as it should.
            if output.count > 1 << 16 {
                try writeAll(output, to: STDOUT_FILENO, "standard output")
                output.removeAll(keepingCapacity: true)
            }
        }
        try writeAll(output, to: STDOUT_FILENO, "standard output")
    }
}
