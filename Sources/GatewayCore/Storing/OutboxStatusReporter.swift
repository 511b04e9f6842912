import Monitoring
import Outbox
import Platform

/// Keeps the outbox's gauges up to date, and says once a day what storing costs.
struct OutboxStatusReporter: Service {
    let outbox: Outbox
    let writer: OutboxWriter
    let metrics: GatewayMetrics
    let log: Log

    func run() async throws {
        do {
            try await cancelOnGracefulShutdown { [self] in
                // Opens the file, which may take long after a damage, while sampling has begun.
                if await outbox.prepare() { log.info("outbox open", ["last_number": await outbox.lastSequence]) }
                let passed = elapsed(on: ContinuousClock())
                var day = Day(start: .zero, written: writtenBytes(), sampled: metrics.sampled.value)
                while true {
                    await report()
                    if passed() - day.start >= .seconds(86_400) {
                        log(day)
                        day = Day(start: passed(), written: writtenBytes(), sampled: metrics.sampled.value)
                        metrics.longestAtRisk.set(0)
                    }
                    try await Task.sleep(for: .seconds(1))
                }
            }
        } catch is CancellationError {}
    }

    /// Where a day began.
    private struct Day {
        var start: Duration
        var written: Int64?
        var sampled: UInt64
    }

    private func report() async {
        metrics.queued.set(writer.waiting)
        metrics.atRisk.set(writer.atRisk / .seconds(1))
        if let written = writtenBytes() { metrics.writtenBytes.set(written) }
        // The writer says it if the file cannot be read.
        guard let status = try? await outbox.status() else { return }
        metrics.depth.set(status.depth)
        metrics.outboxBytes.set(status.bytes)
        metrics.dropped.set(status.dropped)
        metrics.quarantineReadings.set(status.quarantined)
        metrics.oldest.set(Double(status.oldest?.milliseconds ?? 0) / 1000)
    }

    private func log(_ day: Day) {
        let readings = metrics.sampled.value - day.sampled
        let written = day.written.flatMap { before in writtenBytes().map { ($0 - before) / 1_000_000 } }
        log.info(
            "a day of the outbox",
            [
                "readings": readings, "written_megabytes": written.map { "\($0)" } ?? "unknown",
                "longest_at_risk_seconds": metrics.longestAtRisk.value,
            ])
    }

    /// Bytes that this process has caused to be written to storage (proc_pid_io(5)); nil if the kernel does not tell.
    private func writtenBytes() -> Int64? {
        guard let bytes = try? readFile("/proc/self/io", limit: 4096) else { return nil }
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.count == 2, words[0] == "write_bytes:" { return Int64(words[1]) }
        }
        return nil
    }
}
