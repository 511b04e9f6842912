import PostgresClient

/// The columns of `retention`, which has one row.
enum RetentionColumn: String, ResultColumn, CaseIterable {
    case readingsSince = "readings_since"
    case windowsSince = "windows_since"
}

extension RetentionCutoff {
    /// The cutoff in a row.
    init(_ row: ResultRow<RetentionColumn>) throws {
        self.init(readings: try row.time(.readingsSince), windows: try row.time(.windowsSince))
    }
}

/// Reads `retention` and writes `expired`. `Retention` moves the cutoff.
struct RetentionTable {
    let connection: PostgresConnection

    /// How far retention has come.
    func cutoff() throws -> RetentionCutoff {
        let rows = ResultRows(
            try connection.query(prepared: "SELECT \(RetentionColumn.allCases.names) FROM retention"),
            of: RetentionColumn.self)
        return try rows.first.map { try RetentionCutoff($0) } ?? RetentionCutoff()
    }

    /// The columns of `expired`: how many readings of a stream were admitted and are not kept.
    enum ExpiredColumn: String, TableColumn, CaseIterable {
        case gatewayID = "gateway_id"
        case streamID = "stream_id"
        case isOnArrival = "on_arrival"
        case readings

        /// The primary key.
        static let key: [ExpiredColumn] = [.gatewayID, .streamID, .isOnArrival]

        var type: String {
            switch self {
            case .gatewayID, .streamID: "text"
            case .isOnArrival: "bool"
            case .readings: "int8"
            }
        }
    }

    /// The statement that adds to `expired` what a query gives, whose columns are those of `ExpiredColumn`.
    static func addExpired(from query: String) -> String {
        """
        INSERT INTO expired AS e (\(ExpiredColumn.allCases.names)) \(query)
        ON CONFLICT (\(ExpiredColumn.key.names)) DO UPDATE SET readings = e.readings + excluded.readings
        """
    }

    /// Counts readings that were too old to be kept when they came.
    func add(expired: [(name: StreamName, count: Int64)]) throws {
        guard !expired.isEmpty else { return }
        let columns = ExpiredColumn.allCases
        let parameters = columns.map { column -> PostgresParameter in
            switch column {
            case .gatewayID: .array(expired.map(\.name.gatewayID))
            case .streamID: .array(expired.map(\.name.streamID.description))
            case .isOnArrival: .array(expired.map { _ in true })
            case .readings: .array(expired.map(\.count))
            }
        }
        _ = try connection.query(
            prepared: RetentionTable.addExpired(from: "SELECT \(columns.names) FROM \(columns.unnest(as: "n"))"),
            parameters)
    }
}
