import Platform
import PostgresClient
import ProcessorStatus

extension Processor {
    /// How all processors are that the database knows.
    /// - Parameter tokenFile: the file of the token to show them; nil for that of the settings.
    public func status(tokenFile: String? = nil) async throws -> StatusOverview {
        let settings = settings
        return try await Processor.onThread {
            let inquiry = try StatusInquiry(
                host: ProcessorSettings.hostName, tokenFile: tokenFile ?? settings.monitoring?.tokenFile)
            do {
                let connection = try settings.connect(applicationName: "vigie-processor status")
                return inquiry.all(try HeartbeatTable(connection: connection).members())
            } catch let error as PostgresError {
                return inquiry.withoutDatabase(
                    DatabaseAway(error)?.advice ?? error.message, listen: settings.monitoring?.address)
            }
        }
    }

    /// How the processor at an address is, such as `http://127.0.0.1:9465/` or `unix:/run/vigie/processor.sock`.
    /// - Parameter tokenFile: the file of the token to show it; nil for none.
    public static func status(endpoint: String, tokenFile: String?) async throws -> StatusOverview {
        try await onThread {
            try StatusInquiry(host: ProcessorSettings.hostName, tokenFile: tokenFile).one(at: endpoint)
        }
    }

    private static func onThread<Result: Sendable>(
        _ body: @escaping @Sendable () throws -> Result
    ) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            startThread(name: "status") { continuation.resume(with: Swift.Result { try body() }) }
        }
    }
}
