import FleetCore
import Foundation
import KafkaClient
import Platform
import PostgresClient
import Readings
import Testing

/// The processor is killed at random moments of its work, and yet everything comes out as if it never had been.
@Suite(Servers.areThere) struct ProcessorKillTests {
    private static let kills = 10

    /// More than 100,000 readings of 50 boards, with everything that can be wrong with them.
    private func plan() -> FleetPlan {
        // Whole seconds, as they are written on the command line.
        let now = Timestamp(milliseconds: SystemWallClock().now().milliseconds / 1000 * 1000)
        var plan = FleetPlan(start: Timestamp(milliseconds: now.milliseconds - 45 * 60_000))
        plan.gateways = 50
        plan.sensorsPerGateway = 2
        plan.messages = 110_000
        plan.intervalMicroseconds = 2_000_000
        plan.seed = testSeed
        plan.duplicates = 0.05
        plan.malformed = 0.01
        plan.anomalies = 0.01
        plan.faults = 0.01
        plan.outOfOrder = 0.02
        plan.late = 0.003
        return plan
    }

    private func produce(_ plan: FleetPlan, to site: Site) throws -> ChildProcess {
        try BuiltProgram.fleet.start(
            [
                "produce", "--bootstrap=\(site.kafka.bootstrapServers)", "--topic=\(site.topic)", "--rate=8000",
                "--manifest=\(site.folder.path)/manifest.json", "--gateways=\(plan.gateways)",
                "--sensors-per-gateway=\(plan.sensorsPerGateway)", "--count=\(plan.messages)", "--seed=\(plan.seed)",
                "--start=\(plan.start)", "--interval=\(plan.intervalMicroseconds / 1000)ms",
                "--duplicates=\(plan.duplicates)", "--malformed=\(plan.malformed)", "--anomalies=\(plan.anomalies)",
                "--faults=\(plan.faults)", "--out-of-order=\(plan.outOfOrder)", "--late=\(plan.late)",
            ], in: site.folder)
    }

    @Test(.timeLimit(.minutes(10)))
    func everyReadingIsStoredOnceWhateverIsKilledWhen() async throws {
        let plan = plan()
        let site = try await Site(partitions: 4)
        let truth = try Truth(plan, in: site.database)
        #expect(truth.manifest.readings >= 100_000)
        // Small batches, so that there is much to interrupt however far behind the processor is.
        let configuration = try site.writeProcessorConfiguration(batch: 2000)
        let migration = try await BuiltProgram.processor.run(["migrate", "--config", configuration], in: site.folder)
        try #require(migration.ending == .status(0), "\(migration.output)")

        let fleet = try produce(plan, to: site)
        try await killAgainAndAgain(site, configuration, readings: truth.manifest.readings)
        let processor = try start(site, configuration)
        #expect(await fleet.ending() == .status(0), "\(fleet.output)")
        #expect(
            try String(contentsOf: site.folder.appendingPathComponent("manifest.json"), encoding: .utf8)
                == truth.manifest.json)
        let sent = try await site.messages(of: site.topic)
        // Each gateway ends with a report.
        #expect(sent.count == plan.messages + plan.gateways)

        try await waitUntil("all readings are stored", within: .seconds(120)) {
            try #require(processor.isRunning, "\(processor.output)")
            return try rows(site) >= truth.manifest.readings
        }
        try await waitUntil("all windows are written", within: .seconds(120), every: .milliseconds(500)) {
            try site.database.query(Windows.differences).rowCount == 0
        }
        try await rejectedMessagesAreAllThere(site, sent: sent, truth)
        processor.send(SIGTERM)
        #expect(await processor.ending() == .status(0), "\(processor.output)")

