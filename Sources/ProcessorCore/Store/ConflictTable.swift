import PostgresClient
import Readings

/// The columns of `sequence_conflict`.
enum ConflictColumn: String, TableColumn, CaseIterable {
    case gatewayID = "gateway_id"
    case ownStreamID = "own_stream_id"
    case streamID = "stream_id"
    case sequence = "seq"
    case sensorID = "sensor_id"
    case eventTime = "event_time"
    case topic
    case kafkaPartition = "kafka_partition"
    case kafkaOffset = "kafka_offset"
    case detectedAt = "detected_at"
    case settledAt = "settled_at"

    /// The primary key.
    static let key: [ConflictColumn] = [.gatewayID, .ownStreamID]
    /// What is known when it is found.
    static let found = allCases.filter { $0 != .settledAt }

    var type: String {
        switch self {
        case .gatewayID, .ownStreamID, .streamID, .sensorID, .topic: "text"
        case .sequence, .kafkaOffset: "int8"
        case .kafkaPartition: "int4"
        case .eventTime, .detectedAt, .settledAt: "timestamptz"
        }
    }
}

/// Reads and writes `sequence_conflict`, and tells duplicates from conflicts.
struct ConflictTable {
    let connection: PostgresConnection

    // MARK: The same reading

    private enum PositionColumn: String, ResultColumn { case position }

    /// The parameters of the look-up of rows.
    private static let names: [(name: String, type: String)] =
        [
            ("position", "int8"), ("gateway_id", "text"), ("sensor_id", "text"), ("event_time", "timestamptz"),
            ("stream_id", "text"), ("seq", "int8"),
        ] + Quantity.all.map { ($0.name, "float8") }

    /// LATERAL with a limit, so that each is found by the index on sensor and time, in the days in question.
    private static let lookUp: String = {
        let arrays = names.enumerated().map { "$\($0.offset + 1)::\($0.element.type)[]" }.joined(separator: ", ")
        let same = Quantity.all.map { "(d.\($0.name) = c.\($0.name)) IS NOT FALSE" }.joined(separator: " AND ")
        return """
            SELECT c.position FROM unnest(\(arrays)) AS c (\(names.map(\.name).joined(separator: ", ")))
            CROSS JOIN LATERAL (SELECT FROM sensor_data d
                WHERE d.gateway_id = c.gateway_id AND d.sensor_id = c.sensor_id AND d.event_time = c.event_time
                    AND d.event_time >= $\(names.count + 1) AND d.event_time <= $\(names.count + 2)
                    AND d.stream_id = c.stream_id AND d.seq = c.seq AND \(same) LIMIT 1) AS found
            """
    }()

    /// Which rows of a batch differ from the rows with their numbers, or have none at their sensor and time.
    /// - Parameter indices: rows whose numbers were admitted before the batch.
    func different(_ indices: [Int], of batch: ReadingBatch) throws -> [Int] {
        let rows = indices.map { batch.rows[$0] }
        let times = rows.map(\.eventTime)
        guard let first = times.min(), let last = times.max() else { return [] }
        let streams = rows.map { batch.streams[Int($0.stream)] }
        let parameters: [PostgresParameter] =
            [
                .array(indices.map { Int64($0) }), .array(streams.map { batch.gateways[Int($0.gateway)] }),
                .array(rows.map { batch.sensors[Int($0.sensor)].name }),
                .array(times.map { PostgresTimestamp(milliseconds: $0) }),
                .array(streams.map(\.streamID.description)), .array(rows.map(\.sequence)),
            ]
            + Quantity.all.map { quantity in .array(rows.map { $0.values[quantity] }) }
            + [.value(PostgresTimestamp(milliseconds: first)), .value(PostgresTimestamp(milliseconds: last))]
        let found = ResultRows(
            try connection.query(prepared: ConflictTable.lookUp, parameters), of: PositionColumn.self)
        let same = Set(try found.map { try $0.value(.position, as: Int64.self) })
        return indices.filter { !same.contains(Int64($0)) }
    }

    // MARK: Conflicts

    /// Which of some conflicts the table has.
    func known(_ conflicts: [SequenceConflict]) throws -> Set<StreamName> {
        guard !conflicts.isEmpty else { return [] }
        let names = conflicts.map(\.ownName)
        let rows = ResultRows(
            try connection.query(
                prepared: """
                    SELECT \(ConflictColumn.key.names(of: "c")) FROM sequence_conflict c
                    JOIN \(ConflictColumn.key.unnest(as: "n")) ON \(ConflictColumn.key.matches("c", "n"))
                    """, [.array(names.map(\.gatewayID)), .array(names.map(\.streamID.description))]),
            of: ConflictColumn.self)
        return Set(try rows.compactMap { try ConflictTable.ownName($0) })
    }

