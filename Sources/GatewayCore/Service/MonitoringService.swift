import Monitoring
import Platform

/// Answers /metrics, /healthz and /readyz. A port that another program has is tried again: it stops no reading.
struct MonitoringService: Service {
    let settings: HTTPEndpointSettings
    let registry: MetricsRegistry
    let health: Health
    let log: Log

    func run() async throws {
        do {
            try await cancelOnGracefulShutdown { try await serve() }
        } catch is CancellationError {}
    }

    private func serve() async throws {
        var backoff = Backoff(firstMilliseconds: 1000, longestMilliseconds: 30_000)
        var isTold = false
        while true {
            do {
                let endpoint = try HTTPEndpoint(settings, metrics: registry, health: health)
                defer { endpoint.stop() }
                log.info("listening", ["address": endpoint.url])
                health.report("monitoring", .healthy)
                try await Task.sleep(for: .seconds(Int64.max / 1_000_000_000))
            } catch let error as CancellationError {
                throw error
            } catch {
                health.report("monitoring", .degraded("\(error)"))
                if !isTold { log.error("nobody can ask for metrics and health; tried again", ["error": "\(error)"]) }
                isTold = true
            }
            try await Task.sleep(for: backoff.next())
        }
    }
}
