import CRdkafka
import Glibc

/// Manages topics. Each call waits on a thread of its own, never on the cooperative pool.
public final class KafkaAdmin: Sendable {
    private let handle: KafkaHandle

    /// Makes a client; it connects by itself.
    public init(
        configuration: KafkaConfiguration, observer: KafkaObserver = KafkaObserver()
    ) throws(KafkaConfigurationError) {
        handle = try KafkaHandle(RD_KAFKA_PRODUCER, configuration, defaults: [], observer: observer) { _ in }
    }

    /// Creates a topic, and returns when the cluster says that every partition has a leader: what comes next finds it.
    ///
    /// In a cluster of several brokers another broker than the one that was asked may know it a moment later.
    /// - Parameters:
    ///   - name: the topic's name.
    ///   - partitions: how many, from 1.
    ///   - replication: copies of each partition; -1 is the broker's default.
    ///   - configuration: topic properties, such as `retention.ms`.
    ///   - timeout: how long to wait.
    /// - Throws: `.topicAlreadyExists` among others, and `.timedOut` if a partition has no leader in time.
    public func createTopic(
        _ name: String, partitions: Int32, replication: Int32 = -1, configuration: [String: String] = [:],
        timeout: Duration
    ) async throws(KafkaError) {
        let operation = "create topic \(name)"
        let deadline = ContinuousClock.now + timeout
        try await run { handle throws(KafkaError) in
            let (topic, reason) = withErrorBuffer { rd_kafka_NewTopic_new(name, partitions, replication, $0, $1) }
            guard let topic else { throw KafkaError(.invalidArgument, operation, message: reason) }
            defer { rd_kafka_NewTopic_destroy(topic) }
            for (property, value) in configuration {
                try check(rd_kafka_NewTopic_set_config(topic, property, value), operation)
            }
            try handle.request(RD_KAFKA_ADMIN_OP_CREATETOPICS, timeout, operation) { options, queue in
                var topics: [OpaquePointer?] = [topic]
                rd_kafka_CreateTopics(handle.pointer, &topics, 1, options, queue)
            } topics: { event, count in
                rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), count)
            }
            try handle.waitForLeaders(of: name, partitions: Int(partitions), until: deadline, operation)
        }
    }

    /// Deletes a topic with all its messages.
    public func deleteTopic(_ name: String, timeout: Duration) async throws(KafkaError) {
        let operation = "delete topic \(name)"
        try await run { handle throws(KafkaError) in
            let topic = rd_kafka_DeleteTopic_new(name)
            defer { rd_kafka_DeleteTopic_destroy(topic) }
            try handle.request(RD_KAFKA_ADMIN_OP_DELETETOPICS, timeout, operation) { options, queue in
                var topics: [OpaquePointer?] = [topic]
                rd_kafka_DeleteTopics(handle.pointer, &topics, 1, options, queue)
            } topics: { event, count in
                rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), count)
            }
        }
    }

    /// Adds partitions to a topic, and returns when each has a leader. Keys then go to other partitions than before.
    /// - Parameter total: how many the topic has afterwards.
    public func createPartitions(_ name: String, total: Int, timeout: Duration) async throws(KafkaError) {
        let operation = "add partitions to \(name)"
        let deadline = ContinuousClock.now + timeout
        try await run { handle throws(KafkaError) in
            let (request, reason) = withErrorBuffer { rd_kafka_NewPartitions_new(name, max(total, 0), $0, $1) }
            guard let request else { throw KafkaError(.invalidArgument, operation, message: reason) }
            defer { rd_kafka_NewPartitions_destroy(request) }
            try handle.request(RD_KAFKA_ADMIN_OP_CREATEPARTITIONS, timeout, operation) { options, queue in
                var requests: [OpaquePointer?] = [request]
                rd_kafka_CreatePartitions(handle.pointer, &requests, 1, options, queue)
            } topics: { event, count in
                rd_kafka_CreatePartitions_result_topics(rd_kafka_event_CreatePartitions_result(event), count)
            }
            try handle.waitForLeaders(of: name, partitions: total, until: deadline, operation)
        }
    }

    /// How many partitions a topic has.
    /// - Throws: `.unknownTopicOrPartition` if it does not exist. A broker may be set to create it at being asked.
    public func partitionCount(_ name: String, timeout: Duration) async throws(KafkaError) -> Int {
        try await run { handle throws(KafkaError) in
            try handle.describe(name, timeout: timeout) { Int($0.partition_cnt) }
        }
    }

    /// Whether this client may write to a topic that exists. Nothing is sent to it, and no topic is created.
    /// - Returns: nil if that cannot be learned: by librdkafka before 2.3, or of a cluster that does not say.
    public func mayWrite(to topic: String, timeout: Duration) async -> Bool? {
        let handle = self.handle
        return await onOwnThread("kafka-admin") {
            defer { rd_kafka_poll(handle.pointer, 0) }
            let answer = vigie_may_write(handle.pointer, topic, timeout.wholeMilliseconds)
            return answer < 0 ? nil : answer == 1
        }
    }

    /// How many brokers the cluster says it has; the cheapest proof that it can be reached.
    public func brokerCount(timeout: Duration) async throws(KafkaError) -> Int {
        try await run { handle throws(KafkaError) in
            var metadata: UnsafePointer<rd_kafka_metadata_t>?
            try check(
                rd_kafka_metadata(handle.pointer, 0, nil, &metadata, timeout.wholeMilliseconds), "describe the cluster")
            defer { rd_kafka_metadata_destroy(metadata) }
            return Int(metadata?.pointee.broker_cnt ?? 0)
        }
    }

    /// What the cluster says of itself: its brokers, and the topics that this client may see. No topic is created by
    /// being asked for.
    /// - Parameters:
    ///   - timeout: how long to wait.
    ///   - isHopeless: asked from time to time, after the observer was told what there is: whether to wait no longer.
    public func cluster(
        timeout: Duration, unless isHopeless: @escaping @Sendable () -> Bool = { false }
    ) async throws(KafkaError) -> KafkaCluster {
        try await run { handle throws(KafkaError) in
            let deadline = ContinuousClock.now + timeout
            // Longer each time: what there is to hope for is known soon, and a slow broker has time to answer.
            var patience = Duration.milliseconds(100)
            while true {
                let remaining = max(.zero, ContinuousClock.now.duration(to: deadline))
                let isLast = remaining <= patience * 2
                do throws(KafkaError) {
                    return try handle.cluster(timeout: isLast ? remaining : patience)
                } catch {
                    rd_kafka_poll(handle.pointer, 0)
                    let isSilence = error.code == .timedOut || error.code == .transport
                    guard isSilence, !isLast, !isHopeless() else { throw error }
                }
                patience *= 2
            }
        }
    }

    /// Which offsets a partition has.
    public func watermarks(_ partition: TopicPartition, timeout: Duration) async throws(KafkaError) -> KafkaWatermarks {
        try await run { handle throws(KafkaError) in try handle.watermarks(partition, timeout: timeout) }
    }

    func run<Success: Sendable>(
        _ body: @escaping @Sendable (KafkaHandle) throws(KafkaError) -> Success
    ) async throws(KafkaError) -> Success {
        let handle = self.handle
        return try await onOwnThread("kafka-admin") { () throws(KafkaError) in
            // Errors wait in the main queue until somebody serves them.
            defer { rd_kafka_poll(handle.pointer, 0) }
            return try body(handle)
        }
    }
}

