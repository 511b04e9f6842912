/// The readings on their way to the broker: what was sent, what was acknowledged, and from where to go on. Pure, so
/// that its tests need no broker.
struct PublishWindow: Equatable {
    /// The most readings on their way at once, ever.
    let limit: Int
    /// The most readings on their way now. A broker that answers soon is given more, up to `limit`. One that does not
    /// answer is not given what would only wait in the producer, a slow link not what it cannot carry before requests
    /// time out, and a quota is not exceeded by more than it must be.
    private(set) var pace: Int
    /// The largest number sent; sending goes on behind it.
    private(set) var sentThrough: Int64
    /// The numbers on their way, in order, and what became of each.
    private var inFlight: [(sequence: Int64, state: State, since: ContinuousClock.Instant)] = []
    /// Whether one of them failed, so that nothing more is sent until all have an answer.
    private(set) var hasFailed = false

    private enum State {
        case sent, acknowledged, failed
    }

    static func == (left: PublishWindow, right: PublishWindow) -> Bool {
        left.limit == right.limit && left.sentThrough == right.sentThrough && left.hasFailed == right.hasFailed
            && left.inFlight.elementsEqual(right.inFlight) { $0.sequence == $1.sequence && $0.state == $1.state }
    }

    /// - Parameter acknowledgedThrough: the largest number that the broker is known to have.
    init(limit: Int, acknowledgedThrough: Int64 = 0) {
        self.limit = limit
        pace = min(limit, Self.leastPace)
        sentThrough = acknowledgedThrough
    }

    /// As many as librdkafka has requests on their way: none of them waits behind another.
    static let leastPace = 5

    /// An answer within this time is followed by more readings than before,
    static let soon = Duration.seconds(2)
    /// and one after this time by fewer.
    static let late = Duration.seconds(5)

    /// How many more may be sent now.
    var room: Int { hasFailed ? 0 : max(0, pace - inFlight.count) }

    /// Whether so many may be sent that it is worth while: a quarter of what may be on its way. With fewer the requests
    /// get small, with more the broker waits for us.
    var isWorthFilling: Bool { room > 0 && room >= pace / 4 }

    /// Whether nothing is on its way.
    var isEmpty: Bool { inFlight.isEmpty }

    /// Notes that a reading was handed to the producer. Numbers ascend.
    mutating func send(_ sequence: Int64, at now: ContinuousClock.Instant) {
        inFlight.append((sequence, .sent, now))
        sentThrough = sequence
    }

    /// Notes a reading that will never be sent: it is skipped as if it were acknowledged.
    mutating func skip(_ sequence: Int64, at now: ContinuousClock.Instant) {
        inFlight.append((sequence, .acknowledged, now))
        sentThrough = sequence
    }

    /// Takes a delivery report.
    mutating func settle(_ sequence: Int64, isDelivered: Bool) {
        // Numbers ascend. A thousand reports come at once, so none may look at all that are on their way.
        var (low, high) = (0, inFlight.count)
        while low < high {
            let middle = (low + high) / 2
            if inFlight[middle].sequence < sequence { low = middle + 1 } else { high = middle }
        }
        guard low < inFlight.count, inFlight[low].sequence == sequence, inFlight[low].state == .sent else { return }
        inFlight[low].state = isDelivered ? .acknowledged : .failed
        if !isDelivered { hasFailed = true }
    }

    /// Takes out the readings that are acknowledged without a gap from the front.
    /// - Returns: the number of the last one; nil if there is none.
    mutating func takeAcknowledged(at now: ContinuousClock.Instant) -> Int64? {
        let count = inFlight.firstIndex { $0.state != .acknowledged } ?? inFlight.count
        guard count > 0 else { return nil }
        let last = inFlight[count - 1].sequence
        let duration = inFlight[0].since.duration(to: now)
        inFlight.removeFirst(count)
        if duration < Self.soon {
            pace = min(limit, pace + count)
        } else if duration > Self.late {
            pace = min(limit, max(Self.leastPace, pace / 2))
        }
        return last
    }

    /// Notes that the outbox has no more than what is on its way: there is nothing to hurry for.
    mutating func rest() {
        pace = min(limit, max(Self.leastPace, inFlight.count))
    }

    /// After a failure, once every reading has an answer: forgets all from the first failed one on, so that they are
    /// sent again in order. Some of them may then be on the topic twice, which is harmless.
    /// - Returns: whether it was time to do so.
    mutating func rewind() -> Bool {
        guard hasFailed, !inFlight.contains(where: { $0.state == .sent }) else { return false }
        if let first = inFlight.first { sentThrough = first.sequence - 1 }
        inFlight = []
        hasFailed = false
        pace = min(limit, Self.leastPace)
        return true
    }

    /// Forgets everything, as the producer that had it is gone. Sending begins anew at the oldest reading that is there:
    /// also one that was acknowledged may be, if it could not be deleted.
    mutating func restart() {
        self = PublishWindow(limit: limit)
    }
}
