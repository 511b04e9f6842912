import KafkaClient
import Monitoring

/// Reads single messages of the source topic again, by partition and offset, without joining the group.
///
/// It is for what turns out to be refused after it was decoded, so that what is not refused costs no copy. It blocks:
/// use it from one thread that may wait.
final class SourceMessages {
    /// A message as the broker has it.
    struct Message: Sendable {
        var key: [UInt8]?
        var value: [UInt8]?
        var headers: [KafkaHeader]
    }

    /// How long the broker may give nothing before reading fails.
    static let progressLimit = Duration.seconds(60)

    private let consumer: KafkaConsumer
    private let topic: String
    private let progressLimit: Duration

    /// - Parameter group: the processor's own group, which it is allowed to name; it is not joined.
    init(
        configuration: KafkaConfiguration, group: String, topic: String, log: Log,
        progressLimit: Duration = SourceMessages.progressLimit
    ) throws {
        self.progressLimit = progressLimit
        var configuration = configuration
        configuration.properties["enable.partition.eof"] = "true"
        let observer = KafkaObserver(error: { error in log.debug("Kafka", ["error": "\(error)"]) })
        consumer = try KafkaConsumer(configuration: configuration, group: group, observer: observer)
        self.topic = topic
    }

    /// Reads messages of one partition.
    /// - Parameters:
    ///   - offsets: which ones.
    ///   - isCancelled: asked again and again while the broker is waited for.
    /// - Returns: those that the broker still has.
    /// - Throws: `KafkaError` if the broker does not let it or gives nothing for too long, or CancellationError.
    func read(
        _ offsets: [Int64], of partition: Int32, isCancelled: () -> Bool
    ) throws -> [Int64: Message] {
        let place = TopicPartition(topic, partition)
        var found: [Int64: Message] = [:]
        var wanted = Array(Set(offsets).sorted().reversed())
        var next: Int64?
        var deadline = ProgressDeadline(reading: topic, limit: progressLimit)
        while let offset = wanted.last {
            if isCancelled() { throw CancellationError() }
            try deadline.check()
            // What lies close is read through, as a jump drops what was fetched in advance.
            if next.map({ offset < $0 || offset - $0 > 5000 }) ?? true {
                try consumer.assign([place: .at(offset)])
                next = offset
            }
            try consumer.nextBatch(maximumMessages: 1000, timeout: .milliseconds(100)) { messages, events in
                if !messages.isEmpty { deadline.renew() }
                for message in messages where message.partition == partition {
                    // What was passed by is not there any more.
                    while let first = wanted.last, first < message.offset { wanted.removeLast() }
                    if wanted.last == message.offset {
                        wanted.removeLast()
                        found[message.offset] = Message(
                            key: message.keyBytes, value: message.valueBytes, headers: message.headers)
                    }
                    next = message.offset + 1
                }
                for event in events {
                    switch event {
                    case .offsetOutOfRange:
                        wanted.removeLast()
                        next = nil
                    case .partitionEnd(_, let end):
                        while let first = wanted.last, first < end { wanted.removeLast() }
                        if let first = wanted.first, first >= end { wanted = [] }
                    case .partitionError(_, let error), .error(let error): try deadline.note(error)
                    }
                }
            }
        }
        return found
    }

    /// Ends it.
    func close() { consumer.close() }
}
