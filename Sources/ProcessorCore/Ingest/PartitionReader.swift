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
    /// The partitions whose log is another one than was read before, until it was read to its end.
    private var readAgain: Set<Int32> = []
    /// Whether partitions came or went, or where they are read changed, since this was last set to false.
    var hasChanged = false
    /// Called with what the database says of partitions: the next offset of each.
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
                states.assign(partitions, at: states.isFull ? [:] : locate(partitions))
                return kafkaOffsets(states.starts(partitions))
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
    /// - Returns: whether there is one that does.
    func settle(into batch: inout ReadingBatch) -> Bool {
        if !states.failed.isEmpty, ContinuousClock.now >= nextRetry { states.retry() }
        var operations = self
        let moves = states.settle(&operations)
        for move in moves { note(move, in: &batch) }
        if states.failed.isEmpty {
            if !told.isEmpty { log.notice("no assigned partition waits any more") }
            told = []
        } else if ContinuousClock.now >= nextRetry {
            nextRetry = .now + PartitionReader.retryInterval
        }
        return !moves.isEmpty
    }

    private func note(_ move: PartitionStates.Move, in batch: inout ReadingBatch) {
        hasChanged = true
        batch.count(messages: 0, partition: move.partition, through: move.to, from: move.from)
        let fields: Log.Fields = [
            "partition": "\(TopicPartition(topic, move.partition))", "offset": move.from.next, "to": move.to.next,
        ]
        switch move.reason {
        case .deleted where move.from == LogPosition(next: 0):
            log.info("the broker has deleted the first messages of a partition, reading from its oldest one", fields)
        case .deleted:
            log.warning("the broker has deleted the messages to go on from, reading from its oldest one", fields)
        case .anotherLog:
            readAgain.insert(move.partition)
            batch.noteAnotherLog(
                of: move.partition,
                detail: "read up to offset \(move.from.next) of another log; reading from offset \(move.to.next)")
            log.warning(
                "the log of a partition is another one than was read before, reading it from its start", fields)
        }
    }

    /// What a message means that the consumer gives, as `PartitionStates.receive` has it.
    func receive(_ message: KafkaMessageView) -> PartitionStates.Arrival {
        let arrival = states.receive(message.partition, at: message.offset) { MessageMark(message) }
        noteElsewhere(arrival, message.partition, message.offset)
        return arrival
    }

    /// Notes that the consumer has come to the end of a partition.
    /// - Parameter batch: takes note of what lies between the last message and the end.
    /// - Returns: whether all before the end is in a batch.
    func reachEnd(of partition: Int32, at end: Int64, into batch: inout ReadingBatch) -> Bool {
        let arrival = states.receiveEnd(of: partition, at: end)
        noteElsewhere(arrival, partition, end)
        guard arrival == .next, let (from, to) = states.advance(partition, to: end) else { return false }
        let isReadAgain = readAgain.remove(partition) != nil
        if from.next != to.next || isReadAgain {
            batch.count(messages: 0, partition: partition, through: to, from: from)
        }
        if isReadAgain {
            batch.noteReadAgain(partition)
            log.notice(
                "the new log of a partition was read to its end", ["partition": "\(TopicPartition(topic, partition))"])
        }
        return true
    }

    /// Notes that the broker does not have the offset at which the consumer wants to go on.
    func missOffset(_ partition: Int32, at offset: Int64) {
        noteElsewhere(states.receiveOutOfRange(partition, at: offset), partition, offset)
    }

    private func noteElsewhere(_ arrival: PartitionStates.Arrival, _ partition: Int32, _ offset: Int64) {
        guard case .elsewhere(let expected) = arrival else { return }
        log.info(
            "messages of a partition do not follow the last one that was taken, going back to it",
            ["partition": "\(TopicPartition(topic, partition))", "position": expected, "elsewhere": offset])
    }

    /// Notes that all up to an offset was taken.
    /// - Parameter last: the last message.
    /// - Returns: the positions before and after it; nil if the partition is not read.
    func advance(_ partition: Int32, to offset: Int64, last: KafkaMessageView) -> (from: LogPosition, to: LogPosition)?
    {
        states.advance(partition, to: offset, last: MessageMark(last))
    }

    /// Notes the leaders of partitions; negative or left out for none.
    func observe(leaders: [Int32: Int32]) { states.observe(leaders: leaders) }

    /// Notes where partitions end, as the broker says.
    func observe(ends: [Int32: Int64]) {
        for (partition, end) in ends { states.observe(end: end, of: partition) }
    }

    /// Takes note of what has interrupted fetching.
    func noteInterruptions() {
        guard let interruptions = consumer?.takeInterruptions(), interruptions != FetchInterruptions() else { return }
        states.loseConnections(to: interruptions.lostBrokers)
        for place in interruptions.unavailable where place.topic == topic { states.compare(place.partition) }
    }

    /// Notes that a partition cannot be read now.
    func fail(_ partition: Int32, _ error: KafkaError) {
        switch error.code {
        case .topicAuthorizationFailed: states.refuse(partition)
        case .unknownTopic, .unknownTopicOrPartition, .unknownPartition: states.goBack(partition)
        default: states.compare(partition)
        }
    }

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
    func locate(_ partitions: Set<Int32>) -> [Int32: LogPosition] {
        do {
            let answer = try offsets.locate(partitions)
            readAgain.subtract(partitions)
            readAgain.formUnion(answer.alerting)
            onLocated(answer.positions.mapValues(\.next))
            return answer.positions
        } catch {
            note("cannot read offsets, the partitions wait", error)
            return [:]
        }
    }

    func bounds(of partitions: Set<Int32>) -> [Int32: (low: Int64, end: Int64)] {
        do {
            let answer = try consumer?.watermarks(places(partitions), timeout: .seconds(5)) ?? [:]
            return Dictionary(uniqueKeysWithValues: answer.map { ($0.key.partition, ($0.value.low, $0.value.high)) })
        } catch {
            note("the broker does not say which messages it has, the partition waits", error)
            return [:]
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
