/// The stations of one reading's way, by the clocks of those who were there, milliseconds since 1970.
///
/// Only a few readings are looked at so closely: the first message of each run that a poll of the broker gave.
package struct LatencySample: Sendable, Equatable {
    /// When the air was measured.
    package var sampled: Int64
    /// When the gateway had it in its outbox; nil if its message does not say.
    package var committed: Int64?
    /// When the gateway's producer took it, or the broker if the topic is set so; nil if its message does not say.
    package var sent: Int64?
    /// When this processor took it from the broker.
    package var received: Int64

    package init(sampled: Int64, committed: Int64?, sent: Int64?, received: Int64) {
        self.sampled = sampled
        self.committed = committed
        self.sent = sent
        self.received = received
    }

    /// How long a stage took, in seconds; nil if one of its ends is not known. Clocks that do not agree make it
    /// negative.
    /// - Parameter stored: when its row was committed.
    func seconds(_ stage: LatencyStage, stored: Int64) -> Double? {
        let ends: (Int64?, Int64?) =
            switch stage {
            case .commit: (sampled, committed)
            case .send: (committed, sent)
            case .receive: (sent, received)
            case .store: (received, stored)
            }
        guard let from = ends.0, let to = ends.1 else { return nil }
        return Double(to - from) / 1000
    }
}

/// A part of the way from the air to a row.
enum LatencyStage: String, CaseIterable, Sendable {
    /// From the measurement to the gateway's disk.
    case commit
    /// From there to the gateway's producer: what the outbox held up.
    case send
    /// Through the broker to this processor.
    case receive
    /// From there to the row's commit.
    case store

    /// For a person.
    var meaning: String {
        switch self {
        case .commit: "sampled to committed in the outbox"
        case .send: "committed to sent"
        case .receive: "sent to received"
        case .store: "received to committed in PostgreSQL"
        }
    }
}
