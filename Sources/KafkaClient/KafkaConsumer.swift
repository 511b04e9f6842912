import CRdkafka

/// What a consumer does when its group gives it partitions or takes them away. Called on the polling thread, inside
/// `KafkaConsumer.nextBatch` or `close`.
public struct KafkaRebalanceHook {
    /// Partitions were given to this consumer: says where to start in each. One that is left out stays paused until
    /// `KafkaConsumer.resume` and `seek`.
    public var assigned: ([TopicPartition]) -> [TopicPartition: KafkaOffset]
    /// Partitions that `assigned` gave an offset were not started there after all: they wait for `KafkaConsumer.move`.
    public var notStarted: ([TopicPartition]) -> Void
    /// Partitions are taken away. If `isLost`, another consumer may have them already.
    public var revoked: (_ partitions: [TopicPartition], _ isLost: Bool) -> Void

    /// Makes a hook.
    public init(
        assigned: @escaping ([TopicPartition]) -> [TopicPartition: KafkaOffset],
        notStarted: @escaping ([TopicPartition]) -> Void = { _ in },
        revoked: @escaping (_ partitions: [TopicPartition], _ isLost: Bool) -> Void
    ) {
        self.assigned = assigned
        self.notStarted = notStarted
        self.revoked = revoked
    }
}

/// Something other than a message that `KafkaConsumer.nextBatch` came upon.
public enum KafkaConsumerEvent: Sendable, Equatable {
    /// All that is there was read (only with `enable.partition.eof`); the next offset follows.
    case partitionEnd(TopicPartition, offset: Int64)
    /// The broker has no such offset. The partition gives nothing until `KafkaConsumer.seek`; the offset that was asked
    /// for follows, negative if librdkafka does not say.
    case offsetOutOfRange(TopicPartition, offset: Int64)
    /// The partition cannot be read now, such as a topic that was deleted.
    case partitionError(TopicPartition, KafkaError)
    /// Anything else; if it is fatal, the consumer must be made anew.
    case error(KafkaError)
}

/// Reads messages, with offsets that the caller keeps: nothing is committed by itself (`enable.auto.commit` and
/// `enable.auto.offset.store` are off) and a missing offset is an event (`auto.offset.reset` is `error`).
///
/// Every call blocks and belongs on one thread at a time, such as inside an actor with a `ThreadExecutor`. Call `close`
/// before letting go of it: leaving the group may take a round trip.
public final class KafkaConsumer {
    private let handle: KafkaHandle
    private let group: String
    private let isStaticMember: Bool
    private let membership = Membership()
    private var topics: [String] = []
    private var hasJoined = false
    private var isClosed = false

