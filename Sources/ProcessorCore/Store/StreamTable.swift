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
    case updatedAt = "updated_at"

    /// The primary key.
    static let key: [StreamColumn] = [.gatewayID, .streamID]

    var type: String {
        switch self {
        case .gatewayID, .streamID, .previous: "text"
        case .first, .last, .end, .lost: "int8"
        case .isPreviousKnown: "bool"
        case .lastEventTime, .updatedAt: "timestamptz"
        }
    }
}

/// Reads and writes `stream_progress`.
struct StreamTable {
    let connection: PostgresConnection

    /// What a transaction made of a stream.
    struct Change {
        var name: StreamName
        /// What it was; nil if it has no row yet.
        var before: StreamProgress?
        var after: StreamProgress
    }

    /// The streams that have a row, without their losses.
    func load(_ names: [StreamName]) throws -> [StreamName: StreamProgress] {
        let rows = ResultRows(
            try connection.query(
                prepared: """
                    SELECT \(StreamColumn.allCases.names(of: "t")) FROM \(StreamColumn.key.lookUp(in: "stream_progress"))
                    """, [.array(names.map(\.gatewayID)), .array(names.map(\.streamID.description))]),
            of: StreamColumn.self)
        var streams: [StreamName: StreamProgress] = [:]
        for row in rows {
            guard let streamID = StreamID(try row.value(.streamID)) else { continue }
            let previous = try row.optional(.previous, as: String.self).flatMap { StreamID($0) }
            let isPreviousKnown: Bool = try row.value(.isPreviousKnown)
            streams[StreamName(gatewayID: try row.value(.gatewayID), streamID: streamID)] = StreamProgress(
                first: try row.value(.first), last: try row.value(.last),
                lastEventTime: try row.optionalTime(.lastEventTime), end: try row.optional(.end),
                previous: previous.map { .stream($0) } ?? (isPreviousKnown ? .noStream : .notTold))
        }
        return streams
    }

    /// Writes streams that have no row yet.
    func insert(_ streams: [Change], now: PostgresTimestamp) throws {
        guard !streams.isEmpty else { return }
        let columns = StreamColumn.allCases
        _ = try connection.query(
            prepared: """
                INSERT INTO stream_progress (\(columns.names)) SELECT \(columns.names) FROM \(columns.unnest(as: "s"))
                """, columns.map { StreamTable.parameter($0, of: streams, now: now) })
    }

    /// Writes the progress of streams that have a row.
    func update(_ streams: [Change], now: PostgresTimestamp) throws {
        guard !streams.isEmpty else { return }
        let columns = StreamColumn.allCases
        _ = try connection.query(
            prepared: """
                UPDATE stream_progress p SET
                    \(columns.filter { !StreamColumn.key.contains($0) }.assignments(from: "s"))
                FROM \(columns.unnest(as: "s")) WHERE \(StreamColumn.key.matches("p", "s"))
                """, columns.map { StreamTable.parameter($0, of: streams, now: now) })
    }

    /// One array with the values of a column for some streams.
    private static func parameter(
        _ column: StreamColumn, of streams: [Change], now: PostgresTimestamp
    ) -> PostgresParameter {
        let progress = streams.lazy.map(\.after)
        return switch column {
        case .gatewayID: .array(streams.map(\.name.gatewayID))
        case .streamID: .array(streams.map(\.name.streamID.description))
        case .first: .array(progress.map(\.first))
        case .last: .array(progress.map(\.last))
        case .lastEventTime: .array(progress.map { PostgresTimestamp(milliseconds: $0.lastEventTime) })
        case .end: .array(progress.map(\.end))
        case .previous: .array(progress.map(\.previous.streamID?.description))
        case .isPreviousKnown: .array(progress.map { $0.previous != .notTold })
        case .lost: .array(progress.map(\.missing))
        case .updatedAt: .array(streams.map { _ in now })
        }
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
