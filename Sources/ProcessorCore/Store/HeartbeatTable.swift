import PostgresClient
import ProcessorStatus
import Readings

/// The table in which every pipeline of every processor writes heartbeats, so that each can show all.
struct HeartbeatTable {
    let connection: PostgresConnection

    /// Who was gone for longer is forgotten, seconds.
    private static let memory = 3600.0

    /// Writes this process's pipelines, and removes those that it had in an earlier life and that are long gone.
    func write(_ own: [ProcessorMember], topic: String, group: String) throws(PostgresError) {
        for member in own {
            _ = try connection.query(
                prepared: """
                    INSERT INTO processor (instance, worker, host, process_id, version, topic, consumer_group,
                        partitions, endpoint, lag, messages_per_second, state, started_at, updated_at)
                    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, now())
                    ON CONFLICT (instance, worker) DO UPDATE SET host = excluded.host,
                        process_id = excluded.process_id, version = excluded.version, topic = excluded.topic,
                        consumer_group = excluded.consumer_group, partitions = excluded.partitions,
                        endpoint = excluded.endpoint, lag = excluded.lag,
                        messages_per_second = excluded.messages_per_second, state = excluded.state,
                        started_at = excluded.started_at, updated_at = excluded.updated_at
                    """,
                [
                    .value(member.instance), .value(member.worker), .value(member.host), .value(member.processID),
                    .value(member.version), .value(topic), .value(group), .array(member.partitions),
                    .value(member.endpoint), .value(member.lag), .value(member.messagesPerSecond),
                    .value(member.state), .value(PostgresTimestamp(milliseconds: member.startedAt.milliseconds)),
                ])
        }
        guard let first = own.first else { return }
        _ = try connection.query(
            prepared: """
                DELETE FROM processor WHERE (instance = $1 AND worker > $2)
                    OR updated_at < now() - $3 * interval '1 second'
                """, [.value(first.instance), .value(Int32(own.count)), .value(HeartbeatTable.memory)])
    }

    /// Removes this process's pipelines, as it stops. Those of a process that has taken the name over stay.
    func leave(instance: String, processID: Int32) throws(PostgresError) {
        _ = try connection.query(
            "DELETE FROM processor WHERE instance = $1 AND process_id = $2", [.value(instance), .value(processID)])
    }

    /// All pipelines of all processors.
    func members() throws(PostgresError) -> [ProcessorMember] {
        let rows = try connection.query(
            prepared: """
                SELECT instance, worker, host, process_id, version, partitions, endpoint, lag, messages_per_second,
                    state, started_at, extract(epoch FROM now() - updated_at)::float8
                FROM processor ORDER BY instance, worker
                """)
        var members: [ProcessorMember] = []
        for row in 0..<rows.rowCount {
            members.append(
                ProcessorMember(
                    instance: try rows.value(row, 0), worker: try rows.value(row, 1), host: try rows.value(row, 2),
                    processID: try rows.value(row, 3), version: try rows.value(row, 4),
                    partitions: try rows.array(row, 5, of: Int32.self)?.compactMap { $0 } ?? [],
                    endpoint: try rows.optional(row, 6), lag: try rows.optional(row, 7),
                    messagesPerSecond: try rows.value(row, 8), state: try rows.value(row, 9),
                    startedAt: Timestamp(
                        milliseconds: try rows.value(row, 10, as: PostgresTimestamp.self).milliseconds),
                    age: try rows.value(row, 11)))
        }
        return members
    }

    /// What only the database knows.
    func view() throws(PostgresError) -> DatabaseView {
        let missing: Int64 = try connection.query(
            prepared: "SELECT least(coalesce(sum(lost), 0), 9223372036854775807)::int8 FROM stream_progress"
        ).value(0, 0)
        return DatabaseView(members: try members(), missing: missing, alerts: try openAlerts())
    }

    private func openAlerts() throws(PostgresError) -> [OpenAlerts]? {
        let isThere: Bool = try connection.query(prepared: "SELECT to_regclass('alert') IS NOT NULL").value(0, 0)
        guard isThere else { return nil }
        let rows = try connection.query(
            prepared: """
                SELECT kind::text, severity::text, count(*) FROM alert WHERE closed_at IS NULL
                GROUP BY kind, severity ORDER BY kind, severity
                """)
        var alerts: [OpenAlerts] = []
        for row in 0..<rows.rowCount {
            alerts.append(
                OpenAlerts(
                    kind: try rows.value(row, 0), severity: try rows.value(row, 1), count: try rows.value(row, 2)))
        }
        return alerts
    }
}
