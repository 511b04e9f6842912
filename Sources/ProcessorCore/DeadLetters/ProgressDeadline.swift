import KafkaClient

/// How long one waits who reads to an end that is known: until the broker says that it will not give anything, or until
/// nothing has come for a while.
struct Patience {
    private let topic: String
    private let bound: Duration
    private var end: ContinuousClock.Instant
    private var latest: KafkaError?

    /// - Parameter bound: how long nothing may come.
    init(reading topic: String, bound: Duration) {
        self.topic = topic
        self.bound = bound
        end = .now + bound
    }

    /// Takes note that something came.
    mutating func renew() {
        end = .now + bound
        latest = nil
    }

    /// Takes note of what went wrong.
    /// - Throws: it, if waiting does not help.
    mutating func note(_ error: KafkaError) throws(KafkaError) {
        if error.isFatal || error.code == .topicAuthorizationFailed { throw error }
        latest = error
    }

    /// - Throws: why nothing came, if that has been so for too long.
    func check() throws(KafkaError) {
        guard ContinuousClock.now >= end else { return }
        throw latest ?? KafkaError(.timedOut, "read \(topic)", message: "nothing came for \(bound)")
    }
}
