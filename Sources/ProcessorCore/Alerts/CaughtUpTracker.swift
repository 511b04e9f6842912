import Alerting

/// Since when and up to when everything that was sent to a partition is known to be in the database, without a gap.
///
/// Only in that time does it mean something that a sensor sends nothing: while the processor was down, had a backlog, or
/// could not reach the broker or the database, nobody was silent.
struct CaughtUpTracker: Sendable, Equatable {
    /// A stretch of time by the processor's clock, milliseconds since 1970.
    struct Stretch: Sendable, Equatable {
        var since: Int64
        var through: Int64
    }

    /// The longest time between two confirmations that is no gap, milliseconds.
    static let longestGap: Int64 = 15_000

    private(set) var stretches: [Int32: Stretch] = [:]

    /// Notes that all that was in a partition at some time is in the database.
    mutating func confirm(_ partition: Int32, at time: Int64) {
        if let known = stretches[partition], (0...CaughtUpTracker.longestGap).contains(time - known.through) {
            stretches[partition]?.through = time
        } else {
            stretches[partition] = Stretch(since: time, through: time)
        }
    }

    /// Forgets all but some partitions.
    mutating func keep(_ owned: Set<Int32>) {
        stretches = stretches.filter { owned.contains($0.key) }
    }

    /// Since when a sensor has been silent, and up to when that is known; nil if nothing can be said.
    func silence(lastArrival: Int64, partition: Int32) -> Stretch? {
        guard let stretch = stretches[partition] else { return nil }
        return Stretch(since: max(stretch.since, lastArrival), through: stretch.through)
    }

    /// Up to when a sensor is known to be idle; nil if it is not: it has sent nothing for the time-out, as far as its
    /// partition has been read. What waits there unread is nobody's silence.
    func idleThrough(lastArrival: Int64, partition: Int32, timeout: Int64) -> Int64? {
        silence(lastArrival: lastArrival, partition: partition).flatMap {
            $0.through - $0.since >= timeout ? $0.through : nil
        }
    }
}

extension SensorState {
    /// Whether it has just been silent for too long.
    func isNewlySilent(_ rule: SilenceRule, _ caughtUp: CaughtUpTracker, partition: Int32) -> Bool {
        guard !alerts.isSilent, let silence = caughtUp.silence(lastArrival: lastArrival, partition: partition) else {
            return false
        }
        return silence.through - silence.since >= rule.limit(interval: interval)
    }
}
