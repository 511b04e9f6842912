import CPostgres
import Glibc

/// Asks a server over a second connection whether it works on what a session was told.
enum ServerProbe {
    enum Answer: Sendable, Equatable {
        /// It works, or it cannot be told, such as behind a pooler.
        case working
        /// It does not work on it, or is not there.
        case gone(String)
    }

    /// How long the server may take to answer.
    static let limit = Duration.seconds(10)

    /// Asks.
    /// - Parameters:
    ///   - settings: how to connect.
    ///   - process: the session's server process.
    static func ask(_ settings: ConnectionSettings, about process: Int32) -> Answer {
        var settings = settings
        settings.set("fallback_application_name", "vigie probe")
        do throws(PostgresError) {
            let connection = try PostgresConnection(settings: settings, waits: PostgresWaits(limit: limit))
            // One that waits for the client has sent its answer, or has not got what it was sent.
            let rows = try connection.query(
                """
                SELECT pg_backend_pid(), EXISTS (
                    SELECT FROM pg_stat_activity
                    WHERE pid = $1 AND coalesce(state, 'disabled') NOT LIKE 'idle%'
                        AND wait_event_type IS DISTINCT FROM 'Client')
                """, [.value(process)])
            // A pooler gives its own numbers to its clients.
            guard try rows.value(0, 0, as: Int32.self) == connection.backendProcess else { return .working }
            return try rows.value(0, 1, as: Bool.self)
                ? .working : .gone("a second connection finds the session not working")
        } catch {
            // A server that refuses one connection more, as it has too many or starts, is there.
            if error.sqlState == "08001", isThere(settings) { return .working }
            return .gone("a second connection fails: \(error.message)")
        }
    }

    private static func isThere(_ settings: ConnectionSettings) -> Bool {
        let status = settings.withNative { PQpingParams($0, $1, 0) }
        return status == PQPING_OK || status == PQPING_REJECT
    }
}
