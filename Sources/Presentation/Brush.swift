import Glibc

/// What a painted text says at a glance.
public enum Tone: Sendable, CaseIterable {
    /// As it should be: green.
    case good
    /// Look at it: yellow.
    case doubtful
    /// Wrong: red.
    case bad
    /// Matters more than what is around it: bold.
    case strong
    /// Matters less: dim.
    case faint

    /// The parameter of "select graphic rendition" (ECMA-48, 8.3.117).
    fileprivate var rendition: Int {
        switch self {
        case .good: 32
        case .doubtful: 33
        case .bad: 31
        case .strong: 1
        case .faint: 2
        }
    }
}

/// Paints text for a terminal, or leaves it alone for everything else.
public struct Brush: Sendable {
    /// Whether it paints.
    public let isColoured: Bool

    /// Leaves text alone.
    public static let plain = Brush(isColoured: false)

    /// Makes a brush.
    public init(isColoured: Bool) {
        self.isColoured = isColoured
    }

    /// For standard output: it paints on a terminal, unless the user or the terminal says no.
    public static var standardOutput: Brush {
        func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
        return Brush(
            isTerminal: isatty(STDOUT_FILENO) == 1, noColor: variable("NO_COLOR"), terminal: variable("TERM"))
    }

    /// Decides by the environment.
    /// - Parameters:
    ///   - isTerminal: whether a terminal shows the text.
    ///   - noColor: the variable NO_COLOR, which forbids colour unless it is empty (https://no-color.org).
    ///   - terminal: the variable TERM; `dumb` knows no colour.
    init(isTerminal: Bool, noColor: String?, terminal: String?) {
        isColoured = isTerminal && (noColor ?? "").isEmpty && terminal != "dumb" && !(terminal ?? "").isEmpty
    }

    /// The text in a tone.
    public func paint(_ text: String, _ tone: Tone?) -> String {
        guard isColoured, let tone, !text.isEmpty else { return text }
        return "\u{1B}[\(tone.rendition)m\(text)\u{1B}[0m"
    }
}
