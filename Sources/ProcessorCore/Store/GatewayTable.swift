import PostgresClient

/// The columns of `gateway`.
enum GatewayColumn: String, TableColumn, CaseIterable {
    case gatewayID = "gateway_id"
    case commitNumber = "commit_number"
    case writerToken = "writer_token"
    case kafkaPartition = "kafka_partition"

    var type: String {
        switch self {
        case .gatewayID: "text"
        case .commitNumber, .writerToken: "int8"
        case .kafkaPartition: "int4"
        }
    }
}

/// Reads and writes `gateway`, whose rows serialise those who write for a gateway.
struct GatewayTable {
    let connection: PostgresConnection

    /// A gateway that a transaction is about to write for.
    struct Use {
        var gatewayID: String
        /// The partition of its last message in the transaction; nil if there is none.
        var partition: Int32?
    }

    /// A gateway whose row is locked.
    struct Locked {
        var gatewayID: String
        /// The number of this transaction.
        var commitNumber: Int64
        /// The token of the transaction before; 0 before the first.
        var previousToken: Int64
        var partition: Int32
    }

    /// Makes the rows of gateways that have none.
    func insert(_ gateways: [Use]) throws {
        let sorted = gateways.sorted { $0.gatewayID.utf8.lexicographicallyPrecedes($1.gatewayID.utf8) }
        _ = try connection.query(
            prepared: """
                INSERT INTO gateway (\(GatewayColumn.allCases.names))
                SELECT gateway_id, 0, 0, kafka_partition
                FROM unnest($1::text[], $2::int4[]) AS n (gateway_id, kafka_partition) ON CONFLICT DO NOTHING
                """, [.array(sorted.map(\.gatewayID)), .array(sorted.map { $0.partition ?? -1 })])
    }

    /// Locks gateways, in the order of the bytes of their names everywhere, gives their rows the next number and a new
    /// token, and notes the partitions of their last messages.
    /// - Parameter token: not 0.
    /// - Returns: those that have a row, and how far retention has come, which is true until the commit if the transaction
    ///   began with `RetentionCutoff.lock`; nil if no gateway has a row.
    func lock(_ gateways: [Use], token: Int64) throws -> (gateways: [Locked], cutoff: RetentionCutoff?) {
        enum Column: String, ResultColumn {
            case gatewayID = "gateway_id"
            case commitNumber = "commit_number"
            case previousToken = "previous_token"
            case kafkaPartition = "kafka_partition"
        }
        let cutoffs = RetentionColumn.allCases.map { "(SELECT \($0.name) FROM retention) AS \($0.name)" }
        let result = try connection.query(
            prepared: """
                WITH locked AS MATERIALIZED (
                    SELECT g.gateway_id, g.writer_token AS previous_token,
                        coalesce(n.kafka_partition, g.kafka_partition) AS partition
                    FROM unnest($1::text[], $2::int4[]) AS n (gateway_id, kafka_partition)
                        JOIN gateway g ON g.gateway_id = n.gateway_id
                    ORDER BY g.gateway_id COLLATE "C" FOR UPDATE OF g)
                UPDATE gateway g SET commit_number = g.commit_number + 1, writer_token = $3, kafka_partition = l.partition
                FROM locked l WHERE g.gateway_id = l.gateway_id
                RETURNING g.gateway_id, g.commit_number, l.previous_token, g.kafka_partition,
                    \(cutoffs.joined(separator: ", "))
                """, [.array(gateways.map(\.gatewayID)), .array(gateways.map(\.partition)), .value(token)])
        let cutoff = try ResultRows(result, of: RetentionColumn.self).first.map { try RetentionCutoff($0) }
        let locked = try ResultRows(result, of: Column.self).map { row in
            Locked(
                gatewayID: try row.value(.gatewayID), commitNumber: try row.value(.commitNumber),
                previousToken: try row.value(.previousToken), partition: try row.value(.kafkaPartition))
        }
        return (locked, cutoff)
    }

    /// Those of some gateways that have a row.
    func known(among gateways: [String]) throws -> Set<String> {
        let rows = ResultRows(
            try connection.query(
                prepared: "SELECT gateway_id FROM gateway WHERE gateway_id = ANY ($1)", [.array(gateways)]),
            of: GatewayColumn.self)
        return Set(try rows.map { try $0.value(.gatewayID) })
    }

    /// Gives the gateways of partitions that are not there to the first one.
    /// - Parameter partitionCount: how many partitions the topic has.
    /// - Returns: those gateways.
    func moveToFirstPartition(beyond partitionCount: Int) throws -> Set<String> {
        let rows = ResultRows(
            try connection.query(
                """
                WITH locked AS MATERIALIZED (
                    SELECT gateway_id FROM gateway WHERE kafka_partition NOT BETWEEN 0 AND $1
                    ORDER BY gateway_id COLLATE "C" FOR UPDATE)
                UPDATE gateway g SET kafka_partition = 0 FROM locked l WHERE g.gateway_id = l.gateway_id
                RETURNING g.gateway_id
                """, [.value(Int32(clamping: partitionCount - 1))]),
            of: GatewayColumn.self)
        return Set(try rows.map { try $0.value(.gatewayID) })
    }

    /// The gateways whose last messages came from some partitions.
    func gateways(of partitions: Set<Int32>) throws -> Set<String> {
        let rows = ResultRows(
            try connection.query(
                "SELECT gateway_id FROM gateway WHERE kafka_partition = ANY ($1)", [.array(partitions)]),
            of: GatewayColumn.self)
        return Set(try rows.map { try $0.value(.gatewayID) })
    }
}
