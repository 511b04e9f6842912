import CRdkafka
import Glibc
import Platform
import Synchronization

/// What became of one message.
public struct DeliveryReport: Sendable {
    /// The number that `send` was given.
    public var token: UInt64
    /// The partition the message went to, -1 if none was chosen yet.
    public var partition: Int32
    /// The message's offset; negative if the broker did not say (a retried message of an idempotent producer).
    public var offset: Int64
    /// Why the message was not acknowledged; nil if it was.
    public var error: KafkaError?

    /// Makes a report, as tests of what handles reports do.
    public init(token: UInt64, partition: Int32, offset: Int64, error: KafkaError? = nil) {
        self.token = token
        self.partition = partition
        self.offset = offset
        self.error = error
    }
}

/// A header of a message.
public struct KafkaHeader: Sendable, Equatable {
    /// Its name; a name may occur more than once.
    public var name: String
    /// Its value; empty if it is null.
    public var value: [UInt8]
    /// Whether the value is null, which Kafka tells from an empty one.
    public var isNull: Bool

    /// Makes a header.
    public init(name: String, value: [UInt8], isNull: Bool = false) {
        self.name = name
        self.value = value
        self.isNull = isNull
    }

    /// Makes a header with a text as its value.
    public init(name: String, text: String) {
        self.init(name: name, value: Array(text.utf8))
    }
}

/// Sends messages, in order and each once to a partition (`enable.idempotence`, `acks=all`).
///
/// `send` never blocks; what became of each message comes in batches to the closure given to `init`, on this producer's
/// own thread. After a fatal error (`fatalError`) nothing can be sent any more: close it, make another one, and send
/// again what has no report without an error.
public final class KafkaProducer: Sendable {
    let handle: KafkaHandle
    private let topics = Mutex<[String: KafkaTopic]>([:])
    private let poller: Poller

    /// What makes a producer send each message once and in order.
    static let guarantees: [(property: String, value: String)] = [("enable.idempotence", "true"), ("acks", "all")]

    /// Makes a producer and starts its thread; it connects by itself.
    /// - Parameters:
    ///   - configuration: how to reach the cluster. librdkafka's limits apply, such as `queue.buffering.max.messages`
    ///     and `message.timeout.ms`.
    ///   - defaults: librdkafka's properties that this use of a producer wants; `configuration.properties` override
    ///     them.
    ///   - observer: where the log and connection errors go.
    ///   - deliveries: called with the reports of one or more messages, in the order in which the broker acknowledged
    ///     them. Must return soon.
    public init(
        configuration: KafkaConfiguration, defaults: [(property: String, value: String)] = [],
        observer: KafkaObserver = KafkaObserver(), deliveries: @escaping @Sendable ([DeliveryReport]) -> Void
    ) throws(KafkaConfigurationError) {
        let defaults = Self.guarantees + defaults
        let handle = try KafkaHandle(RD_KAFKA_PRODUCER, configuration, defaults: defaults, observer: observer) {
            rd_kafka_conf_set_events($0, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_STATS)
        }
        self.handle = handle
        poller = Poller(handle: handle, deliveries: deliveries)
    }

    /// Makes a producer as `init` does, on a thread of its own, as files are read and the disk may be slow.
    public static func make(
        configuration: KafkaConfiguration, defaults: [(property: String, value: String)] = [],
        observer: KafkaObserver = KafkaObserver(), deliveries: @escaping @Sendable ([DeliveryReport]) -> Void
    ) async throws(KafkaConfigurationError) -> KafkaProducer {
        try await onOwnThread("kafka-make") { () throws(KafkaConfigurationError) in
            try KafkaProducer(
                configuration: configuration, defaults: defaults, observer: observer, deliveries: deliveries)
        }
    }

    deinit {
        poller.stop()
    }

    /// A topic to send to by `send(to:)`, the quicker way.
    public func topic(_ name: String) throws(KafkaError) -> KafkaTopic {
        try topics.withLock { topics throws(KafkaError) in
            if let topic = topics[name] { return topic }
            let topic = try KafkaTopic(name, handle: handle)
            topics[name] = topic
            return topic
        }
    }

