import Configuration
import Platform
import PostgresClient
import Windowing

/// How long things are kept; for ever unless told.
struct RetentionSettings: Sendable, Equatable {
    /// Readings, milliseconds; nil for ever.
    var readings: Int64?
    /// Windows, milliseconds; nil for ever.
    var windows: Int64?

    /// Whether anything is ever deleted.
    var isSet: Bool { readings != nil || windows != nil }

    /// Nothing is deleted.
    init() {}

    /// Reads the section `retention`.
    /// - Parameter open: how long a window may be open, milliseconds: nothing younger may be deleted.
    init(_ section: Section, open: Int64) {
        // Whole days are deleted, so a day more.
        let least = Duration.milliseconds(open + 86_400_000)
        readings = section.optional("readings", as: .duration(least...))?.millisecondsRoundedDown
        windows = section.optional("windows", as: .duration(least...))?.millisecondsRoundedDown
    }
}

extension ProcessorSettings {
    /// Opens a connection as the settings say.
    func connect(
        applicationName: String, notice: @escaping (PostgresConnection.Notice) -> Void = { _ in }
    ) throws(PostgresError) -> PostgresConnection {
        try PostgresConnection(
            connectionString: postgres, applicationName: applicationName, preparesStatements: preparesStatements,
            waits: databaseWaits, notice: notice)
    }
}

/// There is no connection to the database, and the command that a person gave does not wait for one.
struct DatabaseAway: Error, CustomStringConvertible {
    /// Why there is none.
    var reason: String
    /// What to do about it.
    var remedy: String

    /// - Returns: nil if the error is another one.
    init?(_ error: any Error) {
        guard let error = error as? PostgresError, error.sqlState == "08001" else { return nil }
        reason = error.message
        remedy = error.remedy ?? "check postgres.connection"
    }

    /// Why there is none, and what to do about it.
    var advice: String { "\(reason); \(remedy)" }

    /// One line for a person.
    var description: String { "the database cannot be asked: \(advice)" }
}
