import KafkaClient

/// Gives up reading a topic to a known end: when the broker says that it will not give anything, or when the consumer
/// makes no progress for `limit` although the end has not been reached.
struct ProgressDeadline {
    private let topic: String
    private let limit: Duration
    private var end: ContinuousClock.Instant
    private var latest: KafkaError?

    /// - Parameter limit: how long the consumer may make no progress.
    init(reading topic: String, limit: Duration) {
        self.topic = topic
        self.limit = limit
        end = .now + limit
    }

    /// Notes that a message arrived: the limit counts from now.
    mutating func renew() {
        end = .now + limit
        latest = nil
    }

    /// Notes an error of the consumer.
    /// - Throws: the error, if waiting does not help.
    mutating func note(_ error: KafkaError) throws(KafkaError) {
        if error.isFatal || error.code == .topicAuthorizationFailed { throw error }
        latest = error
    }

    /// Checks the limit.
    /// - Throws: the last error, or a time-out, if there was no progress for too long.
    func check() throws(KafkaError) {
        guard ContinuousClock.now >= end else { return }
        throw latest ?? KafkaError(.timedOut, "read \(topic)", message: "nothing came for \(limit)")
    }
}