    /// What leaves offsets to the program: nothing is committed or skipped by itself.
    static func guarantees(group: String) -> [(property: String, value: String)] {
        [
            ("group.id", group), ("enable.auto.commit", "false"), ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "error"),
        ]
    }

    /// Makes a consumer; it connects by itself.
    /// - Parameters:
    ///   - configuration: how to reach the cluster. `partition.assignment.strategy` may be eager or cooperative.
    ///   - group: the consumer group's name. Also `assign` needs one, but does not join it.
    ///   - observer: where the log and connection errors go.
    public init(
        configuration: KafkaConfiguration, group: String, observer: KafkaObserver = KafkaObserver()
    ) throws(KafkaConfigurationError) {
        handle = try KafkaHandle(
            RD_KAFKA_CONSUMER, configuration, defaults: Self.guarantees(group: group), observer: observer
        ) {
            rd_kafka_conf_set_rebalance_cb($0) { handle, code, list, opaque in
                guard let handle, let list else { return }
                KafkaHandle.Callbacks.of(opaque)?.rebalance(handle, code, list)
            }
            rd_kafka_conf_set_offset_commit_cb($0) { _, code, _, opaque in
                // Nothing to commit is no failure.
                if code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR__NO_OFFSET { return }
                let error = KafkaError(code, "commit offsets to the group")
                KafkaHandle.Callbacks.of(opaque)?.observer.log(7, "COMMIT", "\(error)")
            }
        }
        self.group = group
        isStaticMember = configuration.properties["group.instance.id"] != nil
        // Callbacks and errors are served by nextBatch too.
        rd_kafka_poll_set_consumer(handle.pointer)
        handle.setRebalance(membership.rebalance)
    }

    deinit {
        close()
        // librdkafka before 2.4 ends the process when a cooperative consumer is destroyed that was about to get its first
        // partitions (its issue 4312), as one does that is told to stop while it starts.
        if hasJoined, !membership.wasAssigned, rd_kafka_version() < 0x0204_0000 { handle.keep() }
    }

    // MARK: Partitions

    /// Joins the group; partitions come through the hook in a later `nextBatch`.
    public func subscribe(to topics: [String], hook: KafkaRebalanceHook) throws(KafkaError) {
        membership.hook = hook
        self.topics = topics
        hasJoined = true
        try withNativeList(topics.map { (TopicPartition($0, RD_KAFKA_PARTITION_UA), 0) }) { list throws(KafkaError) in
            try check(rd_kafka_subscribe(handle.pointer, list), "subscribe to \(topics.joined(separator: ", "))")
        }
    }

    /// Reads these partitions from these offsets, in place of those before, without joining the group.
    public func assign(_ offsets: [TopicPartition: KafkaOffset]) throws(KafkaError) {
        try membership.unpause(Array(offsets.keys), handle.pointer)
        try withNativeList(offsets.map { ($0.key, $0.value.native) }) { list throws(KafkaError) in
            try check(rd_kafka_assign(handle.pointer, list), "assign partitions")
        }
        membership.positions = offsets
        membership.paused = []
    }

    /// The partitions that this consumer reads.
    public var assignment: [TopicPartition] {
        get throws(KafkaError) { try membership.assignment(handle.pointer) }
    }

    /// Goes on reading assigned partitions from these offsets; also after `.offsetOutOfRange`.
    /// - Throws: the first of what `move` says.
    public func seek(_ offsets: [TopicPartition: KafkaOffset], timeout: Duration) throws(KafkaError) {
        if let error = move(offsets, timeout: timeout).min(by: { $0.key < $1.key })?.value { throw error }
    }

    /// Goes on reading assigned partitions from these offsets, each as far as it is possible.
    /// - Returns: why some could not be moved; what comes of those is from nowhere in particular until they are.
    public func move(_ offsets: [TopicPartition: KafkaOffset], timeout: Duration) -> [TopicPartition: KafkaError] {
        if offsets.isEmpty { return [:] }
        var failures: [TopicPartition: KafkaError] = [:]
        var stopped: [TopicPartition] = []
        // librdkafka before 2.1 waits for a thousandth of what it is told (its issue 4230): too short on a busy machine.
        let limit = rd_kafka_version() < 0x0201_0000 ? timeout * 1000 : timeout
        withNativeList(offsets.map { ($0.key, $0.value.native) }) { list in
            var whole: KafkaError?
            do throws(KafkaError) {
                try check(rd_kafka_seek_partitions(handle.pointer, list, limit.wholeMilliseconds), "seek")
            } catch {
                whole = error
            }
            for element in list.elements {
                switch element.err {
                case RD_KAFKA_RESP_ERR_NO_ERROR: break
                // librdkafka does not seek in a partition that it is not fetching: one without a valid offset, or one
                // that was assigned a moment ago, or that it could not assign.
                case RD_KAFKA_RESP_ERR__STATE, RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
                    stopped.append(element.topicPartition)
                default:
                    let place = element.topicPartition
                    failures[place] = whole ?? KafkaError(element.err, "seek in \(place)")
                }
            }
        }
        for (partition, offset) in offsets where failures[partition] == nil {
            membership.positions[partition] = offset
        }
        if !stopped.isEmpty {
            do throws(KafkaError) {
                try membership.restart(stopped, handle.pointer)
            } catch {
                for partition in stopped { failures[partition] = error }
            }
        }
        return failures
    }

    /// Stops reading partitions, which stay assigned; what was fetched in advance is dropped and fetched again later.
    public func pause(_ partitions: [TopicPartition]) throws(KafkaError) {
        try membership.setPaused(true, partitions, handle.pointer)
        membership.paused.formUnion(partitions)
    }

    /// Reads paused partitions again: at once if `seek` or `move` follows, within a second if not, which is how often
    /// librdkafka looks for what was resumed.
    public func resume(_ partitions: [TopicPartition]) throws(KafkaError) {
        try membership.setPaused(false, partitions, handle.pointer)
        membership.paused.subtract(partitions)
    }

    /// Where the next message of a partition comes from: after the last one that `nextBatch` gave, or where it was told
    /// to start; nil if the partition is not assigned or waits for `seek`.
    public func position(_ partition: TopicPartition) -> KafkaOffset? {
        membership.positions[partition]
    }

    /// Asks the broker which offsets a partition has.
    public func watermarks(_ partition: TopicPartition, timeout: Duration) throws(KafkaError) -> KafkaWatermarks {
        try handle.watermarks(partition, timeout: timeout)
    }

    /// Asks the brokers which offsets partitions have, with two requests for each broker: that of the first message, and
    /// the end as `endOffsets` has it.
    /// - Parameter timeout: about how long each request may take.
    /// - Returns: the partitions that have an answer; one without a leader has none.
    /// - Throws: why there is no answer at all.
    public func watermarks(
        _ partitions: [TopicPartition], timeout: Duration
    ) throws(KafkaError) -> [TopicPartition: KafkaWatermarks] {
        let low = try handle.offsets(partitions, at: .earliest, timeout: timeout)
        let high = try handle.offsets(partitions, at: .latest, timeout: timeout)
        var watermarks: [TopicPartition: KafkaWatermarks] = [:]
        for (partition, first) in low {
            if let end = high[partition] { watermarks[partition] = KafkaWatermarks(low: first, high: end) }
        }
        return watermarks
    }

    /// Asks the brokers up to where partitions can be read, with a request for each broker: the offset after the last
    /// record or, with `isolation.level` `read_committed`, the first offset of the oldest open transaction.
    /// - Parameter timeout: about how long to wait.
    /// - Returns: the partitions that have an answer; one without a leader has none.
    /// - Throws: why there is no answer at all.
    public func endOffsets(
        _ partitions: [TopicPartition], timeout: Duration
    ) throws(KafkaError) -> [TopicPartition: Int64] {
        try handle.offsets(partitions, at: .latest, timeout: timeout)
    }

    /// The offsets that a partition has as of the last answer of its broker; asks nobody. Nil before the first one.
    public func cachedWatermarks(_ partition: TopicPartition) -> KafkaWatermarks? {
        var (low, high) = (Int64(RD_KAFKA_OFFSET_INVALID), Int64(RD_KAFKA_OFFSET_INVALID))
        guard
            rd_kafka_get_watermark_offsets(handle.pointer, partition.topic, partition.partition, &low, &high)
                == RD_KAFKA_RESP_ERR_NO_ERROR, high >= 0
        else { return nil }
        return KafkaWatermarks(low: max(0, low), high: high)
    }

    // MARK: Messages

    /// Waits for a message, takes it with all that have arrived, and gives them to `body`.
    /// - Parameters:
    ///   - maximumMessages: how many messages and events at most, from 1.
    ///   - timeout: how long to wait for the first one.
    ///   - body: called once, also when nothing came. The messages are valid only until it returns. Those of a partition
    ///     that was revoked while they were collected are left out, also if it was assigned again at once; it is paused
    ///     then, and `KafkaRebalanceHook.notStarted` says so.
    public func nextBatch<Result, Failure: Error>(
        maximumMessages: Int, timeout: Duration,
        _ body: (UnsafeBufferPointer<KafkaMessageView>, [KafkaConsumerEvent]) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let capacity = max(maximumMessages, 1)
        let milliseconds = timeout.wholeMilliseconds
        let raw = UnsafeMutablePointer<UnsafeMutablePointer<rd_kafka_message_t>>.allocate(capacity: capacity)
        let views = UnsafeMutablePointer<KafkaMessageView>.allocate(capacity: capacity)
        var count = 0
        defer {
            for index in 0..<count { rd_kafka_message_destroy(raw[index]) }
            raw.deallocate()
            views.deallocate()
        }
        membership.revoked = []
        // One at a time: what rd_kafka_consume_batch_queue gives, librdkafka 2.8 takes for a message, also the end of a
        // partition at offset N, and so it goes on at N + 1 after its next pause. Each rebalance pauses all partitions.
        while count < capacity, let message = rd_kafka_consumer_poll(handle.pointer, count == 0 ? milliseconds : 0) {
            raw[count] = message
            count += 1
        }
        var events: [KafkaConsumerEvent] = []
        var viewCount = 0
        for index in 0..<count {
            let message = raw[index]
            if message.pointee.err != RD_KAFKA_RESP_ERR_NO_ERROR {
                events.append(event(message))
                continue
            }
            let view = KafkaMessageView(pointer: message)
            if !membership.revoked.isEmpty && membership.revoked.contains(view.topicPartition) { continue }
            (views + viewCount).initialize(to: view)
            viewCount += 1
        }
        advancePositions(UnsafeBufferPointer(start: views, count: viewCount))
        return try body(UnsafeBufferPointer(start: views, count: viewCount), events)
    }

    /// Notes how far each partition was read; messages come in runs of one partition.
    private func advancePositions(_ messages: UnsafeBufferPointer<KafkaMessageView>) {
        for (index, message) in messages.enumerated() {
            let isLastOfRun =
                index + 1 == messages.count
                || messages[index + 1].partition != message.partition
                || messages[index + 1].pointer.pointee.rkt != message.pointer.pointee.rkt
            if isLastOfRun { membership.positions[message.topicPartition] = .at(message.offset + 1) }
        }
    }

    private func event(_ message: UnsafeMutablePointer<rd_kafka_message_t>) -> KafkaConsumerEvent {
        let code = KafkaError.Code(message.pointee.err)
        let text = rd_kafka_message_errstr(message).map { String(cString: $0) }
        guard let topic = message.pointee.rkt.flatMap({ rd_kafka_topic_name($0) }), message.pointee.partition >= 0
        else {
            return .error(fatalError ?? KafkaError(code, "consume", message: text))
        }
        let partition = TopicPartition(String(cString: topic), message.pointee.partition)
        switch code {
        case .partitionEnd: return .partitionEnd(partition, offset: message.pointee.offset)
        case .offsetOutOfRange, .automaticOffsetReset:
            return .offsetOutOfRange(partition, offset: message.pointee.offset)
        default: return .partitionError(partition, KafkaError(code, "consume \(partition)", message: text))
        }
    }

    // MARK: The group

    /// Tells the group how far this consumer is, so that ordinary tools show its lag. Does not wait; a failure is a line
    /// of the observer's log, at level debug.
    /// - Parameter offsets: for each partition the offset of the next message to read.
    public func commit(_ offsets: [TopicPartition: Int64]) throws(KafkaError) {
        if offsets.isEmpty { return }
        try withNativeList(offsets.map { ($0.key, $0.value) }) { list throws(KafkaError) in
            try check(rd_kafka_commit(handle.pointer, list, 1), "commit")
        }
    }

    /// The error after which this consumer can read nothing any more, if there is one.
    public var fatalError: KafkaError? { handle.fatalError }

    /// Errors that librdkafka handled by itself so far, such as lost connections.
    public var errorCount: Int { handle.errorCount }

    /// Asks the coordinator for the group as it has it.
    /// - Returns: nil if there is no such group.
    public func describeGroup(timeout: Duration) throws(KafkaError) -> KafkaGroup? {
        var list: UnsafePointer<rd_kafka_group_list>?
        try check(
            rd_kafka_list_groups(handle.pointer, group, &list, timeout.wholeMilliseconds),
            "ask for the members of \(group)")
        defer { rd_kafka_group_list_destroy(list) }
        guard let list = list?.pointee, list.group_cnt > 0, let found = list.groups?.pointee else { return nil }
        return KafkaGroup(found)
    }

    /// The name that the coordinator has given to this member; empty while it is none.
    public var memberIdentifier: String {
        guard let name = rd_kafka_memberid(handle.pointer) else { return "" }
        defer { rd_kafka_mem_free(handle.pointer, name) }
        return String(cString: name)
    }

    /// Asks a broker for the partitions of a topic, the newest too, with one request.
    /// - Returns: the number of the broker that leads each of them; -1 for none.
    public func leaders(of topic: String, timeout: Duration) throws(KafkaError) -> [Int32: Int32] {
        try handle.describe(topic, timeout: timeout) { topic in
            let partitions = UnsafeBufferPointer(start: topic.partitions, count: Int(topic.partition_cnt))
            return Dictionary(partitions.map { ($0.id, $0.leader) }, uniquingKeysWith: { $1 })
        }
    }

    /// What has interrupted fetching since the last call. Whatever `nextBatch` gives after an interruption can be called
    /// for only after it: messages of which nothing is known when this is asked came before.
    public func takeInterruptions() -> FetchInterruptions { handle.takeInterruptions() }

    /// Leaves the group and joins it again, so that its members share all partitions anew. The hook's `revoked` is
    /// called for what is assigned, and what was fetched in advance is dropped.
    public func rejoin() throws(KafkaError) {
        guard hasJoined, !isClosed, let hook = membership.hook else { return }
        leaveGroup(until: .now + KafkaConsumer.closingBound)
        try subscribe(to: topics, hook: hook)
    }

    /// How long `close` may take: with a broker that answers it takes milliseconds.
    private static let closingBound = Duration.seconds(5)

    /// Leaves the group, calling the hook's `revoked` for what is assigned, and stops. Blocks for as long as pending
    /// commits and leaving take, but no longer than 5 s: then what is left of it is let go of, and the group notices by
    /// its session. Only `deinit` may follow.
    /// - Parameter leavesGroup: whether a static member (`group.instance.id`) leaves too, so that the others get its
    ///   partitions at once. If not, the group keeps its place for as long as its session. Any other member always leaves.
    public func close(leavesGroup: Bool = true) {
        if isClosed { return }
        isClosed = true
        let end = ContinuousClock.now + KafkaConsumer.closingBound
        if leavesGroup { leaveGroup(until: end) }
        // rd_kafka_consumer_close knows no bound, so it closes in the background; what it asks of this thread comes
        // through a queue.
        let queue = rd_kafka_queue_new(handle.pointer)
        if let error = rd_kafka_consumer_close_queue(handle.pointer, queue) {
            handle.report(rd_kafka_error_code(error), "close the consumer")
            rd_kafka_error_destroy(error)
        }
        var dropped = [UnsafeMutablePointer<rd_kafka_message_t>?](repeating: nil, count: 100)
        while rd_kafka_consumer_closed(handle.pointer) == 0 {
            guard ContinuousClock.now < end else {
                handle.report(RD_KAFKA_RESP_ERR__TIMED_OUT, "close the consumer")
                // To destroy it would wait for the same.
                return handle.keep()
            }
            // What was fetched in advance comes here too, and is dropped.
            let count = rd_kafka_consume_batch_queue(queue, 10, &dropped, dropped.count)
            for message in dropped.prefix(max(0, count)) { rd_kafka_message_destroy(message) }
        }
        rd_kafka_queue_destroy(queue)
    }

    /// Gives all partitions back and leaves the group, as `rd_kafka_consumer_close` does for members that are not static
    /// only. Before closing also because librdkafka before 2.4 hangs for ever when a cooperative assignment comes while
    /// it closes (its issue 4527), as it does when two members stop one after the other.
    private func leaveGroup(until end: ContinuousClock.Instant) {
        guard hasJoined, isStaticMember || rd_kafka_version() < 0x0204_0000,
            rd_kafka_unsubscribe(handle.pointer) == RD_KAFKA_RESP_ERR_NO_ERROR
        else { return }
        while !membership.assigned.isEmpty, ContinuousClock.now < end {
            nextBatch(maximumMessages: 1000, timeout: .milliseconds(10)) { _, _ in }
        }
        if !isStaticMember { return }
        // The request goes out when the partitions are given back inside librdkafka too, which takes a moment, and not
        // any more once it closes. Its name in the group goes with it.
        let isSent = min(end, .now + .seconds(1))
        while ContinuousClock.now < isSent, !memberIdentifier.isEmpty {
            nextBatch(maximumMessages: 1000, timeout: .milliseconds(5)) { _, _ in }
        }
    }
}