        try truth.expectEquals(site.database)
        try expectWindows(site)
        try await verifyTellsTheTruth(site, configuration)
        try await site.remove()
    }

    private func start(_ site: Site, _ configuration: String) throws -> ChildProcess {
        try BuiltProgram.processor.start(["run", "--config", configuration], in: site.folder)
    }

    private func rows(_ site: Site) throws -> Int {
        Int(try site.value("SELECT count(*) FROM sensor_data", as: Int64.self))
    }

    /// Starts the processor and kills it, each time when a random share of all readings is stored, and a little later;
    /// if it was already stored, at a random moment of the start.
    private func killAgainAndAgain(_ site: Site, _ configuration: String, readings: Int) async throws {
        var random = SeededGenerator(seed: testSeed)
        let thresholds = (0..<Self.kills).map { _ in Int.random(in: 0..<readings * 9 / 10, using: &random) }.sorted()
        var killedAtWork = 0
        for threshold in thresholds {
            let processor = try start(site, configuration)
            let wasThere = try rows(site) >= threshold
            try await waitUntil("\(threshold) readings are stored", within: .seconds(120), every: .milliseconds(5)) {
                try #require(processor.isRunning, "\(processor.output)")
                return try rows(site) >= threshold
            }
            try await Task.sleep(for: .milliseconds(Int.random(in: 0...(wasThere ? 1000 : 100), using: &random)))
            if try rows(site) < readings { killedAtWork += 1 }
            processor.send(SIGKILL)
            #expect(await processor.ending() == .signal(SIGKILL), "\(processor.output)")
        }
        // The last ones may come too late where this test has to wait for its turn.
        #expect(killedAtWork > Self.kills / 2, "the work was done before most kills")
    }

    /// Delivery to the topic of what is rejected is at least once: repeated, perhaps, but nothing is missing, nothing
    /// is changed, and nothing else is there.
    private func rejectedMessagesAreAllThere(_ site: Site, sent: [Site.Message], _ truth: Truth) async throws {
        struct Place: Hashable {
            var partition: String?
            var offset: String?
        }
        var expected: [Place: (value: [UInt8], kind: Malformation)] = [:]
        for message in sent {
            guard let kind = truth.malformed[message.value] else { continue }
            expected[Place(partition: "\(message.partition)", offset: "\(message.offset)")] = (message.value, kind)
        }
        #expect(expected.count == truth.manifest.malformed.values.reduce(0, +))
        var found: Set<Place> = []
        for message in try await site.messages(of: site.rejectedTopic) {
            let place = Place(partition: message.headers["vigie-partition"], offset: message.headers["vigie-offset"])
            found.insert(place)
            guard let original = expected[place] else {
                Issue.record("rejected without cause: \(message.headers)")
                continue
            }
            #expect(message.value == original.value)
            #expect(message.headers["vigie-reason"] == original.kind.expectedReason, "\(original.kind)")
            #expect(message.headers["vigie-topic"] == site.topic)
            #expect(message.headers["vigie-detail"]?.isEmpty == false)
            #expect(message.headers["vigie-time"].flatMap { Timestamp($0) } != nil, "\(message.headers)")
        }
        #expect(found.count == expected.count, "rejected messages are missing")
    }

    private func expectWindows(_ site: Site) throws {
        let differences = try site.database.query(Windows.differences)
        #expect(differences.rowCount == 0)
        for row in 0..<min(differences.rowCount, 5) {
            let (sensor, start) = (
                try differences.optional(row, 0, as: String.self),
                try differences.optional(row, 3, as: PostgresTimestamp.self)
            )
            let counts = [4, 5].map { try? differences.optional(row, $0, as: Int64.self) }
            print("window of \(sensor ?? "?") from \(start.map { "\($0)" } ?? "?"): found, expected \(counts)")
        }
        #expect(try site.value("SELECT count(*) FROM sensor_data_agg", as: Int64.self) > 5000)
    }

    /// `verify` is content with what the processor wrote, and with nothing less.
    private func verifyTellsTheTruth(_ site: Site, _ configuration: String) async throws {
        func verify() async throws -> (ending: ChildProcess.Ending, output: String) {
            try await BuiltProgram.processor.run(["verify", "--config", configuration], in: site.folder)
        }
        let good = try await verify()
        #expect(good.ending == .status(0), "\(good.output)")
        let damages = [
            """
            UPDATE sensor_data_agg SET temperature_avg = temperature_avg + 0.01 WHERE ctid IN (
                SELECT ctid FROM sensor_data_agg WHERE is_final AND temperature_avg IS NOT NULL LIMIT 1)
            """,
            "DELETE FROM sensor_data WHERE (gateway_id, seq) = ('gateway-0007', 1000)",
        ]
        for damage in damages {
            try site.database.execute("CREATE TABLE undamaged AS TABLE sensor_data_agg; BEGIN; \(damage); COMMIT")
            let bad = try await verify()
            #expect(bad.ending == .status(1), "\(damage)\n\(bad.output)")
            try site.database.execute(
                """
                TRUNCATE sensor_data_agg; INSERT INTO sensor_data_agg TABLE undamaged; DROP TABLE undamaged
                """)
        }
    }
}

