import Readings
import Synchronization

/// A clock that stands still until it is set.
public final class ManualWallClock: WallClock {
    private let time: Mutex<Timestamp>

    /// Makes a clock that stands at `time`.
    public init(_ time: Timestamp) {
        self.time = Mutex(time)
    }

    /// The time it was last set to.
    public func now() -> Timestamp {
        time.withLock { $0 }
    }

    /// Sets the time, forwards or backwards.
    public func set(_ newTime: Timestamp) {
        time.withLock { $0 = newTime }
    }
}
