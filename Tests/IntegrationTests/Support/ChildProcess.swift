import Foundation
import Platform
import Synchronization

/// A child process whose output goes to a file.
final class ChildProcess: Sendable {
    /// How a process ended.
    enum Ending: Equatable, CustomStringConvertible {
        case status(Int32)
        case signal(Int32)

        var description: String {
            switch self {
            case .status(let status): "exit status \(status)"
            case .signal(let signal): "signal \(signal)"
            }
        }
    }

    let identifier: pid_t
    private let log: URL
    private let state = Mutex((ending: Ending?.none, waiting: [CheckedContinuation<Ending, Never>]()))

    /// Starts a program.
    /// - Parameters:
    ///   - program: its path.
    ///   - arguments: without the program's name.
    ///   - log: takes its standard output and errors; appended to.
    ///   - input: a descriptor that becomes its standard input and stays the caller's; by default it reads nothing.
    init(_ program: URL, _ arguments: [String], log: URL, input: Int32? = nil) throws {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        if let input {
            posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO)
        } else {
            posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        }
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log.path, O_WRONLY | O_CREAT | O_APPEND, 0o644)
        posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO)
        var vector: [UnsafeMutablePointer<CChar>?] = ([program.path] + arguments).map { strdup($0) }
        defer { for text in vector { free(text) } }
        vector.append(nil)
        var identifier: pid_t = 0
        // Swift's threads block most signals, and a child inherits that.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        let code = posix_spawn(&identifier, program.path, &actions, &attributes, vector, environ)
        guard code == 0 else { throw SystemError("posix_spawn", program.path, code: code) }
        self.identifier = identifier
        self.log = log
        startThread(name: "wait-for-child") { [weak self, identifier] in
            var status: Int32 = 0
            while waitpid(identifier, &status, 0) == -1, errno == EINTR {}
            // wait(2): the low seven bits are the signal, the next byte is the exit status.
            let ending = status & 0x7f == 0 ? Ending.status(status >> 8 & 0xff) : .signal(status & 0x7f)
            self?.end(ending)
        }
    }

    deinit {
        // A test that failed in the middle leaves nothing running behind.
        if state.withLock({ $0.ending == nil }) { kill(identifier, SIGKILL) }
    }

    private func end(_ ending: Ending) {
        let waiting = state.withLock { state in
            state.ending = ending
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume(returning: ending) }
    }

    /// What it wrote, with what earlier processes wrote to the same file.
    var output: String { (try? String(contentsOf: log, encoding: .utf8)) ?? "" }

    /// Whether it has not ended.
    var isRunning: Bool { state.withLock { $0.ending == nil } }

    /// Sends a signal, if it still runs.
    func send(_ signal: Int32) {
        state.withLock { if $0.ending == nil { _ = kill(identifier, signal) } }
    }

    /// Waits until it has ended.
    @discardableResult
    func ending() async -> Ending {
        await withCheckedContinuation { continuation in
            let ending = state.withLock { state in
                if state.ending == nil { state.waiting.append(continuation) }
                return state.ending
            }
            if let ending { continuation.resume(returning: ending) }
        }
    }
}

/// A program of this package, as it was built with the tests.
enum BuiltProgram: String {
    case gateway = "vigie-gateway"
    case processor = "vigie-processor"
    case fleet = "vigie-fleet"

    /// Its path: in the folder that VIGIE_BIN names, else next to the tests' own executable.
    var path: URL {
        let folder = ProcessInfo.processInfo.environment["VIGIE_BIN"].map { URL(fileURLWithPath: $0) }
        let own = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
        return (folder ?? own).appendingPathComponent(rawValue)
    }

    /// Starts it; its output is appended to a file of `folder`.
    func start(_ arguments: [String], in folder: URL) throws -> ChildProcess {
        try ChildProcess(path, arguments, log: folder.appendingPathComponent("\(rawValue).log"))
    }

    /// Runs it to its end.
    /// - Returns: how it ended, and what it wrote.
    func run(_ arguments: [String], in folder: URL) async throws -> (ending: ChildProcess.Ending, output: String) {
        let log = folder.appendingPathComponent("\(rawValue)-\(UUID()).log")
        let process = try ChildProcess(path, arguments, log: log)
        let ending = await process.ending()
        return (ending, process.output)
    }
}
