/// Notices that a connected broker has stopped to answer a producer. Pure: it is told the time, by the monotonic clock.
///
/// librdkafka has five produce requests of a partition on their way at most, and looks at what waits behind them again
/// as soon as its `linger.ms` is over. While none of the five is answered that is at once, for ever: a broker that hangs
/// costs a whole core (seen with 2.0.2; the code of 2.8.0 is the same). A partition that is paused is not looked at.
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
    /// Messages that fit into requests on their way, were each alone in its own: none of them waits.
    static let harmless = 5

    private(set) var isHolding = false
    private var waitingSince: ContinuousClock.Instant?
    private var connections = 0

    /// How often to look.
    var interval: Duration { waitingSince == nil ? .seconds(1) : .milliseconds(250) }

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
        if waiting == 0 || isAnswered || isChanged {
            waitingSince = waiting > 0 ? now : nil
            return release()
        }
        let start = waitingSince ?? now
        waitingSince = start
        guard !isHolding, waiting > Self.harmless, start.duration(to: now) >= Self.patience else { return .none }
        isHolding = true
        return .hold
    }

    /// Ends the pause, if there is one.
    mutating func release() -> Action {
        guard isHolding else { return .none }
        isHolding = false
        return .release
    }
}
