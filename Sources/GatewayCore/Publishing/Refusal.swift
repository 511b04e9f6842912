import KafkaClient

/// What an error of a message means for the readings that wait.
enum Refusal: Equatable, Sendable {
    /// It may be about this message alone. The broker answers a request as a whole, so every message in it has the error:
    /// only one that was sent alone is known to be refused.
    case ofMessage(tooLarge: Bool, mayBeDamaged: Bool, reason: String)
    /// It is about the topic, the rights, the quota, the connection or the broker: the same message may be taken later.
    case forNow
    /// The producer can send nothing any more.
    case ofProducer

    /// Classifies an error of a message. What is not known counts as temporary: a reading is given up only if the broker
    /// says that it is at fault.
    init(_ error: KafkaError) {
        if error.isFatal {
            self = .ofProducer
            return
        }
        switch error.code.rawValue {
        // MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE, and INVALID_FETCH_SIZE, which brokers have as "invalid message size".
        case 10, 18, 4: self = .ofMessage(tooLarge: true, mayBeDamaged: false, reason: "\(error)")
        // INVALID_TIMESTAMP, UNSUPPORTED_FOR_MESSAGE_FORMAT, INVALID_RECORD.
        case 32, 43, 87: self = .ofMessage(tooLarge: false, mayBeDamaged: false, reason: "\(error)")
        // CORRUPT_MESSAGE: the message, or what became of it on its way.
        case 2: self = .ofMessage(tooLarge: false, mayBeDamaged: true, reason: "\(error)")
        // OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_PRODUCER_EPOCH, UNKNOWN_PRODUCER_ID, PRODUCER_FENCED.
        case 45, 47, 59, 90: self = .ofProducer
        default: self = .forNow
        }
    }

    /// How often a message must be refused alone before it is given up.
    var refusalsNeeded: Int {
        if case .ofMessage(_, mayBeDamaged: true, _) = self { 3 } else { 1 }
    }
}
