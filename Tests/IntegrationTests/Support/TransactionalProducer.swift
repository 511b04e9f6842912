import CRdkafka
import KafkaClient
import Testing

/// A producer that writes in transactions, as no program of Vigie does but others may on the same topic.
final class TransactionalProducer {
    private let handle: OpaquePointer
    private let topic: OpaquePointer
    private let timeout: Int32 = 60_000

    init(bootstrap: String, topic: String, name: String) throws {
        let configuration = rd_kafka_conf_new()
        for (property, value) in [("bootstrap.servers", bootstrap), ("transactional.id", name)] {
            try #require(rd_kafka_conf_set(configuration, property, value, nil, 0) == RD_KAFKA_CONF_OK)
        }
        // The producer owns the configuration now, and the topic's default one.
        handle = try #require(rd_kafka_new(RD_KAFKA_PRODUCER, configuration, nil, 0))
        self.topic = try #require(rd_kafka_topic_new(handle, topic, nil))
        try check(rd_kafka_init_transactions(handle, timeout))
    }

    deinit {
        rd_kafka_topic_destroy(topic)
        rd_kafka_destroy(handle)
    }

    /// Begins a transaction and writes messages that the broker has when this returns; nobody may read them yet.
    func begin(_ messages: [[UInt8]], partition: Int32 = 0) throws {
        try check(rd_kafka_begin_transaction(handle))
        for var message in messages {
            // librdkafka copies the message.
            let code = rd_kafka_produce(topic, partition, RD_KAFKA_MSG_F_COPY, &message, message.count, "g", 1, nil)
            try #require(code == 0)
        }
        try #require(rd_kafka_flush(handle, timeout) == RD_KAFKA_RESP_ERR_NO_ERROR)
    }

    /// Ends the transaction: its messages may be read.
    func commit() throws { try check(rd_kafka_commit_transaction(handle, timeout)) }

    /// Ends the transaction: nobody will ever read its messages.
    func abort() throws { try check(rd_kafka_abort_transaction(handle, timeout)) }

    private func check(_ error: OpaquePointer?) throws {
        guard let error else { return }
        defer { rd_kafka_error_destroy(error) }
        Issue.record("\(String(cString: rd_kafka_error_string(error)))")
        throw KafkaError(.state, "transaction", message: String(cString: rd_kafka_error_string(error)))
    }
}
