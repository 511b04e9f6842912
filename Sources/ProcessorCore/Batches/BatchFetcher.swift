import KafkaClient
import Monitoring
import Platform
import PostgresClient
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
    }

    /// The group cannot be used any more.
    struct ConsumerFailed: Error, CustomStringConvertible {
        var error: KafkaError
        var member: String

        var description: String {
            """
            \(error); if another processor is the group's member "\(member)" too, \
            give each process its own name (kafka.instance)
            """
        }
    }

    private let settings: ProcessorSettings
    private let worker: Int
    private let shutdown: ShutdownRequest
    private let gate: WriterGate
    private let monitor: PipelineMonitor
    private let log: Log
    private let wallClock: any WallClock
    private let executor: ThreadExecutor

    private var consumer: KafkaConsumer?
    private var tracker: PartitionTracker
    private var decoder: ReadingDecoder
    private var ends = EndOfPartition()
    private var nextRelocation = ContinuousClock.now
    private var nextObservation = ContinuousClock.now

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// - Parameters:
    ///   - worker: the number of the worker in this process, from 1.
    ///   - shutdown: ends the waiting.
    ///   - gate: open while the writer waits.
    ///   - monitor: is told how far each partition is.
    init(
        settings: ProcessorSettings, worker: Int, shutdown: ShutdownRequest, gate: WriterGate,
        monitor: PipelineMonitor, log: Log,
        wallClock: any WallClock
    ) {
        self.settings = settings
        self.worker = worker
        executor = ThreadExecutor(name: "fetcher-\(worker)")
        self.shutdown = shutdown
        self.gate = gate
        self.monitor = monitor
        self.log = log
        self.wallClock = wallClock
        tracker = PartitionTracker(settings: settings, log: log)
        decoder = ReadingDecoder(limits: settings.limits)
    }

    /// Joins the group.
    func start() throws {
        let log = log.component("kafka")
        let observer = KafkaObserver(
            log: { _, facility, message in log.debug(message, ["facility": facility]) },
            error: { error in log.warning("Kafka", ["error": "\(error)"]) })
        let consumer = try KafkaConsumer(
            configuration: settings.consumerConfiguration(worker: worker), group: settings.group, observer: observer)
        try consumer.subscribe(to: [settings.topic], hook: tracker.hook)
        self.consumer = consumer
    }

    /// Leaves the group.
    func stop() {
        consumer?.close()
        consumer = nil
    }

    /// Collects a batch: at least until the writer waits for it, at most until it is full or half a second has passed
    /// without a message.
    /// - Returns: nil when there is nothing left and a stop was asked for.
    func next() throws -> Fetched? {
        var batch = ReadingBatch()
        let began = ContinuousClock.now
        while !shutdown.isMade {
            if !tracker.waiting.isEmpty { relocateWaiting() }
            if ContinuousClock.now >= nextObservation { observePartitions() }
            if settings.rules.silence != nil { askForEnds() }
            let room = batch.room(maximum: settings.maximumBatch)
            if room <= 0 {
                if gate.wait(milliseconds: 1000) { break }
                try stayInGroup(&batch)
                continue
            }
            let timeout: Duration =
                batch.isEmpty
                ? .milliseconds(500) - min(.milliseconds(500), began.duration(to: .now)) : .milliseconds(2)
            try collect(into: &batch, atMost: min(room, 10_000), timeout: timeout)
            let isDue = !batch.isEmpty || tracker.hasChanged || began.duration(to: .now) >= .milliseconds(500)
            if isDue, gate.wait(milliseconds: 0) { break }
        }
        if shutdown.isMade, batch.isEmpty { return nil }
        defer { tracker.hasChanged = false }
        return Fetched(
            batch: batch, partitions: tracker.hasChanged ? tracker.assigned : nil,
            reached: ends.reached(tracker.positions))
    }

    /// Forgets what was fetched and reads on from where the database says, as soon as it does.
    func resynchronise() throws {
        // A change of partitions may have been told with the batch that was forgotten.
        tracker.hasChanged = true
        monitor.forgetPartitions()
        ends.forget()
        let offsets: [TopicPartition: KafkaOffset]
        do {
            offsets = try tracker.relocate(tracker.assigned)
        } catch let error as PostgresError where error.isTransient {
            log.warning("cannot read offsets, the partitions wait", ["error": "\(error)"])
            tracker.forgetPositions()
            if let consumer { try consumer.pause(try consumer.assignment) }
            return
        }
        log.notice("reading on from the offsets in the database", ["partitions": offsets.count])
        try consumer?.seek(offsets, timeout: .seconds(10))
    }

    private func collect(into batch: inout ReadingBatch, atMost limit: Int, timeout: Duration) throws {
        guard let consumer else { return }
        let events = consumer.nextBatch(maximumMessages: limit, timeout: timeout) { messages, events in
            if !messages.isEmpty { decode(messages, into: &batch) }
            return events
        }
        for event in events { try handle(event, &batch) }
    }

    /// Asks the broker up to where there are messages, which is how silence is told from being behind.
    private func askForEnds() {
        guard let consumer else { return }
        ends.ask(Set(tracker.positions.keys), at: .now, now: { wallClock.now().milliseconds }) { partition in
            let marks = try consumer.watermarks(TopicPartition(settings.topic, partition), timeout: .seconds(1))
            // One that holds nothing has been read wherever its reader stands.
            return marks.low < marks.high ? marks.high : 0
        }
    }

    /// Tells how far each partition is, once a second.
    private func observePartitions() {
        nextObservation = .now + .seconds(1)
        monitor.observe(
            tracker.assigned.map { partition in
                PartitionView(
                    partition: partition, position: tracker.positions[partition],
                    end: consumer?.cachedWatermarks(TopicPartition(settings.topic, partition))?.high)
            })
    }

    private func decode(_ messages: UnsafeBufferPointer<KafkaMessageView>, into batch: inout ReadingBatch) {
        let now = wallClock.now()
        let rowsBefore = batch.rows.count
        defer { sample(messages[0], into: &batch, row: rowsBefore, now: now) }
        var first = 0
        while first < messages.count {
            let partition = messages[first].partition
            var index = first
            while index < messages.count, messages[index].partition == partition {
                decode(messages[index], into: &batch, now: now)
                index += 1
            }
            let next = messages[index - 1].offset + 1
            batch.count(
                messages: index - first, partition: partition, through: next,
                from: tracker.positions[partition] ?? messages[first].offset)
            tracker.advance(partition, to: next)
            first = index
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
            let reading = try decoder.decode(message.value, now: now)
            batch.append(reading, partition: message.partition, offset: message.offset)
        } catch {
            batch.reject(
                ReadingBatch.Rejected(
                    key: message.keyBytes, value: message.valueBytes, headers: message.headers,
                    partition: message.partition, offset: message.offset, rejection: error))
        }
    }

    private func handle(_ event: KafkaConsumerEvent, _ batch: inout ReadingBatch) throws {
        switch event {
        case .partitionEnd: break
        case .offsetOutOfRange(let partition, let offset): try reset(partition, offset, &batch)
        case .partitionError(let partition, let error):
            log.warning("a partition cannot be read", ["partition": "\(partition)", "error": "\(error)"])
        case .error(let error):
            if error.isFatal {
                throw ConsumerFailed(error: error, member: settings.memberName(worker: worker))
            }
            log.warning("Kafka", ["error": "\(error)"])
        }
    }

    /// The broker has no such offset: it has dropped old messages, lost new ones, or the topic was made anew. Reading
    /// goes on at the oldest that there is; what was admitted before is dropped by its number, and what is missing is a
    /// hole in its stream.
    ///
    /// That is a part of the batch: whoever reads the partition next, be it after a rebalance before anything new comes,
    /// must not look for the old offset in the new messages.
    private func reset(_ place: TopicPartition, _ offset: Int64, _ batch: inout ReadingBatch) throws {
        let position = tracker.positions[place.partition]
        log.warning(
            "the broker does not have the offset to go on from, reading from its oldest message",
            ["partition": "\(place)", "offset": position ?? offset])
        ends.forget()
        guard let consumer else { return }
        var start = KafkaOffset.earliest
        do throws(KafkaError) {
            let low = try consumer.watermarks(place, timeout: .seconds(10)).low
            if let position {
                batch.count(messages: 0, partition: place.partition, through: low, from: position)
                tracker.advance(place.partition, to: low)
            }
            start = .at(low)
        } catch {
            log.warning("the broker does not say which its oldest message is", ["error": "\(error)"])
        }
        try consumer.seek([place: start], timeout: .seconds(10))
    }

    /// The database is away and the batch is full: polls without reading, so that the group keeps this member.
    private func stayInGroup(_ batch: inout ReadingBatch) throws {
        guard let consumer else { return }
        let partitions = try consumer.assignment
        try consumer.pause(partitions)
        // What was on its way already is taken along.
        try collect(into: &batch, atMost: 1000, timeout: .milliseconds(100))
        // Those whose offset is not known yet stay paused.
        try consumer.resume(try consumer.assignment.filter { !tracker.waiting.contains($0.partition) })
    }

    /// Tries to find out where to read partitions that came while the database was away.
    private func relocateWaiting() {
        guard ContinuousClock.now >= nextRelocation else { return }
        nextRelocation = .now + .seconds(1)
        do {
            let offsets = try tracker.relocate(tracker.waiting)
            // Moved last, so that where it reads rests on nothing that was before; what is fetched between the two is dropped
            // by the seek, as nobody polls.
            try consumer?.resume(Array(offsets.keys))
            try consumer?.seek(offsets, timeout: .seconds(10))
        } catch let error as KafkaError {
            // Nothing may be read from where the consumer stands now.
            tracker.forgetPositions()
            if let consumer { try? consumer.pause(consumer.assignment) }
            log.warning("cannot go to the offsets, the partitions wait", ["error": "\(error)"])
        } catch {
            log.warning("cannot read offsets, the partitions wait", ["error": "\(error)"])
        }
    }
}