    /// Queues one message; a copy of it is made.
    /// - Parameters:
    ///   - topic: the topic's name.
    ///   - key: messages with the same key go to the same partition; nil spreads them.
    ///   - value: the message itself; nil is a null value, which a compacted topic takes for a deletion.
    ///   - headers: the headers, in order.
    ///   - partition: the partition, or nil to choose by key.
    ///   - token: comes back in the delivery report.
    /// - Throws: `.queueFull` if there is no room now; `.messageTooLarge`; `.fatal` after a fatal error.
    public func send(
        topic: String, key: [UInt8]?, value: [UInt8]?, headers: [KafkaHeader] = [], partition: Int32? = nil,
        token: UInt64
    ) throws(KafkaError) {
        let topic = try self.topic(topic)
        if headers.isEmpty {
            try value.withBytes { value throws(KafkaError) in
                try key.withBytes { key throws(KafkaError) in
                    try send(to: topic, key: key, value: value, partition: partition, token: token)
                }
            }
        } else {
            try send(to: topic, key: key, value: value, headers: headers, partition: partition, token: token)
        }
    }

    /// Queues one message from memory: the quick way.
    /// - Parameters:
    ///   - topic: from `topic(_:)` of this producer.
    ///   - key: as above; a null base address is no key.
    ///   - value: the message; a null base address is a null value.
    ///   - partition: the partition, or nil to choose by key.
    ///   - token: comes back in the delivery report.
    ///   - copy: whether librdkafka makes its own copy of `value`; if not, the memory must stay unchanged until the
    ///     delivery report. The key is always copied.
    /// - Throws: as above.
    public func send(
        to topic: KafkaTopic, key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, partition: Int32? = nil,
        token: UInt64, copy: Bool = true
    ) throws(KafkaError) {
        let status = rd_kafka_produce(
            topic.pointer, partition ?? RD_KAFKA_PARTITION_UA, copy ? RD_KAFKA_MSG_F_COPY : 0,
            UnsafeMutableRawPointer(mutating: value.baseAddress), value.count, key.baseAddress, key.count,
            opaque(token))
        if status != 0 { throw sendError(rd_kafka_last_error(), topic.name) }
    }

    private func send(
        to topic: KafkaTopic, key: [UInt8]?, value: [UInt8]?, headers: [KafkaHeader], partition: Int32?, token: UInt64
    ) throws(KafkaError) {
        guard let list = rd_kafka_headers_new(headers.count) else {
            throw KafkaError(RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE, "send to \(topic.name)")
        }
        for header in headers {
            let value = header.isNull ? nil : header.value
            let code = value.withBytes { rd_kafka_header_add(list, header.name, -1, $0.baseAddress, $0.count) }
            if code != RD_KAFKA_RESP_ERR_NO_ERROR {
                rd_kafka_headers_destroy(list)
                throw KafkaError(code, "add header \(header.name)")
            }
        }
        let error = value.withBytes { value in
            key.withBytes { key in
                withUnsafeTemporaryAllocation(of: rd_kafka_vu_t.self, capacity: 7) { arguments in
                    arguments.initialize(repeating: rd_kafka_vu_t())
                    arguments[0].vtype = RD_KAFKA_VTYPE_RKT
                    arguments[0].u.rkt = topic.pointer
                    arguments[1].vtype = RD_KAFKA_VTYPE_PARTITION
                    arguments[1].u.i32 = partition ?? RD_KAFKA_PARTITION_UA
                    arguments[2].vtype = RD_KAFKA_VTYPE_VALUE
                    arguments[2].u.mem.ptr = UnsafeMutableRawPointer(mutating: value.baseAddress)
                    arguments[2].u.mem.size = value.count
                    arguments[3].vtype = RD_KAFKA_VTYPE_KEY
                    arguments[3].u.mem.ptr = UnsafeMutableRawPointer(mutating: key.baseAddress)
                    arguments[3].u.mem.size = key.count
                    arguments[4].vtype = RD_KAFKA_VTYPE_MSGFLAGS
                    arguments[4].u.i = RD_KAFKA_MSG_F_COPY
                    arguments[5].vtype = RD_KAFKA_VTYPE_OPAQUE
                    arguments[5].u.ptr = opaque(token)
                    arguments[6].vtype = RD_KAFKA_VTYPE_HEADERS
                    arguments[6].u.headers = list
                    return rd_kafka_produceva(handle.pointer, arguments.baseAddress, arguments.count)
                }
            }
        }
        if let error {
            // The header list belongs to librdkafka only after success.
            rd_kafka_headers_destroy(list)
            let code = rd_kafka_error_code(error)
            rd_kafka_error_destroy(error)
            throw sendError(code, topic.name)
        }
    }

