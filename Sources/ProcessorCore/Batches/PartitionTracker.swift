import KafkaClient
import Monitoring
import PostgresClient

/// The partitions that this processor has, and where the database says that each is to be read from.
///
/// It belongs to the fetching thread, on which the group's rebalances are told too.
final class PartitionTracker {
    private let settings: ProcessorSettings
    private let log: Log
    private var connection: PostgresConnection?

    /// The next offset of each partition, as the database will have it when all fetched batches are written.
    private(set) var positions: [Int32: Int64] = [:]
    /// Assigned partitions whose offset is not known yet, as the database was away.
    private(set) var waiting: Set<Int32> = []
    /// Whether partitions came or went since this was last set to false.
    var hasChanged = false

    init(settings: ProcessorSettings, log: Log) {
        self.settings = settings
        self.log = log
    }

    private var topic: String { settings.topic }

    /// All partitions that are assigned.
    var assigned: Set<Int32> { waiting.union(positions.keys) }

    /// The hook for the consumer.
    var hook: KafkaRebalanceHook {
        KafkaRebalanceHook(
            assigned: { [self] partitions in
                let numbers = partitions.map(\.partition)
                waiting.formUnion(numbers)
                hasChanged = true
                log.info("partitions assigned", ["partitions": numbers.sorted().description])
                do {
                    return offsets(try locate(numbers))
                } catch {
                    log.warning("cannot read offsets, the partitions wait", ["error": "\(error)"])
                    return [:]
                }
            },
            revoked: { [self] partitions, isLost in
                let numbers = partitions.map(\.partition)
                for number in numbers { positions[number] = nil }
                waiting.subtract(numbers)
                hasChanged = true
                log.info(
                    "partitions revoked", ["partitions": numbers.sorted().description, "lost": isLost])
            })
    }

    /// Notes that all up to an offset is in a batch.
    func advance(_ partition: Int32, to offset: Int64) {
        positions[partition] = offset
    }

    /// Makes all partitions wait until their offsets are known again.
    func forgetPositions() {
        waiting.formUnion(positions.keys)
        positions = [:]
    }

    /// Reads the offsets of assigned partitions from the database again.
    /// - Returns: where to read from.
    func relocate(_ partitions: some Collection<Int32>) throws -> [TopicPartition: KafkaOffset] {
        offsets(try locate(partitions))
    }

    private func offsets(_ located: [Int32: Int64]) -> [TopicPartition: KafkaOffset] {
        waiting.subtract(located.keys)
        positions.merge(located) { $1 }
        return Dictionary(
            uniqueKeysWithValues: located.map { (TopicPartition(topic, $0.key), KafkaOffset.at($0.value)) })
    }

    /// A partition that nobody has read yet begins at offset 0; if the broker has no such offset any more, the consumer
    /// says so and the fetcher goes to the first that it has.
    private func locate(_ partitions: some Collection<Int32>) throws -> [Int32: Int64] {
        do {
            let connection = try connected()
            return try connection.transaction(beginningWith: PausedSessions.bounds) {
                var located = try known(partitions, connection)
                let new = Set(partitions).subtracting(located.keys)
                if !new.isEmpty {
                    // Only what is missing: the statement would wait for whoever is just writing a row that is there.
                    _ = try connection.query(
                        prepared: """
                            INSERT INTO consumed_offset (topic, kafka_partition, next_offset, updated_at)
                            SELECT $1, unnest($2::int4[]), 0, now() ON CONFLICT DO NOTHING
                            """, [.value(topic), .array(new.sorted())])
                    located.merge(try known(new, connection)) { $1 }
                }
                return located
            }
        } catch {
            connection = nil
            if let error = error as? PostgresError, error.isLockTimeout {
                PausedSessions.end(log) { try connected() }
            }
            throw error
        }
    }

    private func known(
        _ partitions: some Collection<Int32>, _ connection: PostgresConnection
    ) throws -> [Int32: Int64] {
        let rows = try connection.query(
            prepared: """
                SELECT kafka_partition, next_offset FROM consumed_offset
                WHERE topic = $1 AND kafka_partition = ANY ($2)
                """, [.value(topic), .array(partitions)])
        var located: [Int32: Int64] = [:]
        for row in 0..<rows.rowCount { located[try rows.value(row, 0)] = try rows.value(row, 1) }
        return located
    }

    private func connected() throws -> PostgresConnection {
        if let connection, connection.isAlive { return connection }
        let made = try settings.connect(applicationName: "vigie-processor offsets")
        connection = made
        return made
    }
}