/// What a cluster says of itself.
public struct KafkaCluster: Sendable, Equatable {
    /// A broker, by the address that it tells its clients to use.
    public struct Broker: Sendable, Equatable {
        /// Its number in the cluster.
        public var id: Int32
        /// Its host.
        public var host: String
        /// Its port.
        public var port: Int

        /// Makes one.
        public init(id: Int32, host: String, port: Int) {
            self.id = id
            self.host = host
            self.port = port
        }
    }

    /// All brokers.
    public var brokers: [Broker]
    /// How many partitions each topic has that the client may see.
    public var partitions: [String: Int]

    /// Makes one.
    public init(brokers: [Broker], partitions: [String: Int]) {
        self.brokers = brokers
        self.partitions = partitions
    }
}

extension KafkaHandle {
    /// Asks the cluster for its brokers and topics.
    fileprivate func cluster(timeout: Duration) throws(KafkaError) -> KafkaCluster {
        var metadata: UnsafePointer<rd_kafka_metadata_t>?
        try check(rd_kafka_metadata(pointer, 1, nil, &metadata, timeout.wholeMilliseconds), "describe the cluster")
        guard let metadata else { throw KafkaError(.timedOut, "describe the cluster") }
        defer { rd_kafka_metadata_destroy(metadata) }
        let native = metadata.pointee
        return KafkaCluster(
            brokers: (0..<Int(native.broker_cnt)).map { index in
                let broker = native.brokers[index]
                return KafkaCluster.Broker(id: broker.id, host: String(cString: broker.host), port: Int(broker.port))
            },
            partitions: Dictionary(
                (0..<Int(native.topic_cnt)).map { index in
                    let topic = native.topics[index]
                    return (String(cString: topic.topic), Int(topic.partition_cnt))
                }, uniquingKeysWith: { first, _ in first }))
    }

