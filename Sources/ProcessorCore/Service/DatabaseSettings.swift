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
