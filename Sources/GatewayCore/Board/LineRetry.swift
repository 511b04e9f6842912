import Monitoring
import Platform
import SensorBus

/// Uses a GPIO line for as long as `use` goes on. A line that cannot be had, or that fails, degrades the gateway and
/// stops nothing: it is tried again, after growing pauses, until it is there.
/// - Parameters:
///   - part: what the gateway's health calls it.
///   - use: takes the line and uses it; throws what is wrong with it.
func retryingLine(
    _ part: String, clock: any Clock<Duration>, health: Health, log: Log,
    isolation: isolated (any Actor)? = #isolation, _ use: () async throws -> Void
) async throws {
    var backoff = Backoff(firstMilliseconds: 500, longestMilliseconds: 30_000)
    var reported: GPIOError?
    while true {
        do {
            return try await use()
        } catch let error as GPIOError {
            health.report(part, .degraded("\(error)"))
            // Once, however often it is tried.
            if error != reported { log.error("a GPIO line cannot be used", ["part": part, "error": "\(error)"]) }
            reported = error
        }
        try await clock.sleep(for: backoff.next())
    }
}
