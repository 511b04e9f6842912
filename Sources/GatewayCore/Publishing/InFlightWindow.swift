/// The messages on their way to the broker: what was sent, what was acknowledged, and from where to go on. Pure, so
/// that its tests need no broker.
///
/// A message is a reading, which has a number, or a report, which has none. Each gets a token when it is sent. A token
/// that a producer has taken is not given again, so an answer of a producer that was given up settles nothing.
struct InFlightWindow: Sendable {
    /// What became of a message.
    enum State: Equatable, Sendable {
        /// There is no answer yet.
        case sent
        /// The broker has it, or it is kept in quarantine.
        case acknowledged
        /// It must be sent again.
        case failed(Refusal)
        /// It was refused for good, and waits for a disk that takes it into quarantine.
        case held
    }

    /// A message on its way.
    struct Entry: Equatable, Sendable {
        /// The reading's number; nil for a report.
        let sequence: Int64?
        /// Its bytes in a request, about.
        let size: Int
        /// Whether it was the only message on its way from the time it was sent on.
        fileprivate(set) var isAlone: Bool
        fileprivate(set) var state: State
        fileprivate let since: ContinuousClock.Instant
        /// The largest number sent before it.
        fileprivate let before: Int64
    }

    /// The most messages on their way at once, ever.
    let limit: Int
    /// The most messages on their way now. A broker that answers soon is given more, up to `limit`. One that does not
    /// answer is not given what would only wait in the producer, a slow link not what it cannot carry before requests
    /// time out, and a quota is not exceeded by more than it must be.
    private(set) var pace: Int
    /// The largest number sent; sending goes on behind it.
    private(set) var sentThrough: Int64
    /// Messages without an answer.
    private(set) var unanswered = 0
    /// Their bytes.
    private(set) var unansweredBytes = 0
    /// Whether one of the messages failed, so that nothing more is sent until all have an answer.
    private(set) var hasFailed = false
    /// In the order in which they were sent.
    private(set) var entries: [Entry] = []
    /// The token of the first of them.
    private(set) var firstToken: UInt64 = 1

    /// - Parameters:
    ///   - limit: the most messages on their way at once.
    ///   - acknowledgedThrough: the largest number that the broker is known to have.
    init(limit: Int, acknowledgedThrough: Int64 = 0) {
        self.limit = limit
        pace = min(limit, Self.leastPace)
        sentThrough = acknowledgedThrough
    }

    /// As many as librdkafka has requests on their way: none of them waits behind another.
    static let leastPace = 5

    /// An answer within this time is followed by more messages than before,
    static let soon = Duration.seconds(2)
    /// and one after this time by fewer.
    static let late = Duration.seconds(5)

    /// How many more may be sent now.
    var room: Int { hasFailed ? 0 : max(0, pace - unanswered) }

    /// Whether so many may be sent that it is worth while: a quarter of what may be on its way. With fewer the requests
    /// get small, with more the broker waits for us.
    var isWorthFilling: Bool { room > 0 && room >= pace / 4 }

    /// Whether nothing is on its way, and nothing waits for the disk.
    var isEmpty: Bool { entries.isEmpty }

    /// Whether every message has an answer.
    var isSettled: Bool { unanswered == 0 }

    /// The messages that failed, in order.
    var failed: [(entry: Entry, refusal: Refusal)] {
        entries.compactMap { entry in
            if case .failed(let refusal) = entry.state { (entry, refusal) } else { nil }
        }
    }

    /// Notes that a message is handed to the producer. Numbers ascend.
    /// - Returns: its token.
    @discardableResult
    mutating func send(_ sequence: Int64?, size: Int = 0, at now: ContinuousClock.Instant) -> UInt64 {
        if unanswered == 1 { for index in entries.indices { entries[index].isAlone = false } }
        entries.append(
            Entry(
                sequence: sequence, size: size, isAlone: unanswered == 0, state: .sent, since: now, before: sentThrough)
        )
        unanswered += 1
        unansweredBytes += size
        if let sequence { sentThrough = sequence }
        return firstToken + UInt64(entries.count - 1)
    }

