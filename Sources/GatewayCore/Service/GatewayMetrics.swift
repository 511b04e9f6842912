import Monitoring
import Readings

/// What the gateway counts.
struct GatewayMetrics: Sendable {
    private let registry: MetricsRegistry
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
    let quarantineReadings: Gauge
    let queued: Gauge
    let atRisk: Gauge
    let longestAtRisk: Gauge
    let writtenBytes: Gauge
    let unreadable: Counter
    let salvages: Counter

    init(_ registry: MetricsRegistry) {
        self.registry = registry
        sampled = registry.counter("vigie_readings_sampled_total", "Readings committed to the outbox.")
        published = registry.counter("vigie_readings_published_total", "Readings that the broker acknowledged.")
        faults = registry.counter("vigie_sample_faults_total", "Chips that failed while they were sampled.")
        missed = registry.counter("vigie_samples_missed_total", "Slots of a schedule that could not be kept.")
        unrecorded = registry.counter(
            "vigie_readings_unrecorded_total", "Readings dropped from memory while the storage took none.")
        quarantined = registry.counter("vigie_readings_quarantined_total", "Readings set aside as never sendable.")
        publishFailures = registry.counter("vigie_publish_failures_total", "Times that publishing had to pause.")
        producersReplaced = registry.counter(
            "vigie_producers_replaced_total", "Producers given up after an error that they cannot recover from.")
        depth = registry.gauge("vigie_outbox_readings", "Readings in the outbox.")
        outboxBytes = registry.gauge("vigie_outbox_bytes", "Bytes in use of the outbox's file and of SQLite's log.")
        oldest = registry.gauge("vigie_outbox_oldest_timestamp_seconds", "Event time of the oldest reading waiting.")
        dropped = registry.gauge("vigie_outbox_dropped_readings", "Readings dropped for want of room.")
        quarantineReadings = registry.gauge(
            "vigie_outbox_quarantine_readings", "Readings in the outbox that the broker refuses.")
        queued = registry.gauge("vigie_outbox_queue_readings", "Readings in memory that are not committed yet.")
        atRisk = registry.gauge(
            "vigie_outbox_at_risk_seconds", "How long the oldest reading that a power cut would lose has waited.")
        longestAtRisk = registry.gauge(
            "vigie_outbox_longest_at_risk_seconds", "The longest that a reading waited for its commit within a day.")
        writtenBytes = registry.gauge(
            "vigie_written_bytes", "Bytes that this process had written to storage, by the kernel's count.")
        unreadable = registry.counter(
            "vigie_outbox_unreadable_rows_total", "Rows of the outbox that held no reading and were set aside.")
        salvages = registry.counter(
            "vigie_outbox_salvages_total", "Times that the outbox's file was damaged, deleted or replaced, and mended.")
    }
}

extension GatewayMetrics {
    /// 1 for the state that a chip's breaker is in, 0 for the others.
    func breaker(_ sensor: Identifier, _ chip: Identifier, _ state: CircuitBreaker.State) -> Gauge {
        var labels = labels(sensor, chip)
        labels["state"] = state.rawValue
        return registry.gauge(
            "vigie_chip_breaker_state", "1 for the state of a chip's circuit breaker, 0 for the others.",
            labels: labels)
    }

    func breakerOpened(_ sensor: Identifier, _ chip: Identifier) -> Counter {
        registry.counter(
            "vigie_chip_breaker_opened_total", "Times that a chip that had worked failed and was left out.",
            labels: labels(sensor, chip))
    }

    func chipTries(_ sensor: Identifier, _ chip: Identifier) -> Counter {
        registry.counter(
            "vigie_chip_tries_total", "Attempts to bring back a chip that had failed.", labels: labels(sensor, chip))
    }

    func chipFaults(_ sensor: Identifier, _ chip: Identifier, kind: Identifier) -> Counter {
        var labels = labels(sensor, chip)
        labels["kind"] = kind.description
        return registry.counter(
            "vigie_chip_faults_total", "Readings that have a fault of a chip, by what it is.", labels: labels)
    }

    func lastValue(_ sensor: Identifier, _ chip: Identifier) -> Gauge {
        registry.gauge(
            "vigie_chip_last_value_timestamp_seconds", "When a chip last gave a value; 0 if it never did.",
            labels: labels(sensor, chip))
    }

    func busWedged(_ bus: Identifier) -> Gauge {
        registry.gauge(
            "vigie_bus_wedged", "1 while transfers to every chip of a bus time out.", labels: ["bus": "\(bus)"])
    }

    private func labels(_ sensor: Identifier, _ chip: Identifier) -> [String: String] {
        ["sensor": "\(sensor)", "chip": "\(chip)"]
    }
}
