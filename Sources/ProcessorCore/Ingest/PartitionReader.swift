import KafkaClient
import Monitoring

/// Reads the partitions that the group gives, each from where the database says: does to the consumer what
/// `PartitionStates` says is to be done.
///
/// It belongs to the fetching thread, on which the group's rebalances are told too. No failure of Kafka or of the
/// database ends it: what failed is tried again after `retryInterval`.
final class PartitionReader {
    /// Between two tries.
    static let retryInterval = Duration.seconds(1)

    private let topic: String
    private let offsets: ConsumedOffsets
    private let log: Log
    private var consumer: KafkaConsumer?
    private var nextRetry = ContinuousClock.now
    /// What was said of what does not work; empty while all works.
    private var told: Set<String> = []

    private(set) var states = PartitionStates()
    /// Whether partitions came or went, or where they are read changed, since this was last set to false.
    var hasChanged = false
    /// Called with what the database says of partitions.
    var onLocated: ([Int32: Int64]) -> Void = { _ in }
    /// Called before partitions are given back, unless somebody else may have them already.
    var beforeRevocation: (Set<Int32>) -> Void = { _ in }

    init(topic: String, offsets: ConsumedOffsets, log: Log) {
        self.topic = topic
        self.offsets = offsets
        self.log = log
    }

    // MARK: The group

    /// Joins the group.
    func start(_ consumer: KafkaConsumer) throws(KafkaError) {
        self.consumer = consumer
        try consumer.subscribe(to: [topic], hook: hook)
    }

    /// Leaves the group, unless all its members have the same name: then there is nobody to take the partitions over,
    /// and whoever starts again under this name goes on at once, which a group without members does only after its
    /// broker's `group.initial.rebalance.delay.ms`.
    /// - Parameter clientName: this process's name (`client.id`).
    func stop(clientName: String) {
        if let consumer {
            let group = try? consumer.describeGroup(timeout: .milliseconds(500))
            let members = group?.members ?? []
            consumer.close(leavesGroup: members.isEmpty || members.contains { $0.client != clientName })
        }
        consumer = nil
        // A consumer that failed does not tell.
        states.revoke(states.assigned)
        hasChanged = true
    }

    private var hook: KafkaRebalanceHook {
        KafkaRebalanceHook(
            assigned: { [self] places in
                let partitions = numbers(places)
                hasChanged = true
                log.info("partitions assigned", ["partitions": partitions.sorted().description])
                // While nothing can be taken they wait, as all others do.
                let located = states.isFull ? [:] : locate(partitions)
                states.assign(partitions, at: located)
                return kafkaOffsets(located)
            },
            notStarted: { [self] in states.notStarted(numbers($0)) },
            revoked: { [self] places, isLost in
                let partitions = numbers(places)
                hasChanged = true
                if !isLost { beforeRevocation(partitions) }
                states.revoke(partitions)
                log.info("partitions revoked", ["partitions": partitions.sorted().description, "lost": isLost])
            })
    }

    // MARK: What is read

    /// Does what is to be done for all partitions to be read.
    /// - Parameter batch: takes note of where the reader of a partition goes on elsewhere. Whoever reads it next, be it
    ///   after a rebalance before anything new comes, must not look for the old offset in the new messages.
    func settle(into batch: inout ReadingBatch) {
        if !states.failed.isEmpty, ContinuousClock.now >= nextRetry { states.retry() }
        var operations = self
        for move in states.settle(&operations) {
            batch.count(messages: 0, partition: move.partition, through: move.to, from: move.from)
        }
        if states.failed.isEmpty {
            if !told.isEmpty { log.notice("no assigned partition waits any more") }
            told = []
        } else if ContinuousClock.now >= nextRetry {
            nextRetry = .now + PartitionReader.retryInterval
        }
    }

    /// Whether what the consumer gives at an offset comes next in a partition, as `PartitionStates.goesOn` has it.
    func goesOn(_ partition: Int32, at offset: Int64) -> Bool {
        guard let position = states.readPosition(partition) else { return false }
        if states.goesOn(partition, at: offset) { return true }
        log.notice(
            "Kafka's library went on elsewhere after a rebalance, going back to the position",
            ["partition": "\(TopicPartition(topic, partition))", "position": position, "elsewhere": offset])
        return false
    }

    /// Notes that all up to an offset is in a batch.
    func advance(_ partition: Int32, to offset: Int64) {
        states.advance(partition, to: offset)
    }

    /// Notes that the broker has no message where a partition is read.
    func cut(_ partition: Int32) {
        guard let position = states.readPosition(partition) else { return }
        states.cut(partition)
        hasChanged = true
        log.warning(
            "the broker does not have the offset to go on from, reading from its oldest message",
            ["partition": "\(TopicPartition(topic, partition))", "offset": position])
    }

    /// Notes that the broker refuses to give messages of a partition: it waits, and is asked for again.
    func refuse(_ partition: Int32) { states.refuse(partition) }

    /// Reads on from where the database says, as soon as it does.
    func resynchronise() {
        states.resynchronise()
        // A change of partitions may have been told with a batch that was forgotten.
        hasChanged = true
        log.notice("reading on from the offsets in the database", ["partitions": states.assigned.count])
    }

    /// Notes that no message can be taken for now: nothing is read, but the consumer may be polled.
    func fill() { states.fill() }

    /// Notes that messages can be taken again.
    func makeRoom() { states.makeRoom() }

    // MARK: Helpers

    /// Says what does not work, once until all works again.
    private func note(_ message: String, _ error: any Error) {
        if told.insert(message).inserted { log.warning(message, ["error": "\(error)"]) }
    }

    private func numbers(_ places: [TopicPartition]) -> Set<Int32> { Set(places.map(\.partition)) }

    private func places(_ partitions: Set<Int32>) -> [TopicPartition] {
        partitions.sorted().map { TopicPartition(topic, $0) }
    }

    private func kafkaOffsets(_ offsets: [Int32: Int64]) -> [TopicPartition: KafkaOffset] {
        Dictionary(uniqueKeysWithValues: offsets.map { (TopicPartition(topic, $0.key), .at($0.value)) })
    }
}

extension PartitionReader: PartitionOperations {
    func locate(_ partitions: Set<Int32>) -> [Int32: Int64] {
        do {
            let located = try offsets.locate(partitions)
            onLocated(located)
            return located
        } catch {
            note("cannot read offsets, the partitions wait", error)
            return [:]
        }
    }

    func firstOffset(of partition: Int32) -> Int64? {
        do {
            return try consumer?.watermarks(TopicPartition(topic, partition), timeout: .seconds(5)).low
        } catch {
            note("the broker does not say which its oldest message is, the partition waits", error)
            return nil
        }
    }

    func pause(_ partitions: Set<Int32>) {
        do {
            try consumer?.pause(places(partitions))
        } catch {
            // Nothing is taken of them in any case.
            log.debug("cannot pause partitions", ["error": "\(error)"])
        }
    }

    func resume(_ partitions: Set<Int32>) -> Set<Int32> {
        do {
            try consumer?.resume(places(partitions))
            return partitions
        } catch {
            note("cannot resume partitions, they wait", error)
            return []
        }
    }

    func seek(_ offsets: [Int32: Int64]) -> Set<Int32> {
        guard let consumer else { return [] }
        let failures = consumer.move(kafkaOffsets(offsets), timeout: .seconds(5))
        if let error = failures.min(by: { $0.key < $1.key })?.value {
            note("cannot go to the offsets, the partitions wait", error)
        }
        return Set(offsets.keys).subtracting(numbers(Array(failures.keys)))
    }
}