    /// Notes a reading that is not sent since it was refused for good: it is in the way until the disk has it.
    mutating func hold(_ sequence: Int64, at now: ContinuousClock.Instant) {
        entries.append(
            Entry(sequence: sequence, size: 0, isAlone: false, state: .held, since: now, before: sentThrough))
        sentThrough = sequence
    }

    /// Notes that the disk has a reading that was refused for good.
    mutating func release(_ sequence: Int64) {
        guard let index = entries.firstIndex(where: { $0.sequence == sequence && $0.state == .held }) else { return }
        entries[index].state = .acknowledged
    }

    /// Takes back the message with this token and all that were sent after it: the producer did not take them.
    mutating func takeBack(from token: UInt64) {
        guard let start = index(of: token) else { return }
        sentThrough = entries[start].before
        for entry in entries[start...] where entry.state == .sent {
            unanswered -= 1
            unansweredBytes -= entry.size
        }
        entries.removeSubrange(start...)
    }

    /// Takes what became of a message.
    /// - Returns: the message; nil if it is not on its way.
    @discardableResult
    mutating func settle(_ token: UInt64, _ state: State) -> Entry? {
        guard let index = index(of: token), entries[index].state == .sent else { return nil }
        entries[index].state = state
        unanswered -= 1
        unansweredBytes -= entries[index].size
        if case .failed = state { hasFailed = true }
        return entries[index]
    }

    /// The message with this token, if it is on its way.
    func entry(of token: UInt64) -> Entry? { index(of: token).map { entries[$0] } }

    private func index(of token: UInt64) -> Int? {
        guard token >= firstToken, token - firstToken < UInt64(entries.count) else { return nil }
        return Int(token - firstToken)
    }

    /// Takes out the messages that are acknowledged without a gap from the front.
    /// - Returns: the number of the last reading among them; nil if there is none.
    mutating func takeAcknowledged(at now: ContinuousClock.Instant) -> Int64? {
        let count = entries.firstIndex { $0.state != .acknowledged } ?? entries.count
        guard count > 0 else { return nil }
        let last = entries[..<count].last { $0.sequence != nil }?.sequence
        let duration = entries[0].since.duration(to: now)
        entries.removeFirst(count)
        firstToken += UInt64(count)
        if duration < Self.soon {
            pace = min(limit, pace + count)
        } else if duration > Self.late {
            pace = min(limit, max(Self.leastPace, pace / 2))
        }
        return last
    }

    /// Notes that the outbox has no more than what is on its way: there is nothing to hurry for.
    mutating func rest() {
        pace = min(limit, max(Self.leastPace, unanswered))
    }

    /// After a failure, once every message has an answer: forgets all from the first failed one on, so that they are
    /// sent again in order. Some of them may then be on the topic twice, which is harmless.
    /// - Returns: whether it was time to do so.
    @discardableResult
    mutating func rewind() -> Bool {
        guard hasFailed, isSettled else { return false }
        let start = entries.firstIndex { if case .failed = $0.state { true } else { false } }
        if let start { forget(from: start) }
        return true
    }

    /// Forgets what has no answer, and all after it, as the producer that had it is gone. What was acknowledged before it
    /// is not sent again, whether or not it could be deleted.
    mutating func restart() {
        let start = entries.firstIndex { $0.state != .acknowledged && $0.state != .held }
        if let start { forget(from: start) }
        hasFailed = false
        pace = min(limit, Self.leastPace)
    }

    private mutating func forget(from start: Int) {
        sentThrough = entries[start].before
        // No token of theirs is given again.
        let next = firstToken + UInt64(entries.count)
        entries.removeSubrange(start...)
        firstToken = next - UInt64(entries.count)
        unanswered = 0
        unansweredBytes = 0
        hasFailed = false
        pace = min(limit, Self.leastPace)
    }
}
