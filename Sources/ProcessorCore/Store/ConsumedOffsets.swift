import Monitoring
import PostgresClient

/// Asks the database where partitions are to be read, over a connection of its own.
///
/// It blocks, and belongs to the fetching thread, on which the group's rebalances are told too.
final class ConsumedOffsets {
    /// What the database says of partitions.
    struct Answer {
        var positions: [Int32: LogPosition] = [:]
        /// Those of which an alert is open, as their log is another one than was read before.
        var alerting: Set<Int32> = []
    }

    private let settings: ProcessorSettings
    private let log: Log
    private var connection: PostgresConnection?

    init(settings: ProcessorSettings, log: Log) {
        self.settings = settings
        self.log = log
    }

    /// Where partitions are to be read. One that nobody has read yet begins at offset 0; if the broker has no such offset
    /// any more, the consumer says so and the reader goes to the first that it has.
    func locate(_ partitions: Set<Int32>) throws -> Answer {
        do {
            let connection = try connected()
            return try connection.transaction(beginningWith: PausedSessions.bounds) {
                let table = OffsetTable(connection: connection, topic: settings.topic)
                var answer = Answer(positions: try table.positions(of: partitions))
                let new = partitions.subtracting(answer.positions.keys)
                if !new.isEmpty {
                    // Only what is missing: the statement would wait for whoever is just writing a row that is there.
                    try table.insert(new)
                    answer.positions.merge(try table.positions(of: new)) { $1 }
                }
                answer.alerting = try AlertTables(connection: connection, notifies: false)
                    .partitionsWithAnotherLog(of: settings.topic, among: partitions)
                return answer
            }
        } catch {
            connection = nil
            if let error = error as? PostgresError, error.isLockTimeout {
                PausedSessions.end(log) { try connected() }
            }
            throw error
        }
    }

    private func connected() throws -> PostgresConnection {
        if let connection, connection.isAlive { return connection }
        let made = try settings.connect(applicationName: "vigie-processor offsets")
        connection = made
        return made
    }
}
