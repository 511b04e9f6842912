/// A program's command tree as data, from which man pages and completions are made.
public struct ProgramDescription: Sendable {
    /// The executable's name.
    var name: String
    /// One sentence.
    var summary: String
    /// What the man page says besides.
    var manual: ProgramManual
    /// The subcommands that are shown, in the order of the help.
    var commands: [CommandDescription]
}

/// What a program's man page says besides its subcommands and options. Each text may be several paragraphs, divided by an
/// empty line; a line that begins with a space is shown as it is.
public struct ProgramManual: Sendable {
    /// A name, such as that of a file or a variable, and what it is for.
    public typealias Entry = (name: String, text: String)

    var description: String
    var environment: [Entry]
    var files: [Entry]
    var exitStatus: String
    var examples: [Entry]
    var seeAlso: [String]

    /// Makes it.
    /// - Parameters:
    ///   - description: what the program does, and what for.
    ///   - environment: variables that it reads.
    ///   - files: files that it reads or writes when nothing else is said.
    ///   - exitStatus: what the statuses 0, 1 and 2 mean beyond the usual.
    ///   - examples: command lines, and what each does.
    ///   - seeAlso: other pages, such as `i2cdetect(8)`.
    public init(
        description: String = "", environment: [Entry] = [], files: [Entry] = [], exitStatus: String = "",
        examples: [Entry] = [], seeAlso: [String] = []
    ) {
        self.description = description
        self.environment = environment
        self.files = files
        self.exitStatus = exitStatus
        self.examples = examples
        self.seeAlso = seeAlso
    }
}

/// A subcommand as data.
struct CommandDescription: Sendable {
    var name: String
    var summary: String
    var discussion: String
    var options: [OptionDescription]
    var operands: String
    var operandCompletions: [Completion]
}

/// An option as data.
struct OptionDescription: Sendable {
    var name: String
    var short: Character?
    /// Stands for the value; nil for a flag.
    var placeholder: String?
    var help: String
    var completion: Completion

    /// What every command has.
    static let help = OptionDescription(
        name: "help", short: "h", placeholder: nil, help: "Show a help and exit.", completion: .none)
    /// What every program has.
    static let version = OptionDescription(
        name: "version", short: nil, placeholder: nil, help: "Show the version and exit.", completion: .none)
}

/// A subcommand as data.
func describe<Described: Command>(_ type: Described.Type) -> CommandDescription {
    let options = Described.options.map { option in
        OptionDescription(
            name: option.name, short: option.short, placeholder: option.placeholder, help: option.help,
            completion: option.completion)
    }
    return CommandDescription(
        name: Described.name, summary: Described.summary, discussion: Described.discussion, options: options,
        operands: Described.operands, operandCompletions: Described.operandCompletions)
}

/// A subcommand that prints something made of the program's description. `Program` calls `text` in place of `run`.
protocol DescriptionPrinter: Command {
    func text(of program: ProgramDescription) -> String
}

extension DescriptionPrinter {
    static var isHidden: Bool { true }
    func run() async throws {}
}

/// `completions SHELL`.
struct PrintCompletions: DescriptionPrinter {
    static let name = "completions"
    static let summary = "Print what a shell reads to complete a command line."
    static let operands = "bash|zsh|fish"
    private var shell = Shell.bash

    init() {}

    mutating func take(operands: [String]) throws(UsageError) {
        guard operands.count == 1, let shell = Shell(rawValue: operands[0]) else {
            throw UsageError("a shell is expected: bash, zsh or fish")
        }
        self.shell = shell
    }

    func text(of program: ProgramDescription) -> String { program.completions(for: shell) }
}

/// `manual`.
struct PrintManual: DescriptionPrinter {
    static let name = "manual"
    static let summary = "Print the man page."

    func text(of program: ProgramDescription) -> String { program.manualPage }
}