/// What is assigned, and what a rebalance changes. Touched only by the polling thread.
private final class Membership: @unchecked Sendable {
    var hook: KafkaRebalanceHook?
    /// Whether partitions ever came.
    var wasAssigned = false
    /// Where each assigned partition goes on; one that waits for its first `seek` has none.
    var positions: [TopicPartition: KafkaOffset] = [:]
    /// Assigned partitions that are not read.
    var paused: Set<TopicPartition> = []
    /// All that is assigned.
    var assigned: Set<TopicPartition> { paused.union(positions.keys) }
    /// Taken away since the current `nextBatch` began.
    var revoked: Set<TopicPartition> = []
    /// Partitions that librdkafka has paused for us, assigned or not: it remembers that beyond their revocation.
    private var pausedNatively: Set<TopicPartition> = []

    /// librdkafka's rebalance callback (rdkafka.h, rd_kafka_conf_set_rebalance_cb).
    func rebalance(_ handle: OpaquePointer, _ code: rd_kafka_resp_err_t, _ list: NativePartitionList) -> KafkaError? {
        let partitions = list.partitions
        do throws(KafkaError) {
            if code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
                wasAssigned = true
                let offsets = hook?.assigned(partitions) ?? [:]
                // What was collected of these is from before; nothing else of them may be among it.
                let mixed = partitions.filter { revoked.contains($0) && offsets[$0] != nil }
                for partition in partitions {
                    let offset = revoked.contains(partition) ? nil : offsets[partition]
                    positions[partition] = offset
                    if offset == nil { paused.insert(partition) } else { paused.remove(partition) }
                }
                if !mixed.isEmpty { hook?.notStarted(mixed) }
                do throws(KafkaError) {
                    try assign(partitions, handle)
                } catch {
                    hook?.notStarted(partitions)
                    throw error
                }
            } else {
                hook?.revoked(partitions, rd_kafka_assignment_lost(handle) != 0)
                revoked.formUnion(partitions)
                paused.subtract(partitions)
                for partition in partitions { positions[partition] = nil }
                if isCooperative(handle) {
                    try check(rd_kafka_incremental_unassign(handle, list), "give partitions back")
                } else {
                    try check(rd_kafka_assign(handle, nil), "give partitions back")
                }
            }
            return nil
        } catch {
            return error
        }
    }

    /// Takes partitions out of the assignment and puts them back, each at its position.
    func restart(_ partitions: [TopicPartition], _ handle: OpaquePointer) throws(KafkaError) {
        if isCooperative(handle) {
            // One that could not be assigned is not to be taken out.
            let held = Set(try assignment(handle))
            let removed = partitions.filter { held.contains($0) }
            if !removed.isEmpty {
                try withNativeList(removed.map { ($0, 0) }) { list throws(KafkaError) in
                    try check(rd_kafka_incremental_unassign(handle, list), "restart partitions")
                }
            }
            try assign(partitions, handle)
        } else {
            // The eager protocol only knows whole assignments.
            try assign(Array(assigned), handle)
        }
    }

    /// What librdkafka has assigned.
    func assignment(_ handle: OpaquePointer) throws(KafkaError) -> [TopicPartition] {
        var list: NativePartitionList?
        try check(rd_kafka_assignment(handle, &list), "read the assignment")
        defer { if let list { rd_kafka_topic_partition_list_destroy(list) } }
        return list?.partitions ?? []
    }

    /// Assigns partitions at their positions, and pauses those that are to be.
    private func assign(_ partitions: [TopicPartition], _ handle: OpaquePointer) throws(KafkaError) {
        try unpause(partitions.filter { !paused.contains($0) }, handle)
        // A partition without a position is paused, so that the offset 0 is never asked for.
        let starts = partitions.map { ($0, positions[$0]?.native ?? 0) }
        try withNativeList(starts) { list throws(KafkaError) in
            if isCooperative(handle) {
                try check(rd_kafka_incremental_assign(handle, list), "assign partitions")
            } else {
                try check(rd_kafka_assign(handle, list), "assign partitions")
            }
        }
        try setPaused(true, partitions.filter { paused.contains($0) }, handle)
    }

    /// Lets partitions be read that librdkafka has paused since an earlier assignment.
    func unpause(_ partitions: [TopicPartition], _ handle: OpaquePointer) throws(KafkaError) {
        try setPaused(false, partitions.filter { pausedNatively.contains($0) }, handle)
    }

    /// Pauses or resumes partitions. librdkafka has no pause for one that it does not know.
    func setPaused(
        _ isPaused: Bool, _ partitions: [TopicPartition], _ handle: OpaquePointer
    ) throws(KafkaError) {
        if partitions.isEmpty { return }
        let operation = isPaused ? "pause" : "resume"
        try withNativeList(partitions.map { ($0, 0) }) { list throws(KafkaError) in
            try check(
                isPaused ? rd_kafka_pause_partitions(handle, list) : rd_kafka_resume_partitions(handle, list), operation
            )
            for element in list.elements {
                switch element.err {
                case RD_KAFKA_RESP_ERR_NO_ERROR where isPaused: pausedNatively.insert(element.topicPartition)
                case RD_KAFKA_RESP_ERR_NO_ERROR, RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
                    pausedNatively.remove(element.topicPartition)
                default: throw KafkaError(element.err, "\(operation) \(element.topicPartition)")
                }
            }
        }
    }

    func isCooperative(_ handle: OpaquePointer) -> Bool {
        rd_kafka_rebalance_protocol(handle).map { String(cString: $0) } == "COOPERATIVE"
    }
}
