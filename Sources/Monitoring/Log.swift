import Glibc
import Synchronization

/// Structured log lines of one component, to standard error.
///
/// Under systemd's journal a line is `<priority>component: message key=value` (sd-daemon(3)): the journal has the time.
/// Elsewhere it is `time level component message key=value`. Values are quoted where they need it, control characters
/// are escaped, so one call is one line. The value of a key that names a secret is not written.
public struct Log: Sendable {
    /// How much a line matters, by the name that a configuration has for it.
    public enum Level: String, Sendable, CaseIterable, Comparable {
        /// Something failed and needs a person.
        case error
        /// Something is wrong that the program copes with.
        case warning
        /// Worth knowing on every run: started, stopped, reconnected.
        case notice
        /// The normal course.
        case info
        /// For whoever looks into the program.
        case debug

        /// Its number in syslog(3).
        var priority: Int {
            switch self {
            case .error: 3
            case .warning: 4
            case .notice: 5
            case .info: 6
            case .debug: 7
            }
        }

        /// Whether `left` says less: `debug < error`.
        public static func < (left: Level, right: Level) -> Bool { left.priority > right.priority }
    }

    /// Keys and values, in the order in which they are written.
    public typealias Fields = KeyValuePairs<String, any CustomStringConvertible>

    private let output: LogOutput
    private let component: String

    /// Makes the log of `component`.
    public init(_ component: String, to output: LogOutput = .standardError) {
        self.component = component
        self.output = output
    }

    /// The log of another component, to the same output.
    public func component(_ name: String) -> Log {
        Log(name, to: output)
    }

    /// Writes a line at `level`, if the output's minimum allows it.
    public func callAsFunction(_ level: Level, _ message: @autoclosure () -> String, _ fields: Fields = [:]) {
        guard level >= output.minimum else { return }
        output.write(level, component, message(), fields)
    }

    /// Writes a line at level error.
    public func error(_ message: @autoclosure () -> String, _ fields: Fields = [:]) {
        self(.error, message(), fields)
    }

    /// Writes a line at level warning.
    public func warning(_ message: @autoclosure () -> String, _ fields: Fields = [:]) {
        self(.warning, message(), fields)
    }

    /// Writes a line at level notice.
    public func notice(_ message: @autoclosure () -> String, _ fields: Fields = [:]) {
        self(.notice, message(), fields)
    }

    /// Writes a line at level info.
    public func info(_ message: @autoclosure () -> String, _ fields: Fields = [:]) {
        self(.info, message(), fields)
    }

    /// Writes a line at level debug.
    public func debug(_ message: @autoclosure () -> String, _ fields: Fields = [:]) {
        self(.debug, message(), fields)
    }
}

/// Where log lines go, in which form, and from which level on.
public final class LogOutput: Sendable {
    /// The form of a line.
    public enum Format: Sendable {
        /// With systemd's priority prefix and without the time.
        case journal
        /// With time and level.
        case plain
    }

    /// Standard error of this process, in the journal's form if it is connected to the journal.
    public static let standardError = LogOutput(
        descriptor: STDERR_FILENO, format: isConnectedToJournal(STDERR_FILENO) ? .journal : .plain)

    private let descriptor: Int32
    private let format: Format
    private let level: Mutex<Log.Level>
    private let now: @Sendable () -> timespec

    /// Makes an output.
    /// - Parameters:
    ///   - descriptor: an open file descriptor, which stays the caller's.
    ///   - format: the form of the lines.
    ///   - minimum: the least level that is written.
    ///   - now: the wall clock.
    public init(
        descriptor: Int32, format: Format, minimum: Log.Level = .info,
        now: @escaping @Sendable () -> timespec = wallTime
    ) {
        self.descriptor = descriptor
        self.format = format
        level = Mutex(minimum)
        self.now = now
    }

    /// The least level that is written; may be changed at any time.
    public var minimum: Log.Level {
        get { level.withLock { $0 } }
        set { level.withLock { $0 = newValue } }
    }

    func write(_ level: Log.Level, _ component: String, _ message: String, _ fields: Log.Fields) {
        var line: String
        switch format {
        case .journal: line = "<\(level.priority)>\(component): "
        case .plain:
            let name = level.rawValue
            line = "\(timeText(now())) \(name)\(String(repeating: " ", count: 7 - name.utf8.count)) \(component): "
        }
        appendEscaped(message, to: &line)
        for (key, value) in fields {
            line += " \(key)="
            appendValue(namesSecret(key) ? "(not shown)" : value.description, to: &line)
        }
        line += "\n"
        var bytes = Array(line.utf8)[...]
        // One call a line, so that lines of threads and processes do not mix. When standard error is gone there is
        // nobody to tell.
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return }
            bytes = bytes.dropFirst(count)
        }
    }
}

/// The kernel's wall clock.
public func wallTime() -> timespec {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return time
}

/// Whether the descriptor is the stream that $JOURNAL_STREAM names by device and inode (systemd.exec(5)); a program
/// whose standard error was redirected still has the variable.
private func isConnectedToJournal(_ descriptor: Int32) -> Bool {
    guard let value = getenv("JOURNAL_STREAM") else { return false }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { return false }
    return String(cString: value) == "\(status.st_dev):\(status.st_ino)"
}

/// RFC 3339 in UTC with milliseconds.
private func timeText(_ time: timespec) -> String {
    var seconds = time.tv_sec
    var parts = tm()
    gmtime_r(&seconds, &parts)
    func padded(_ number: Int, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }
    let date = [(Int(parts.tm_year) + 1900, 4), (Int(parts.tm_mon) + 1, 2), (Int(parts.tm_mday), 2)]
    let clock = [(Int(parts.tm_hour), 2), (Int(parts.tm_min), 2), (Int(parts.tm_sec), 2)]
    return date.map(padded).joined(separator: "-") + "T" + clock.map(padded).joined(separator: ":") + "."
        + padded(Int(time.tv_nsec) / 1_000_000, 3) + "Z"
}

private func namesSecret(_ key: String) -> Bool {
    let key = key.lowercased()
    return ["password", "secret", "token", "credential"].contains { key.contains($0) }
}

private extension String {
    func contains(_ part: String) -> Bool {
        var rest = utf8[...]
        while rest.count >= part.utf8.count {
            if rest.starts(with: part.utf8) { return true }
            rest = rest.dropFirst()
        }
        return false
    }
}

/// Appends a value as it is if it is one plain word, quoted otherwise.
private func appendValue(_ value: String, to line: inout String) {
    let isPlain =
        !value.isEmpty
        && value.unicodeScalars.allSatisfy {
            $0.value > 0x20 && $0.value != 0x7F && !"\"=\\".unicodeScalars.contains($0)
        }
    if isPlain {
        line += value
        return
    }
    line += "\""
    appendEscaped(value, quoted: true, to: &line)
    line += "\""
}

/// Appends text without control characters: they could forge a line or drive a terminal.
private func appendEscaped(_ text: String, quoted: Bool = false, to line: inout String) {
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\n": line += "\\n"
        case "\t": line += "\\t"
        case "\r": line += "\\r"
        case "\"" where quoted: line += "\\\""
        case "\\" where quoted: line += "\\\\"
        case _ where scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value):
            line += "\\u{\(String(scalar.value, radix: 16))}"
        default: line.unicodeScalars.append(scalar)
        }
    }
}
