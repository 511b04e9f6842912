/// Notices that a connected broker has stopped to answer a producer. Pure: it is told the time, by the monotonic clock.
///
/// librdkafka has five produce requests of a partition on their way at most, and looks at what waits behind them again
/// as soon as its `linger.ms` is over. While none of the five is answered that is at once, for ever: a broker that hangs
/// costs a whole core (seen with 2.0.2; the code of 2.8.0 is the same). A partition that is paused is not looked at.
///
/// A pause must not keep anything from being sent that could be. So there is one only after answers that have ceased,
/// when there are requests on their way, and it ends with an answer, a connection that is made or lost, or after
/// `longest`. There is no other before the next answer.
struct AnswerWatch {
    /// What to do about the partitions.
    enum Action: Equatable {
        case none
        /// Pause them: nothing more could be sent anyway.
        case hold
        /// Let them go on.
        case release
    }

    /// How long nothing may be answered before the partitions are paused.
    static let patience = Duration.seconds(1)
    /// How long a pause may be.
    static let longest = Duration.seconds(10)
    /// Messages that fit into requests on their way, were each alone in its own: none of them waits.
    static let harmless = 5

    private(set) var isHolding = false
    /// Since when nothing has been answered, or since when the pause is; nil if nothing waits.
    private var since: ContinuousClock.Instant?
    /// Whether there was an answer since the last pause.
    private var mayHold = false
    private var connections = 0

    /// How often to look.
    var interval: Duration { since == nil ? .seconds(1) : .milliseconds(250) }

    /// Looks at how it stands.
    /// - Parameters:
    ///   - waiting: messages without an answer.
    ///   - isAnswered: whether the broker has acknowledged a message since the last look.
    ///   - connections: a number that changes with every connection that is made or lost. What is on its way then is
    ///     sent again, and a partition may have another leader.
    mutating func look(
        waiting: Int, isAnswered: Bool, connections: Int, at now: ContinuousClock.Instant
    ) -> Action {
        let isChanged = connections != self.connections
        self.connections = connections
        if isAnswered {
            mayHold = true
        } else if isChanged {
            mayHold = false
        }
        if waiting == 0 || isAnswered || isChanged {
            since = waiting > 0 ? now : nil
            return release()
        }
        let start = since ?? now
        since = start
        if isHolding { return start.duration(to: now) >= Self.longest ? release() : .none }
        guard mayHold, waiting > Self.harmless, start.duration(to: now) >= Self.patience else { return .none }
        (isHolding, mayHold, since) = (true, false, now)
        return .hold
    }

    /// Ends the pause, if there is one.
    mutating func release() -> Action {
        guard isHolding else { return .none }
        isHolding = false
        return .release
    }
}
