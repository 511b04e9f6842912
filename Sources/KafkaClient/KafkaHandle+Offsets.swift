import CRdkafka

extension KafkaHandle {
    /// Asks the brokers for an offset of each partition, with a request for each broker.
    /// - Parameters:
    ///   - offset: `.earliest` for the first offset that there is, `.latest` for the one after the last that may be read;
    ///     with `isolation.level` `read_committed`, librdkafka's default, that is the first of the oldest open transaction.
    ///   - timeout: about how long to wait.
    /// - Returns: the partitions that have an answer; one without a leader has none.
    /// - Throws: why there is no answer at all.
    func offsets(
        _ partitions: [TopicPartition], at offset: KafkaOffset, timeout: Duration
    ) throws(KafkaError) -> [TopicPartition: Int64] {
        if partitions.isEmpty { return [:] }
        do throws(KafkaError) {
            return try withNativeList(partitions.map { ($0, offset.native) }) { list throws(KafkaError) in
                // The request takes the logical offsets in place of times (Kafka protocol guide, ListOffsets).
                try check(rd_kafka_offsets_for_times(pointer, list, timeout.wholeMilliseconds), "ask for offsets")
                let answers = list.elements.filter { $0.err == RD_KAFKA_RESP_ERR_NO_ERROR && $0.offset >= 0 }
                return Dictionary(answers.map { ($0.topicPartition, $0.offset) }, uniquingKeysWith: { $1 })
            }
        } catch {
            // One partition without a leader leaves all of a request without an answer.
            if [.timedOut, .transport, .allBrokersDown].contains(error.code) { throw error }
            var found: [TopicPartition: Int64] = [:]
            let end = ContinuousClock.now + timeout
            for partition in partitions.shuffled() where ContinuousClock.now < end {
                guard let marks = try? watermarks(partition, timeout: .milliseconds(100)) else { continue }
                found[partition] = offset == .earliest ? marks.low : marks.high
            }
            if found.isEmpty { throw error }
            return found
        }
    }
}

extension KafkaAdmin {
    /// Asks which offsets all partitions of a topic have for a reader of committed messages.
    /// - Parameter timeout: about how long each of the three requests may take.
    /// - Throws: `.unknownTopicOrPartition` if there is no such topic, or what keeps a partition from answering.
    public func watermarks(
        ofTopic topic: String, timeout: Duration
    ) async throws(KafkaError) -> [Int32: KafkaWatermarks] {
        // Of the whole cluster, as asking for the topic alone may create it.
        guard let count = try await cluster(timeout: timeout).partitions[topic] else {
            throw KafkaError(.unknownTopicOrPartition, "read the offsets of \(topic)")
        }
        let partitions = (0..<Int32(clamping: count)).map { TopicPartition(topic, $0) }
        return try await run { handle throws(KafkaError) in
            let low = try handle.offsets(partitions, at: .earliest, timeout: timeout)
            let high = try handle.offsets(partitions, at: .latest, timeout: timeout)
            var watermarks: [Int32: KafkaWatermarks] = [:]
            for partition in partitions {
                guard let first = low[partition], let end = high[partition] else {
                    throw KafkaError(.timedOut, "ask for the offsets of \(partition)")
                }
                watermarks[partition.partition] = KafkaWatermarks(low: first, high: end)
            }
            return watermarks
        }
    }
}
