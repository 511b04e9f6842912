import Monitoring
import Outbox

/// Runs the outbox writer until the sampler has stopped and everything is committed.
struct WriterService: Service {
    let writer: OutboxWriter
    /// How long a stop goes on trying while the outbox takes no readings.
    let bound: Duration
    let log: Log

    func run() async throws {
        let lost = await withGracefulShutdownHandler {
            await writer.run()
        } onGracefulShutdown: { [writer, bound] in
            writer.finish(within: bound)
        }
        if lost > 0 {
            log.error("readings are lost: the outbox took none until the end", ["readings": lost])
        }
    }
}
