import Monitoring
import PostgresClient

/// Where the database says that partitions are to be read: the table `consumed_offset`, over a connection of its own.
///
/// It blocks, and belongs to the fetching thread, on which the group's rebalances are told too.
final class ConsumedOffsets {
    private let settings: ProcessorSettings
    private let log: Log
    private var connection: PostgresConnection?

    init(settings: ProcessorSettings, log: Log) {
        self.settings = settings
        self.log = log
    }

    /// The next offset of partitions. One that nobody has read yet begins at offset 0; if the broker has no such offset
    /// any more, the consumer says so and the fetcher goes to the first that it has.
    func locate(_ partitions: Set<Int32>) throws -> [Int32: Int64] {
        do {
            let connection = try connected()
            let table = OffsetTable(connection: connection, topic: settings.topic)
            return try connection.transaction(beginningWith: PausedSessions.bounds) {
                var located = try table.next(of: partitions)
                let new = partitions.subtracting(located.keys)
                if !new.isEmpty {
                    // Only what is missing: the statement would wait for whoever is just writing a row that is there.
                    try table.insert(new)
                    located.merge(try table.next(of: new)) { $1 }
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

    private func connected() throws -> PostgresConnection {
        if let connection, connection.isAlive { return connection }
        let made = try settings.connect(applicationName: "vigie-processor offsets")
        connection = made
        return made
    }
}
