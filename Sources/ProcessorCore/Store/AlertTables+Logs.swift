import Alerting
import KafkaClient
import PostgresClient
import Readings

/// Alerts about partitions whose log is another one than was read before. They are no gateway's: `gateway_id` and
/// `sensor_id` are empty, `variable` names the partition. One opens when the log is found, and closes when it was read to
/// its end.
extension AlertTables {
    /// The partitions of which such an alert is open.
    func partitionsWithAnotherLog(of topic: String, among partitions: Set<Int32>) throws -> Set<Int32> {
        let names = Dictionary(partitions.map { (name($0, topic), $0) }, uniquingKeysWith: { $1 })
        let rows = ResultRows(
            try connection.query(
                prepared: """
                    SELECT variable FROM alert_state
                    WHERE gateway_id = '' AND sensor_id = '' AND kind = 'log' AND variable = ANY ($1)
                    """, [.array(names.keys)]), of: AlertStateColumn.self)
        return Set(try rows.compactMap { names[try $0.value(.variable)] })
    }

    /// Opens and closes alerts for what a batch found.
    /// - Returns: how many were opened and closed.
    func save(
        logs ranges: [Int32: ReadingBatch.OffsetRange], of topic: String, now: Timestamp
    ) throws -> (opened: Int, closed: Int) {
        let found = ranges.compactMap { partition, range in range.anotherLog.map { (name(partition, topic), $0) } }
        let over = ranges.filter(\.value.isReadAgain).map { name($0.key, topic) }
        let opened = try open(found, now)
        let closed = over.isEmpty ? [] : try close(over, now)
        if notifies {
            let time = PostgresTimestamp(milliseconds: now.milliseconds)
            try tell(opened.map { ($0.id, step($0, .opened, now)) }, now: time)
            try tell(closed.map { ($0.id, step($0, .closed, now)) }, now: time)
        }
        return (opened.count, closed.count)
    }

    private struct Row {
        var id: Int64
        var variable: String
        var detail: String
        /// Milliseconds since 1970.
        var since: Int64
    }

    private func open(_ found: [(variable: String, detail: String)], _ now: Timestamp) throws -> [Row] {
        if found.isEmpty { return [] }
        // One that is open already stays.
        return try rows(
            """
            WITH opened AS (
                INSERT INTO alert (id, gateway_id, sensor_id, kind, variable, severity, pending_since, opened_at, detail,
                    updated_at)
                SELECT nextval('alert_id'), '', '', 'log', variable, 'warning', $3, $3, detail, $3
                FROM unnest($1::text[], $2::text[]) AS f (variable, detail)
                ON CONFLICT (gateway_id, sensor_id, kind, variable) WHERE closed_at IS NULL DO NOTHING
                RETURNING id, variable, detail, pending_since
            ), noted AS (
                INSERT INTO alert_state (gateway_id, sensor_id, kind, variable, since, detail, severity, alert_id)
                SELECT '', '', 'log', variable, $3, detail, 'warning', id FROM opened
            )
            SELECT id, variable, detail, pending_since FROM opened
            """,
            [
                .array(found.map(\.variable)), .array(found.map(\.detail)),
                .value(PostgresTimestamp(milliseconds: now.milliseconds)),
            ])
    }

    private func close(_ variables: [String], _ now: Timestamp) throws -> [Row] {
        try rows(
            """
            WITH over AS (
                DELETE FROM alert_state
                WHERE gateway_id = '' AND sensor_id = '' AND kind = 'log' AND variable = ANY ($1) RETURNING alert_id
            )
            UPDATE alert a SET closed_at = greatest($2, opened_at), updated_at = $2
            FROM over WHERE a.id = over.alert_id RETURNING id, variable, detail, pending_since
            """, [.array(variables), .value(PostgresTimestamp(milliseconds: now.milliseconds))])
    }

    private func rows(_ sql: String, _ parameters: [PostgresParameter]) throws -> [Row] {
        try ResultRows(try connection.query(prepared: sql, parameters), of: AlertColumn.self).map { row in
            Row(
                id: try row.value(.id), variable: try row.value(.variable), detail: try row.value(.detail),
                since: try row.time(.pendingSince))
        }
    }

    private func step(_ row: Row, _ action: AlertEvent.Action, _ now: Timestamp) -> AlertChanges.Step {
        let state = AlertState(
            key: AlertKey(.log, row.variable), since: row.since, detail: row.detail, severity: .warning)
        return AlertChanges.Step(
            gatewayID: "", sensorID: "", event: state.event(action, at: max(now.milliseconds, row.since)))
    }

    private func name(_ partition: Int32, _ topic: String) -> String { "\(TopicPartition(topic, partition))" }
}
