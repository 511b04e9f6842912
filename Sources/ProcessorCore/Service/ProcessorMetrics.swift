import Monitoring
import ReadingDecoding

/// What the processor counts.
struct ProcessorMetrics: Sendable {
    let messages: Counter
    let rows: Counter
    let duplicates: Counter
    let conflicts: Counter
    let reports: Counter
    let expired: Counter
    let expiredWindows: Counter
    let late: Counter
    /// By reason; their sum is what was rejected in all.
    let rejected: [Rejection.Reason: Counter]
    let windows: Counter
    let commits: Counter
    let retries: Counter
    let trials: Counter
    let staleBatches: Counter
    let logsChanged: Counter
    let batchDuration: Histogram
    let batchSize: Histogram
    let updateInterval: Gauge
    let evictions: Counter
    let alertsOpened: Counter
    let alertsClosed: Counter

    init(_ registry: MetricsRegistry) {
        messages = registry.counter("vigie_messages_total", "Messages read from Kafka and committed.")
        rows = registry.counter("vigie_rows_total", "Rows written to sensor_data.")
        duplicates = registry.counter("vigie_duplicates_total", "Readings dropped as they had been admitted before.")
        conflicts = registry.counter(
            "vigie_conflicts_total", "Readings that came under a number that another reading has, each time they came.")
        reports = registry.counter("vigie_reports_total", "Reports of gateways, which tell of their streams and gaps.")
        expired = registry.counter(
            "vigie_expired_readings_total", "Readings dropped, or not written, as they were older than retention keeps."
        )
        expiredWindows = registry.counter(
            "vigie_expired_windows_total", "Rows of sensor_data_agg deleted as they were older than retention keeps.")
        late = registry.counter("vigie_late_readings_total", "Readings admitted after their sensor's watermark.")
        rejected = Dictionary(
            uniqueKeysWithValues: Rejection.Reason.allCases.map { reason in
                let counter = registry.counter(
                    "vigie_rejected_total", "Messages sent to the rejected topic.", labels: ["reason": reason.rawValue])
                return (reason, counter)
            })
        windows = registry.counter("vigie_windows_written_total", "Rows written to sensor_data_agg.")
        alertsOpened = registry.counter("vigie_alerts_opened_total", "Alerts opened.")
        alertsClosed = registry.counter("vigie_alerts_closed_total", "Alerts closed.")
        commits = registry.counter("vigie_batches_total", "Batches committed.")
        retries = registry.counter("vigie_batch_retries_total", "Batches tried again after a database error.")
        trials = registry.counter(
            "vigie_batch_trials_total", "Transactions rolled back that look for what the database refuses.")
        staleBatches = registry.counter(
            "vigie_stale_batches_total", "Batches dropped as another processor had the partition.")
        logsChanged = registry.counter(
            "vigie_logs_changed_total",
            "Partitions read again from their start, as their log was another one than was read before.")
        batchDuration = registry.histogram(
            "vigie_batch_duration_seconds", "From the first statement of a batch to its commit.",
            bounds: Histogram.durationBounds)
        updateInterval = registry.gauge(
            "vigie_window_update_interval_seconds",
            "How often open windows are written: as often as is set, or as the database can take.")
        evictions = registry.counter(
            "vigie_state_evictions_total", "Copies of sensors and streams that left memory until they are needed.")
        batchSize = registry.histogram(
            "vigie_batch_messages", "Messages in a batch.", bounds: [1, 10, 100, 1000, 10_000, 50_000, 100_000])
    }

    func record(_ summary: BatchSummary) {
        messages.increment(by: UInt64(summary.messages))
        rows.increment(by: UInt64(summary.rows))
        duplicates.increment(by: UInt64(summary.duplicates))
        conflicts.increment(by: UInt64(summary.conflicts))
        reports.increment(by: UInt64(summary.reports))
        expired.increment(by: UInt64(summary.expired))
        late.increment(by: UInt64(summary.late))
        for (reason, count) in summary.rejectedByReason { rejected[reason]?.increment(by: UInt64(count)) }
        windows.increment(by: UInt64(summary.windows))
        logsChanged.increment(by: UInt64(summary.logsChanged))
        alertsOpened.increment(by: UInt64(summary.alertsOpened))
        alertsClosed.increment(by: UInt64(summary.alertsClosed))
        if summary.messages > 0 {
            commits.increment()
            batchSize.observe(Double(summary.messages))
        }
    }
}
