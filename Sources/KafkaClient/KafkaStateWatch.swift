/// A change in whether a client works with its cluster: what is worth one line in a log.
public enum KafkaStateChange: Sendable, Equatable {
    /// Something is wrong that was not known before, for `duration` already.
    case trouble(KafkaTrouble, duration: Duration)
    /// All is well again; it was not for `duration`.
    case recovered(from: KafkaTrouble, duration: Duration)
}

/// Makes one change of state out of many errors: a broker that goes away causes an error for each try to connect, each
/// connection, each time-out. Pure: it is told the time, by the monotonic clock.
///
/// While one broker is connected, another one that is not is no trouble: librdkafka goes on with those that are there.
public struct KafkaStateWatch: Sendable {
    /// How long a trouble stands against one that explains less and is reported in its place. librdkafka repeats what
    /// does not change every 30 s.
    public static let memory = Duration.seconds(60)
    /// How long a connection must last, without the trouble being reported again, to end it: one that is made only to be
    /// refused does not count.
    public static let settling = Duration.seconds(2)
    /// The same for a broker that did not answer: some requests may still find none.
    public static let settlingAfterSilence = Duration.seconds(30)

    /// What is wrong now.
    public private(set) var trouble: KafkaTrouble?
    /// Whether messages wait for the cluster's answer. While they do, only an answer ends a trouble, not a connection.
    public var isWaiting = false
    /// Since when it does not work, whatever the reasons were.
    public private(set) var since: ContinuousClock.Instant?
    /// When a connection that is there now will have ended the trouble: call `check` then.
    public var nextCheck: ContinuousClock.Instant? {
        guard !isWaiting, let kind = trouble?.kind, kind.endsWithConnection, let connectedSince, let lastSeen else {
            return nil
        }
        return max(connectedSince, lastSeen)
            + (kind == .notAnswering ? Self.settlingAfterSilence : Self.settling)
    }
    private let configuration: KafkaConfiguration
    /// Until when an acknowledgement does not end a quota's trouble: a broker that delays its answers does answer.
    private var throttledUntil: ContinuousClock.Instant?
    /// How long no answer must have been delayed for a quota's trouble to end: within a quota some are not.
    public static let settlingAfterThrottling = Duration.seconds(10)
    /// Since when a broker ends connections as one does that speaks another protocol.
    private var protocolDoubtedSince: ContinuousClock.Instant?
    private var lastSeen: ContinuousClock.Instant?
    private var connected: Set<String> = []
    private var connectedSince: ContinuousClock.Instant?

    /// - Parameter configuration: how the client connects.
    public init(_ configuration: KafkaConfiguration) {
        self.configuration = configuration
    }

    /// Whether a broker is connected.
    public var isConnected: Bool { !connected.isEmpty }

    /// Takes an error of the client, or of a message.
    public mutating func failed(_ error: KafkaError, at now: ContinuousClock.Instant) -> KafkaStateChange? {
        guard let found = KafkaTrouble(error, of: configuration) else { return nil }
        switch found.kind {
        // About one message, or mended by whoever has the producer.
        case .messageTooLarge, .producerLost: return nil
        case let kind where kind.isAboutConnections && isConnected: return nil
        // A broker that ends ends all of its connections too: only one that does so later again may speak another protocol.
        case .securityProtocol where protocolDoubtedSince.map { $0.duration(to: now) < Self.settling } ?? true:
            protocolDoubtedSince = protocolDoubtedSince ?? now
            return note(.lostConnection(error, of: configuration), now)
        default: return note(found, now)
        }
    }

    /// Takes that no client can be made, since a file cannot be used.
    public mutating func failed(
        _ error: KafkaConfigurationError, at now: ContinuousClock.Instant
    ) -> KafkaStateChange? {
        note(KafkaTrouble(error), now)
    }

    /// Takes that the broker delays its answers because of a quota.
    /// - Parameter duration: by how much; what is below a second is no trouble, and zero says that it delays none now.
    public mutating func throttled(by duration: Duration, at now: ContinuousClock.Instant) -> KafkaStateChange? {
        if duration == .zero, let known = throttledUntil {
            throttledUntil = min(known, now + Self.settlingAfterThrottling)
        }
        guard duration >= .seconds(1) else { return nil }
        throttledUntil = now + max(.seconds(30), duration * 2)
        return note(.throttled(configuration.username ?? "this client", by: duration), now)
    }

    /// Takes that a connection to a broker is made or gone.
    /// - Parameter name: always the same for the same broker.
    public mutating func connection(
        to name: String, isUp: Bool, at now: ContinuousClock.Instant
    ) -> KafkaStateChange? {
        if isUp {
            connected.insert(name)
            connectedSince = connectedSince ?? now
        } else {
            connected.remove(name)
            if connected.isEmpty { connectedSince = nil }
        }
        return nil
    }

    /// Takes that the client is gone, and all of its connections with it.
    public mutating func clientEnded() {
        connected = []
        connectedSince = nil
    }

    /// Call at `nextCheck`.
    public mutating func check(at now: ContinuousClock.Instant) -> KafkaStateChange? {
        guard let due = nextCheck, due <= now else { return nil }
        return recover(connectedSince ?? now)
    }

    /// Takes that the cluster did what it was asked to: it acknowledged or gave a message.
    public mutating func succeeded(at now: ContinuousClock.Instant) -> KafkaStateChange? {
        if trouble?.kind == .throttled, let throttledUntil, now < throttledUntil { return nil }
        return recover(now)
    }

    private mutating func note(_ found: KafkaTrouble, _ now: ContinuousClock.Instant) -> KafkaStateChange? {
        if let known = trouble {
            // That no broker can be reached may be reported before why.
            let isReason = known.kind == .unknown && found.kind == .unreachable
            if known.kind == found.kind || isReason {
                // The latest words of it: "the connection was lost" becomes "connection refused".
                trouble = found
                lastSeen = now
                return nil
            }
            let isOutdated = lastSeen.map { $0.duration(to: now) > Self.memory } ?? true
            guard found.kind.weight >= known.kind.weight || isOutdated else { return nil }
        }
        let start = since ?? now
        (trouble, since, lastSeen) = (found, start, now)
        return .trouble(found, duration: start.duration(to: now))
    }

    private mutating func recover(_ end: ContinuousClock.Instant) -> KafkaStateChange? {
        guard let known = trouble, let start = since else { return nil }
        (trouble, since, lastSeen, protocolDoubtedSince) = (nil, nil, nil, nil)
        return .recovered(from: known, duration: max(.zero, start.duration(to: end)))
    }
}
