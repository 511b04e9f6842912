/// How much a pipeline keeps of sensors in memory.
package struct StateSize: Sendable, Equatable {
    package var sensors = 0
    package var panes = 0
    /// Windows that are not final.
    package var windows = 0
    package var bytes = 0

    /// Nothing.
    package init() {}

    /// Makes a size from its parts.
    package init(sensors: Int, panes: Int, windows: Int, bytes: Int) {
        self.sensors = sensors
        self.panes = panes
        self.windows = windows
        self.bytes = bytes
    }

    package static func += (left: inout StateSize, right: StateSize) {
        left.sensors += right.sensors
        left.panes += right.panes
        left.windows += right.windows
        left.bytes += right.bytes
    }
}

/// A committed batch.
struct BatchRecord: Sendable, Equatable {
    /// When it was committed, milliseconds since 1970.
    var time: Int64
    var messages: Int
    var rows: Int
    /// From its first statement to its commit, seconds.
    var seconds: Double
}

/// What a pipeline has done: with one batch, or since the start.
package struct WorkCounts: Sendable, Equatable {
    package var messages = 0
    package var rows = 0
    package var duplicates = 0
    /// Readings whose numbers other readings have.
    package var conflicts = 0
    package var late = 0
    package var rejected = 0
    package var windows = 0
    package var batches = 0

    /// Nothing.
    package init() {}

    package static func += (left: inout WorkCounts, right: WorkCounts) {
        left.messages += right.messages
        left.rows += right.rows
        left.duplicates += right.duplicates
        left.conflicts += right.conflicts
        left.late += right.late
        left.rejected += right.rejected
        left.windows += right.windows
        left.batches += right.batches
    }
}
