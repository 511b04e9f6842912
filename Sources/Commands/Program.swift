import Glibc
import Platform

/// A program of subcommands: `name subcommand [options]`, with `--help` and `--version`.
///
/// Two more subcommands, which the help does not list, are for packages: `completions SHELL` prints what bash, zsh or fish
/// reads to complete a command line, `manual` the program's man page.
///
/// Exit status: 0 when the subcommand returned, 1 when it failed, 2 when the command line was not understood, 78 when the
/// configuration is wrong.
public struct Program: Sendable {
    /// The release of all three programs.
    public static let release = Release.version

    let name: String
    let summary: String
    let commands: [any Command.Type]
    let manual: ProgramManual

    /// Makes a program.
    /// - Parameters:
    ///   - name: the executable's name.
    ///   - summary: one sentence for its help.
    ///   - commands: its subcommands in the order of its help.
    ///   - manual: what its man page says besides.
    public init(
        name: String, summary: String, commands: [any Command.Type], manual: ProgramManual = ProgramManual()
    ) {
        self.name = name
        self.summary = summary
        self.commands = commands + [PrintCompletions.self, PrintManual.self]
        self.manual = manual
    }

    /// The program as data.
    public var description: ProgramDescription {
        ProgramDescription(
            name: name, summary: summary, manual: manual,
            commands: commands.filter { !$0.isHidden }.map { describe($0) })
    }

    /// Runs the process's command line and ends the process.
    ///
    /// SIGTERM and SIGINT are held from the first instruction on, for the command that receives them to find; any other
    /// command is ended by them. On the main actor, where a program's main file is, so that nothing comes before.
    @MainActor public func main() async -> Never {
        do throws(SystemError) {
            try holdSignals([SIGTERM, SIGINT])
        } catch {
            write("\(name): \(error)\n", to: STDERR_FILENO)
            exit(ExitStatus.failure)
        }
        await runCommandLine()
    }

    private func runCommandLine() async -> Never {
        let status = await run(
            Array(CommandLine.arguments.dropFirst()),
            output: { write($0, to: STDOUT_FILENO) },
            errors: {
                // What the command printed comes first, also where both go to one file or pipe.
                fflush(nil)
                write($0, to: STDERR_FILENO)
            })
        exit(status)
    }

    /// Runs a command line.
    /// - Parameters:
    ///   - arguments: without the program's name.
    ///   - output: takes help and version.
    ///   - errors: takes what went wrong.
    /// - Returns: the exit status.
    public func run(
        _ arguments: [String], output: (String) -> Void, errors: (String) -> Void
    ) async -> Int32 {
        var place = name
        do {
            let shapes = [
                OptionShape(name: "help", short: "h", takesValue: false),
                OptionShape(name: "version", short: nil, takesValue: false),
            ]
            let parsed = try parseOptions(arguments, shapes: shapes, stopsAtOperand: true)
            if let first = parsed.found.first {
                output(first.index == 0 ? help : "\(name) \(Program.release)\n")
                return 0
            }
            guard let word = parsed.operands.first else { throw UsageError("a subcommand is expected") }
            guard let command = commands.first(where: { $0.name == word }) else {
                throw UsageError("unknown subcommand \"\(word)\"")
            }
            place = "\(name) \(word)"
            if !command.receivesSignals { releaseSignals() }
            guard let ready = try parse(command, Array(parsed.operands.dropFirst())) else {
                output(help(of: command))
                return 0
            }
            if let printing = ready as? any DescriptionPrinter {
                output(printing.text(of: description))
            } else {
                try await ready.run()
            }
            return 0
        } catch let error as UsageError {
            errors("\(place): \(error)\nTry '\(place) --help'.\n")
            return ExitStatus.usage
        } catch {
            errors("\(place): \(error)\n")
            return (error as? any ErrorWithExitStatus)?.exitStatus ?? ExitStatus.failure
        }
    }

    /// The command with its options set; nil if its help is asked for.
    private func parse<Chosen: Command>(
        _ type: Chosen.Type, _ arguments: [String]
    ) throws(UsageError) -> Chosen? {
        let options = Chosen.options
        var shapes = options.map { OptionShape(name: $0.name, short: $0.short, takesValue: $0.placeholder != nil) }
        shapes.append(OptionShape(name: "help", short: "h", takesValue: false))
        let parsed = try parseOptions(arguments, shapes: shapes)
        var command = Chosen()
        for (index, value) in parsed.found {
            if index == options.count { return nil }
            try options[index].apply(&command, value)
        }
        try command.take(operands: parsed.operands)
        return command
    }

    private var help: String {
        let rows = commands.filter { !$0.isHidden }.map { ($0.name, $0.summary) }
        return """
            Usage: \(name) SUBCOMMAND [OPTION]...
            \(summary)

            Subcommands:
            \(table(rows))

            Options:
            \(table([("-h, --help", "Show this help, or a subcommand's after its name."), ("--version", "Show the version.")]))

            """
    }

    private func help<Chosen: Command>(of type: Chosen.Type) -> String {
        let rows =
            Chosen.options.map { option in
                let letter = option.short.map { "-\($0), " } ?? ""
                let value = option.placeholder.map { " \($0)" } ?? ""
                return ("\(letter)--\(option.name)\(value)", option.help)
            } + [("-h, --help", "Show this help.")]
        let discussion = Chosen.discussion.isEmpty ? "" : "\n\(Chosen.discussion)\n"
        return """
            Usage: \(name) \(Chosen.name) [OPTION]...\(Chosen.operands.isEmpty ? "" : " " + Chosen.operands)
            \(Chosen.summary)
            \(discussion)
            Options:
            \(table(rows))

            """
    }

    private func table(_ rows: [(String, String)]) -> String {
        let width = rows.map(\.0.count).max() ?? 0
        return rows.map { row in
            "  \(row.0)\(String(repeating: " ", count: width - row.0.count + 2))\(row.1)"
        }.joined(separator: "\n")
    }
}

/// Writes all of a text to a descriptor; a reader that has gone away is no error of the program.
private func write(_ text: String, to descriptor: Int32) {
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty {
        let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        if count < 0 {
            if errno == EINTR { continue }
            return
        }
        bytes = bytes.dropFirst(count)
    }
}
