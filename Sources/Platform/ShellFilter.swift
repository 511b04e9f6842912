import CPlatform
import Glibc

/// A shell command that turns its standard input into its standard output, such as a call of jq.
///
/// Both are files in memory, so that neither side waits for the other however large they are. `run` blocks.
public struct ShellFilter: Sendable {
    /// What /bin/sh is given.
    public let command: String

    /// Makes a filter.
    public init(_ command: String) {
        self.command = command
    }

    /// Runs the command once.
    /// - Returns: its exit status, 128 and more after a signal as shells say it, and what it wrote. Its standard error is
    ///   this program's.
    public func run(_ input: [UInt8]) throws(SystemError) -> (status: Int32, output: [UInt8]) {
        let source = try systemCall("memfd_create") { vigie_memory_file("input") }
        defer { close(source) }
        let sink = try systemCall("memfd_create") { vigie_memory_file("output") }
        defer { close(sink) }
        var rest = input[...]
        while !rest.isEmpty {
            let count = try systemCall("write") { rest.withUnsafeBytes { write(source, $0.baseAddress, $0.count) } }
            rest = rest.dropFirst(count)
        }
        try systemCall("lseek") { lseek(source, 0, SEEK_SET) }
        let status = try spawn(source, sink)
        try systemCall("lseek") { lseek(sink, 0, SEEK_SET) }
        var output: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = try systemCall("read") { read(sink, &chunk, chunk.count) }
            if count == 0 { return (status, output) }
            output += chunk[..<count]
        }
    }

    private func spawn(_ source: Int32, _ sink: Int32) throws(SystemError) -> Int32 {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, source, STDIN_FILENO)
        posix_spawn_file_actions_adddup2(&actions, sink, STDOUT_FILENO)
        // The command gets no signal mask and no ignored signals from this program.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        sigfillset(&signals)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        let words = ["/bin/sh", "-c", command]
        var arguments = words.map { strdup($0) }
        defer { for argument in arguments { free(argument) } }
        arguments.append(nil)
        var process: pid_t = 0
        let code = posix_spawn(&process, "/bin/sh", &actions, &attributes, arguments, vigie_environment())
        guard code == 0 else { throw SystemError("posix_spawn", "/bin/sh", code: code) }
        var status: Int32 = 0
        try systemCall("waitpid") { waitpid(process, &status, 0) }
        // wait(2): the low seven bits are the signal, the next byte is the exit status.
        return status & 0x7f == 0 ? status >> 8 & 0xff : 128 + status & 0x7f
    }
}
