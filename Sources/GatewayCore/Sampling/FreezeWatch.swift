import SensorDrivers

/// Tells a chip that gives the same numbers over and over from one that measures.
///
/// A chip for air has noise of several of its steps in each quantity, so hundreds of equal measurements in a row mean
/// that it converts no longer, though it answers, with good checksums. Such a chip is the worst of all: its values look
/// right. It is believed again once it gives another value.
struct FreezeWatch: Sendable {
    /// So many equal measurements in a row mean that it is frozen; 0: it is not watched.
    let limit: Int
    private var last: Measurement?
    private var count = 0

    init(limit: Int) {
        self.limit = limit
    }

    /// Looks at one more measurement.
    /// - Returns: whether the chip is frozen.
    mutating func isFrozen(at measurement: Measurement) -> Bool {
        guard limit > 0 else { return false }
        count = measurement == last ? min(count + 1, limit) : 1
        last = measurement
        return count >= limit
    }
}
