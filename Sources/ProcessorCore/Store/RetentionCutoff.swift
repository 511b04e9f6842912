/// How far retention has come, as a transaction sees it: nothing before it is kept. It only moves forward, and never
/// while a batch is being written.
struct RetentionCutoff: Sendable, Equatable {
    /// Readings before this are not kept, milliseconds since 1970.
    var readings = Int64.min
    /// Windows that begin before this are not kept, milliseconds since 1970.
    var windows = Int64.min

    /// Every transaction that reads the cutoff and writes by it takes this lock first. Whoever moves the cutoff or drops
    /// a day takes a lock that excludes it, so what was read stays true until the commit.
    static let lock = "LOCK TABLE ONLY sensor_data IN ROW EXCLUSIVE MODE"

    /// Whether a window may be written. A window that begins before the first reading that is kept could only be made
    /// from a part of its readings, so it stays as it was last written.
    func keepsWindow(from start: Int64) -> Bool {
        start >= readings && start >= windows
    }
}
