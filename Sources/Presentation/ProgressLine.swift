import Glibc
import Synchronization

/// One line on a terminal that says what a command is doing, and goes before it shows its result. Without a terminal
/// nothing is shown.
public final class ProgressLine: Sendable {
    private let descriptor: Int32
    private let isShown: Bool
    private let last = Mutex("")

    /// Shows on standard error, if it is a terminal.
    public convenience init() {
        self.init(descriptor: STDERR_FILENO, isShown: isatty(STDERR_FILENO) == 1)
    }

    init(descriptor: Int32, isShown: Bool) {
        self.descriptor = descriptor
        self.isShown = isShown
    }

    /// Shows a text in place of the last one.
    public func show(_ text: String) {
        guard isShown else { return }
        last.withLock { last in
            guard last != text else { return }
            last = text
            // Carriage return, then erase in line (ECMA-48, 8.3.15 and 8.3.41).
            write("\r" + text + "\u{1B}[K")
        }
    }

    /// Removes the line.
    public func clear() {
        show("")
    }

    private func write(_ text: String) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            // What a terminal does not take is not worth a second try.
            guard count > 0 else { return }
            bytes = bytes.dropFirst(count)
        }
    }
}
