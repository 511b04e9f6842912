import Foundation
import Monitoring
import Presentation
import Readings
import Testing

@testable import ProcessorStatus

/// Who the processor of these tests is.
private let identity = ProcessorIdentity(
    instance: "centre-1", host: "here", processID: 42, version: "1.2.3", topic: "t", group: "g",
    startedAt: Timestamp(milliseconds: 1_000_000))

private func time(_ seconds: Double) -> Timestamp { Timestamp(milliseconds: 1_000_000 + Int64(seconds * 1000)) }

@Suite struct DistributionTests {
    @Test func quantilesAreWithinABucketOfTheTruth() throws {
        var distribution = Distribution()
        for number in 1...1000 { distribution.add(Double(number) / 100) }
        for share in [0.01, 0.5, 0.95, 0.99, 1] {
            let found = try #require(distribution.quantile(share))
            #expect(abs(found - share * 10) <= share * 10 * 0.34, "\(share): \(found)")
        }
        #expect(distribution.quantile(1) == 10)
        #expect(distribution.count == 1000 && distribution.maximum == 10)
    }

    @Test func ofNothingThereIsNothing() {
        #expect(Distribution().quantile(0.5) == nil)
        #expect(Distribution().maximum == nil)
    }

    @Test func everyBoundFallsIntoItsOwnBucketAndWhatIsBeyondIntoTheOuterOnes() {
        for bucket in 0..<65 {
            var distribution = Distribution()
            distribution.add(Distribution.upperBound(bucket))
            #expect(distribution.counts.firstIndex(of: 1) == bucket)
        }
        var outer = Distribution()
        for value in [-5, 0, 1e9, .infinity, .nan] { outer.add(value) }
        #expect(outer.counts.first == 2 && outer.counts.last == 1 && outer.count == 3)
    }

    @Test func whatIsOlderThanTenMinutesIsForgotten() {
        var recent = RecentDistribution()
        recent.add(1)
        #expect(recent.all.count == 1, "also what the turn has not ended yet")
        let turns = RecentDistribution.turnsASlot * (RecentDistribution.slotCount - 1)
        for turn in 0..<turns { #expect(recent.turn().count == (turn == 0 ? 1 : 0)) }
        #expect(recent.all.count == 1)
        for _ in 0..<RecentDistribution.turnsASlot { _ = recent.turn() }
        #expect(recent.all.count == 0)
    }
}

@Suite struct RingTests {
    @Test func theOldestGoesFirst() {
        var ring = Ring<Int>(capacity: 3)
        #expect(ring.elements.isEmpty)
        for number in 1...5 { ring.append(number) }
        #expect(ring.elements == [3, 4, 5])
        #expect(Array(ring.suffix(2)) == [4, 5])
        #expect(Array(ring.suffix(9)) == [3, 4, 5])
    }
}

@Suite struct PipelineStatusTests {
    private let status = PipelineStatus(worker: 0, histograms: LatencyHistograms(MetricsRegistry()))

    private func view(_ partition: Int32, position: Int64?, end: Int64?) -> PartitionView {
        PartitionView(partition: partition, position: position, end: end)
    }

    /// Records a batch of one partition.
    private func record(
        _ partition: Int32, from: Int64, to: Int64, samples: [LatencySample] = [], at now: Timestamp = time(0)
    ) {
        var work = WorkCounts()
        (work.messages, work.rows, work.batches) = (Int(to - from), Int(to - from), 1)
        status.record(work, offsets: [partition: to], samples: samples, duration: .milliseconds(20), now: now)
    }

    @Test func lagIsWhatIsNotInTheDatabase() {
        status.observe([view(0, position: 100, end: nil), view(1, position: 7, end: 7)])
        #expect(status.lag(of: 0) == nil, "the broker has not answered yet")
        #expect(status.lag(of: 1) == 0)
        // Fetched, but not written.
        status.observe([view(0, position: 180, end: 200), view(1, position: 7, end: 7)])
        #expect(status.lag(of: 0) == 100)
        record(0, from: 100, to: 180)
        #expect(status.lag(of: 0) == 20)
        #expect(status.turn(seconds: 1).lag == 20)
        #expect(status.lag(of: 2) == nil)
        // The end is as of the last observation, but never behind what was read.
        record(0, from: 180, to: 230)
        #expect(status.lag(of: 0) == 0 && status.partitions.first?.end == 230)
    }

