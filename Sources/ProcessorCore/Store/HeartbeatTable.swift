import PostgresClient
import ProcessorStatus
import Readings

/// The columns of `processor`.
enum HeartbeatColumn: String, TableColumn, CaseIterable {
    case instance, worker, host
    case processID = "process_id"
    case version, topic
    case group = "consumer_group"
    case partitions, endpoint, lag
    case messagesPerSecond = "messages_per_second"
    case state
    case startedAt = "started_at"
    case updatedAt = "updated_at"

    /// The primary key.
    static let key: [HeartbeatColumn] = [.instance, .worker]

    var type: String {
        switch self {
        case .instance, .host, .version, .topic, .group, .endpoint, .state: "text"
        case .worker, .processID: "int4"
        case .partitions: "int4[]"
        case .lag: "int8"
        case .messagesPerSecond: "float8"
        case .startedAt, .updatedAt: "timestamptz"
        }
    }
}

/// The table in which every pipeline of every processor writes heartbeats, so that each can show all.
struct HeartbeatTable {
    let connection: PostgresConnection

    /// Who was gone for longer is forgotten, seconds.
    private static let memory = 3600.0

    /// Writes this process's pipelines, and removes those that it had in an earlier life and that are long gone.
    func write(_ own: [ProcessorMember], topic: String, group: String) throws(PostgresError) {
        // The database's clock says when.
        let columns = HeartbeatColumn.allCases.filter { $0 != .updatedAt }
        let numbers = columns.indices.map { "$\($0 + 1)" }.joined(separator: ", ")
        for member in own {
            let parameters = columns.map { column -> PostgresParameter in
                switch column {
                case .instance: .value(member.instance)
                case .worker: .value(member.worker)
                case .host: .value(member.host)
                case .processID: .value(member.processID)
                case .version: .value(member.version)
                case .topic: .value(topic)
                case .group: .value(group)
                case .partitions: .array(member.partitions)
                case .endpoint: .value(member.endpoint)
                case .lag: .value(member.lag)
                case .messagesPerSecond: .value(member.messagesPerSecond)
                case .state: .value(member.state)
                case .startedAt, .updatedAt:
                    .value(PostgresTimestamp(milliseconds: member.startedAt.milliseconds))
                }
            }
            _ = try connection.query(
                prepared: """
                    INSERT INTO processor (\(columns.names), updated_at) VALUES (\(numbers), now())
                    ON CONFLICT (\(HeartbeatColumn.key.names)) DO UPDATE SET
                    \(HeartbeatColumn.allCases.filter { !HeartbeatColumn.key.contains($0) }.assignments(from: "excluded"))
                    """, parameters)
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
        enum AgeColumn: String, ResultColumn { case age }
        let result = try connection.query(
            prepared: """
                SELECT \(HeartbeatColumn.allCases.names), extract(epoch FROM now() - updated_at)::float8 AS age
                FROM processor ORDER BY instance, worker
                """)
        var members: [ProcessorMember] = []
        for (row, age) in zip(ResultRows(result, of: HeartbeatColumn.self), ResultRows(result, of: AgeColumn.self)) {
            members.append(
                ProcessorMember(
                    instance: try row.value(.instance), worker: try row.value(.worker), host: try row.value(.host),
                    processID: try row.value(.processID), version: try row.value(.version),
                    partitions: try row.array(.partitions, of: Int32.self)?.compactMap { $0 } ?? [],
                    endpoint: try row.optional(.endpoint), lag: try row.optional(.lag),
                    messagesPerSecond: try row.value(.messagesPerSecond), state: try row.value(.state),
                    startedAt: Timestamp(milliseconds: try row.time(.startedAt)), age: try age.value(.age)))
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
        enum CountColumn: String, ResultColumn { case kind, severity, count }
        let rows = ResultRows(
            try connection.query(
                prepared: """
                    SELECT kind::text AS kind, severity::text AS severity, count(*) AS count FROM alert
                    WHERE closed_at IS NULL GROUP BY kind, severity ORDER BY kind, severity
                    """), of: CountColumn.self)
        var alerts: [OpenAlerts] = []
        for row in rows {
            alerts.append(
                OpenAlerts(
                    kind: try row.value(.kind), severity: try row.value(.severity), count: try row.value(.count)))
        }
        return alerts
    }
}
