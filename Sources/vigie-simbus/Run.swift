import Commands
import GatewayCore
import Glibc
import KernelHardware
import Platform
import SimulatedHardware

struct Run: Command {
    static let name = "run"
    static let summary = "Plug the simulated chips in, and keep them there until SIGTERM or SIGINT."
    static let discussion = """
        Each bus of the configuration becomes an adapter /dev/i2c-N; what N is, the kernel says, and this prints.
        It needs root and the modules \(VirtualAdapter.modules) \(VirtualGPIOChip.modules).
        The board's lines are those of its settings that name the chip \(VirtualGPIOChip.label).
        When it ends, the kernel removes all of it.
        """
    static var options: [CommandOption<Run>] {
        [
            .configuration(\.configuration, "The gateway's configuration file."),
            .value("control", "SOCKET", \.control, "Where the other subcommands reach it.", completion: .files),
            .value("seed", "NUMBER", \.seed, "Of the air, as far as nothing is held by 'set'."),
            .flag("no-gpio", \.hasNoGPIO, "Without GPIO lines."),
        ]
    }
    static let receivesSignals = true
    var configuration = "/etc/vigie/gateway.yaml"
    var control = ControlSocket.usualPath
    var seed: UInt64 = 1
    var hasNoGPIO = false

    func run() async throws {
        let settings = try GatewaySettings(file: configuration)
        let board = try SimulatedBoard(
            settings, base: { SyntheticEnvironment(seed: seed &+ UInt64($0)) }, clock: ContinuousClock())
        var adapters: [Int: VirtualAdapter] = [:]
        for (number, bus) in board.buses.sorted(by: { $0.key < $1.key }) {
            let adapter = try await VirtualAdapter.plug(bus, name: "simulated I2C bus \(number)")
            adapters[number] = adapter
            if adapter.number != number {
                print(
                    "bus \(number) of \(configuration) is \(adapter.path) here: the gateway's needs 'bus: \(adapter.number)'"
                )
            }
        }
        let lines = hasNoGPIO ? nil : simulatedLines(settings.boardLines(chip: VirtualGPIOChip.label), board)
        let chip: VirtualGPIOChip?
        if let lines { chip = try await VirtualGPIOChip.plug(lines) } else { chip = nil }
        let bench = HardwareBench(
            board, adapters: adapters.mapValues(\.path), lines: lines, gpioChip: chip?.path)
        let socket = try ControlSocket.listen(at: control) { words in
            do throws(ControlRequest.Malformed) {
                let request = try ControlRequest(words)
                do throws(HardwareBench.Unknown) {
                    return .success(try bench.execute(request))
                } catch {
                    return .failure(.refused("\(error)"))
                }
            } catch {
                return .failure(.refused("\(error)"))
            }
        }
        print(bench.statusText, terminator: "")
        fflush(nil)
        for await _ in try signalStream([SIGTERM, SIGINT]) { break }
        withExtendedLifetime((adapters, chip, socket)) {}
    }

    /// The lines as they are with power from outside, and the sensors' supply on: resistors do that before a program
    /// drives it.
    private func simulatedLines(_ wired: [BoardLine], _ board: SimulatedBoard) -> SimulatedLines {
        let high = wired.filter { $0.isActiveLow != ($0.role == .powerGood || $0.role == .sensorPower) }.map(\.offset)
        let supply = wired.first { $0.role == .sensorPower }
        let roles = Dictionary(wired.map { ($0.offset, $0.role.rawValue) }) { first, _ in first }
        return SimulatedLines(roles: roles, high: high) { levels in
            if let supply { board.setPower(levels.isHigh(supply.offset) != supply.isActiveLow) }
        }
    }
}
