import KafkaClient
import Monitoring
import Platform
import PostgresClient
import ProcessorStatus
import ReadingDecoding
import Readings

/// Reads messages from Kafka and decodes them into batches, on a thread of its own, while the batch before is written.
actor BatchFetcher {
    /// A batch, and the partitions if they have changed.
    struct Fetched: Sendable {
        var batch: ReadingBatch
        /// All partitions that this processor has; nil if they are the same as before.
        var partitions: Set<Int32>?
        /// The partitions of which everything is in this batch or an earlier one that was there at a time, by the wall
        /// clock, milliseconds since 1970.
        var reached: [Int32: Int64] = [:]
        /// How many partitions the topic has, told once to who has the first of them; else nil.
        var partitionCount: Int?
    }

    private let settings: ProcessorSettings
    private let worker: Int
    private let shutdown: ShutdownRequest
    private let gate: WriterGate
    private let status: PipelineStatus
    private let kafka: KafkaHealth
    private let log: Log
    private let wallClock: any WallClock
    private let executor: ThreadExecutor

    private var consumer: KafkaConsumer?
    /// Whether it is the group's member by its name.
    private var isNamed = true
    private let reader: PartitionReader
    private var decoder: ReadingDecoder
    private var ends = EndOffsetProbe()
    private let groupOffsets: GroupOffsets
    private var nextObservation = ContinuousClock.now
    private let health: Health
    private var coverage = GroupCoverage()
    private var nextLookAtGroup = ContinuousClock.now + GroupCoverage.interval
    private var nextLookAtLeaders = ContinuousClock.now
    /// How many partitions the topic has; 0 while that is not known.
    private var partitionCount = 0
    /// What was told of it while the first partition is this processor's.
    private var toldPartitionCount: Int?

    /// Between two looks at who leads the partitions.
    private static let leaderInterval = Duration.seconds(5)

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// - Parameters:
    ///   - worker: the number of the worker in this process, from 1.
    ///   - shutdown: ends the waiting.
    ///   - gate: open while the writer waits.
    ///   - status: is told how far each partition is.
    ///   - health: is told how it stands with the broker.
    init(
        settings: ProcessorSettings, worker: Int, shutdown: ShutdownRequest, gate: WriterGate,
        status: PipelineStatus, health: Health, log: Log, wallClock: any WallClock
    ) {
        self.settings = settings
        self.worker = worker
        executor = ThreadExecutor(name: "fetcher-\(worker)")
        self.shutdown = shutdown
        self.gate = gate
        self.status = status
        self.health = health
        self.log = log
        self.wallClock = wallClock
        kafka = KafkaHealth(
            settings.consumerConfiguration(worker: worker), health: health,
            part: ReadingPipeline.kafkaPart(worker: worker, of: settings), log: log.component("kafka"))
        reader = PartitionReader(
            topic: settings.topic, offsets: ConsumedOffsets(settings: settings, log: log), log: log)
        groupOffsets = GroupOffsets(topic: settings.topic, status: status, log: log)
        decoder = ReadingDecoder(limits: settings.limits)
    }

    /// Joins the group.
    func start() throws {
        var configuration = settings.consumerConfiguration(worker: worker)
        if !isNamed { configuration.properties["group.instance.id"] = nil }
        let consumer = try KafkaConsumer(
            configuration: configuration, group: settings.group, observer: kafka.observer)
        let status = status
        reader.onLocated = { status.locate($0) }
        reader.beforeRevocation = { [groupOffsets] in groupOffsets.tell($0, consumer) }
        self.consumer = consumer
        try reader.start(consumer)
    }

    /// Asks who leads the partitions of the topic.
    private func lookAtLeaders() {
        nextLookAtLeaders = .now + BatchFetcher.leaderInterval
        guard let consumer else { return }
        do {
            let leaders = try consumer.leaders(of: settings.topic, timeout: .seconds(1))
            partitionCount = leaders.count
            // They came before the answer.
            reader.noteInterruptions()
            reader.observe(leaders: leaders)
        } catch {
            // Without the topic none of its partitions has a leader.
            if [.unknownTopicOrPartition, .unknownTopic].contains(error.code) { reader.observe(leaders: [:]) }
            log.debug("cannot look at the leaders", ["error": "\(error)"])
        }
    }

    /// Looks whether all partitions of the topic are somebody's.
    private func lookAtGroup() {
        nextLookAtGroup = .now + GroupCoverage.interval
        guard let consumer, settings.groupProtocol == .classic, partitionCount > 0 else { return }
        do {
            guard let group = try consumer.describeGroup(timeout: .seconds(1)) else { return }
            let finding = coverage.observe(
                group, topic: settings.topic, partitionCount: partitionCount, member: consumer.memberIdentifier,
                at: .now)
            health.report(
                ReadingPipeline.groupPart(worker: worker, of: settings),
                finding.unowned.isEmpty
                    ? .healthy : .failed("nobody in the group reads the partitions \(finding.unowned.sorted())"))
            if !finding.rejoinsFor.isEmpty {
                log.warning(
                    "nobody in the group reads some partitions; joining it anew, so that it shares all of them",
                    ["partitions": finding.rejoinsFor.sorted().description])
                try consumer.rejoin()
            }
        } catch {
            // How it stands with the broker is said elsewhere.
            log.debug("cannot look at the group", ["error": "\(error)"])
        }
    }

    /// Leaves the group.
    func stop() {
        if let consumer { groupOffsets.tell(reader.states.assigned, consumer) }
        reader.stop(clientName: settings.clientName)
        // It holds the consumer, which holds the reader.
        reader.beforeRevocation = { _ in }
        consumer = nil
    }

    /// Collects a batch: at least until the writer waits for it, at most until it is full or half a second has passed
    /// without a message.
    /// - Returns: nil when there is nothing left and a stop was asked for.
    func next() throws -> Fetched? {
        var batch = ReadingBatch()
        let began = ContinuousClock.now
        while !shutdown.isMade {
            let room = batch.room(maximum: gate.batchLimit)
            if room > 0 {
                reader.makeRoom()
            } else if gate.wait(milliseconds: 1000) {
                break
            } else {
                // The writer takes long. Nothing is read then, but the consumer is polled, so that the group keeps it.
                reader.fill()
            }
            // What was asked of another log says nothing of this one.
            if reader.settle(into: &batch) { ends.forget() }
            if ContinuousClock.now >= nextObservation { observePartitions() }
            if ContinuousClock.now >= nextLookAtLeaders { lookAtLeaders() }
            if ContinuousClock.now >= nextLookAtGroup { lookAtGroup() }
            if room <= 0 {
                try collect(into: &batch, atMost: 1000, timeout: .milliseconds(100))
                continue
            }
            let timeout: Duration =
                batch.isEmpty
                ? .milliseconds(500) - min(.milliseconds(500), began.duration(to: .now)) : .milliseconds(2)
            try collect(into: &batch, atMost: min(room, 10_000), timeout: timeout)
            let isDue = !batch.isEmpty || reader.hasChanged || began.duration(to: .now) >= .milliseconds(500)
            if isDue, gate.wait(milliseconds: 0) { break }
        }
        if shutdown.isMade, batch.isEmpty { return nil }
        defer { reader.hasChanged = false }
        return Fetched(
            batch: batch, partitions: reader.hasChanged ? reader.states.assigned : nil,
            reached: ends.reached(reader.states.positions), partitionCount: newPartitionCount())
    }

    private func newPartitionCount() -> Int? {
        guard reader.states.assigned.contains(0) else {
            toldPartitionCount = nil
            return nil
        }
        guard partitionCount > 0, partitionCount != toldPartitionCount else { return nil }
        toldPartitionCount = partitionCount
        return partitionCount
    }

    /// Forgets what was fetched and reads on from where the database says, as soon as it does.
    func resynchronise() {
        status.forgetPositions()
        ends.forget()
        reader.resynchronise()
    }

    private func collect(into batch: inout ReadingBatch, atMost limit: Int, timeout: Duration) throws {
        guard let consumer else { return }
        let events = consumer.nextBatch(maximumMessages: limit, timeout: timeout) { messages, events in
            // Before anything is taken: it may be of the log with which a broker comes back.
            reader.noteInterruptions()
            if !messages.isEmpty {
                kafka.succeeded()
                decode(messages, into: &batch)
            }
            return events
        }
        for event in events { try handle(event, &batch) }
    }

    /// Asks the broker up to where there are messages, which is how silence, and a partition that stands still, are told
    /// from having nothing to read; then tells how far each partition is.
    private func observePartitions() {
        nextObservation = .now + .seconds(1)
        guard let consumer else { return }
        askForEnds(consumer)
        let positions = reader.states.positions
        var highs: [Int32: Int64] = [:]
        for partition in reader.states.assigned {
            highs[partition] = consumer.cachedWatermarks(TopicPartition(settings.topic, partition))?.high
        }
        status.observe(
            reader.states.assigned.map {
                ends.view($0, position: positions[$0], highWatermark: highs[$0], at: .now)
            })
        groupOffsets.tellInPassing(reader.states.assigned, consumer)
    }

    /// A method of its own: Swift 6.0.3 refuses other uses of the consumer beside a closure that has it.
    private func askForEnds(_ consumer: KafkaConsumer) {
        let topic = settings.topic
        ends.ask(reader.states.assigned, at: .now, now: { wallClock.now().milliseconds }) { partitions in
            let answers = try consumer.endOffsets(partitions.map { TopicPartition(topic, $0) }, timeout: .seconds(1))
            if answers.count == partitions.count { kafka.answered() }
            let ends = Dictionary(uniqueKeysWithValues: answers.map { ($0.key.partition, $0.value) })
            reader.observe(ends: ends)
            return ends
        }
    }

    private func decode(_ messages: UnsafeBufferPointer<KafkaMessageView>, into batch: inout ReadingBatch) {
        let now = wallClock.now()
        let rowsBefore = batch.rows.count
        defer { sample(messages[0], into: &batch, row: rowsBefore, now: now) }
        var rest = messages[...]
        while let partition = rest.first?.partition {
            let run = rest.prefix { $0.partition == partition }
            take(run, of: partition, into: &batch, now: now)
            rest = rest[run.endIndex...]
        }
    }

    /// Takes messages of one partition, as far as they follow one another and what was taken before.
    private func take(
        _ run: Slice<UnsafeBufferPointer<KafkaMessageView>>, of partition: Int32, into batch: inout ReadingBatch,
        now: Timestamp
    ) {
        var index = run.startIndex
        while index < run.endIndex {
            switch reader.receive(run[index]) {
            case .known:
                index += 1
                continue
            case .refused, .elsewhere:
                return
            case .next:
                break
            }
            let first = index
            var next = run[first].offset
            while index < run.endIndex, run[index].offset == next {
                decode(run[index], into: &batch, now: now)
                next += 1
                index += 1
            }
            guard let (from, to) = reader.advance(partition, to: next, last: run[index - 1]) else { return }
            batch.count(messages: index - first, partition: partition, through: to, from: from)
        }
    }

    /// Notes the way of a run's first message, if it became a row: its headers are worth reading once a run only.
    private func sample(_ message: KafkaMessageView, into batch: inout ReadingBatch, row: Int, now: Timestamp) {
        guard row < batch.rows.count, batch.rows[row].offset == message.offset,
            batch.rows[row].partition == message.partition
        else { return }
        batch.sample(
            LatencySample(
                sampled: batch.rows[row].eventTime,
                committed: message.headers.lazy.compactMap(\.committedAt).first, sent: message.timestamp,
                received: now.milliseconds))
    }

    private func decode(_ message: KafkaMessageView, into batch: inout ReadingBatch, now: Timestamp) {
        do throws(Rejection) {
            switch try decoder.decodeMessage(message.value, now: now) {
            case .reading(let reading):
                batch.append(reading, partition: message.partition, offset: message.offset)
            case .report(let report): batch.append(report, from: ReadingBatch.Message(message))
            }
        } catch {
            batch.reject(ReadingBatch.Message(message).rejected(error), number: decoder.rejectedNumber)
        }
    }

    private func handle(_ event: KafkaConsumerEvent, _ batch: inout ReadingBatch) throws {
        switch event {
        case .partitionEnd(let place, let offset):
            kafka.succeeded()
            reachEnd(of: place.partition, at: offset, &batch)
        case .offsetOutOfRange(let place, let offset):
            reader.missOffset(place.partition, at: offset)
        case .partitionError(let place, let error):
            kafka.failed(error)
            reader.fail(place.partition, error)
        case .error(let error):
            if !error.isFatal {
                kafka.failed(error)
            } else if [.fencedInstance, .unreleasedInstance].contains(error.code), isNamed {
                try goOnWithoutName(error)
            } else {
                throw error
            }
        }
    }

    /// Joins the group anew, by no name, which takes nothing from anybody: another process has this member's name, or what
    /// the group knows of its members went back with a broker's disk.
    private func goOnWithoutName(_ error: KafkaError) throws {
        log.warning(
            "the group knows another member by this one's name, going on without a name; "
                + "if another process runs with it, give each its own (kafka.instance)",
            ["member": settings.memberName(worker: worker), "error": "\(error)"])
        reader.stop(clientName: settings.clientName)
        isNamed = false
        try start()
    }

    /// All that is committed of a partition was given. Its end may lie after the last message: what marks the end of a
    /// transaction, and what a transaction wrote that was aborted, has offsets too.
    private func reachEnd(of partition: Int32, at end: Int64, _ batch: inout ReadingBatch) {
        if reader.reachEnd(of: partition, at: end, into: &batch) { ends.reachEnd(of: partition, at: end) }
    }
}

extension ReadingBatch.Message {
    fileprivate init(_ view: KafkaMessageView) {
        self.init(
            key: view.keyBytes, value: view.valueBytes, headers: view.headers, partition: view.partition,
            offset: view.offset)
    }
}
