import CRdkafka
import KafkaClient
import Testing

extension Site {
    /// Deletes all messages that are on the topic now, as `kafka-delete-records` does and as retention does.
    func deleteRecords() async throws {
        let ends = try await KafkaAdmin(configuration: kafka).watermarks(ofTopic: topic, timeout: .seconds(30))
        let configuration = rd_kafka_conf_new()
        try #require(
            rd_kafka_conf_set(configuration, "bootstrap.servers", kafka.bootstrapServers, nil, 0) == RD_KAFKA_CONF_OK)
        let handle = try #require(rd_kafka_new(RD_KAFKA_PRODUCER, configuration, nil, 0))
        defer { rd_kafka_destroy(handle) }
        let list = try #require(rd_kafka_topic_partition_list_new(Int32(ends.count)))
        defer { rd_kafka_topic_partition_list_destroy(list) }
        for (partition, marks) in ends {
            try #require(rd_kafka_topic_partition_list_add(list, topic, partition)).pointee.offset = marks.high
        }
        let queue = rd_kafka_queue_new(handle)
        defer { rd_kafka_queue_destroy(queue) }
        var request = rd_kafka_DeleteRecords_new(list)
        defer { rd_kafka_DeleteRecords_destroy(request) }
        rd_kafka_DeleteRecords(handle, &request, 1, nil, queue)
        let event = try #require(rd_kafka_queue_poll(queue, 30_000))
        defer { rd_kafka_event_destroy(event) }
        try #require(rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR_NO_ERROR)
        let marks = try await KafkaAdmin(configuration: kafka).watermarks(ofTopic: topic, timeout: .seconds(30))
        #expect(marks.allSatisfy { $0.value.low == ends[$0.key]?.high })
    }

    /// Deletes the topic and makes it anew.
    /// - Parameter partitions: how many it has then; as many as at first by default.
    func makeTopicAnew(partitions: Int32? = nil) async throws {
        let admin = try KafkaAdmin(configuration: kafka)
        try await admin.deleteTopic(topic, timeout: .seconds(120))
        try await admin.createTopic(
            topic, partitions: partitions ?? topics.partitions, replication: topics.replication,
            configuration: topics.properties, timeout: .seconds(120))
    }
}
