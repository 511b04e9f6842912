import CRdkafka
import KafkaClient
import Platform

/// librdkafka's own imitation of a cluster, for tests: it listens on loopback ports of this process, keeps everything in
/// memory (a few megabytes a partition), and fails when told to. It answers no admin request.
public final class KafkaMockCluster: Sendable {
    /// The requests that can be made to fail (Kafka protocol guide, "API keys").
    public enum Request: Int16, Sendable {
        /// Messages from a producer.
        case produce = 0
        /// Messages to a consumer.
        case fetch = 1
        /// First and last offsets.
        case listOffsets = 2
        /// Brokers, topics and partitions.
        case metadata = 3
        /// A group's offsets, written.
        case offsetCommit = 8
        /// A group's offsets, read.
        case offsetFetch = 9
        /// Which broker coordinates a group.
        case findCoordinator = 10
        /// A consumer that joins a group.
        case joinGroup = 11
        /// A consumer that is alive.
        case heartbeat = 12
        /// A consumer that learns its partitions.
        case syncGroup = 14
        /// An idempotent producer's number.
        case initializeProducer = 22
    }

    private nonisolated(unsafe) let handle: OpaquePointer
    private nonisolated(unsafe) let pointer: OpaquePointer

    /// Starts the cluster.
    /// - Parameter brokers: how many brokers; they are numbered from 1.
    public init(brokers: Int32 = 1) throws {
        let configuration = rd_kafka_conf_new()
        rd_kafka_conf_set_log_cb(configuration) { _, _, _, _ in }
        guard let handle = rd_kafka_new(RD_KAFKA_PRODUCER, configuration, nil, 0) else {
            rd_kafka_conf_destroy(configuration)
            throw KafkaError(.state, "make a client for a mock cluster")
        }
        guard let pointer = rd_kafka_mock_cluster_new(handle, brokers) else {
            rd_kafka_destroy(handle)
            throw KafkaError(.state, "start a mock cluster")
        }
        self.handle = handle
        self.pointer = pointer
    }

    deinit {
        rd_kafka_mock_cluster_destroy(pointer)
        // It waits for librdkafka's threads.
        let address = UInt(bitPattern: handle)
        startThread(name: "mock-destroy") { rd_kafka_destroy(OpaquePointer(bitPattern: address)) }
    }

    /// `host:port` of every broker.
    public var bootstrapServers: String { String(cString: rd_kafka_mock_cluster_bootstraps(pointer)) }

    /// Creates a topic; otherwise one with four partitions is made at its first use.
    public func createTopic(_ name: String, partitions: Int32, replication: Int32 = 1) throws(KafkaError) {
        try require(rd_kafka_mock_topic_create(pointer, name, partitions, replication), "create topic \(name)")
    }

    /// Makes a broker the leader of a partition. The one before answers from then on that it is not.
    public func setLeader(_ broker: Int32, of partition: TopicPartition) throws(KafkaError) {
        try require(
            rd_kafka_mock_partition_set_leader(pointer, partition.topic, partition.partition, broker),
            "make broker \(broker) the leader of \(partition)")
    }

    /// Makes the next requests of a kind fail, one with each of the errors; `.transport` closes the connection.
    public func pushRequestErrors(_ request: Request, _ errors: [KafkaError.Code]) {
        let codes = errors.map { rd_kafka_resp_err_t($0.rawValue) }
        rd_kafka_mock_push_request_errors_array(pointer, request.rawValue, codes.count, codes)
    }

    /// Closes a broker's connections and refuses new ones. librdkafka binds its port anew, and aborts if it cannot: no child
    /// process may be started meanwhile, as it has the old listener until it executes its program.
    public func brokerDown(_ broker: Int32 = 1) throws(KafkaError) {
        try require(rd_kafka_mock_broker_set_down(pointer, broker), "take broker \(broker) down")
    }

    /// Accepts connections again.
    public func brokerUp(_ broker: Int32 = 1) throws(KafkaError) {
        try require(rd_kafka_mock_broker_set_up(pointer, broker), "bring broker \(broker) up")
    }
}

/// Throws unless `code` is "no error".
private func require(_ code: rd_kafka_resp_err_t, _ operation: String) throws(KafkaError) {
    if code != RD_KAFKA_RESP_ERR_NO_ERROR { throw KafkaError(KafkaError.Code(rawValue: code.rawValue), operation) }
}
