import Commands
import Platform
import Testing

private struct Failure: Error, CustomStringConvertible {
    var description = "the disk is full"
}

private struct WrongSettings: ErrorWithExitStatus, CustomStringConvertible {
    let description = "the name is missing"
    let exitStatus = ExitStatus.configuration
}

private struct Setup: Command {
    static let name = "setup"
    static let summary = "Read the settings."
    func run() async throws { throw WrongSettings() }
}

private struct Greet: Command {
    static let name = "greet"
    static let summary = "Say hello."
    static let discussion = "It is polite."
    static var options: [CommandOption<Greet>] {
        [
            .value("name", short: "n", "NAME", \.subject, "Who is greeted."),
            .value("count", "N", \.count, "How often."),
            .value("pause", "DURATION", \.pause, "How long in between."),
            .value("seed", "SEED", \.seed, "Makes it repeatable."),
            .flag("loud", short: "l", \.isLoud, "Shout."),
        ]
    }
    var subject = "world"
    var count = 1
    var pause = Duration.seconds(1)
    var seed: UInt64?
    var isLoud = false

    func run() async throws {
        if isLoud { throw Failure() }
        throw Failure(description: "\(subject) \(count) \(pause) \(seed.map { "\($0)" } ?? "-")")
    }
}

private struct Rest: Command {
    static let name = "rest"
    static let summary = "Do nothing."
    func run() async throws {}
}

private struct Say: Command {
    static let name = "say"
    static let summary = "Say words."
    static let operands = "WORD..."
    static var options: [CommandOption<Say>] { [.flag("loud", short: "l", \.isLoud, "Shout.")] }
    var isLoud = false
    private var words: [String] = []

    mutating func take(operands: [String]) throws(UsageError) {
        if operands.isEmpty { throw UsageError("a word is expected") }
        words = operands
    }

    func run() async throws { throw Failure(description: words.joined(separator: "+") + (isLoud ? "!" : "")) }
}

private struct Outcome: Equatable {
    var status: Int32
    var output = ""
    var errors = ""
}

private func run(_ arguments: String...) async -> Outcome {
    var outcome = Outcome(status: -1)
    let commands: [any Command.Type] = [Greet.self, Rest.self, Say.self, Setup.self]
    let program = Program(name: "tool", summary: "A tool.", commands: commands)
    var output = ""
    var errors = ""
    outcome.status = await program.run(arguments, output: { output += $0 }, errors: { errors += $0 })
    outcome.output = output
    outcome.errors = errors
    return outcome
}

@Suite struct ProgramTests {
    @Test func operandsStandAnywhereBesideTheOptions() async {
        #expect(await run("say", "one", "--loud", "two").errors == "tool say: one+two!\n")
        #expect(await run("say", "--", "-one").errors == "tool say: -one\n")
        #expect(await run("say").status == 2)
        #expect(await run("rest", "one").errors.hasPrefix("tool rest: unexpected argument \"one\"\n"))
        #expect(await run("say", "--help").output.hasPrefix("Usage: tool say [OPTION]... WORD...\n"))
    }

    @Test func aCommandThatReturnsIsSuccess() async {
        #expect(await run("rest") == Outcome(status: 0))
    }

    @Test func aCommandThatThrowsIsStatusOne() async {
        #expect(await run("greet", "--loud") == Outcome(status: 1, errors: "tool greet: the disk is full\n"))
    }

    /// systemd does not start a program again that ends so.
    @Test func wrongSettingsHaveAStatusOfTheirOwn() async {
        #expect(await run("setup") == Outcome(status: 78, errors: "tool setup: the name is missing\n"))
    }

    @Test(arguments: [
        (["greet"], "world 1 1.0 seconds -"),
        (["greet", "--name", "Ada", "--count=3"], "Ada 3 1.0 seconds -"),
        (["greet", "-n", "Ada", "--pause", "500ms", "--seed", "7"], "Ada 1 0.5 seconds 7"),
        (["greet", "-nAda", "--cou", "2"], "Ada 2 1.0 seconds -"),
        (["greet", "--name", "first", "--name", "last"], "last 1 1.0 seconds -"),
        (["greet", "--name=", "--"], " 1 1.0 seconds -"),
    ])
    func optionsReachTheirProperties(arguments: [String], expected: String) async {
        let program = Program(name: "tool", summary: "A tool.", commands: [Greet.self])
        var errors = ""
        let status = await program.run(arguments, output: { _ in }, errors: { errors += $0 })
        #expect(status == 1)
        #expect(errors == "tool greet: \(expected)\n")
    }

    @Test(
        arguments: [
            ([], "tool: a subcommand is expected"),
            (["dance"], #"tool: unknown subcommand "dance""#),
            (["--loud", "greet"], "tool: unknown or ambiguous option --loud"),
            (["greet", "--fast"], "tool greet: unknown or ambiguous option --fast"),
            (["greet", "-x"], "tool greet: unknown or ambiguous option -x"),
            (["greet", "--name"], "tool greet: option --name needs a value"),
            (["greet", "-n"], "tool greet: option -n needs a value"),
            (["greet", "--loud=yes"], "tool greet: unknown or ambiguous option --loud=yes"),
            (["greet", "--count", "many"], #"tool greet: --count: expected a whole number, found "many""#),
            (
                ["greet", "--pause", "5"],
                #"tool greet: --pause: expected a duration such as 500ms, 10s or 15m, found "5""#
            ),
            (["greet", "you"], #"tool greet: unexpected argument "you""#),
        ] as [([String], String)])
    func whatIsNotUnderstoodIsStatusTwo(arguments: [String], message: String) async {
        let program = Program(name: "tool", summary: "A tool.", commands: [Greet.self])
        var errors = ""
        let status = await program.run(arguments, output: { _ in }, errors: { errors += $0 })
        #expect(status == 2)
        #expect(errors.hasPrefix(message + "\nTry '"), "\(errors)")
    }

    @Test func helpListsSubcommandsAndOptions() async {
        let help = await run("--help")
        #expect(help.status == 0)
        #expect(help.output.hasPrefix("Usage: tool SUBCOMMAND [OPTION]...\nA tool.\n"))
        #expect(help.output.contains("  greet  Say hello.\n  rest   Do nothing.\n"))
        let greet = await run("greet", "--count", "3", "--help")
        #expect(greet.status == 0)
        #expect(greet.output.hasPrefix("Usage: tool greet [OPTION]...\nSay hello.\n\nIt is polite.\n\nOptions:\n"))
        #expect(greet.output.contains("  -n, --name NAME   Who is greeted.\n"))
        #expect(greet.output.contains("  -h, --help        Show this help.\n"))
    }

    @Test func versionIsTheRelease() async {
        #expect(await run("--version") == Outcome(status: 0, output: "tool \(Program.release)\n"))
    }
}
