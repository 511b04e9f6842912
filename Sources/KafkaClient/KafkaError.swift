import CRdkafka
import NetworkProbe

/// A failure that librdkafka or the broker reported.
public struct KafkaError: Error, Equatable, Sendable {
    /// librdkafka's number of an error: negative for its own, the protocol's number for the broker's.
    public struct Code: RawRepresentable, Hashable, Sendable {
        /// The value of `rd_kafka_resp_err_t`.
        public var rawValue: Int32

        /// Makes a code from `rd_kafka_resp_err_t`.
        public init(rawValue: Int32) {
            self.rawValue = rawValue
        }

        init(_ code: rd_kafka_resp_err_t) {
            rawValue = code.rawValue
        }

        var native: rd_kafka_resp_err_t { rd_kafka_resp_err_t(rawValue) }

        /// The producer's own queue is full: wait for delivery reports, then send again.
        public static let queueFull = Code(RD_KAFKA_RESP_ERR__QUEUE_FULL)
        /// The message was not acknowledged within `message.timeout.ms`.
        public static let messageTimedOut = Code(RD_KAFKA_RESP_ERR__MSG_TIMED_OUT)
        /// The call took longer than its time-out.
        public static let timedOut = Code(RD_KAFKA_RESP_ERR__TIMED_OUT)
        /// The broker answered too late.
        public static let requestTimedOut = Code(RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT)
        /// The connection to a broker failed.
        public static let transport = Code(RD_KAFKA_RESP_ERR__TRANSPORT)
        /// No broker can be reached.
        public static let allBrokersDown = Code(RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
        /// A broker's host name cannot be resolved.
        public static let resolve = Code(RD_KAFKA_RESP_ERR__RESOLVE)
        /// The broker refused the user name, password or certificate.
        public static let authentication = Code(RD_KAFKA_RESP_ERR__AUTHENTICATION)
        /// The TLS handshake or its files failed.
        public static let tls = Code(RD_KAFKA_RESP_ERR__SSL)
        /// The message is larger than the client or the topic allows.
        public static let messageTooLarge = Code(RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
        /// The topic is not there, as the client's own metadata has it.
        public static let unknownTopic = Code(RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC)
        /// The partition is not there, as the client's own metadata has it.
        public static let unknownPartition = Code(RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION)
        /// The topic or partition is not there, as the broker has it.
        public static let unknownTopicOrPartition = Code(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        /// The topic exists already.
        public static let topicAlreadyExists = Code(RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
        /// The user may not use this topic.
        public static let topicAuthorizationFailed = Code(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        /// The broker holds no message at the offset that was asked for.
        public static let offsetOutOfRange = Code(RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE)
        /// The start offset cannot be had and `auto.offset.reset` is `error`.
        public static let automaticOffsetReset = Code(RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET)
        /// The end of the partition was reached (`enable.partition.eof`).
        public static let partitionEnd = Code(RD_KAFKA_RESP_ERR__PARTITION_EOF)
        /// The handle's fatal error; see `KafkaProducer.fatalError`.
        public static let fatal = Code(RD_KAFKA_RESP_ERR__FATAL)
        /// The message was dropped by a purge before it was sent.
        public static let purgedFromQueue = Code(RD_KAFKA_RESP_ERR__PURGE_QUEUE)
        /// The message was dropped by a purge after it was sent: the broker may have it.
        public static let purgedInFlight = Code(RD_KAFKA_RESP_ERR__PURGE_INFLIGHT)
        /// The group has given the member's name (`group.instance.id`) to another one, or remembers an older one.
        public static let fencedInstance = Code(RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID)
        /// A member of this name is still in the group, by the group protocol `consumer`. librdkafka knows it from 2.4 on.
        public static let unreleasedInstance = Code(rawValue: 111)
        /// The consumer was away from its group for longer than `max.poll.interval.ms`.
        public static let maximumPollIntervalExceeded = Code(RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED)
        /// The call does not fit the handle's state.
        public static let state = Code(RD_KAFKA_RESP_ERR__STATE)
        /// An argument or a property is not valid.
        public static let invalidArgument = Code(RD_KAFKA_RESP_ERR__INVALID_ARG)
    }

    /// Which error.
    public var code: Code
    /// What was attempted, such as `send to sensor.readings`.
    public var operation: String
    /// The operation of an error that the client met by itself, in the background.
    static let noOperation = "client"
    /// librdkafka's text, or the broker's.
    public var message: String
    /// The handle cannot be used any more: make a new one.
    public var isFatal: Bool
    /// The same call may succeed later with nothing changed but time.
    public var isRetriable: Bool
    /// Why the broker's certificate was not believed, if that is the error and it is known.
    public var certificateProblem: CertificateProblem?

    /// librdkafka's name of the code, such as `_QUEUE_FULL`.
    public var name: String { String(cString: rd_kafka_err2name(code.native)) }

    /// Makes the error for a code.
    /// - Parameters:
    ///   - code: which error.
    ///   - operation: what was attempted.
    ///   - message: more than librdkafka's own text for the code, if known.
    ///   - isFatal: whether the handle is lost.
    public init(_ code: Code, _ operation: String, message: String? = nil, isFatal: Bool = false) {
        self.code = code
        self.operation = operation
        self.message = message ?? String(cString: rd_kafka_err2str(code.native))
        self.isFatal = isFatal || code == .fatal
        isRetriable = !self.isFatal && retriableCodes.contains(code)
    }

    init(_ code: rd_kafka_resp_err_t, _ operation: String, message: String? = nil, isFatal: Bool = false) {
        self.init(Code(code), operation, message: message, isFatal: isFatal)
    }

    /// Takes over an error object and frees it.
    init(consuming error: OpaquePointer, _ operation: String) {
        self.init(
            rd_kafka_error_code(error), operation, message: String(cString: rd_kafka_error_string(error)),
            isFatal: rd_kafka_error_is_fatal(error) != 0)
        isRetriable = isRetriable || (!isFatal && rd_kafka_error_is_retriable(error) != 0)
        rd_kafka_error_destroy(error)
    }
}

extension KafkaError {
    /// Why a certificate is not believed.
    public typealias CertificateProblem = NetworkProbe.CertificateProblem
}

extension KafkaError: CustomStringConvertible {
    /// One line for a person.
    public var description: String {
        "Kafka, \(operation): \(message) (\(name)\(isFatal ? ", fatal" : ""))"
    }
}

/// Throws what an error object says, and frees it; nil is success.
func check(_ error: OpaquePointer?, _ operation: @autoclosure () -> String) throws(KafkaError) {
    if let error { throw KafkaError(consuming: error, operation()) }
}

/// Throws unless `code` is "no error".
func check(_ code: rd_kafka_resp_err_t, _ operation: @autoclosure () -> String) throws(KafkaError) {
    if code != RD_KAFKA_RESP_ERR_NO_ERROR { throw KafkaError(code, operation()) }
}

/// Errors that time alone may cure: the protocol's retriable ones (Kafka protocol guide, "Error codes") and
/// librdkafka's own about connections, time-outs and full or purged queues.
private let retriableCodes: Set<KafkaError.Code> = Set(
    [
        RD_KAFKA_RESP_ERR__TRANSPORT, RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, RD_KAFKA_RESP_ERR__RESOLVE,
        RD_KAFKA_RESP_ERR__TIMED_OUT, RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE, RD_KAFKA_RESP_ERR__MSG_TIMED_OUT,
        RD_KAFKA_RESP_ERR__QUEUE_FULL, RD_KAFKA_RESP_ERR__WAIT_COORD, RD_KAFKA_RESP_ERR__WAIT_CACHE,
        RD_KAFKA_RESP_ERR__IN_PROGRESS, RD_KAFKA_RESP_ERR__PREV_IN_PROGRESS, RD_KAFKA_RESP_ERR__RETRY,
        RD_KAFKA_RESP_ERR__PURGE_QUEUE, RD_KAFKA_RESP_ERR__PURGE_INFLIGHT,
        RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION,
        RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, RD_KAFKA_RESP_ERR_INVALID_MSG,
        RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE,
        RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION,
        RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
        RD_KAFKA_RESP_ERR_NOT_COORDINATOR, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND, RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS,
        RD_KAFKA_RESP_ERR_NOT_CONTROLLER, RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
        RD_KAFKA_RESP_ERR_LISTENER_NOT_FOUND, RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH,
        RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH, RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE,
        RD_KAFKA_RESP_ERR_PREFERRED_LEADER_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT,
        RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED,
    ].map { KafkaError.Code($0) })
