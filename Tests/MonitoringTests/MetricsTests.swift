import Testing

@testable import Monitoring

@Suite struct MetricsTests {
    @Test func expositionIsPrometheusTextInTheOrderOfRegistration() {
        let registry = MetricsRegistry()
        let sent = registry.counter("vigie_sent_total", "Messages sent.", labels: ["topic": "a", "gateway": "g1"])
        registry.counter("vigie_sent_total", "Messages sent.", labels: ["topic": "b", "gateway": "g1"]).increment()
        registry.gauge("vigie_depth", "Readings in the outbox.").set(12.5)
        registry.gauge("vigie_read", "Read at the scrape.") { 3 }
        registry.gauge("vigie_absent", "Has no value now.") { nil }
        sent.increment()
        sent.increment(by: 41)
        #expect(
            registry.exposition() == """
                # HELP vigie_sent_total Messages sent.
                # TYPE vigie_sent_total counter
                vigie_sent_total{gateway="g1",topic="a"} 42
                vigie_sent_total{gateway="g1",topic="b"} 1
                # HELP vigie_depth Readings in the outbox.
                # TYPE vigie_depth gauge
                vigie_depth 12.5
                # HELP vigie_read Read at the scrape.
                # TYPE vigie_read gauge
                vigie_read 3
                # HELP vigie_absent Has no value now.
                # TYPE vigie_absent gauge

                """)
    }

    @Test func histogramBucketsAreCumulativeAndInclusive() {
        let registry = MetricsRegistry()
        let histogram = registry.histogram("t_seconds", "Time.", bounds: [0.1, 1], labels: ["kind": "x"])
        for value in [0.05, 0.1, 0.5, 2, .nan] { histogram.observe(value) }
        histogram.observe(.milliseconds(250))
        #expect(
            registry.exposition() == """
                # HELP t_seconds Time.
                # TYPE t_seconds histogram
                t_seconds_bucket{kind="x",le="0.1"} 2
                t_seconds_bucket{kind="x",le="1"} 4
                t_seconds_bucket{kind="x",le="+Inf"} 5
                t_seconds_sum{kind="x"} 2.9
                t_seconds_count{kind="x"} 5

                """)
    }

    @Test func labelValuesAndHelpAreEscaped() {
        let registry = MetricsRegistry()
        registry.gauge("g", "A \\ and a\nnew line, \"quoted\".", labels: ["path": "C:\\x\n\"y\" é"]).set(1)
        #expect(
            registry.exposition() == #"""
                # HELP g A \\ and a\nnew line, "quoted".
                # TYPE g gauge
                g{path="C:\\x\n\"y\" é"} 1

                """#)
    }

    @Test(arguments: [
        (0.0, "0"), (-3, "-3"), (1e15, "1000000000000000"), (0.25, "0.25"), (.infinity, "+Inf"),
        (-.infinity, "-Inf"), (.nan, "NaN"), (1e300, "1e+300"),
    ])
    func numbers(_ value: Double, _ text: String) {
        #expect(numberText(value) == text)
    }

    @Test func sameNameAndLabelsGiveTheSameMetric() {
        let registry = MetricsRegistry()
        let first = registry.counter("a_total", "A.", labels: ["x": "1"])
        #expect(first === registry.counter("a_total", "A.", labels: ["x": "1"]))
        #expect(first !== registry.counter("a_total", "A.", labels: ["x": "2"]))
    }

    @Test func updatesFromManyTasksAreAllCounted() async {
        let registry = MetricsRegistry()
        let counter = registry.counter("a_total", "A.")
        let gauge = registry.gauge("b", "B.")
        let histogram = registry.histogram("c", "C.", bounds: [1])
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    for _ in 0..<1000 {
                        counter.increment()
                        gauge.add(1)
                        histogram.observe(0.5)
                    }
                }
            }
        }
        #expect(counter.value == 8000)
        #expect(gauge.value == 8000)
        #expect(histogram.snapshot.counts == [8000, 0])
    }

    @Test func processMetricsAreThoseOfThisProcess() throws {
        let registry = MetricsRegistry()
        registry.addProcessMetrics()
        let values = try samples(registry.exposition())
        #expect(try #require(values["process_resident_memory_bytes"]) > 1_000_000)
        #expect(try #require(values["process_cpu_seconds_total"]) > 0)
        #expect(try #require(values["process_open_fds"]) >= 3)
        let now = Double(wallTime().tv_sec)
        let start = try #require(values["process_start_time_seconds"])
        #expect(start > now - 86_400 && start <= now + 1)
    }

    private func samples(_ text: String) throws -> [String: Double] {
        var values: [String: Double] = [:]
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            let parts = line.split(separator: " ")
            let value: Double = try #require(Double(parts[1]))
            values[String(parts[0])] = value
        }
        return values
    }
}
