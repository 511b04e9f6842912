import CRdkafka

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

    private let handle: KafkaHandle
    private nonisolated(unsafe) let pointer: OpaquePointer

    /// Starts the cluster.
    /// - Parameter brokers: how many brokers; they are numbered from 1.
    public init(brokers: Int32 = 1) throws {
        handle = try KafkaHandle(
            RD_KAFKA_PRODUCER, KafkaConfiguration(bootstrapServers: ""), defaults: [], observer: KafkaObserver()
        ) { _ in }
        guard let pointer = rd_kafka_mock_cluster_new(handle.pointer, brokers) else {
            throw KafkaError(.state, "start a mock cluster")
        }
        self.pointer = pointer
    }

    deinit {
        rd_kafka_mock_cluster_destroy(pointer)
    }

    /// `host:port` of every broker.
    public var bootstrapServers: String { String(cString: rd_kafka_mock_cluster_bootstraps(pointer)) }

    /// Creates a topic; otherwise one with four partitions is made at its first use.
    public func createTopic(_ name: String, partitions: Int32, replication: Int32 = 1) throws(KafkaError) {
        try check(rd_kafka_mock_topic_create(pointer, name, partitions, replication), "create topic \(name)")
    }

    /// Makes the next requests of a kind fail, one with each of the errors; `.transport` closes the connection.
    public func pushRequestErrors(_ request: Request, _ errors: [KafkaError.Code]) {
        let codes = errors.map(\.native)
        rd_kafka_mock_push_request_errors_array(pointer, request.rawValue, codes.count, codes)
    }

    /// Closes a broker's connections and refuses new ones. librdkafka binds its port anew, and aborts if it cannot: no child
    /// process may be started meanwhile, as it has the old listener until it executes its program.
    public func brokerDown(_ broker: Int32 = 1) throws(KafkaError) {
        try check(rd_kafka_mock_broker_set_down(pointer, broker), "take broker \(broker) down")
    }

    /// Accepts connections again.
    public func brokerUp(_ broker: Int32 = 1) throws(KafkaError) {
        try check(rd_kafka_mock_broker_set_up(pointer, broker), "bring broker \(broker) up")
    }
}
