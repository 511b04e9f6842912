import PostgresClient
import ReadingDecoding
import Readings

/// The columns of `stream_progress`.
enum StreamColumn: String, TableColumn, CaseIterable {
    case gatewayID = "gateway_id"
    case streamID = "stream_id"
    case first = "first_seq"
    case last = "last_seq"
    case lastEventTime = "last_event_time"
    case end = "end_seq"
    case previous = "previous_stream_id"
    case isPreviousKnown = "previous_known"
    case lost
    case kafkaPartition = "kafka_partition"
    case revision
    case updatedAt = "updated_at"

    /// The primary key.
    static let key: [StreamColumn] = [.gatewayID, .streamID]

    var type: String {
        switch self {
        case .gatewayID, .streamID, .previous: "text"
        case .first, .last, .end, .lost, .revision: "int8"
        case .kafkaPartition: "int4"
        case .isPreviousKnown: "bool"
        case .lastEventTime, .updatedAt: "timestamptz"
        }
    }
}

/// Reads and writes `stream_progress`.
struct StreamTable {
    let connection: PostgresConnection

    /// A stream that may not have a row yet.
    struct New {
        var name: StreamName
        /// The smallest number that the batch tells of it.
        var first: Int64
        /// The partition that it came from.
        var partition: Int32
    }

    /// What a transaction made of a stream.
    struct Change {
        var name: StreamName
        var before: StreamProgress
        var after: StreamProgress
    }

    /// A row, without its losses.
    struct Row {
        var name: StreamName
        var progress: StreamProgress
        var partition: Int32
        var revision: Int64
        var updatedAt: PostgresTimestamp
    }

    /// Locks all streams of some gateways, in one order everywhere.
    /// - Returns: their rows, and how far retention has come, which is true until the commit if the transaction began with
    ///   `RetentionCutoff.lock`.
    func lock(_ gatewayIDs: [String]) throws -> (rows: [Row], cutoff: RetentionCutoff) {
        let cutoffs = RetentionColumn.allCases.map { "(SELECT \($0.name) FROM retention) AS \($0.name)" }
        let result = try connection.query(
            prepared: """
                SELECT \(StreamColumn.allCases.names), \(cutoffs.joined(separator: ", "))
                FROM stream_progress WHERE gateway_id = ANY ($1) ORDER BY \(StreamColumn.key.names) FOR UPDATE
                """, [.array(gatewayIDs)])
        let cutoff = try ResultRows(result, of: RetentionColumn.self).first.map { try RetentionCutoff($0) }
        let rows = try ResultRows(result, of: StreamColumn.self).compactMap { row -> Row? in
            guard let streamID = StreamID(try row.value(.streamID)) else { return nil }
            let previous = try row.optional(.previous, as: String.self).flatMap { StreamID($0) }
            let isPreviousKnown: Bool = try row.value(.isPreviousKnown)
            return Row(
                name: StreamName(gatewayID: try row.value(.gatewayID), streamID: streamID),
                progress: StreamProgress(
                    first: try row.value(.first), last: try row.value(.last),
                    lastEventTime: try row.optionalTime(.lastEventTime), end: try row.optional(.end),
                    previous: previous.map { .stream($0) } ?? (isPreviousKnown ? .noStream : .notTold)),
                partition: try row.value(.kafkaPartition), revision: try row.value(.revision),
                updatedAt: try row.value(.updatedAt))
        }
        return (rows, cutoff ?? RetentionCutoff())
    }

