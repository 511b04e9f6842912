import Foundation
import KafkaClient
import PostgresClient
import Readings
import Testing

/// What PostgreSQL itself refuses is isolated, and stops nothing.
@Suite(Servers.areThere) struct PoisonTests {
    /// A way in which an operator's database refuses readings of 66 degrees, and the SQLSTATE of it.
    enum Refusal: String, CaseIterable, CustomTestStringConvertible {
        case raised = "P0001"
        case deferred = "P0002"
        case constraint = "23514"
        case overflow = "22003"
        case ownState = "VG001"

        var testDescription: String { "\(self)" }

        var sql: String {
            switch self {
            case .raised: trigger("RAISE EXCEPTION 'too hot for %', NEW.sensor_id")
            case .ownState: trigger("RAISE EXCEPTION 'too hot' USING ERRCODE = 'VG001'")
            case .overflow: trigger("NEW.interval_ms := NEW.temperature::int8 * 1000000000000")
            case .constraint: "ALTER TABLE sensor_data ADD CONSTRAINT cool CHECK (temperature <> 66)"
            case .deferred:
                """
                CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    IF NEW.temperature = 66 THEN
                        RAISE EXCEPTION 'too hot at the end' USING ERRCODE = 'P0002'; END IF;
                    RETURN NULL; END $$;
                CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON sensor_data DEFERRABLE INITIALLY DEFERRED
                    FOR EACH ROW EXECUTE FUNCTION refuse()
                """
            }
        }

        private func trigger(_ action: String) -> String {
            """
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF NEW.temperature = 66 THEN \(action); END IF; RETURN NEW; END $$;
            CREATE TRIGGER refuse BEFORE INSERT ON sensor_data FOR EACH ROW EXECUTE FUNCTION refuse()
            """
        }
    }

    private let start = Timestamp(milliseconds: SystemWallClock().now().milliseconds - 600_000)

    /// A site with a migrated database.
    private func site() async throws -> (Site, configuration: String) {
        let site = try await Site(partitions: 2)
        let configuration = try site.writeProcessorConfiguration()
        let migration = try await BuiltProgram.processor.run(["migrate", "--config", configuration], in: site.folder)
        try #require(migration.ending == .status(0), "\(migration.output)")
        return (site, configuration)
    }

    /// Readings 1 ... count of a gateway in each of two partitions; those of the given numbers are poison.
    private func messages(_ site: Site, count: Int64, poison: [Set<Int64>]) throws -> [Outgoing] {
        var messages: [Outgoing] = []
        for sequence in 1...count {
            for (partition, poison) in poison.enumerated() {
                let reading = try site.reading(
                    sequence, gateway: "g\(partition)", from: start,
                    temperature: poison.contains(sequence) ? 66 : 20)
                messages.append(
                    Outgoing(
                        key: Array("g\(partition)".utf8), value: reading.encoded(),
                        headers: [KafkaHeader(name: "vigie-committed", text: "\(sequence)")],
                        partition: Int32(partition)))
            }
        }
        return messages
    }

