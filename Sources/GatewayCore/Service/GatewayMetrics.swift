import Monitoring

/// What the gateway counts.
struct GatewayMetrics: Sendable {
    let sampled: Counter
    let published: Counter
    let faults: Counter
    let missed: Counter
    let unrecorded: Counter
    let quarantined: Counter
    let publishFailures: Counter
    let producersReplaced: Counter
    let depth: Gauge
    let outboxBytes: Gauge
    let oldest: Gauge
    let dropped: Gauge

    init(_ registry: MetricsRegistry) {
        sampled = registry.counter("vigie_readings_sampled_total", "Readings committed to the outbox.")
        published = registry.counter("vigie_readings_published_total", "Readings that the broker acknowledged.")
        faults = registry.counter("vigie_sample_faults_total", "Chips that failed while they were sampled.")
        missed = registry.counter("vigie_samples_missed_total", "Slots of a schedule that could not be kept.")
        unrecorded = registry.counter(
            "vigie_readings_unrecorded_total", "Readings dropped from memory while the storage refused them.")
        quarantined = registry.counter("vigie_readings_quarantined_total", "Readings set aside as never sendable.")
        publishFailures = registry.counter("vigie_publish_failures_total", "Times that publishing had to pause.")
        producersReplaced = registry.counter(
            "vigie_producers_replaced_total", "Producers given up after an error that they cannot recover from.")
        depth = registry.gauge("vigie_outbox_readings", "Readings in the outbox.")
        outboxBytes = registry.gauge("vigie_outbox_bytes", "Bytes in use in the outbox's file.")
        oldest = registry.gauge("vigie_outbox_oldest_timestamp_seconds", "Event time of the oldest reading waiting.")
        dropped = registry.gauge("vigie_outbox_dropped_readings", "Readings dropped for want of room.")
    }
}
