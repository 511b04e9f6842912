/// How often open windows are written: as often as is wished, unless that would take more than a fifth of the writer's
/// time. A hundred thousand sensors have a million open windows.
struct UpdatePace: Sendable {
    private static let largestShare = 0.2

    /// What is wished, milliseconds.
    let wished: Int64
    /// Windows that are open now.
    var openWindows = 0
    /// What writing the last windows has taken, milliseconds, and how many they were.
    private var written = (duration: 0.0, windows: 0.0)
    /// So many windows are remembered; older ones count less and less.
    private static let memory = 20_000.0

    init(wished: Int64) {
        self.wished = wished
    }

    /// Notes what writing windows has taken.
    mutating func observe(windows: Int, duration: Duration) {
        guard windows > 0 else { return }
        written.duration += duration / .milliseconds(1)
        written.windows += Double(windows)
        let excess = max(1, written.windows / UpdatePace.memory)
        written = (written.duration / excess, written.windows / excess)
    }

    /// How often the open windows of a gateway are to be written, milliseconds.
    var interval: Int64 {
        guard written.windows > 0 else { return wished }
        let needed = written.duration / written.windows * Double(openWindows) / UpdatePace.largestShare
        return max(wished, Int64(min(needed, 3_600_000)))
    }
}
