/// When a station samples: at slots that are an interval apart, whatever a sample takes. Times are since the beginning.
/// Pure.
struct Schedule: Sendable, Equatable {
    /// The time from one slot to the next; above zero.
    private(set) var interval: Duration
    /// Where the slots are counted from: the beginning, or where the interval last changed.
    private var origin = Duration.zero
    private var slot = 0

    init(interval: Duration) {
        self.interval = interval
    }

    /// When the present slot is.
    var time: Duration { origin + interval * slot }

    /// Changes the interval from the present slot on, which stays where it is.
    mutating func change(interval: Duration) {
        guard interval != self.interval else { return }
        origin = time
        slot = 0
        self.interval = interval
    }

    /// Goes to the next slot after `now`. The slots stand: those that were missed are left out.
    /// - Returns: how many were missed.
    mutating func advance(past now: Duration) -> Int {
        let next = max(slot + 1, Int(((now - origin) / interval).rounded(.down)) + 1)
        defer { slot = next }
        return next - slot - 1
    }
}
