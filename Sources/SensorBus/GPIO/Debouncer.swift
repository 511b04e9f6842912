/// Finds the changes of a switch or a relay that bounces: a level counts once the line was quiet for a time. Pure; it
/// does what the kernel does where libgpiod 2 lets it (gpio_v2_line_config_attribute, debounce_period_us).
public struct Debouncer: Sendable, Equatable {
    /// How long the line must be quiet; not below zero.
    public let period: Duration
    /// The level that counts.
    public private(set) var isActive: Bool
    /// The last edge, while it does not count yet.
    private var pending: GPIOEdge?

    /// Makes a debouncer for a line that is `isActive` now.
    public init(period: Duration, isActive: Bool) {
        self.period = max(.zero, period)
        self.isActive = isActive
    }

    /// Whether an edge waits for `settle`.
    public var isSettling: Bool { pending != nil }

    /// Takes an edge. It may come late: the times of the edges decide.
    /// - Returns: the changes that count now, in their order: the one before this edge if the line was quiet long
    ///   enough since, and this one if the period is zero.
    public mutating func take(_ edge: GPIOEdge) -> [GPIOEdge] {
        var changes: [GPIOEdge] = []
        if let pending, edge.time - pending.time >= period { changes += accept(pending) }
        pending = edge
        if period == .zero { changes += accept(edge) }
        return changes
    }

    /// To be called when no edge has come for `period` since the last one.
    /// - Parameter level: what the line is now, for edges may be missing; nil if it cannot be read.
    /// - Returns: the change that counts now, with the time of the last edge; nil if there is none.
    public mutating func settle(reading level: Bool? = nil) -> GPIOEdge? {
        guard var edge = pending else { return nil }
        edge.isActive = level ?? edge.isActive
        return accept(edge).first
    }

    private mutating func accept(_ edge: GPIOEdge) -> [GPIOEdge] {
        pending = nil
        guard edge.isActive != isActive else { return [] }
        isActive = edge.isActive
        return [edge]
    }
}
