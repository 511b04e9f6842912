import PostgresClient

/// The columns of `alert_notification`.
enum NotificationColumn: String, TableColumn, CaseIterable {
    case id
    case alertID = "alert_id"
    case event, payload
    case createdAt = "created_at"
    case attempts
    case nextAttemptAt = "next_attempt_at"
    case lastError = "last_error"
    case sentAt = "sent_at"

    var type: String {
        switch self {
        case .id, .alertID: "int8"
        case .event, .payload, .lastError: "text"
        case .attempts: "int4"
        case .createdAt, .nextAttemptAt, .sentAt: "timestamptz"
        }
    }
}

/// Reads and writes `alert_notification`: what the webhook is to be told. `AlertTables` makes its rows.
struct NotificationTable {
    let connection: PostgresConnection

    /// How long notifications that were sent are kept.
    private static let kept = "7 days"

    /// A notification that is due.
    struct Due {
        var id: Int64
        var alertID: Int64
        var event: String
        var payload: String
        /// How often it was tried.
        var attempts: Int32
    }

    /// Locks the first notification that is due and that nobody else is sending; one of an alert waits for those before it.
    /// - Returns: nil if there is none.
    func lockNext(now: PostgresTimestamp) throws -> Due? {
        let columns: [NotificationColumn] = [.id, .alertID, .event, .payload, .attempts]
        let rows = ResultRows(
            try connection.query(
                prepared: """
                    SELECT \(columns.names) FROM alert_notification n
                    WHERE sent_at IS NULL AND next_attempt_at <= $1 AND NOT EXISTS (
                        SELECT FROM alert_notification p
                        WHERE p.alert_id = n.alert_id AND p.id < n.id AND p.sent_at IS NULL)
                    ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
                    """, [.value(now)]), of: NotificationColumn.self)
        return try rows.first.map { row in
            Due(
                id: try row.value(.id), alertID: try row.value(.alertID), event: try row.value(.event),
                payload: try row.value(.payload), attempts: try row.value(.attempts))
        }
    }

    /// Notes that the webhook took a notification.
    func markSent(_ id: Int64) throws {
        _ = try connection.query(
            prepared: """
                UPDATE alert_notification SET sent_at = now(), attempts = attempts + 1, last_error = NULL
                WHERE id = $1
                """, [.value(id)])
    }

    /// Notes that the webhook did not take a notification, and when it is tried again.
    func markFailed(_ id: Int64, problem: String, next: PostgresTimestamp) throws {
        _ = try connection.query(
            prepared: """
                UPDATE alert_notification SET attempts = attempts + 1, last_error = $2, next_attempt_at = $3
                WHERE id = $1
                """, [.value(id), .value(problem), .value(next)])
    }

    /// How many wait to be sent.
    func pending() throws -> Int64 {
        try connection.query(prepared: "SELECT count(*) FROM alert_notification WHERE sent_at IS NULL").value(0, 0)
    }

    /// Deletes some of those that were sent long ago.
    func deleteOld() throws {
        _ = try connection.query(
            prepared: """
                DELETE FROM alert_notification WHERE ctid = ANY (ARRAY(
                    SELECT ctid FROM alert_notification
                    WHERE sent_at < now() - interval '\(NotificationTable.kept)' LIMIT 1000 FOR UPDATE SKIP LOCKED))
                """)
    }
}
