import Monitoring
import Outbox
import Platform

/// Keeps the outbox's gauges up to date, and says once a day what storing costs.
struct OutboxStatusReporter: Service {
    let outbox: Outbox
    let writer: OutboxWriter
    let limits: OutboxLimits
    let metrics: GatewayMetrics
    let health: Health
    let log: Log

    func run() async throws {
        do {
            try await cancelOnGracefulShutdown { [self] in
                // Opens the file, which may take long after a damage, while sampling has begun.
                if await outbox.prepare() { log.info("outbox open", ["last_number": await outbox.lastSequence]) }
                let passed = elapsed(on: ContinuousClock())
                var day = Day(start: .zero, written: writtenBytes(), sampled: metrics.sampled.value)
                var (full, queue) = (GivingWay(), GivingWay())
                var isQuarantineTold = false
                while true {
                    let status = await report()
                    if let status {
                        tell(full.look(status.dropped, at: passed()), "outbox room", of: fullText)
                        tell(status.quarantined, &isQuarantineTold)
                    }
                    tell(
                        queue.look(Int64(clamping: metrics.unrecorded.value), at: passed()), "outbox queue",
                        of: "readings are given up, as the queue in memory is full: let the disk take them, or raise"
                            + " outbox.queue")
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

    private var fullText: String {
        let bounds = "outbox.readings, outbox.size, outbox.age or outbox.keep_free is reached"
        let advice = "\"vigie-gateway buffer\" shows how full it is; raise the bound, or free space"
        return switch limits.policy {
        case .dropOldest: "the oldest readings give way, as \(bounds): \(advice)"
        case .dropNewest: "new readings are not kept, as \(bounds): \(advice)"
        case .thin: "the oldest half is thinned, as \(bounds): \(advice)"
        }
    }

    /// Says that readings begin to give way, and that they do not any more.
    private func tell(_ change: GivingWay.Change?, _ part: String, of text: String) {
        switch change {
        case nil: break
        case .began:
            health.report(part, .degraded(text))
            log.warning("\(text)")
        case .ended(let count):
            health.report(part, .healthy)
            log.notice("no reading has given way for a minute", ["part": part, "gave_way": count])
        }
    }

    /// Says that there are readings in the quarantine, and that there are none any more.
    private func tell(_ quarantined: Int, _ isTold: inout Bool) {
        let part = "quarantine"
        if quarantined > 0 {
            isTold = true
            health.report(
                part,
                .degraded(
                    "the broker refused \(quarantined) readings: \"vigie-gateway buffer quarantine\" shows them and why,"
                        + " \"vigie-gateway buffer requeue --all\" sends them again"))
        } else if isTold {
            isTold = false
            health.report(part, .healthy)
            log.notice("no reading is in quarantine any more")
        }
    }

    /// - Returns: how full the outbox is; nil if it cannot be read.
    private func report() async -> OutboxStatus? {
        metrics.queued.set(writer.waiting)
        metrics.atRisk.set(writer.atRisk / .seconds(1))
        if let written = writtenBytes() { metrics.writtenBytes.set(written) }
        // The writer says it if the file cannot be read.
        guard let status = try? await outbox.status() else { return nil }
        metrics.depth.set(status.depth)
        metrics.outboxBytes.set(status.bytes)
        metrics.dropped.set(status.dropped)
        metrics.quarantineReadings.set(status.quarantined)
        metrics.oldest.set(Double(status.oldest?.milliseconds ?? 0) / 1000)
        return status
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
