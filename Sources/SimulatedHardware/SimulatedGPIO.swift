import Platform
import SensorBus
import Synchronization

/// GPIO lines that are simulated: the world drives the inputs, and what the outputs did is written down.
public final class SimulatedGPIO: GPIOLines {
    /// A value that an output took.
    public struct Step: Sendable, Equatable {
        /// Since the world's beginning.
        public var time: Duration
        /// Whether the output became, or stayed, active.
        public var isActive: Bool

        /// Makes a step.
        public init(at time: Duration, _ isActive: Bool) {
            self.time = time
            self.isActive = isActive
        }
    }

    fileprivate struct Line {
        var isActive = false
        var failure: GPIOError.Kind?
        var steps: [Step] = []
        var isTaken = false
        var watcher: AsyncStream<Result<GPIOEdge, GPIOError>>.Continuation?
        var load: (@Sendable (Bool) -> Void)?
    }

    /// The thread for the lines.
    public let executor: ThreadExecutor
    private let lines = Mutex<[GPIOLineID: Line]>([:])
    private let elapsed: @Sendable () -> Duration
    private let keepsSteps: Bool

    /// Makes lines that are all inactive.
    /// - Parameters:
    ///   - keepsSteps: whether outputs write down what they did, without an end.
    ///   - observer: told of the work of the lines' thread, as a `VirtualClock` must be.
    ///   - elapsed: the time since the world's beginning, which edges carry.
    public init(
        keepsSteps: Bool = false, observer: (any WorkObserver)? = nil, elapsed: @escaping @Sendable () -> Duration
    ) {
        executor = ThreadExecutor(name: "gpio", observer: observer)
        self.keepsSteps = keepsSteps
        self.elapsed = elapsed
    }

    /// Drives an input from outside; whoever has it sees an edge if that is a change.
    /// - Parameter isLost: whether the edge gets lost, as where the kernel's queue is full.
    public func drive(_ line: GPIOLineID, _ isActive: Bool, edgeIsLost isLost: Bool = false) {
        let time = elapsed()
        lines.withLock { lines in
            guard lines[line, default: Line()].isActive != isActive else { return }
            lines[line, default: Line()].isActive = isActive
            if isLost { return }
            lines[line]?.watcher?.yield(.success(GPIOEdge(isActive: isActive, time: time)))
        }
    }

    /// Wires something to an output.
    /// - Parameter load: called with each value that the output takes, in their order; it must not use the lines.
    public func wire(_ line: GPIOLineID, to load: @escaping @Sendable (Bool) -> Void) {
        lines.withLock { $0[line, default: Line()].load = load }
    }

    /// Makes every access to a line fail, and ends its edges; nil mends it.
    public func fail(_ line: GPIOLineID, _ kind: GPIOError.Kind?) {
        lines.withLock { lines in
            lines[line, default: Line()].failure = kind
            guard let kind else { return }
            lines[line]?.watcher?.yield(.failure(GPIOError(kind, line: "\(line)")))
            lines[line]?.watcher?.finish()
        }
    }

    /// Whether a line is active now.
    public func isActive(_ line: GPIOLineID) -> Bool {
        lines.withLock { $0[line]?.isActive ?? false }
    }

    /// What an output did, from the moment that it was taken.
    public func steps(_ line: GPIOLineID) -> [Step] {
        lines.withLock { $0[line]?.steps ?? [] }
    }

    /// Takes a line as an input. The options are for wires; what is driven here is what the reader sees.
    public func input(_ line: GPIOLineID, options: GPIOInputOptions) throws(GPIOError) -> any GPIOInput {
        try take(line)
        return SimulatedLine(id: line, owner: self)
    }

    /// Takes a line as an output.
    public func output(
        _ line: GPIOLineID, initially isActive: Bool, options: GPIOOutputOptions
    ) throws(GPIOError) -> any GPIOOutput {
        try take(line)
        let output = SimulatedLine(id: line, owner: self)
        try output.set(isActive)
        return output
    }

    private func take(_ line: GPIOLineID) throws(GPIOError) {
        try access(line) { line in
            let isFree = !line.isTaken
            line.isTaken = true
            return isFree ? nil : .busy(consumer: "vigie-gateway")
        }
    }

    /// - Parameter body: uses the line; returns why it cannot.
    fileprivate func access(
        _ line: GPIOLineID, _ body: (inout Line) -> GPIOError.Kind?
    ) throws(GPIOError) {
        let failure = lines.withLock { lines in
            lines[line, default: Line()].failure ?? body(&lines[line, default: Line()])
        }
        if let failure { throw GPIOError(failure, line: "\(line)") }
    }

    fileprivate func set(_ line: GPIOLineID, _ isActive: Bool) throws(GPIOError) {
        let (time, keepsSteps) = (elapsed(), keepsSteps)
        try access(line) { line in
            line.isActive = isActive
            if keepsSteps { line.steps.append(Step(at: time, isActive)) }
            line.load?(isActive)
            return nil
        }
    }

    fileprivate func release(_ line: GPIOLineID) {
        lines.withLock { $0[line]?.isTaken = false }
    }
}

/// A simulated line that somebody has.
private final class SimulatedLine: GPIOInput, GPIOOutput {
    let id: GPIOLineID
    let owner: SimulatedGPIO
    var name: String { "simulated \(id)" }
    var isDebounced: Bool { false }

    init(id: GPIOLineID, owner: SimulatedGPIO) {
        self.id = id
        self.owner = owner
    }

    deinit {
        owner.release(id)
    }

    func isActive() throws(GPIOError) -> Bool {
        var isActive = false
        try owner.access(id) { line in
            isActive = line.isActive
            return nil
        }
        return isActive
    }

    func set(_ isActive: Bool) throws(GPIOError) {
        try owner.set(id, isActive)
    }

    func edges() -> AsyncStream<Result<GPIOEdge, GPIOError>> {
        owner.edges(id)
    }
}

extension SimulatedGPIO {
    /// Edges from now on: a simulated line has none between its taking and this.
    fileprivate func edges(_ line: GPIOLineID) -> AsyncStream<Result<GPIOEdge, GPIOError>> {
        let (stream, continuation) = AsyncStream.makeStream(of: Result<GPIOEdge, GPIOError>.self)
        lines.withLock { $0[line, default: Line()].watcher = continuation }
        return stream
    }
}
