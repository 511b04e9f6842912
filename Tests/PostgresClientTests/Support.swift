import Glibc
import PostgresClient
import Testing

/// The server that tests use, or nil after saying so.
let postgresServer: String? = {
    if let value = getenv("VIGIE_POSTGRES") { return String(cString: value) }
    print("PostgreSQL tests are skipped: VIGIE_POSTGRES (a libpq connection string) is not set")
    return nil
}()

/// A new connection to that server.
func connect(notice: @escaping (PostgresConnection.Notice) -> Void = { _ in }) throws -> PostgresConnection {
    try PostgresConnection(
        connectionString: try #require(postgresServer), applicationName: "vigie-tests", notice: notice)
}

/// What `body` throws as a PostgresError; fails the test if it throws nothing or something else.
func postgresError(_ body: () throws -> Void) throws -> PostgresError {
    do {
        try body()
    } catch {
        return try #require(error as? PostgresError)
    }
    Issue.record("nothing was thrown")
    throw PostgresError(sqlState: "00000", message: "nothing was thrown")
}