    @Test func aPartitionThatComesBackStartsWhereTheDatabaseSays() {
        status.observe([view(0, position: 100, end: 200)])
        record(0, from: 100, to: 150)
        status.observe([])
        #expect(status.partitions.isEmpty)
        status.observe([view(0, position: 190, end: 200)])
        #expect(status.lag(of: 0) == 10)
        // After a stale batch the offsets in the database are read again.
        status.forgetPositions()
        #expect(status.partitions.map(\.committed) == [nil] && status.committed == [:])
        status.locate([0: 110])
        status.observe([view(0, position: 120, end: 200)])
        #expect(status.lag(of: 0) == 90 && status.committed == [0: 110])
    }

    @Test func stagesAddUpAndUnknownEndsAreLeftOut() throws {
        let sample = LatencySample(sampled: 1_000_000, committed: 1_000_010, sent: 1_000_030, received: 1_000_060)
        record(0, from: 0, to: 1, samples: [sample], at: time(0.1))
        var noCommit = sample
        noCommit.committed = nil
        record(0, from: 1, to: 2, samples: [noCommit], at: time(0.1))
        let view = status.view
        #expect(view.latency.count == 2)
        #expect(view.stages.mapValues(\.count) == [.commit: 1, .send: 1, .receive: 2, .store: 2])
        let stages = LatencyStage.allCases.map { sample.seconds($0, stored: 1_000_100) }
        #expect(stages == [0.01, 0.02, 0.03, 0.04])
        #expect(noCommit.seconds(.send, stored: 0) == nil)
    }

    @Test func batchesAreRememberedUpToABound() {
        for number in 0..<200 { record(0, from: Int64(number), to: Int64(number + 1)) }
        #expect(status.view.batches.count == PipelineStatus.rememberedBatches)
        #expect(status.view.counts.batches == 200 && status.view.counts.messages == 200)
        #expect(status.turn(seconds: 1).slowestBatch == 0.02)
        #expect(status.turn(seconds: 1).slowestBatch == nil, "none since the last turn")
    }
}

@Suite struct StatusCollectorTests {
    private let registry = MetricsRegistry()
    private let health = Health()

    private func collector(_ cpu: [Double] = []) -> StatusCollector {
        let seconds = Sequence(cpu)
        return StatusCollector(identity: identity, health: health, registry: registry) { (seconds.next(), 5e6) }
    }

    /// Gives one number after the other.
    private final class Sequence: @unchecked Sendable {
        private var rest: ArraySlice<Double>
        init(_ numbers: [Double]) { rest = numbers[...] }
        func next() -> Double? { rest.popFirst() }
    }

    private func work(
        _ pipeline: PipelineStatus, messages: Int, partition: Int32 = 0, from: Int64 = 0, at: Timestamp
    ) {
        let sample = LatencySample(
            sampled: at.milliseconds - 100, committed: at.milliseconds - 90, sent: at.milliseconds - 80,
            received: at.milliseconds - 30)
        var work = WorkCounts()
        (work.messages, work.rows, work.duplicates, work.batches) = (messages, messages - 1, 1, 1)
        pipeline.record(
            work, offsets: [partition: from + Int64(messages)], samples: [sample], duration: .milliseconds(12), now: at)
    }

