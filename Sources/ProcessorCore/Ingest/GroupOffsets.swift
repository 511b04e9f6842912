import KafkaClient
import Monitoring
import ProcessorStatus

/// Tells the consumer group how far PostgreSQL is, so that ordinary tools such as `kafka-consumer-groups --describe` and
/// lag exporters show the truth. Nothing ever reads these offsets back; what fails is told again with the next change.
///
/// It belongs to the fetching thread, as the consumer does.
final class GroupOffsets {
    private let topic: String
    private let status: PipelineStatus
    private let log: Log
    private var told: [Int32: Int64] = [:]
    private var next = ContinuousClock.now
    private var known: Set<Int32> = []

    /// Between two commits while nothing else happens, and after partitions came or went.
    ///
    /// While the group shares its partitions out anew a commit does harm: the broker answers it only after the member has
    /// joined again, and then as one of an older generation, for which librdkafka gives up all its partitions and joins
    /// once more. No function of it says that this goes on, so commits are few, and none comes soon after another change.
    private static let interval = Duration.seconds(5)

    /// - Parameter status: knows how far the database is.
    init(topic: String, status: PipelineStatus, log: Log) {
        self.topic = topic
        self.status = status
        self.log = log
    }

    /// Tells what has changed of the partitions that are assigned, every now and then.
    func tellInPassing(_ partitions: Set<Int32>, _ consumer: KafkaConsumer) {
        if partitions != known {
            known = partitions
            next = .now + GroupOffsets.interval
        }
        guard ContinuousClock.now >= next else { return }
        next = .now + GroupOffsets.interval
        tell(partitions, consumer)
    }

    /// Tells what has changed of partitions that are assigned. Does not wait for the answer.
    func tell(_ partitions: Set<Int32>, _ consumer: KafkaConsumer) {
        told = told.filter { partitions.contains($0.key) }
        let changed = status.committed.filter { partitions.contains($0.key) && told[$0.key] != $0.value }
        if changed.isEmpty { return }
        do {
            try consumer.commit(
                Dictionary(uniqueKeysWithValues: changed.map { (TopicPartition(topic, $0.key), $0.value) }))
            told.merge(changed) { $1 }
        } catch {
            log.debug("cannot tell the group its offsets", ["error": "\(error)"])
        }
    }
}
