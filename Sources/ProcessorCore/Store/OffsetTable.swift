import PostgresClient

/// The columns of `consumed_offset`.
enum OffsetColumn: String, TableColumn, CaseIterable {
    case topic
    case kafkaPartition = "kafka_partition"
    case nextOffset = "next_offset"
    case updatedAt = "updated_at"
    case logGeneration = "log_generation"
    case messageOffset = "message_offset"
    case messageTimestamp = "message_timestamp"
    case messageSize = "message_size"
    case messageChecksum = "message_checksum"

    var type: String {
        switch self {
        case .topic: "text"
        case .kafkaPartition: "int4"
        case .nextOffset, .logGeneration, .messageOffset, .messageTimestamp, .messageSize, .messageChecksum: "int8"
        case .updatedAt: "timestamptz"
        }
    }

    /// What says how far a partition was read, and of which log.
    static let position: [OffsetColumn] = [
        .nextOffset, .logGeneration, .messageOffset, .messageTimestamp, .messageSize, .messageChecksum,
    ]
}

/// The offsets in the database are not those that the batch started from: somebody else has the partition.
struct StaleOffsets: Error {}

/// Reads and writes `consumed_offset`: how far each partition of the topic was read, and of which log.
struct OffsetTable {
    let connection: PostgresConnection
    let topic: String

    /// How far all partitions were read, also those that the topic does not have now, or some.
    func positions(of partitions: Set<Int32>? = nil) throws -> [Int32: LogPosition] {
        let only = partitions.map { _ in "AND kafka_partition = ANY ($2)" } ?? ""
        let columns = [.kafkaPartition] + OffsetColumn.position
        let rows = ResultRows(
            try connection.query(
                prepared: "SELECT \(columns.names) FROM consumed_offset WHERE topic = $1 \(only)",
                [.value(topic)] + (partitions.map { [.array($0)] } ?? [])), of: OffsetColumn.self)
        var found: [Int32: LogPosition] = [:]
        for row in rows {
            var position = LogPosition(
                next: try row.value(.nextOffset), generation: try row.value(.logGeneration))
            if let offset: Int64 = try row.optional(.messageOffset) {
                position.last = MessageMark(
                    offset: offset, timestamp: try row.optional(.messageTimestamp), size: try row.value(.messageSize),
                    checksum: UInt32(truncatingIfNeeded: try row.value(.messageChecksum, as: Int64.self)))
            }
            found[try row.value(.kafkaPartition)] = position
        }
        return found
    }

    /// Makes the rows of partitions that nobody has read yet: they begin at offset 0.
    func insert(_ partitions: Set<Int32>) throws {
        let columns: [OffsetColumn] = [.topic, .kafkaPartition, .nextOffset, .updatedAt]
        _ = try connection.query(
            prepared: """
                INSERT INTO consumed_offset (\(columns.names))
                SELECT $1, unnest($2::int4[]), 0, now() ON CONFLICT DO NOTHING
                """, [.value(topic), .array(partitions.sorted())])
    }

    /// Writes how far partitions were read, each only if the database still has where a batch begins.
    /// - Throws: `StaleOffsets` if it has not; what was written must then be rolled back.
    func advance(_ offsets: [Int32: ReadingBatch.OffsetRange], now: PostgresTimestamp) throws {
        let ranges = offsets.sorted { $0.key < $1.key }
        let (since, until) = (ranges.map(\.value.from), ranges.map(\.value.to))
        let columns = [.kafkaPartition] + OffsetColumn.position
        let parameters = columns.map { column -> PostgresParameter in
            switch column {
            case .kafkaPartition: .array(ranges.map(\.key))
            case .nextOffset: .array(until.map(\.next))
            case .logGeneration: .array(until.map(\.generation))
            case .messageOffset: .array(until.map { $0.last?.offset })
            case .messageTimestamp: .array(until.map { $0.last?.timestamp })
            case .messageSize: .array(until.map { $0.last?.size })
            case .messageChecksum: .array(until.map { $0.last.map { Int64($0.checksum) } })
            case .topic: .value(topic)
            case .updatedAt: .value(now)
            }
        }
        let updated = try connection.query(
            prepared: """
                UPDATE consumed_offset c SET \(OffsetColumn.position.assignments(from: "b")), updated_at = $2
                FROM \(columns.unnest(as: "b", from: 3))
                    JOIN unnest($\(columns.count + 3)::int4[], $\(columns.count + 4)::int8[], $\(columns.count + 5)::int8[])
                        AS s (kafka_partition, next_offset, log_generation) USING (kafka_partition)
                WHERE c.topic = $1 AND c.kafka_partition = b.kafka_partition AND c.next_offset = s.next_offset
                    AND c.log_generation = s.log_generation
                """,
            [.value(topic), .value(now)] + parameters + [
                .array(ranges.map(\.key)), .array(since.map(\.next)), .array(since.map(\.generation)),
            ])
        guard updated.affectedRows == ranges.count else { throw StaleOffsets() }
    }
}