/// What a plan must lead to, known without any of the processor's code: PostgreSQL reads the JSON.
private struct Truth {
    let manifest: FleetManifest
    /// The malformed messages; no two kinds share a text.
    let malformed: [[UInt8]: Malformation]

    /// Generates all messages, and puts the readings into a table of the database.
    init(_ plan: FleetPlan, in database: PostgresConnection) throws {
        var generator = try FleetGenerator(plan)
        var malformed: [[UInt8]: Malformation] = [:]
        try database.execute("CREATE TABLE truth (reading jsonb NOT NULL)")
        try database.execute("CREATE TEMPORARY TABLE sent (line text NOT NULL)")
        try database.copyIn("COPY sent FROM STDIN (FORMAT binary)") { writer in
            while let message = generator.next() {
                switch message.kind {
                case .malformed(let kind): malformed[message.bytes] = kind
                case .duplicate, .conflict, .report: break
                case .reading:
                    try writer.beginRow(fields: 1)
                    message.bytes.withUnsafeBytes { writer.append($0) }
                }
            }
        }
        try database.execute("INSERT INTO truth SELECT line::jsonb FROM sent")
        manifest = generator.manifest
        self.malformed = malformed
    }

    /// Compares the rows with the truth, both ways: each reading once, each of its values as it was sent.
    func expectEquals(_ database: PostgresConnection) throws {
        for stream in manifest.streams {
            let rows = try database.query(
                """
                SELECT count(*), count(DISTINCT seq), coalesce(min(seq), 0), coalesce(max(seq), 0) FROM sensor_data
                WHERE gateway_id = $1 AND stream_id = $2
                """, [.value(stream.gateway.description), .value(stream.stream.description)])
            let found = try (0..<4).map { try rows.value(0, $0, as: Int64.self) }
            let last = stream.lastSequence
            #expect(found == [last, last, min(1, last), last], "\(stream.gateway)")
        }
        let numbers = [
            "interval_ms", "temperature", "humidity", "co2", "pressure", "battery_level", "battery_voltage", "latitude",
            "longitude",
        ]
        let sent = """
            SELECT reading->>'gateway_id', reading->>'sensor_id', reading->>'stream_id', (reading->>'seq')::bigint,
                (reading->>'event_time')::timestamptz, reading->>'time_quality',
                ARRAY(SELECT jsonb_array_elements_text(coalesce(reading->'faults', '[]'))),
                coalesce((reading->>'simulated')::boolean, false),
                \(numbers.map { "(reading->>'\($0)')::float8" }.joined(separator: ", "))
            FROM truth
            """
        let stored = """
            SELECT gateway_id, sensor_id, stream_id, seq, event_time, time_quality::text, coalesce(faults, '{}'), simulated,
                \(numbers.map { "\($0)::float8" }.joined(separator: ", "))
            FROM sensor_data
            """
        for (first, second) in [(sent, stored), (stored, sent)] {
            #expect(try database.query("(\(first)) EXCEPT ALL (\(second))").rowCount == 0)
        }
    }
}
