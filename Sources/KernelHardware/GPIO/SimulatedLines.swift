import Synchronization

/// The eight lines of the simulated GPIO chip: the world drives the inputs, the program on the other side the outputs.
public final class SimulatedLines: Sendable {
    /// The offsets that there are.
    public static let offsets = 0..<8

    /// A line at one moment.
    public struct Line: Sendable, Equatable {
        /// Whether the program drives it.
        public var isOutput: Bool
        /// Its level.
        public var isHigh: Bool
        /// How often its level has changed.
        public var changes = 0
    }

    /// One bit a line.
    struct State {
        var outputs: UInt8 = 0
        /// What the program set, and what the world sets.
        var latch: UInt8 = 0
        var world: UInt8 = 0
        var changes = [Int](repeating: 0, count: SimulatedLines.offsets.count)

        var levels: UInt8 { outputs & latch | ~outputs & world }
    }

    /// What lines are for, by their offsets.
    public let roles: [Int: String]

    private let state: Mutex<State>
    private let onChange: @Sendable (SimulatedLines.Levels) -> Void

    /// The levels of all lines.
    public struct Levels: Sendable {
        let bits: UInt8
        /// Whether a line is high.
        public func isHigh(_ offset: Int) -> Bool { bits >> offset & 1 != 0 }
    }

    /// Makes lines that nobody drives.
    /// - Parameters:
    ///   - roles: what lines are for, by their offsets.
    ///   - high: those that are high; the others are low.
    ///   - onChange: called with the levels after each change; it must not use the lines.
    public init(
        roles: [Int: String] = [:], high: [Int] = [], onChange: @escaping @Sendable (Levels) -> Void = { _ in }
    ) {
        self.roles = roles
        state = Mutex(State(world: high.filter(SimulatedLines.offsets.contains).reduce(0) { $0 | 1 << $1 }))
        self.onChange = onChange
    }

    /// A line by its number or its role.
    func offset(named name: String) -> Int? {
        if let number = Int(name) { return SimulatedLines.offsets.contains(number) ? number : nil }
        return roles.first { $0.value == name }?.key
    }

    /// All lines in their order.
    public var lines: [Line] {
        let state = current
        return SimulatedLines.offsets.map { offset in
            Line(
                isOutput: state.outputs >> offset & 1 != 0, isHigh: state.levels >> offset & 1 != 0,
                changes: state.changes[offset])
        }
    }

    /// Drives a line from outside; while the program drives it, that shows only later.
    public func drive(_ offset: Int, high: Bool) {
        guard SimulatedLines.offsets.contains(offset) else { return }
        change { state in
            if high { state.world |= 1 << offset } else { state.world &= ~(1 << offset) }
        }
    }

    var current: State { state.withLock { $0 } }

    func change(_ body: (inout State) -> Void) {
        state.withLock { state in
            let before = state.levels
            body(&state)
            let changed = state.levels ^ before
            if changed == 0 { return }
            for offset in SimulatedLines.offsets { state.changes[offset] += Int(changed >> offset & 1) }
            // Inside the lock, so that it is told of changes in their order.
            onChange(Levels(bits: state.levels))
        }
    }
}
