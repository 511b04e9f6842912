import Glibc
import Synchronization

/// Keeps signals of `numbers` from now on, instead of their default action, until `signalStream` asks for them or
/// `releaseSignals` gives the default action back.
///
/// The first thing that a program does, so that a stop that is asked for while it starts is neither lost nor ends it
/// halfway. Also after the last stream of such a signal has ended it is kept, as the program is about to end then.
public func holdSignals(_ numbers: [Int32]) throws(SystemError) {
    try SignalReceiver.shared.start()
    SignalReceiver.shared.hold(numbers)
}

/// Gives signals that are held, and that nobody receives, their default action back; one that came meanwhile acts now.
public func releaseSignals() {
    SignalReceiver.shared.release()
}

/// The signals of `numbers` that this process receives from now on, or has held, instead of their default action.
///
/// Several streams may ask for one signal; each gets it. When the last stream of a signal that is not held ends, its
/// default action is back. A thread of its own receives them, so what follows a signal is ordinary code, without the
/// limits of signal-safety(7).
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
/// block, which a library cannot know, and programs that are started would inherit the block.
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
        /// Signals that stay without their default action while nobody listens.
        var held: Set<Int32> = []
        /// Held signals that came while nobody listened, in their order.
        var kept: [Int32] = []
        /// Signals that were held once and have their default action now.
        var released: Set<Int32> = []

        func isListenedTo(_ number: Int32) -> Bool {
            listeners.values.contains { $0.numbers.contains(number) }
        }
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

    func hold(_ numbers: [Int32]) {
        state.withLock { state in
            state.held.formUnion(numbers)
            state.released.subtract(numbers)
            for number in numbers { install(number) }
        }
    }

    func release() {
        let kept = state.withLock { state in
            let free = state.held.filter { !state.isListenedTo($0) }
            state.held.subtract(free)
            state.released.formUnion(free)
            for number in free { signal(number, SIG_DFL) }
            defer { state.kept = [] }
            return state.kept
        }
        for number in kept { kill(getpid(), number) }
    }

    func add(_ numbers: [Int32], _ continuation: AsyncStream<Int32>.Continuation) -> Int {
        state.withLock { state in
            state.nextIdentifier += 1
            state.listeners[state.nextIdentifier] = Listener(numbers: numbers, continuation: continuation)
            state.released.subtract(numbers)
            for number in numbers { install(number) }
            for number in state.kept where numbers.contains(number) { continuation.yield(number) }
            state.kept.removeAll { numbers.contains($0) }
            return state.nextIdentifier
        }
    }

    func remove(_ identifier: Int) {
        state.withLock { state in
            guard let listener = state.listeners.removeValue(forKey: identifier) else { return }
            for number in listener.numbers where !state.held.contains(number) && !state.isListenedTo(number) {
                signal(number, SIG_DFL)
            }
        }
    }

    private func deliver(_ number: Int32) {
        let (listeners, actsNow) = state.withLock { state in
            let listeners = state.listeners.values.filter { $0.numbers.contains(number) }
            if listeners.isEmpty, state.held.contains(number) { state.kept.append(number) }
            // It was in the pipe when it was released.
            return (listeners, listeners.isEmpty && state.released.contains(number))
        }
        for listener in listeners { listener.continuation.yield(number) }
        if actsNow { kill(getpid(), number) }
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
