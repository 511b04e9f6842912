import Monitoring

/// Opens the HTTP endpoint and keeps it until the program stops. While its port is another program's, or its socket's
/// folder is missing, it tries again: that is no reason not to sample.
struct EndpointKeeper: Service {
    let settings: HTTPEndpointSettings
    let metrics: MetricsRegistry
    let health: Health
    let log: Log
    let clock: any Clock<Duration>

    /// How long it waits before it tries again.
    static let pause = Duration.seconds(5)

    func run() async throws {
        var endpoint: HTTPEndpoint?
        defer { endpoint?.stop() }
        do {
            endpoint = try await cancelOnGracefulShutdown { try await open() }
        } catch is CancellationError {
            return
        }
        await gracefulShutdown()
    }

    private func open() async throws -> HTTPEndpoint {
        var isTold = false
        while true {
            do throws(HTTPEndpointError) {
                let endpoint = try HTTPEndpoint(settings, metrics: metrics, health: health)
                log.info("listening", ["address": endpoint.url])
                if isTold { health.report("endpoint", .healthy) }
                return endpoint
            } catch {
                health.report("endpoint", .degraded("\(error)"))
                if !isTold { log.error("the endpoint cannot be opened, trying again", ["reason": "\(error)"]) }
                isTold = true
            }
            try await clock.sleep(for: Self.pause)
        }
    }
}
