import CRdkafka

/// A partition of a topic.
public struct TopicPartition: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// The topic's name.
    public var topic: String
    /// The partition's number, from 0.
    public var partition: Int32

    /// Makes it.
    public init(_ topic: String, _ partition: Int32) {
        self.topic = topic
        self.partition = partition
    }

    /// By topic, then by number.
    public static func < (left: TopicPartition, right: TopicPartition) -> Bool {
        (left.topic, left.partition) < (right.topic, right.partition)
    }

    /// Such as `sensor.readings[3]`.
    public var description: String { "\(topic)[\(partition)]" }
}

/// Where in a partition to start.
public enum KafkaOffset: Hashable, Sendable {
    /// The oldest message that the broker still has.
    case earliest
    /// The next message that is written.
    case latest
    /// The message with this offset.
    case at(Int64)

    var native: Int64 {
        switch self {
        case .earliest: Int64(RD_KAFKA_OFFSET_BEGINNING)
        case .latest: Int64(RD_KAFKA_OFFSET_END)
        case .at(let offset): offset
        }
    }
}

/// The offsets that a partition has.
public struct KafkaWatermarks: Hashable, Sendable {
    /// The oldest message's offset.
    public var low: Int64
    /// The offset that the next message will get.
    public var high: Int64

    /// Makes the pair.
    public init(low: Int64, high: Int64) {
        self.low = low
        self.high = high
    }
}

typealias NativePartitionList = UnsafeMutablePointer<rd_kafka_topic_partition_list_t>

/// Calls `body` with librdkafka's list of the partitions, each with its offset.
func withNativeList<Result, Failure: Error>(
    _ partitions: some Collection<(TopicPartition, Int64)>,
    _ body: (NativePartitionList) throws(Failure) -> Result
) throws(Failure) -> Result {
    // librdkafka aborts by itself when there is no memory; the list is never null.
    guard let list = rd_kafka_topic_partition_list_new(Int32(clamping: partitions.count)) else {
        preconditionFailure("rd_kafka_topic_partition_list_new returned no list")
    }
    defer { rd_kafka_topic_partition_list_destroy(list) }
    for (partition, offset) in partitions {
        rd_kafka_topic_partition_list_add(list, partition.topic, partition.partition).pointee.offset = offset
    }
    return try body(list)
}

extension NativePartitionList {
    /// The elements of the list.
    var elements: UnsafeMutableBufferPointer<rd_kafka_topic_partition_t> {
        UnsafeMutableBufferPointer(start: pointee.elems, count: Int(pointee.cnt))
    }

    /// Which partitions it lists.
    var partitions: [TopicPartition] { elements.map(\.topicPartition) }

    /// Throws the first element's error, if one has an error.
    func checkElements(_ operation: String) throws(KafkaError) {
        for element in elements where element.err != RD_KAFKA_RESP_ERR_NO_ERROR {
            throw KafkaError(element.err, "\(operation) \(element.topicPartition)")
        }
    }
}

extension rd_kafka_topic_partition_t {
    var topicPartition: TopicPartition { TopicPartition(String(cString: topic), partition) }
}
