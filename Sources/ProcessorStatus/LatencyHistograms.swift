import Monitoring

/// The latencies as Prometheus sees them.
struct LatencyHistograms: Sendable {
    /// From a few milliseconds to a week: a board that was offline for days is no exception.
    static let bounds: [Double] = [
        0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 10_800, 43_200, 86_400,
        604_800,
    ]

    private let total: Histogram
    private let stages: [(stage: LatencyStage, histogram: Histogram)]
    private let skewed: Counter

    init(_ registry: MetricsRegistry) {
        total = registry.histogram(
            "vigie_reading_to_row_seconds",
            "From the measurement of a sampled reading to the commit of its row.", bounds: LatencyHistograms.bounds)
        stages = LatencyStage.allCases.map { stage in
            (
                stage,
                registry.histogram(
                    "vigie_latency_seconds",
                    "Parts of the way of a sampled reading: commit (to the gateway's disk), send (to its producer), "
                        + "receive (by this processor), store (to the commit of its row).",
                    bounds: LatencyHistograms.bounds, labels: ["stage": stage.rawValue])
            )
        }
        skewed = registry.counter(
            "vigie_clock_skew_total",
            "Parts of the way that would have taken less than no time, as two clocks do not agree; they count as zero.")
    }

    func observe(_ sample: LatencySample, stored: Int64) {
        total.observe(clamped(Double(stored - sample.sampled) / 1000))
        for (stage, histogram) in stages {
            if let seconds = sample.seconds(stage, stored: stored) { histogram.observe(clamped(seconds)) }
        }
    }

    private func clamped(_ seconds: Double) -> Double {
        if seconds < 0 { skewed.increment() }
        return max(0, seconds)
    }
}
