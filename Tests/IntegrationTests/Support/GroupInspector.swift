import CRdkafka
import KafkaClient
import Testing

/// What Kafka's own tools see of a consumer group, and do to it.
final class GroupInspector {
    private let handle: OpaquePointer
    private let group: String
    private let timeout: Int32 = 30_000

    init(bootstrap: String, group: String) throws {
        let configuration = rd_kafka_conf_new()
        for (property, value) in [("bootstrap.servers", bootstrap), ("group.id", group)] {
            try #require(rd_kafka_conf_set(configuration, property, value, nil, 0) == RD_KAFKA_CONF_OK)
        }
        handle = try #require(rd_kafka_new(RD_KAFKA_CONSUMER, configuration, nil, 0))
        self.group = group
    }

    deinit {
        rd_kafka_destroy(handle)
    }

    /// The offsets that the group has committed.
    func offsets(of topic: String, partitions: Int32) throws -> [Int32: Int64] {
        let list = try #require(rd_kafka_topic_partition_list_new(partitions))
        defer { rd_kafka_topic_partition_list_destroy(list) }
        for partition in 0..<partitions { rd_kafka_topic_partition_list_add(list, topic, partition) }
        try check(rd_kafka_committed(handle, list, timeout))
        let elements = UnsafeBufferPointer(start: list.pointee.elems, count: Int(list.pointee.cnt))
        return Dictionary(uniqueKeysWithValues: elements.filter { $0.offset >= 0 }.map { ($0.partition, $0.offset) })
    }

    /// Sets the offsets of a group that has no member, as `kafka-consumer-groups --reset-offsets` does.
    func set(_ topic: String, _ offsets: [Int32: Int64]) throws {
        let list = try #require(rd_kafka_topic_partition_list_new(Int32(offsets.count)))
        defer { rd_kafka_topic_partition_list_destroy(list) }
        for (partition, offset) in offsets {
            try #require(rd_kafka_topic_partition_list_add(list, topic, partition)).pointee.offset = offset
        }
        try check(rd_kafka_commit(handle, list, 0))
        #expect(try self.offsets(of: topic, partitions: Int32(offsets.count)) == offsets)
    }

    /// Whether nobody is in the group: the only member keeps its place after a stop, for as long as its session.
    func isEmpty() throws -> Bool {
        var list: UnsafePointer<rd_kafka_group_list>?
        try check(rd_kafka_list_groups(handle, group, &list, timeout))
        defer { rd_kafka_group_list_destroy(list) }
        guard let list else { return true }
        let groups = UnsafeBufferPointer(start: list.pointee.groups, count: Int(list.pointee.group_cnt))
        return groups.allSatisfy { $0.member_cnt == 0 }
    }

    /// Deletes the group, which has no member.
    func delete() throws {
        let queue = rd_kafka_queue_new(handle)
        defer { rd_kafka_queue_destroy(queue) }
        var request = rd_kafka_DeleteGroup_new(group)
        defer { rd_kafka_DeleteGroup_destroy(request) }
        rd_kafka_DeleteGroups(handle, &request, 1, nil, queue)
        let event = try #require(rd_kafka_queue_poll(queue, timeout))
        defer { rd_kafka_event_destroy(event) }
        try check(rd_kafka_event_error(event))
        var count = 0
        let results = rd_kafka_DeleteGroups_result_groups(rd_kafka_event_DeleteGroups_result(event), &count)
        for index in 0..<count {
            if let error = rd_kafka_group_result_error(results?[index]) {
                throw KafkaError(.state, "delete the group", message: String(cString: rd_kafka_error_string(error)))
            }
        }
    }

    private func check(_ code: rd_kafka_resp_err_t) throws {
        if code != RD_KAFKA_RESP_ERR_NO_ERROR {
            throw KafkaError(.state, "group \(group)", message: String(cString: rd_kafka_err2str(code)))
        }
    }
}
