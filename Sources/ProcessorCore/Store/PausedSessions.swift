import Monitoring
import PostgresClient

/// Sessions of processors that hold locks and do not go on, such as one that was stopped by a signal or whose machine
/// sleeps.
///
/// They keep their locks while their partitions are given to others. Those end their sessions: what they had begun is
/// undone, and when they go on, they find other offsets and step back.
enum PausedSessions {
    /// What a transaction of a processor begins with: it waits for others' locks, and the server for its client, only
    /// for so long. The settings end with the transaction, so that a pooled connection takes nothing along.
    static let bounds = "SET LOCAL lock_timeout = '10s'; SET LOCAL idle_in_transaction_session_timeout = '60s'"

    /// Ends the sessions of the same role that have a transaction of more than ten seconds, hold locks on gateways or
    /// offsets, and at this moment wait for their client. A processor never lets the server wait for so long.
    private static let terminate = """
        SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a
        WHERE a.datname = current_database() AND a.usename = current_user AND a.pid <> pg_backend_pid()
            AND a.wait_event = 'ClientRead' AND a.xact_start < clock_timestamp() - interval '10 seconds'
            AND EXISTS (
                SELECT FROM pg_locks l WHERE l.pid = a.pid AND l.granted
                    AND l.relation IN ('consumed_offset'::regclass, 'gateway'::regclass)
                    AND l.mode IN ('RowExclusiveLock', 'RowShareLock'))
        """

    /// Ends such sessions, after a lock was not to be had in time.
    static func end(_ log: Log, connection: () throws -> PostgresConnection) {
        do {
            let ended = try connection().query(terminate).affectedRows
            if ended > 0 { log.warning("ended sessions of processors that do not go on", ["sessions": ended]) }
        } catch {
            log.warning("cannot end the sessions that hold locks", ["error": "\(error)"])
        }
    }
}
