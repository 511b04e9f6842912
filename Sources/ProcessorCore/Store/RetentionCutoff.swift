/// How far retention has come, as a transaction sees it. It moves while no batch is written, and never back.
struct Horizon: Sendable, Equatable {
    /// Readings before this are not kept, milliseconds since 1970.
    var readings = Int64.min
    /// Windows that begin before this are not kept, milliseconds since 1970.
    var windows = Int64.min

    /// Taken at the beginning of every transaction that reads the horizon and writes by it; whoever moves the horizon or
    /// drops a day asks for a lock that excludes this one, so what was read stays true until the commit.
    static let lock = "LOCK TABLE ONLY sensor_data IN ROW EXCLUSIVE MODE"

    /// Whether a window may be written. One that begins before the first reading that is kept would be made from a part
    /// of its readings; it stays as it was last written.
    func keepsWindow(from start: Int64) -> Bool {
        start >= readings && start >= windows
    }
}
