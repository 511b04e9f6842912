import Glibc
import Platform
import Synchronization

/// The signals of `numbers` that this process receives from now on, instead of their default action.
///
/// Several streams may ask for one signal; each gets it. When the last stream of a signal ends, its default action is
/// back. A thread of its own receives them, so what follows a signal is ordinary code, without the limits of
/// signal-safety(7).
public func signalStream(_ numbers: [Int32]) throws(SystemError) -> AsyncStream<Int32> {
    try SignalReceiver.shared.start()
    let (stream, continuation) = AsyncStream.makeStream(of: Int32.self)
    let identifier = SignalReceiver.shared.add(numbers, continuation)
    continuation.onTermination = { _ in SignalReceiver.shared.remove(identifier) }
    return stream
}

/// The end of the pipe that the handler writes to. A plain variable, for a handler may touch nothing else; it is
/// written before the first handler is installed and never after.
nonisolated(unsafe) private var pipeToReceiver: Int32 = -1

/// The one place of a process that handles signals: a handler that writes the number into a pipe, and a thread that
/// reads it. Blocking signals and waiting for them (sigwait(3)) would need every thread to have been started after the
/// block, which a library cannot know.
private final class SignalReceiver: Sendable {
    static let shared = SignalReceiver()

    private struct Listener {
        var numbers: [Int32]
        var continuation: AsyncStream<Int32>.Continuation
    }

    private struct State {
        var isStarted = false
        var nextIdentifier = 0
        var listeners: [Int: Listener] = [:]
    }

    private let state = Mutex(State())

    func start() throws(SystemError) {
        try state.withLock { state throws(SystemError) in
            if state.isStarted { return }
            var ends: [Int32] = [-1, -1]
            try systemCall("pipe") { pipe(&ends) }
            for end in ends { try systemCall("fcntl") { fcntl(end, F_SETFD, FD_CLOEXEC) } }
            // A handler must never wait. A full pipe holds thousands of signals already.
            try systemCall("fcntl") { fcntl(ends[1], F_SETFL, O_NONBLOCK) }
            pipeToReceiver = ends[1]
            state.isStarted = true
            let reader = ends[0]
            startThread(name: "signals") {
                var number: UInt8 = 0
                while true {
                    let count = read(reader, &number, 1)
                    if count == 1 { self.deliver(Int32(number)) }
                    if count == 0 || (count < 0 && errno != EINTR) { return }
                }
            }
        }
    }

    func add(_ numbers: [Int32], _ continuation: AsyncStream<Int32>.Continuation) -> Int {
        state.withLock { state in
            state.nextIdentifier += 1
            state.listeners[state.nextIdentifier] = Listener(numbers: numbers, continuation: continuation)
            for number in numbers { install(number) }
            return state.nextIdentifier
        }
    }

    func remove(_ identifier: Int) {
        state.withLock { state in
            guard let listener = state.listeners.removeValue(forKey: identifier) else { return }
            for number in listener.numbers
            where !state.listeners.values.contains(where: { $0.numbers.contains(number) }) {
                signal(number, SIG_DFL)
            }
        }
    }

    private func deliver(_ number: Int32) {
        let listeners = state.withLock { $0.listeners.values.filter { $0.numbers.contains(number) } }
        for listener in listeners { listener.continuation.yield(number) }
    }

    private func install(_ number: Int32) {
        var action = sigaction()
        action.__sigaction_handler.sa_handler = { number in
            // write(2) is async-signal-safe; errno belongs to the interrupted code.
            let saved = errno
            var byte = UInt8(truncatingIfNeeded: number)
            _ = write(pipeToReceiver, &byte, 1)
            errno = saved
        }
        action.sa_flags = SA_RESTART
        sigaction(number, &action, nil)
    }
}
