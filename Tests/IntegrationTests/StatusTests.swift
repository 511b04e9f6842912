import Foundation
import HTTPClient
import PostgresClient
import Testing

/// What the processor tells of itself agrees with what was produced and with what is in the tables.
@Suite(Servers.areThere) struct StatusTests {
    private static let messages = 4000
    private static let gateways = 20
    /// Each gateway ends with a report.
    private static let all = messages + gateways

    private func start(_ site: Site, _ configuration: String) throws -> ChildProcess {
        try BuiltProgram.processor.start(["run", "--config", configuration], in: site.folder)
    }

    /// At a steady rate and from now on, so that latencies are real ones.
    private func produce(to site: Site) throws -> ChildProcess {
        try BuiltProgram.fleet.start(
            [
                "produce", "--bootstrap=\(site.kafka.bootstrapServers)", "--topic=\(site.topic)", "--rate=1000",
                "--count=\(Self.messages)", "--gateways=\(Self.gateways)", "--sensors-per-gateway=2",
                "--seed=\(testSeed)",
                "--duplicates=0.05", "--malformed=0.02", "--manifest=\(site.folder.path)/manifest.json",
            ], in: site.folder)
    }

    private func get(_ url: String) throws -> (status: Int, text: String) {
        let answer = try HTTPClient().get(try #require(HTTPAddress(url)))
        return (answer.status, String(decoding: answer.body, as: UTF8.self))
    }

    /// A member of the state, such as `counts.rows`.
    private func status(_ endpoint: String, _ path: String) throws -> Any? {
        var value = try JSONSerialization.jsonObject(with: Data(try get(endpoint + "status.json").text.utf8)) as Any?
        for name in path.split(separator: ".") { value = (value as? [String: Any])?[String(name)] }
        return value
    }

    /// The value of a series; nil if there is none.
    private func metric(_ endpoint: String, _ series: String) throws -> Double? {
        let line = try get(endpoint + "metrics").text.split(separator: "\n").first { $0.hasPrefix(series + " ") }
        return line.flatMap { Double($0.dropFirst(series.count + 1)) }
    }

    @Test(.timeLimit(.minutes(10)))
    func whatIsShownAgreesWithWhatWasProduced() async throws {
        let site = try await Site(partitions: 4)
        let configuration = try site.writeProcessorConfiguration()
        let processor = try start(site, configuration)
        // The table says where the endpoint is, as its port was chosen by the system.
        let here = """
            SELECT endpoint FROM processor WHERE worker = 1 AND cardinality(partitions) > 0 AND lag IS NOT NULL
            """
        try await waitUntil("the processor gives a heartbeat", within: .seconds(120)) {
            try #require(processor.isRunning, "\(processor.output)")
            return try site.database.query("SELECT to_regclass('processor') IS NOT NULL").value(0, 0)
                && site.database.query(here).rowCount == 1
        }
        let endpoint: String = try site.value(here)
        let fleet = try produce(to: site)
        #expect(await fleet.ending() == .status(0), "\(fleet.output)")
        try await waitUntil("all messages are committed", within: .seconds(120)) {
            try status(endpoint, "counts.messages") as? Int == Self.all
        }

        // Latencies are summed up once a second.
        try await waitUntil("all latencies are shown", within: .seconds(120)) {
            let stages = try status(endpoint, "stages") as? [[String: Any]] ?? []
            return try status(endpoint, "latency.count") as? Int ?? 0 > 0
                && stages.allSatisfy { $0["count"] as? Int ?? 0 > 0 }
        }
        try shownNumbersAgree(site, endpoint)
        for name in ["page.css", "page.js", "icon.svg", "history.json", "healthz", "readyz", "status"] {
            // A heartbeat may be late for a moment.
            try await waitUntil("\(name) is good", within: .seconds(120)) { try get(endpoint + name).status == 200 }
        }
        try await theTableAgrees(site, processor)
        try await theCommandSaysSo(site, configuration, processor)
        try await site.remove()
    }

    private func shownNumbersAgree(_ site: Site, _ endpoint: String) throws {
        let manifest = try #require(
            try JSONSerialization.jsonObject(
                with: Data(contentsOf: site.folder.appendingPathComponent("manifest.json"))) as? [String: Any])
        let malformed = (manifest["malformed"] as? [String: Int] ?? [:]).values.reduce(0, +)
        let rows = Int(try site.value("SELECT count(*) FROM sensor_data", as: Int64.self))
        let expected = [
            "rows": rows, "rejected": malformed, "duplicates": Self.messages - rows - malformed,
            "late": Int(try site.value("SELECT count(*) FROM sensor_data WHERE late", as: Int64.self)),
        ]
        #expect(rows == manifest["readings"] as? Int && malformed > 0)
        for (name, value) in expected { #expect(try status(endpoint, "counts.\(name)") as? Int == value, "\(name)") }
        for (name, series) in [
            ("rows", "vigie_rows_total"), ("duplicates", "vigie_duplicates_total"),
            ("late", "vigie_late_readings_total"),
        ] {
            #expect(try metric(endpoint, series) == expected[name].map { Double($0) }, "\(series)")
        }
        #expect(try metric(endpoint, "vigie_messages_total") == Double(Self.all))
        #expect(try metric(endpoint, "vigie_reports_total") == Double(Self.gateways))
        let sensors = try site.value("SELECT count(*) FROM sensor", as: Int64.self)
        let stages = try #require(try status(endpoint, "stages") as? [[String: Any]])
        #expect(stages.count == 4)
        // All clocks are this machine's, and the fleet says when it committed: every stage is known, and short.
        for stage in stages {
            let name = try #require(stage["stage"] as? String)
            #expect(try metric(endpoint, "vigie_latency_seconds_count{stage=\"\(name)\"}") ?? 0 > 0, "\(name)")
            #expect(try metric(endpoint, "vigie_latency_seconds_bucket{stage=\"\(name)\",le=\"+Inf\"}") ?? 0 > 0)
        }
        let partitions = try #require(try status(endpoint, "partitions") as? [[String: Any]])
        #expect(partitions.compactMap { $0["partition"] as? Int } == [0, 1, 2, 3])
        let offsets = try site.value("SELECT sum(next_offset)::int8 FROM consumed_offset", as: Int64.self)
        #expect(partitions.reduce(0) { $0 + ($1["committed"] as? Int ?? 0) } == Int(offsets))
        #expect(Int(offsets) == Self.all)
        #expect((try status(endpoint, "state.sensors") as? Int ?? 0) <= Int(sensors))
        let page = try get(endpoint)
        #expect(page.status == 200 && page.text.contains("<title>Vigie processor</title>"))
    }

    private func theTableAgrees(_ site: Site, _ processor: ChildProcess) async throws {
        let row = """
            SELECT process_id || ' ' || array_to_string(partitions, ',') || ' ' || lag || ' ' || state || ' ' || topic
                || ' ' || consumer_group FROM processor
            """
        let expected = "\(processor.identifier) 0,1,2,3 0 healthy \(site.topic) \(site.topic)"
        try await waitUntil("a heartbeat says that nothing is behind", within: .seconds(120)) {
            try site.value(row) == expected
        }
    }

    private func theCommandSaysSo(_ site: Site, _ configuration: String, _ processor: ChildProcess) async throws {
        func status() async throws -> (ending: ChildProcess.Ending, output: String) {
            try await BuiltProgram.processor.run(["status", "--config", configuration], in: site.folder)
        }
        var good = try await status()
        try await waitUntil("the command finds it well", within: .seconds(120)) {
            if good.ending != .status(0) { good = try await status() }
            return good.ending == .status(0)
        }
        #expect(good.output.contains("HEALTHY") && good.output.contains("4,020 messages"), "\(good.output)")

        processor.send(SIGKILL)
        #expect(await processor.ending() == .signal(SIGKILL))
        let silent = try await status()
        #expect(silent.ending == .status(1) && silent.output.contains("does not answer"), "\(silent.output)")
        try site.database.execute("UPDATE processor SET updated_at = now() - interval '5 minutes'")
        let gone = try await status()
        #expect(gone.ending == .status(1) && gone.output.contains("is gone for 5 min"), "\(gone.output)")

        // The next one takes the name over, and an orderly stop leaves nothing behind, even if its connections broke.
        let next = try start(site, configuration)
        try await waitUntil("the next one gives a heartbeat", within: .seconds(120)) {
            try #require(next.isRunning, "\(next.output)")
            return try site.value(
                "SELECT count(*) FROM processor WHERE process_id = \(next.identifier)", as: Int64.self) == 1
        }
        let broken = try site.value(
            """
            WITH other AS MATERIALIZED (
                SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid())
            SELECT count(*) FROM other WHERE pg_terminate_backend(pid)
            """, as: Int64.self)
        #expect(broken > 0)
        next.send(SIGTERM)
        #expect(await next.ending() == .status(0), "\(next.output)")
        #expect(try site.value("SELECT count(*) FROM processor", as: Int64.self) == 0)
        let nobody = try await status()
        #expect(nobody.ending == .status(1) && nobody.output.contains("no processor"), "\(nobody.output)")

        let away = try site.write(
            "away.yaml",
            """
            kafka: {bootstrap: "127.0.0.1:9"}
            postgres: {connection: "host=127.0.0.1 port=9 dbname=nowhere"}
            """)
        let lost = try await BuiltProgram.processor.run(["status", "--config", away], in: site.folder)
        #expect(lost.ending == .status(1) && lost.output.contains("the database cannot be asked"), "\(lost.output)")
    }
}
