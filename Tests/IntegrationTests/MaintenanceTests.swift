import Foundation
import HTTPClient
import PostgresClient
import TestSupport
import Testing

/// What a processor does beside another engine that reads the topic.
@Suite(Servers.areThere) struct MaintenanceTests {
    @Test(.timeLimit(.minutes(5)))
    func maintenanceDoesAllButReadingAndAsksNoBroker() async throws {
        let site = try await Site(partitions: 1)
        let hook = try TestServer { _ in .answer(204) }
        defer { hook.stop() }
        let configuration = try site.writeProcessorConfiguration(
            instance: "centre", bootstrap: "127.0.0.1:9", postgres: ["days_ahead: 5"],
            rest: """
                retention: {readings: 2d}
                webhook: {url: "http://127.0.0.1:\(hook.port)/"}
                """)
        let program = try BuiltProgram.processor.start(
            ["run", "--maintenance", "--config", configuration], in: site.folder)
        try await waitUntil("it gives a heartbeat", within: .seconds(120), evidence: program.output) {
            try #require(program.isRunning, "\(program.output)")
            return try site.value("SELECT to_regclass('alert_notification') IS NOT NULL")
                && site.value("SELECT count(*) FROM processor WHERE state = 'healthy'", as: Int64.self) == 1
        }
        let row = "SELECT concat_ws(' ', instance, worker, cardinality(partitions), lag) FROM processor"
        #expect(try site.value(row) == "centre-maintenance 1 0")

        let days: Int64 = try site.value(
            """
            SELECT count(*) FROM generate_series(date_trunc('day', now() AT TIME ZONE 'UTC'),
                date_trunc('day', now() AT TIME ZONE 'UTC') + interval '5 days', interval '1 day') AS day
            WHERE to_regclass('sensor_data_' || to_char(day, 'YYYYMMDD')) IS NOT NULL
            """)
        #expect(days == 6)

        // As another engine opens an alert.
        try site.database.execute(
            """
            WITH made AS (
                INSERT INTO alert (id, gateway_id, sensor_id, kind, variable, severity, pending_since, opened_at, updated_at,
                    detail)
                VALUES (1, 'g', 's', 'silence', '', 'critical', now(), now(), now(), '') RETURNING id)
            INSERT INTO alert_notification (alert_id, event, payload, created_at, next_attempt_at)
            SELECT id, 'opened', '{"event": "opened"}', now(), now() FROM made
            """)
        try await waitUntil("the webhook has been told", within: .seconds(120), evidence: program.output) {
            try site.value("SELECT count(*) FROM alert_notification WHERE sent_at IS NOT NULL", as: Int64.self) == 1
        }
        #expect(hook.requests.map(\.body) == [#"{"event": "opened"}"#])

        let endpoint: String = try site.value("SELECT endpoint FROM processor")
        let page = try #require(HTTPAddress(endpoint + "status"))
        try await waitUntil("its page shows the alert", within: .seconds(120), evidence: program.output) {
            String(decoding: try HTTPClient().get(page).body, as: UTF8.self).contains("1 silence (critical)")
        }
        let status = try await BuiltProgram.processor.run(["status", "--config", configuration], in: site.folder)
        #expect(status.ending == .status(0), "\(status.output)")
        #expect(status.output.contains("nothing: maintenance beside another engine, which reads \(site.topic)"))

        program.send(SIGTERM)
        #expect(await program.ending() == .status(0), "\(program.output)")
        #expect(try site.value("SELECT count(*) FROM processor", as: Int64.self) == 0)
        #expect(!program.output.contains("127.0.0.1:9"), "\(program.output)")
        try await retentionIsKept(site, configuration)
        try await site.remove()
    }

    /// A day that is older than readings are kept goes at the next start.
    private func retentionIsKept(_ site: Site, _ configuration: String) async throws {
        try site.database.execute(
            "CREATE TABLE sensor_data_20200101 PARTITION OF sensor_data FOR VALUES FROM ('2020-01-01') TO ('2020-01-02')"
        )
        let program = try BuiltProgram.processor.start(
            ["run", "--maintenance", "--config", configuration], in: site.folder)
        try await waitUntil("the old day is gone", within: .seconds(120), evidence: program.output) {
            try #require(program.isRunning, "\(program.output)")
            return try site.value("SELECT to_regclass('sensor_data_20200101') IS NULL")
        }
        program.send(SIGTERM)
        #expect(await program.ending() == .status(0), "\(program.output)")
    }
}
