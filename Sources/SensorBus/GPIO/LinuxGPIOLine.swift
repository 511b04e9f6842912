import CGPIO
import Glibc
import Platform
import Synchronization

/// A line that we have, as an input or as an output. It goes back to the kernel when the last reference goes; what an
/// output does then is the driver's choice, so a resistor on the board must say what is right.
final class LinuxGPIOLine: GPIOInput, GPIOOutput {
    let name: String
    let isDebounced: Bool
    private let chip: GPIOChipHandle
    private let offset: UInt32
    /// libgpiod's objects are for one thread at a time (libgpiod 2, "Thread safety").
    private let lock = Mutex(())
    private nonisolated(unsafe) let pointer: OpaquePointer

    /// - Parameters:
    ///   - request: how the line is taken, but for the consumer.
    ///   - asked: what the user calls it, for errors.
    init(
        _ chip: GPIOChipHandle, _ offset: UInt32, _ request: vigie_gpio_options, consumer: String, asked: GPIOLineID
    ) throws(GPIOError) {
        let lineName = try chip.line(offset).name
        name = "\(try chip.described().label) \(offset)" + (lineName.isEmpty ? "" : " (\(lineName))")
        var request = request
        var taken = Self.take(chip, offset, request, consumer)
        var isDebounced = vigie_gpio_debounces()
        if taken.pointer == nil, isDebounced, request.debounce_microseconds > 0,
            GPIOError.Kind(code: taken.code) == .unsupported
        {
            // The kernel debounces in the interrupt itself, which chips behind another bus, such as a CP2112, do not
            // have.
            request.debounce_microseconds = 0
            isDebounced = false
            taken = Self.take(chip, offset, request, consumer)
        }
        guard let pointer = taken.pointer else {
            let kind = GPIOError.Kind(code: taken.code)
            throw GPIOError(
                taken.code == EBUSY ? .busy(consumer: try chip.line(offset).consumer) : kind, line: "\(asked)")
        }
        self.isDebounced = isDebounced
        self.pointer = pointer
        self.chip = chip
        self.offset = offset
    }

    /// - Returns: the line, or nil and the error number.
    private static func take(
        _ chip: GPIOChipHandle, _ offset: UInt32, _ request: vigie_gpio_options, _ consumer: String
    ) -> (pointer: OpaquePointer?, code: Int32) {
        consumer.withCString { consumer in
            var request = request
            request.consumer = consumer
            let pointer = vigie_gpio_request(chip.pointer, offset, &request)
            return (pointer, errno)
        }
    }

    deinit {
        vigie_gpio_release(pointer)
    }

    func isActive() throws(GPIOError) -> Bool {
        let (value, code) = lock.withLock { _ in (vigie_gpio_value(pointer, offset), errno) }
        guard value >= 0 else { throw GPIOError(.init(code: code), line: name) }
        return value != 0
    }

    func set(_ isActive: Bool) throws(GPIOError) {
        let (result, code) = lock.withLock { _ in (vigie_gpio_set_value(pointer, offset, isActive), errno) }
        guard result == 0 else { throw GPIOError(.init(code: code), line: name) }
    }

    func edges() -> AsyncStream<Result<GPIOEdge, GPIOError>> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: Result<GPIOEdge, GPIOError>.self, bufferingPolicy: .bufferingNewest(256))
        var ends: [Int32] = [-1, -1]
        do throws(SystemError) {
            try systemCall("pipe") { pipe(&ends) }
            for end in ends { try systemCall("fcntl") { fcntl(end, F_SETFD, FD_CLOEXEC) } }
        } catch {
            for end in ends where end >= 0 { close(end) }
            continuation.yield(.failure(GPIOError(.other(code: error.code), line: name)))
            continuation.finish()
            return stream
        }
        let (stop, starter) = (ends[0], ends[1])
        // Closing one end wakes the thread, which waits for the other too.
        continuation.onTermination = { _ in close(starter) }
        startThread(name: "gpio edges") { [self] in
            do throws(GPIOError) {
                try readEdges(until: stop) { continuation.yield(.success($0)) }
            } catch {
                continuation.yield(.failure(error))
            }
            close(stop)
            continuation.finish()
        }
        return stream
    }

    /// Reads edges until `stop` is readable or closed at its other end.
    private func readEdges(until stop: Int32, _ report: (GPIOEdge) -> Void) throws(GPIOError) {
        let descriptor = lock.withLock { _ in vigie_gpio_edge_descriptor(pointer) }
        guard descriptor >= 0 else { throw GPIOError(.unsupported, line: name) }
        var edges = [vigie_gpio_edge](repeating: vigie_gpio_edge(), count: Int(VIGIE_GPIO_EDGES_AT_ONCE))
        while true {
            var waited = [
                pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0),
                pollfd(fd: stop, events: Int16(POLLIN), revents: 0),
            ]
            do {
                try systemCall("poll") { poll(&waited, nfds_t(waited.count), -1) }
            } catch {
                throw GPIOError(.init(code: error.code), line: name)
            }
            if waited[1].revents != 0 { return }
            guard waited[0].revents & Int16(POLLIN) != 0 else { throw GPIOError(.gone, line: name) }
            let (count, code) = lock.withLock { _ in (vigie_gpio_read_edges(pointer, &edges), errno) }
            guard count >= 0 || code == EINTR || code == EAGAIN else { throw GPIOError(.init(code: code), line: name) }
            for edge in edges.prefix(Int(max(0, count))) {
                report(GPIOEdge(isActive: edge.is_rising, time: .nanoseconds(Int64(clamping: edge.nanoseconds))))
            }
        }
    }
}
