import Monitoring
import Outbox

/// Runs the outbox writer until the sampler has stopped and everything is committed.
struct WriterService: Service {
    let writer: OutboxWriter
    let log: Log

    func run() async throws {
        let lost = await withGracefulShutdownHandler {
            await writer.run()
        } onGracefulShutdown: { [writer] in
            writer.finish()
        }
        if lost > 0 {
            log.error("readings are lost: the outbox took none until the end", ["readings": lost])
        }
    }
}