    private func sendError(_ code: rd_kafka_resp_err_t, _ topic: String) -> KafkaError {
        if code == RD_KAFKA_RESP_ERR__FATAL, let fatalError { return fatalError }
        return KafkaError(code, "send to \(topic)")
    }

    /// Messages and reports that are not through yet: queued, in flight, or reported but not yet given to the closure.
    public var pendingCount: Int { Int(rd_kafka_outq_len(handle.pointer)) }

    /// The error after which this producer can send nothing any more, if there is one.
    public var fatalError: KafkaError? { handle.fatalError }

    /// Errors that librdkafka handled by itself so far, such as lost connections.
    public var errorCount: Int { handle.errorCount }

    /// Waits until every message has its report, without lingering.
    /// - Throws: `.timedOut` if some have not.
    public func flush(timeout: Duration) async throws(KafkaError) {
        let handle = self.handle
        poller.letGo()
        try await onOwnThread("kafka-flush") { () throws(KafkaError) in
            try check(rd_kafka_flush(handle.pointer, timeout.wholeMilliseconds), "flush")
        }
    }

    /// Flushes for at most `timeout`, drops the rest (reported as purged), and ends the thread. Sending afterwards is
    /// an error of the caller: such messages are never reported.
    public func close(timeout: Duration) async {
        let handle = self.handle
        let poller = self.poller
        poller.letGo()
        await onOwnThread("kafka-close") {
            if rd_kafka_flush(handle.pointer, timeout.wholeMilliseconds) != RD_KAFKA_RESP_ERR_NO_ERROR {
                rd_kafka_purge(handle.pointer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT)
                // Only the reports of what was purged are left, so this takes no network round trip.
                rd_kafka_flush(handle.pointer, 1000)
            }
            poller.stop()
        }
    }
}

/// A topic of one producer.
public final class KafkaTopic: Sendable {
    /// The topic's name.
    public let name: String
    nonisolated(unsafe) let pointer: OpaquePointer
    // A topic must be destroyed before its handle.
    private let handle: KafkaHandle

    init(_ name: String, handle: KafkaHandle) throws(KafkaError) {
        guard let pointer = rd_kafka_topic_new(handle.pointer, name, nil) else {
            throw KafkaError(rd_kafka_last_error(), "use topic \(name)")
        }
        self.name = name
        self.pointer = pointer
        self.handle = handle
    }

    deinit {
        rd_kafka_topic_destroy(pointer)
    }
}

/// The thread that takes delivery reports. It holds the handle, so the handle is destroyed after the thread's last poll.
private final class Poller: Sendable {
    private let isStopped = Atomic<Bool>(false)
    private nonisolated(unsafe) let queue: OpaquePointer
    private let handle: KafkaHandle
    private let state = Mutex(State())

    private struct State {
        var answers = AnswerWatch()
        /// Where messages went.
        var partitions: Set<TopicPartition> = []
    }

    init(handle: KafkaHandle, deliveries: @escaping @Sendable ([DeliveryReport]) -> Void) {
        self.handle = handle
        queue = rd_kafka_queue_get_main(handle.pointer)
        startThread(name: "kafka-producer") { [self] in
            var interval = Duration.seconds(1)
            while !isStopped.load(ordering: .acquiring) {
                var isAnswered = false
                poll(timeout: interval.wholeMilliseconds) { reports in
                    isAnswered = reports.contains { $0.error == nil }
                    deliveries(reports)
                }
                interval = watch(isAnswered: isAnswered)
            }
            // What was reported before the stop is still handed over.
            while poll(timeout: 0, deliveries) {}
        }
    }

    deinit {
        rd_kafka_queue_destroy(queue)
    }

    func stop() {
        isStopped.store(true, ordering: .releasing)
        rd_kafka_queue_yield(queue)
    }

