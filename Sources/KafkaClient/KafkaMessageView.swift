import CRdkafka

/// One received message where librdkafka holds it: nothing is copied. Valid only inside the closure that was given it.
public struct KafkaMessageView {
    let pointer: UnsafeMutablePointer<rd_kafka_message_t>

    /// The topic's name; makes a string each time.
    public var topic: String { String(cString: rd_kafka_topic_name(pointer.pointee.rkt)) }

    /// The partition it came from.
    @inline(__always)
    public var partition: Int32 { pointer.pointee.partition }

    /// Its offset in the partition.
    public var offset: Int64 { pointer.pointee.offset }

    /// The topic and partition; makes a string each time.
    public var topicPartition: TopicPartition { TopicPartition(topic, partition) }

    /// The key; a null base address if it has none.
    public var key: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: pointer.pointee.key, count: pointer.pointee.key_len)
    }

    /// The value; a null base address if it is null.
    public var value: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: pointer.pointee.payload, count: pointer.pointee.len)
    }

    /// The key, copied; nil if it is null.
    public var keyBytes: [UInt8]? { key.baseAddress == nil ? nil : Array(key) }

    /// The value, copied; nil if it is null.
    public var valueBytes: [UInt8]? { value.baseAddress == nil ? nil : Array(value) }

    /// Milliseconds since the Unix epoch, by the producer's clock or the broker's; nil if the message has no time.
    public var timestamp: Int64? {
        var kind = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE
        let milliseconds = rd_kafka_message_timestamp(pointer, &kind)
        return kind == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE ? nil : milliseconds
    }

    /// The headers in order, copied.
    public var headers: [KafkaHeader] {
        var list: OpaquePointer?
        guard rd_kafka_message_headers(pointer, &list) == RD_KAFKA_RESP_ERR_NO_ERROR, let list else { return [] }
        var headers: [KafkaHeader] = []
        var name: UnsafePointer<CChar>?
        var value: UnsafeRawPointer?
        var size = 0
        while rd_kafka_header_get_all(list, headers.count, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR,
            let name
        {
            headers.append(
                KafkaHeader(
                    name: String(cString: name), value: Array(UnsafeRawBufferPointer(start: value, count: size)),
                    isNull: value == nil))
        }
        return headers
    }
}
