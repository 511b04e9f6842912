import Platform

/// A subcommand: its options are its stored properties, and `options` says how each is written.
///
///     struct Check: Command {
///         static let name = "check"
///         static let summary = "Validate the configuration and exit."
///         static var options: [CommandOption<Check>] {
///             [.configuration(\.configuration)]
///         }
///         var configuration = "/etc/vigie/gateway.yaml"
///         func run() async throws { ... }
///     }
public protocol Command: Sendable {
    /// What is typed after the program's name.
    static var name: String { get }
    /// One sentence for the program's help.
    static var summary: String { get }
    /// More for the subcommand's own help; empty by default.
    static var discussion: String { get }
    /// Its options, in the order of its help. `--help` is added to them.
    static var options: [CommandOption<Self>] { get }
    /// What follows the options, such as `CHIP [KIND]`; empty by default: nothing may.
    static var operands: String { get }
    /// For a shell's completion, operand by operand, what it may be; none by default. Operands beyond it are not completed.
    static var operandCompletions: [Completion] { get }
    /// Whether help, man page and completions leave it out. False by default.
    static var isHidden: Bool { get }
    /// Whether `run` receives SIGTERM and SIGINT and stops in order, be it by a `ServiceGroup` or by `signalStream`.
    /// False by default: they end the program.
    static var receivesSignals: Bool { get }
    /// Takes what follows the options; by default, nothing.
    mutating func take(operands: [String]) throws(UsageError)
    /// The command with every option at its default.
    init()
    /// Does the work. Throwing ends the program with exit status 1, `UsageError` with 2.
    func run() async throws
}

extension Command {
    /// No discussion.
    public static var discussion: String { "" }
    /// No options.
    public static var options: [CommandOption<Self>] { [] }
    /// No operands.
    public static var operands: String { "" }
    /// Nothing is completed.
    public static var operandCompletions: [Completion] { [] }
    /// It is shown.
    public static var isHidden: Bool { false }
    /// Signals end the program.
    public static var receivesSignals: Bool { false }
    /// Takes none.
    public mutating func take(operands: [String]) throws(UsageError) {
        if let operand = operands.first { throw UsageError("unexpected argument \"\(operand)\"") }
    }
}

/// The command line is not one that the program knows; exit status 2.
public struct UsageError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What is wrong.
    public var description: String

    /// Makes the error.
    public init(_ description: String) {
        self.description = description
    }
}

/// A value that can be written on the command line.
public protocol OptionValue {
    /// Reads the value; nil if the text is not one.
    init?(optionText: String)
    /// What to write, for the message "expected ...".
    static var expected: String { get }
}

extension String: OptionValue {
    /// Takes any text.
    public init?(optionText: String) { self = optionText }
    /// A text.
    public static var expected: String { "a text" }
}

extension Int: OptionValue {
    /// Reads a decimal number.
    public init?(optionText: String) { self.init(optionText) }
    /// A whole number.
    public static var expected: String { "a whole number" }
}

extension UInt64: OptionValue {
    /// Reads a decimal number.
    public init?(optionText: String) { self.init(optionText) }
    /// A whole number, zero or more.
    public static var expected: String { "a whole number, zero or more" }
}

extension Double: OptionValue {
    /// Reads a finite number.
    public init?(optionText: String) {
        guard let value = Double(optionText), value.isFinite else { return nil }
        self = value
    }
    /// A number.
    public static var expected: String { "a number" }
}

extension Duration: OptionValue {
    /// Reads a duration such as `10s`.
    public init?(optionText: String) { self.init(notation: optionText) }
    /// A duration.
    public static var expected: String { "a duration such as 500ms, 10s or 15m" }
}

extension Optional: OptionValue where Wrapped: OptionValue {
    /// Reads the wrapped value.
    public init?(optionText: String) {
        guard let value = Wrapped(optionText: optionText) else { return nil }
        self = .some(value)
    }
    /// What the wrapped value expects.
    public static var expected: String { Wrapped.expected }
}

/// How a shell completes a word of the command line.
public enum Completion: Equatable, Sendable {
    /// It does not.
    case none
    /// By the names of files.
    case files
    /// By one of these words, of letters, digits and hyphens.
    case words([String])
}

/// One option of a command: how it is written, what it means, and where its value goes.
public struct CommandOption<Owner> {
    let name: String
    let short: Character?
    /// Stands for the value in the help; nil for a flag.
    let placeholder: String?
    let help: String
    let completion: Completion
    let apply: (inout Owner, String) throws(UsageError) -> Void

    /// An option with a value, `--name VALUE` or `--name=VALUE`.
    /// - Parameters:
    ///   - name: without the dashes.
    ///   - short: a letter for `-x VALUE`.
    ///   - placeholder: stands for the value in the help.
    ///   - property: where the value goes; what it holds before is the default.
    ///   - help: one sentence.
    ///   - completion: how a shell completes the value.
    public static func value<Value: OptionValue>(
        _ name: String, short: Character? = nil, _ placeholder: String, _ property: WritableKeyPath<Owner, Value>,
        _ help: String, completion: Completion = .none
    ) -> CommandOption {
        CommandOption(name: name, short: short, placeholder: placeholder, help: help, completion: completion) {
            (owner, text) throws(UsageError) in
            guard let value = Value(optionText: text) else {
                throw UsageError("--\(name): expected \(Value.expected), found \"\(text)\"")
            }
            owner[keyPath: property] = value
        }
    }

    /// `--config FILE`, or `-c FILE`, in the same words for every command.
    public static func configuration(
        _ property: WritableKeyPath<Owner, String>,
        _ help: String = "The configuration file; without it that of the package, in /etc/vigie."
    ) -> CommandOption {
        .value("config", short: "c", "FILE", property, help, completion: .files)
    }

    /// An option without a value: `--name` sets the property to true.
    public static func flag(
        _ name: String, short: Character? = nil, _ property: WritableKeyPath<Owner, Bool>, _ help: String
    ) -> CommandOption {
        CommandOption(name: name, short: short, placeholder: nil, help: help, completion: .none) {
            (owner, _) throws(UsageError) in
            owner[keyPath: property] = true
        }
    }
}