    /// Asks the broker which offsets a partition has.
    func watermarks(_ partition: TopicPartition, timeout: Duration) throws(KafkaError) -> KafkaWatermarks {
        var result = KafkaWatermarks(low: 0, high: 0)
        try check(
            rd_kafka_query_watermark_offsets(
                pointer, partition.topic, partition.partition, &result.low, &result.high, timeout.wholeMilliseconds),
            "read the offsets of \(partition)")
        return result
    }

    /// Hands out what the cluster says of a topic.
    /// - Throws: the cluster's error for the topic, `.unknownTopicOrPartition` if it does not exist.
    func describe<Success>(
        _ name: String, timeout: Duration, _ body: (rd_kafka_metadata_topic_t) -> Success
    ) throws(KafkaError) -> Success {
        let operation = "describe topic \(name)"
        let topic = try KafkaTopic(name, handle: self)
        var metadata: UnsafePointer<rd_kafka_metadata_t>?
        try check(rd_kafka_metadata(pointer, 0, topic.pointer, &metadata, timeout.wholeMilliseconds), operation)
        guard let metadata else { throw KafkaError(.unknownTopic, operation) }
        defer { rd_kafka_metadata_destroy(metadata) }
        guard metadata.pointee.topic_cnt > 0, let described = metadata.pointee.topics?.pointee else {
            throw KafkaError(.unknownTopic, operation)
        }
        try check(described.err, operation)
        return body(described)
    }

    /// Waits until the cluster says that a topic has its partitions and that each of them has a leader. A controller
    /// answers before the brokers know what it decided.
    fileprivate func waitForLeaders(
        of name: String, partitions: Int, until deadline: ContinuousClock.Instant, _ operation: String
    ) throws(KafkaError) {
        while true {
            let remaining = max(ContinuousClock.now.duration(to: deadline), .milliseconds(1))
            do throws(KafkaError) {
                let leaders = try describe(name, timeout: remaining) { topic in
                    (0..<Int(topic.partition_cnt)).count { (topic.partitions?[$0].leader ?? -1) >= 0 }
                }
                if leaders >= partitions { return }
            } catch {
                let isEarly =
                    error.code == .unknownTopicOrPartition
                    || error.code == KafkaError.Code(RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE)
                guard isEarly else { throw error }
            }
            guard ContinuousClock.now < deadline else {
                throw KafkaError(.timedOut, operation, message: "it is made, but not every partition has a leader")
            }
            usleep(20_000)
        }
    }

    /// Makes an admin request, waits for its result and throws its first error.
    fileprivate func request(
        _ kind: rd_kafka_admin_op_t, _ timeout: Duration, _ operation: String,
        _ send: (_ options: OpaquePointer?, _ queue: OpaquePointer?) -> Void,
        topics: (_ event: OpaquePointer, _ count: UnsafeMutablePointer<Int>)
            -> UnsafeMutablePointer<OpaquePointer?>?
    ) throws(KafkaError) {
        let options = rd_kafka_AdminOptions_new(pointer, kind)
        defer { rd_kafka_AdminOptions_destroy(options) }
        // Both how long to wait for the broker, and how long the broker waits for its followers.
        for set in [rd_kafka_AdminOptions_set_request_timeout, rd_kafka_AdminOptions_set_operation_timeout] {
            let (code, reason) = withErrorBuffer { set(options, timeout.wholeMilliseconds, $0, $1) }
            if code != RD_KAFKA_RESP_ERR_NO_ERROR { throw KafkaError(code, operation, message: reason) }
        }
        // A cluster whose broker was away for a moment names no controller at first, and librdkafka then waits for one
        // without asking again.
        let deadline = ContinuousClock.now + timeout
        while rd_kafka_controllerid(pointer, 500) < 0, ContinuousClock.now < deadline {}
        let queue = rd_kafka_queue_new(pointer)
        defer { rd_kafka_queue_destroy(queue) }
        send(options, queue)
        // librdkafka always answers, with a time-out error at the latest.
        guard let event = rd_kafka_queue_poll(queue, -1) else { throw KafkaError(.timedOut, operation) }
        defer { rd_kafka_event_destroy(event) }
        let code = rd_kafka_event_error(event)
        if code != RD_KAFKA_RESP_ERR_NO_ERROR {
            throw KafkaError(code, operation, message: String(cString: rd_kafka_event_error_string(event)))
        }
        var count = 0
        let results = topics(event, &count)
        for index in 0..<count {
            guard let result = results?[index] else { continue }
            let code = rd_kafka_topic_result_error(result)
            if code != RD_KAFKA_RESP_ERR_NO_ERROR {
                let text = rd_kafka_topic_result_error_string(result).map { String(cString: $0) }
                throw KafkaError(code, operation, message: text)
            }
        }
    }
}