    private func object(_ json: JSON) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(json.text.utf8)) as? [String: Any])
    }

    private func member(
        _ instance: String, worker: Int32 = 0, host: String = "here", age: Double = 1, endpoint: String? = nil
    )
        -> ProcessorMember
    {
        ProcessorMember(
            instance: instance, worker: worker, host: host, processID: 1, version: "1", partitions: [0, 1],
            endpoint: endpoint, lag: 3, messagesPerSecond: 12.5, state: "healthy", startedAt: time(0), age: age)
    }

    @Test func ratesAreOfTheTimeThatHasPassed() {
        let collector = collector([1, 1.5, 1.75])
        let (first, second) = (collector.addPipeline(), collector.addPipeline())
        #expect(first.worker == 1 && second.worker == 2)
        collector.turn(now: time(1), seconds: 1)
        work(first, messages: 100, at: time(1.5))
        work(second, messages: 50, at: time(1.6))
        collector.turn(now: time(3), seconds: 2)
        collector.turn(now: time(3.5), seconds: 0.5)
        let history = collector.report(now: time(4)).history
        #expect(history.map(\.messagesPerSecond) == [0, 75, 0])
        #expect(history.map(\.rowsPerSecond) == [0, 74, 0])
        #expect(history.map(\.cpuShare) == [nil, 0.25, 0.5])
        #expect(history.map(\.batchSeconds) == [nil, 0.012, nil])
        #expect(history[1].latencyMedian.map { abs($0 - 0.1) < 0.02 } == true)
        #expect(collector.report(now: time(4)).messagesPerSecond == 25)
        let shares = collector.members(endpoint: nil).map { ($0.messagesPerSecond * 3).rounded() }
        #expect(shares == [50, 25], "each pipeline has its own")
        #expect(collector.report(now: time(4)).uptime == 4)
    }

    @Test func tenMinutesAreRemembered() {
        let collector = collector()
        for second in 1...700 { collector.turn(now: time(Double(second)), seconds: 1) }
        let history = collector.report(now: time(700)).history
        #expect(history.count == 600)
        #expect(history.first?.time == time(101).milliseconds && history.last?.time == time(700).milliseconds)
    }

    @Test func theJSONIsValidInEveryState() throws {
        let collector = collector()
        var status = try object(collector.report(now: time(0)).json)
        #expect(status["alerts"] is NSNull && status["members"] is NSNull && status["lag"] is NSNull)
        let pipeline = collector.addPipeline()
        pipeline.observe([PartitionView(partition: 3, position: 0, end: 12)])
        pipeline.measure(StateSize(sensors: 2, panes: 8, windows: 30, bytes: 5000))
        work(pipeline, messages: 10, partition: 3, at: time(1))
        collector.turn(now: time(2), seconds: 1)
        collector.note(
            DatabaseView(
                members: [member("a \"b\"")], missing: 7,
                alerts: [OpenAlerts(kind: "silence", severity: "critical", count: 2)]))
        health.report("postgres", .healthy)
        status = try object(collector.report(now: time(2)).json)
        #expect((status["counts"] as? [String: Int])?["messages"] == 10)
        #expect((status["counts"] as? [String: Int])?["rows"] == 9)
        #expect((status["partitions"] as? [[String: Int]])?.first?["lag"] == 2)
        #expect((status["members"] as? [[String: Any]])?.first?["instance"] as? String == "a \"b\"")
        #expect((status["alerts"] as? [[String: Any]])?.first?["count"] as? Int == 2)
        #expect((status["database"] as? [String: Any])?["missing"] as? Int == 7)
        #expect((status["latency"] as? [String: Any])?["count"] as? Int == 1)
        #expect((status["stages"] as? [[String: Any]])?.map { $0["count"] as? Int } == [1, 1, 1, 1])
        #expect((status["batches"] as? [[Double]]) == [[1_001_000, 10, 9, 0.012]])
        #expect((status["health"] as? [String: Any])?["good"] as? Bool == true)
        let history = try object(collector.report(now: time(2)).historyJSON)
        let columns = try #require(history["columns"] as? [String])
        let points = try #require(history["points"] as? [[Any]])
        #expect(points.count == 1 && points[0].count == columns.count)
    }

    @Test func aDatabaseThatIsAwayIsSaidAndForgottenWhenItIsBack() {
        let collector = collector()
        health.report("postgres", .healthy)
        #expect(collector.report(now: time(0)).isGood)
        collector.note(databaseError: "connection refused")
        let report = collector.report(now: time(1))
        #expect(!report.isGood && report.databaseTrouble == "connection refused" && report.state == "degraded")
        #expect(report.text.contains("connection refused") && report.text.contains("DEGRADED"))
        #expect(collector.members(endpoint: nil).isEmpty)
        collector.note(DatabaseView(members: [], missing: 0, alerts: nil))
        #expect(collector.report(now: time(2)).isGood)
        health.report("postgres", .degraded("no room"))
        #expect(collector.report(now: time(2)).databaseTrouble == "no room")
    }

    @Test func whoDoesMaintenanceOnlySaysSo() throws {
        var own = identity
        own.role = .maintenance
        let collector = StatusCollector(identity: own, health: health, registry: registry)
        health.report("maintenance", .healthy)
        collector.note(DatabaseView(members: [], missing: 7, alerts: []))
        let members = collector.members(endpoint: "http://127.0.0.1:1/")
        #expect(members.map(\.worker) == [1] && members.allSatisfy { $0.partitions.isEmpty && $0.lag == nil })
        #expect(members.first?.state == "healthy" && members.first?.endpoint == "http://127.0.0.1:1/")
        let report = collector.report(now: time(1))
        #expect(report.isGood && report.text.contains("nothing: maintenance beside another engine, which reads t"))
        #expect(report.text.contains("missing     7 readings") && !report.text.contains("throughput"))
        #expect(try object(report.json)["role"] as? String == "maintenance")
    }

    @Test func theTextSaysWhatThePageSays() {
        let collector = collector()
        let pipeline = collector.addPipeline()
        health.report("postgres", .healthy)
        #expect(collector.report(now: time(0)).text.contains("nothing has come yet: no partition is assigned"))
        pipeline.observe([PartitionView(partition: 11, position: 0, end: 1_500_000)])
        work(pipeline, messages: 1_234_567, partition: 11, at: time(1))
        collector.turn(now: time(2), seconds: 1)
        collector.note(
            DatabaseView(
                members: [member("centre-1"), member("centre-2", age: 90)], missing: 5,
                alerts: [OpenAlerts(kind: "silence", severity: "critical", count: 2)]))
        let report = collector.report(now: time(65))
        for words in [
            "centre-1  HEALTHY", "up 1 min 5 s", "1,234,567 messages, 1,234,566 rows, 1 duplicates", "lag 265,433",
            "missing     5 readings", "2 silence (critical)", "gone for 1 min 30 s", "1,500,000",
        ] {
            #expect(report.text.contains(words), "\(words)\n\(report.text)")
        }
        #expect(!report.ownText.contains("centre-2"))
        #expect(report.text.split(separator: "\n").allSatisfy { $0.utf8.count <= 110 }, "\(report.text)")
    }

    @Test func prometheusSeesTheSame() throws {
        let collector = collector()
        let pipeline = collector.addPipeline()
        pipeline.observe([PartitionView(partition: 3, position: 0, end: 12), PartitionView(partition: 4)])
        pipeline.measure(StateSize(sensors: 2, panes: 8, windows: 30, bytes: 5000))
        work(pipeline, messages: 10, partition: 3, at: time(1))
        collector.turn(now: time(2), seconds: 1)
        collector.note(
            DatabaseView(
                members: [member("a"), member("b", age: 60)], missing: 7,
                alerts: [OpenAlerts(kind: "fault", severity: "warning", count: 2)]))
        var lines = Set(registry.exposition().split(separator: "\n").map(String.init))
        for line in [
            "vigie_consumer_lag_messages{partition=\"3\"} 2", "vigie_assigned_partitions 2", "vigie_sensors 2",
            "vigie_open_panes 8", "vigie_open_windows 30", "vigie_state_bytes 5000", "vigie_missing_readings 7",
            "vigie_processors 1", "vigie_postgres_up 1", "vigie_build_info{version=\"1.2.3\"} 1",
            "vigie_open_alerts{kind=\"fault\",severity=\"warning\"} 2", "vigie_reading_to_row_seconds_count 1",
            "vigie_latency_seconds_count{stage=\"send\"} 1", "vigie_clock_skew_total 0",
        ] {
            #expect(lines.contains(line), "\(line)")
        }
        #expect(!lines.contains { $0.hasPrefix("vigie_consumer_lag_messages{partition=\"4\"}") }, "it is not known")
        // What has gone is no series, an alert that has closed is a zero.
        pipeline.observe([])
        collector.note(DatabaseView(members: [], missing: 0, alerts: []))
        lines = Set(registry.exposition().split(separator: "\n").map(String.init))
        #expect(!lines.contains { $0.hasPrefix("vigie_consumer_lag_messages{") })
        #expect(lines.contains("vigie_open_alerts{kind=\"fault\",severity=\"warning\"} 0"))
    }

    @Test func clocksThatDoNotAgreeAreCounted() {
        let histograms = LatencyHistograms(registry)
        histograms.observe(
            LatencySample(sampled: 5000, committed: 4000, sent: 4500, received: 4600), stored: 4700)
        let text = registry.exposition()
        #expect(text.contains("vigie_clock_skew_total 2\n"), "the commit and the whole")
        #expect(text.contains("vigie_reading_to_row_seconds_sum 0\n"))
    }

    // MARK: The terminal

    private func inquiry(_ answers: [String: StatusInquiry.Answer]) -> StatusInquiry {
        StatusInquiry(host: "here") { endpoint, path in
            let base = endpoint.hasSuffix("/") || endpoint.hasPrefix("unix:") ? endpoint : endpoint + "/"
            return answers[base + path] ?? .silence("nobody is there")
        }
    }

    @Test func everyProcessorIsAskedOnceAndProblemsAreNamed() {
        let members = [
            member("a", endpoint: "http://127.0.0.1:1/"), member("a", worker: 1, endpoint: "http://127.0.0.1:1/"),
            member("b", endpoint: "http://127.0.0.1:2/"), member("c", age: 100, endpoint: "http://127.0.0.1:3/"),
            member("d", host: "there", endpoint: "http://127.0.0.1:1/"), member("e"),
            member("f", host: "there", endpoint: "http://there:9/"),
            member("g", host: "there", endpoint: "unix:/run/vigie/g.sock"),
        ]
        let overview = inquiry([
            "http://127.0.0.1:1/status/self": .text("A\n", isGood: true),
            "http://there:9/status/self": .text("F\n", isGood: false),
        ]).all(members)
        #expect(
            overview.problems == [
                "b on here does not answer at http://127.0.0.1:2/: nobody is there", "c on here is gone for 1 min 40 s",
                "f on there is not well",
            ])
        #expect(overview.text.hasPrefix("A\nd on there answers only on its own machine"))
        #expect(overview.text.contains("e on here has no endpoint; it says that it is healthy"))
        #expect(overview.text.contains("F\n"))
        #expect(overview.text.contains("g on there answers only on its own machine"))
        #expect(inquiry([:]).all([]).problems == ["no processor has given a heartbeat in the last hour"])
    }

    @Test func oneIsAskedByItsAddress() {
        let inquiry = inquiry([
            "http://x:1/status": .text("X", isGood: true), "http://y/status": .text("Y", isGood: false),
        ])
        #expect(inquiry.one(at: "http://x:1") == StatusOverview(text: "X", problems: []))
        #expect(inquiry.one(at: "http://y/").problems == ["the processor at http://y/ is not well"])
        let gone = inquiry.one(at: "http://z/")
        #expect(gone.problems == ["the processor at http://z/ does not answer: nobody is there"])
        let own = inquiry.withoutDatabase("refused", listen: .network(host: "::1", port: 1))
        #expect(own.problems.last == "the processor at http://[::1]:1/ does not answer: nobody is there")
        let away = inquiry.withoutDatabase("refused", listen: nil)
        #expect(away == StatusOverview(text: "", problems: ["the database cannot be asked: refused"]))
    }
}