    /// Lets paused partitions go on: everything is to be sent now.
    func letGo() {
        state.withLock { state in act(state.answers.release(), state.partitions) }
    }

    /// Pauses and releases the partitions.
    /// - Returns: when to look again, at the latest.
    private func watch(isAnswered: Bool) -> Duration {
        let waiting = Int(rd_kafka_outq_len(handle.pointer))
        return state.withLock { state in
            let action = state.answers.look(
                waiting: waiting, isAnswered: isAnswered, connections: handle.connectionChanges, at: .now)
            // Under the lock, so that `letGo` has the last word.
            act(action, state.partitions)
            return state.answers.interval
        }
    }

    private func act(_ action: AnswerWatch.Action, _ partitions: Set<TopicPartition>) {
        guard action != .none, !partitions.isEmpty else { return }
        withNativeList(partitions.map { ($0, 0) }) { list in
            // Fails for a partition that is gone, which needs neither.
            _ =
                action == .hold
                ? rd_kafka_pause_partitions(handle.pointer, list) : rd_kafka_resume_partitions(handle.pointer, list)
        }
    }

    @discardableResult
    private func poll(timeout: Int32, _ deliveries: ([DeliveryReport]) -> Void) -> Bool {
        guard let event = rd_kafka_queue_poll(queue, timeout) else { return false }
        defer { rd_kafka_event_destroy(event) }
        // A queue that is polled gives everything as events and calls no callback.
        switch rd_kafka_event_type(event) {
        case RD_KAFKA_EVENT_DR: deliveries(reports(event))
        case RD_KAFKA_EVENT_ERROR:
            handle.receiveError(
                rd_kafka_event_error(event), reason: rd_kafka_event_error_string(event).map { String(cString: $0) })
        case RD_KAFKA_EVENT_STATS:
            if let json = rd_kafka_event_stats(event) { handle.receiveStatistics(String(cString: json)) }
        default: break
        }
        return true
    }

    private func reports(_ event: OpaquePointer) -> [DeliveryReport] {
        var reports: [DeliveryReport] = []
        reports.reserveCapacity(rd_kafka_event_message_count(event))
        // Neighbours are mostly of one partition.
        var last: (topic: OpaquePointer?, partition: Int32) = (nil, -1)
        while let message = rd_kafka_event_message_next(event)?.pointee {
            let token = UInt64(UInt(bitPattern: message._private))
            let error =
                message.err == RD_KAFKA_RESP_ERR_NO_ERROR
                ? nil
                : KafkaError(
                    message.err, "deliver to \(String(cString: rd_kafka_topic_name(message.rkt)))",
                    isFatal: message.err == RD_KAFKA_RESP_ERR__FATAL)
            reports.append(
                DeliveryReport(token: token, partition: message.partition, offset: message.offset, error: error))
            if message.partition >= 0, last != (message.rkt, message.partition) {
                last = (message.rkt, message.partition)
                let partition = TopicPartition(String(cString: rd_kafka_topic_name(message.rkt)), message.partition)
                state.withLock { _ = $0.partitions.insert(partition) }
            }
        }
        return reports
    }
}

/// librdkafka carries one pointer a message; it is the token (pointers have 64 bits wherever Vigie runs).
private func opaque(_ token: UInt64) -> UnsafeMutableRawPointer? {
    UnsafeMutableRawPointer(bitPattern: UInt(truncatingIfNeeded: token))
}

extension [UInt8] {
    /// The bytes with a base address that is never null, as librdkafka tells an empty value from a null one by it.
    fileprivate func withBytes<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        if isEmpty {
            var nothing: UInt8 = 0
            return try withUnsafePointer(to: &nothing) { pointer throws(Failure) in
                try body(UnsafeRawBufferPointer(start: pointer, count: 0))
            }
        }
        // Before Swift 6.1 an array's own method passes errors on without their type.
        return try withUnsafeBufferPointer { buffer in
            Swift.Result { () throws(Failure) in try body(UnsafeRawBufferPointer(buffer)) }
        }.get()
    }
}

extension [UInt8]? {
    fileprivate func withBytes<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        guard let bytes = self else { return try body(UnsafeRawBufferPointer(start: nil, count: 0)) }
        return try bytes.withBytes(body)
    }
}
