import PostgresClient

/// The columns of `consumed_offset`.
enum OffsetColumn: String, TableColumn, CaseIterable {
    case topic
    case kafkaPartition = "kafka_partition"
    case nextOffset = "next_offset"
    case updatedAt = "updated_at"

    var type: String {
        switch self {
        case .topic: "text"
        case .kafkaPartition: "int4"
        case .nextOffset: "int8"
        case .updatedAt: "timestamptz"
        }
    }
}

/// Reads and writes `consumed_offset`: where each partition of the topic is to be read.
struct OffsetTable {
    let connection: PostgresConnection
    let topic: String

    /// The next offsets of all partitions, or of some.
    func next(of partitions: Set<Int32>? = nil) throws -> [Int32: Int64] {
        let only = partitions.map { _ in "AND kafka_partition = ANY ($2)" } ?? ""
        let rows = ResultRows(
            try connection.query(
                prepared: "SELECT \(OffsetColumn.allCases.names) FROM consumed_offset WHERE topic = $1 \(only)",
                [.value(topic)] + (partitions.map { [.array($0)] } ?? [])), of: OffsetColumn.self)
        var offsets: [Int32: Int64] = [:]
        for row in rows { offsets[try row.value(.kafkaPartition)] = try row.value(.nextOffset) }
        return offsets
    }

    /// Makes the rows of partitions that nobody has read yet: they begin at offset 0.
    func insert(_ partitions: Set<Int32>) throws {
        _ = try connection.query(
            prepared: """
                INSERT INTO consumed_offset (\(OffsetColumn.allCases.names))
                SELECT $1, unnest($2::int4[]), 0, now() ON CONFLICT DO NOTHING
                """, [.value(topic), .array(partitions.sorted())])
    }

    /// Advances offsets, each only if it is where a batch begins.
    /// - Throws: `StaleOffsets` if one is not; what was advanced must then be rolled back.
    func advance(_ offsets: [Int32: ReadingBatch.OffsetRange], now: PostgresTimestamp) throws {
        let ranges = offsets.sorted { $0.key < $1.key }
        let updated = try connection.query(
            prepared: """
                UPDATE consumed_offset c SET next_offset = b.until, updated_at = $5
                FROM unnest($2::int4[], $3::int8[], $4::int8[]) AS b (kafka_partition, since, until)
                WHERE c.topic = $1 AND c.kafka_partition = b.kafka_partition AND c.next_offset = b.since
                """,
            [
                .value(topic), .array(ranges.map(\.key)), .array(ranges.map(\.value.from)),
                .array(ranges.map(\.value.to)), .value(now),
            ])
        guard updated.affectedRows == ranges.count else { throw StaleOffsets() }
    }
}
