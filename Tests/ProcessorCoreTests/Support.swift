import Foundation
import PostgresClient
import ReadingDecoding
import Readings
import Testing

@testable import ProcessorCore

/// Connects to a schema of its own in the PostgreSQL that the environment names, with all tables.
/// - Parameter partitions: so many partitions of the topic `t` are read from their start.
func makeDatabase(partitions: Int = 0) throws -> PostgresConnection {
    let server = try #require(ProcessInfo.processInfo.environment["VIGIE_POSTGRES"])
    let connection = try PostgresConnection(connectionString: server, applicationName: "test")
    let schema = "test_\(UInt64.random(in: 0...UInt64.max))"
    try connection.execute("CREATE SCHEMA \(schema); SET search_path = \(schema)")
    _ = try Migrator.migrate(connection)
    for partition in 0..<partitions {
        try connection.execute(
            """
            INSERT INTO consumed_offset (topic, kafka_partition, next_offset, updated_at)
            VALUES ('t', \(partition), 0, now())
            """)
    }
    return connection
}

extension ReadingBatch {
    /// Notes that messages belong to the batch, of a log of which nothing else is known.
    mutating func count(messages: Int, partition: Int32, through next: Int64, from offset: Int64) {
        count(
            messages: messages, partition: partition, through: LogPosition(next: next), from: LogPosition(next: offset))
    }

    /// A batch of consecutive messages of partition 0, with the day partitions that it needs.
    /// - Parameters:
    ///   - offset: of the first one.
    ///   - start: the beginning of the day that the messages are of.
    init(
        decoding messages: [[UInt8]], from offset: Int64, start: Timestamp, _ connection: PostgresConnection
    ) throws {
        self.init()
        let decoder = ReadingDecoder()
        let now = Timestamp(milliseconds: start.milliseconds + 86_400_000)
        for (index, bytes) in messages.enumerated() {
            let offset = offset + Int64(index)
            try bytes.withUnsafeBytes {
                switch try decoder.decodeMessage($0, now: now) {
                case .reading(let reading): append(reading, partition: 0, offset: offset)
                case .report(let report):
                    append(report, from: Message(value: bytes, partition: 0, offset: offset))
                }
            }
        }
        count(messages: messages.count, partition: 0, through: offset + Int64(messages.count), from: offset)
        var days = DayPartitions()
        try days.prepare(for: rows, now: start, connection)
    }
}
