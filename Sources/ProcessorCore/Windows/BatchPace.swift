/// How many messages a transaction takes at most while there is a backlog.
///
/// A late reading is part of many final windows (of eleven with the default ones), but a window is written once a
/// transaction, however many of its late readings fall into it. So transactions grow where late readings are many; where
/// they are few, small ones take less memory and less time to do again.
struct BatchPace: Sendable {
    private static let ordinary = 20_000

    /// The most that it may be (`maximum_batch`).
    let maximum: Int
    /// The most messages of the next transaction.
    private(set) var limit: Int

    init(maximum: Int) {
        self.maximum = maximum
        limit = min(maximum, BatchPace.ordinary)
    }

    /// Notes what a transaction has written.
    /// - Parameter lateWindows: final windows, for late readings.
    mutating func observe(messages: Int, lateWindows: Int) {
        let isWorthIt = lateWindows > messages / 20
        limit = min(maximum, isWorthIt ? limit * 2 : BatchPace.ordinary)
    }
}