    /// Makes the rows of streams that have none.
    /// - Returns: the streams whose rows were made, with their first numbers.
    func insert(_ streams: [New], now: PostgresTimestamp) throws -> [(name: StreamName, first: Int64)] {
        let sorted = streams.sorted { $0.name < $1.name }
        let given: [StreamColumn] = [.gatewayID, .streamID, .first, .kafkaPartition]
        let parameters = given.map { column -> PostgresParameter in
            switch column {
            case .gatewayID: .array(sorted.map(\.name.gatewayID))
            case .streamID: .array(sorted.map(\.name.streamID.description))
            case .first: .array(sorted.map(\.first))
            default: .array(sorted.map(\.partition))
            }
        }
        let made = ResultRows(
            try connection.query(
                prepared: """
                    INSERT INTO stream_progress (\(given.names), last_seq, lost, revision, updated_at)
                    SELECT \(given.names), first_seq - 1, 0, 0, \(given.nextParameter)
                    FROM \(given.unnest(as: "s"))
                    ON CONFLICT DO NOTHING RETURNING \([StreamColumn.gatewayID, .streamID, .first].names)
                    """, parameters + [.value(now)]), of: StreamColumn.self)
        return try made.compactMap { row in
            guard let streamID = StreamID(try row.value(.streamID)) else { return nil }
            return (StreamName(gatewayID: try row.value(.gatewayID), streamID: streamID), try row.value(.first))
        }
    }

    /// Writes the progress of streams and raises their revisions.
    /// - Parameter partition: the partition of a gateway.
    func update(_ streams: [Change], partition: (String) -> Int32, now: PostgresTimestamp) throws {
        guard !streams.isEmpty else { return }
        let columns = StreamColumn.allCases.filter { $0 != .revision }
        let progress = streams.map(\.after)
        let parameters = columns.map { column -> PostgresParameter in
            switch column {
            case .gatewayID: .array(streams.map(\.name.gatewayID))
            case .streamID: .array(streams.map(\.name.streamID.description))
            case .first: .array(progress.map(\.first))
            case .last: .array(progress.map(\.last))
            case .lastEventTime: .array(progress.map { PostgresTimestamp(milliseconds: $0.lastEventTime) })
            case .end: .array(progress.map(\.end))
            case .previous: .array(progress.map(\.previous.streamID?.description))
            case .isPreviousKnown: .array(progress.map { $0.previous != .notTold })
            case .lost: .array(progress.map(\.missing))
            case .kafkaPartition: .array(streams.map { partition($0.name.gatewayID) })
            case .updatedAt: .array(streams.map { _ in now })
            case .revision: .array([Int64]())
            }
        }
        _ = try connection.query(
            prepared: """
                UPDATE stream_progress p SET
                    \(columns.filter { !StreamColumn.key.contains($0) }.assignments(from: "s")),
                    revision = p.revision + 1
                FROM \(columns.unnest(as: "s")) WHERE \(StreamColumn.key.matches("p", "s"))
                """, parameters)
    }

    /// The gateways whose readings last came from some partitions.
    func gateways(of partitions: Set<Int32>) throws -> Set<String> {
        let rows = ResultRows(
            try connection.query(
                "SELECT DISTINCT gateway_id FROM stream_progress WHERE kafka_partition = ANY ($1)",
                [.array(partitions)]), of: StreamColumn.self)
        return Set(try rows.map { try $0.value(.gatewayID) })
    }

    /// A reading's number in its stream.
    struct Number {
        var gatewayID: String
        var streamID: String
        var sequence: Int64
    }

    /// Which of some numbers were admitted, in their order.
    func areAdmitted(_ numbers: [Number]) throws -> [Bool] {
        enum Answer: String, ResultColumn { case isAdmitted = "is_admitted" }
        let rows = ResultRows(
            try connection.query(
                """
                SELECT coalesce(q.seq BETWEEN p.first_seq AND p.last_seq, false) AND NOT EXISTS (SELECT FROM loss l
                    WHERE l.gateway_id = q.gateway_id AND l.stream_id = q.stream_id
                        AND q.seq BETWEEN l.first_seq AND l.last_seq) AS is_admitted
                FROM unnest($1::text[], $2::text[], $3::int8[])
                    WITH ORDINALITY AS q (gateway_id, stream_id, seq, position)
                LEFT JOIN stream_progress p ON p.gateway_id = q.gateway_id AND p.stream_id = q.stream_id
                ORDER BY q.position
                """,
                [
                    .array(numbers.map(\.gatewayID)), .array(numbers.map(\.streamID)),
                    .array(numbers.map(\.sequence)),
                ]), of: Answer.self)
        return try rows.map { try $0.value(.isAdmitted) }
    }
}

extension DecodedReport.Previous {
    fileprivate var streamID: StreamID? {
        if case .stream(let streamID) = self { streamID } else { nil }
    }
}