    @Test(
        .timeLimit(.minutes(10)),
        arguments: [
            (.raised, 2000, [[1000], []]), (.raised, 1000, [[1], []]), (.raised, 1000, [[1000], []]),
            (.constraint, 1000, [[7, 8, 500, 900], []]), (.overflow, 500, [[100], [100, 499]]),
            (.deferred, 500, [[250], [1]]), (.ownState, 500, [[250], [500]]),
            (.raised, 100, [Set(1...100), Set(1...100)]),
        ] as [(Refusal, Int64, [Set<Int64>])])
    func aRefusedReadingIsRejectedAndTheRestIsStored(refusal: Refusal, count: Int64, poison: [Set<Int64>]) async throws
    {
        let (site, configuration) = try await site()
        try site.database.execute(refusal.sql)
        let messages = try messages(site, count: count, poison: poison)
        try await site.send(messages)
        let processor = try BuiltProgram.processor.start(["run", "--config", configuration], in: site.folder)
        let refused = poison.reduce(0) { $0 + $1.count }
        try await waitUntil("everything is read", within: .seconds(120)) {
            try #require(processor.isRunning, "\(processor.output)")
            return try site.value("SELECT coalesce(sum(next_offset), 0)::int8 FROM consumed_offset") == count * 2
        }
        let trials = try await site.metric("vigie_batch_trials_total", of: processor)
        // A batch is counted after its commit.
        try await waitUntil("all that was rejected is counted", within: .seconds(120)) {
            try await site.metric("vigie_rejected_total", of: processor) == Double(refused)
        }
        processor.send(SIGTERM)
        #expect(await processor.ending() == .status(0), "\(processor.output)")

        // The other rows are there, each once, and only they.
        #expect(try site.value("SELECT count(*) FROM sensor_data") == count * 2 - Int64(refused))
        #expect(
            try site.value("SELECT count(DISTINCT (gateway_id, seq)) FROM sensor_data") == count * 2 - Int64(refused))
        #expect(try site.value("SELECT count(*) FROM sensor_data WHERE temperature = 66", as: Int64.self) == 0)
        // What is refused is on the rejected topic as it came, and nothing else is.
        let rejected = try await site.messages(of: site.rejectedTopic)
        #expect(rejected.count == refused)
        for message in rejected {
            let partition = try #require(message.headers["vigie-partition"].flatMap { Int($0) })
            let sequence = try #require(message.headers["vigie-committed"].flatMap { Int64($0) })
            let original = try #require(
                messages.first { $0.headers[0].value == Array("\(sequence)".utf8) && $0.partition == partition })
            #expect(poison[partition].contains(sequence))
            #expect(message.value == original.value && message.key == original.key)
            #expect(message.headers["vigie-reason"] == "refused_by_database")
            #expect(message.headers["vigie-detail"]?.contains(refusal.rawValue) == true, "\(message.headers)")
            #expect(message.headers["vigie-offset"] == "\(sequence - 1)")
        }
        // The number of each is lost, also if nothing came after it; but nobody knows a stream of which all is refused.
        for (partition, poison) in poison.enumerated() {
            let missing = poison.count < count ? Int64(poison.count) : 0
            #expect(
                try site.value(
                    "SELECT coalesce(sum(last_seq - first_seq + 1), 0)::int8 FROM loss WHERE gateway_id = 'g\(partition)'"
                )
                    == missing)
        }
        #expect(try site.database.query(Windows.differences).rowCount == 0)
        // At most 2 trials a level and poison, and a few for the whole batch, of which there may be two or three.
        let levels = log2(Double(count * 2)).rounded(.up) + 1
        #expect(trials <= min(2 * Double(refused) * levels, 4 * Double(count)) + 12, "\(trials) trials")
        let verification = try await BuiltProgram.processor.run(["verify", "--config", configuration], in: site.folder)
        #expect(verification.output.contains("everything agrees"), "\(verification.output)")
        try await site.remove()
    }

    @Test(.timeLimit(.minutes(10)))
    func whatIsNoReadingsFaultWaitsForTheOperator() async throws {
        let (site, configuration) = try await site()
        try site.database.execute("ALTER TABLE sensor_data RENAME TO elsewhere")
        try await site.send(try messages(site, count: 50, poison: [[], []]))
        let processor = try BuiltProgram.processor.start(["run", "--config", configuration], in: site.folder)
        try await waitUntil("the processor says what is wrong", within: .seconds(120)) {
            try #require(processor.isRunning, "\(processor.output)")
            return try await site.get("/healthz", of: processor)?.contains("operator is needed") ?? false
        }
        #expect(try await site.get("/healthz", of: processor)?.contains("42P01") == true)
        #expect(try await site.messages(of: site.rejectedTopic).isEmpty)
        try site.database.execute("ALTER TABLE elsewhere RENAME TO sensor_data")
        try await waitUntil("everything is stored", within: .seconds(120)) {
            try #require(processor.isRunning, "\(processor.output)")
            return try site.value("SELECT count(*) FROM sensor_data", as: Int64.self) == 100
        }
        try await waitUntil("the health is good again", within: .seconds(120)) {
            try await site.get("/healthz", of: processor)?.contains("postgres: healthy") ?? false
        }
        processor.send(SIGTERM)
        #expect(await processor.ending() == .status(0), "\(processor.output)")
        #expect(try await site.messages(of: site.rejectedTopic).isEmpty)
        try await site.remove()
    }

    @Test(.timeLimit(.minutes(10)))
    func refusedWindowsCostNoReadingAndAreWrittenWhenTheyAreTaken() async throws {
        let (site, configuration) = try await site()
        try site.database.execute("ALTER TABLE sensor_data_agg ADD CONSTRAINT cool CHECK (temperature_max < 60)")
        try await site.send(try messages(site, count: 200, poison: [[50], []]))
        let processor = try BuiltProgram.processor.start(["run", "--config", configuration], in: site.folder)
        try await waitUntil("the readings are stored", within: .seconds(120)) {
            try #require(processor.isRunning, "\(processor.output)")
            return try site.value("SELECT count(*) FROM sensor_data", as: Int64.self) == 400
        }
        try await waitUntil("the windows of the other gateway are written", within: .seconds(120)) {
            try site.value("SELECT count(*) > 0 FROM sensor_data_agg WHERE gateway_id = 'g1'")
        }
        try await waitUntil("the health says whose windows wait", within: .seconds(120)) {
            try await site.get("/healthz", of: processor)?.contains("the windows of g0") ?? false
        }
        #expect(try site.value("SELECT count(*) FROM sensor_data_agg WHERE temperature_max >= 60", as: Int64.self) == 0)
        #expect(try await site.messages(of: site.rejectedTopic).isEmpty)
        try site.database.execute("ALTER TABLE sensor_data_agg DROP CONSTRAINT cool")
        try await waitUntil("all windows are written", within: .seconds(120)) {
            try #require(processor.isRunning, "\(processor.output)")
            return try site.database.query(Windows.differences).rowCount == 0
        }
        processor.send(SIGTERM)
        #expect(await processor.ending() == .status(0), "\(processor.output)")
        let verification = try await BuiltProgram.processor.run(["verify", "--config", configuration], in: site.folder)
        #expect(verification.ending == .status(0), "\(verification.output)")
        try await site.remove()
    }

    /// Between the reading and the writing of a batch the topic is made anew.
    @Test(.timeLimit(.minutes(10)))
    func aRefusedReadingThatTheBrokerHasDroppedIsWrittenAnew() async throws {
        let (site, configuration) = try await site()
        try site.database.execute(Refusal.raised.sql)
        let processor = try BuiltProgram.processor.start(["run", "--config", configuration], in: site.folder)
        try await waitUntil("it has its partitions", within: .seconds(120)) {
            try #require(processor.isRunning, "\(processor.output)")
            return try site.value("SELECT count(*) FROM consumed_offset", as: Int64.self) == 2
        }
        let other = try PostgresConnection(connectionString: site.databaseConnection, applicationName: "vigie-tests")
        try other.execute("BEGIN; LOCK TABLE consumed_offset IN EXCLUSIVE MODE")
        let messages = try messages(site, count: 10, poison: [[5], []])
        try await site.send(messages)
        try await waitUntil("a batch waits to be written", within: .seconds(120)) {
            try #require(processor.isRunning, "\(processor.output)")
            return try site.value(
                """
                SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database()
                    AND application_name = 'processor' AND wait_event_type = 'Lock'
                """)
        }
        let admin = try KafkaAdmin(configuration: site.kafka)
        try await admin.deleteTopic(site.topic, timeout: .seconds(120))
        try await admin.createTopic(site.topic, partitions: 2, timeout: .seconds(120))
        try other.execute("ROLLBACK")
        try await waitUntil("the others are stored", within: .seconds(120)) {
            try #require(processor.isRunning, "\(processor.output)")
            return try site.value("SELECT count(*) FROM sensor_data", as: Int64.self) == 19
        }
        let rejected = try await site.messages(of: site.rejectedTopic)
        let original = try #require(messages.first { $0.partition == 0 && $0.headers[0].value == Array("5".utf8) })
        #expect(rejected.count == 1)
        #expect(rejected.first?.headers["vigie-rebuilt"] == "the broker has dropped the message")
        #expect(rejected.first?.value == original.value && rejected.first?.key == original.key)
        #expect(rejected.first?.headers["vigie-offset"] == "4")
        // It goes on in the new topic.
        try await site.send([
            Outgoing(key: Array("g0".utf8), value: try site.reading(11, gateway: "g0", from: start).encoded())
        ])
        try await waitUntil("the next one is stored", within: .seconds(120)) {
            try #require(processor.isRunning, "\(processor.output)")
            return try site.value("SELECT count(*) FROM sensor_data", as: Int64.self) == 20
        }
        processor.send(SIGTERM)
        #expect(await processor.ending() == .status(0), "\(processor.output)")
        try await site.remove()
    }
}