    /// Adds conflicts that the table does not have. One whose row is there already is settled at once.
    /// - Returns: the gateway of each that was added.
    func insert(_ conflicts: [SequenceConflict], topic: String, now: PostgresTimestamp) throws -> [String] {
        let columns = ConflictColumn.found
        let parameters = columns.map { column -> PostgresParameter in
            switch column {
            case .gatewayID: .array(conflicts.map(\.name.gatewayID))
            case .ownStreamID: .array(conflicts.map(\.ownStream.description))
            case .streamID: .array(conflicts.map(\.name.streamID.description))
            case .sequence: .array(conflicts.map(\.sequence))
            case .sensorID: .array(conflicts.map(\.sensorID))
            case .eventTime: .array(conflicts.map { PostgresTimestamp(milliseconds: $0.eventTime) })
            case .topic: .array(conflicts.map { _ in topic })
            case .kafkaPartition: .array(conflicts.map(\.partition))
            case .kafkaOffset: .array(conflicts.map(\.offset))
            case .detectedAt, .settledAt: .array(conflicts.map { _ in now })
            }
        }
        let added = ResultRows(
            try connection.query(
                prepared: """
                    INSERT INTO sequence_conflict (\(columns.names), settled_at)
                    SELECT \(columns.names(of: "c")), CASE WHEN \(ConflictTable.isAdmitted) THEN c.detected_at END
                    FROM \(columns.unnest(as: "c")) ON CONFLICT DO NOTHING RETURNING gateway_id
                    """, parameters), of: ConflictColumn.self)
        return try added.map { try $0.value(.gatewayID) }
    }

    /// Whether the reading of a conflict `c` was admitted under its own stream, in SQL.
    static let isAdmitted = """
        EXISTS (SELECT FROM stream_progress p WHERE p.gateway_id = c.gateway_id AND p.stream_id = c.own_stream_id
            AND p.first_seq <= \(SequenceConflict.ownSequence) AND p.last_seq >= \(SequenceConflict.ownSequence))
        AND NOT EXISTS (SELECT FROM loss l WHERE l.gateway_id = c.gateway_id AND l.stream_id = c.own_stream_id
            AND l.first_seq <= \(SequenceConflict.ownSequence) AND l.last_seq >= \(SequenceConflict.ownSequence))
        """

    /// Notes that the readings of conflicts were admitted under their own streams.
    /// - Parameter streams: those whose number `SequenceConflict.ownSequence` was admitted, of conflicts or not.
    /// - Returns: the gateways whose conflicts these were.
    func settle(_ streams: [StreamName], now: PostgresTimestamp) throws -> Set<String> {
        guard !streams.isEmpty else { return [] }
        let settled = ResultRows(
            try connection.query(
                prepared: """
                    UPDATE sequence_conflict c SET settled_at = \(ConflictColumn.key.nextParameter)
                    FROM \(ConflictColumn.key.unnest(as: "n")) WHERE \(ConflictColumn.key.matches("c", "n"))
                        AND c.settled_at IS NULL
                    RETURNING c.gateway_id
                    """,
                [
                    .array(streams.map(\.gatewayID)), .array(streams.map(\.streamID.description)), .value(now),
                ]), of: ConflictColumn.self)
        return Set(try settled.map { try $0.value(.gatewayID) })
    }

    /// How many conflicts of some gateways are not settled.
    /// - Returns: of each, 0 included.
    func open(of gatewayIDs: Set<String>) throws -> [String: Int64] {
        enum Column: String, ResultColumn { case gatewayID = "gateway_id", open }
        let rows = ResultRows(
            try connection.query(
                prepared: """
                    SELECT n.gateway_id, (SELECT count(*) FROM sequence_conflict c
                        WHERE c.gateway_id = n.gateway_id AND c.settled_at IS NULL) AS open
                    FROM unnest($1::text[]) AS n (gateway_id)
                    """, [.array(gatewayIDs.sorted())]), of: Column.self)
        var counts: [String: Int64] = [:]
        for row in rows { counts[try row.value(.gatewayID)] = try row.value(.open) }
        return counts
    }

    private static func ownName(_ row: ResultRow<ConflictColumn>) throws -> StreamName? {
        guard let streamID = StreamID(try row.value(.ownStreamID)) else { return nil }
        return StreamName(gatewayID: try row.value(.gatewayID), streamID: streamID)
    }
}
