import FleetCore
import Foundation
import KafkaClient
import Platform
import PostgresClient
import Readings
import Synchronization
import Testing

/// Several processors share the partitions, and one that stops without knowing it does no harm.
@Suite(Servers.areThere) struct TakeoverTests {
    private func plan(_ messages: Int, minutes: Int64 = 45) -> FleetPlan {
        let now = Timestamp(milliseconds: SystemWallClock().now().milliseconds / 1000 * 1000)
        var plan = FleetPlan(start: Timestamp(milliseconds: now.milliseconds - minutes * 60_000))
        plan.gateways = 20
        plan.sensorsPerGateway = 2
        plan.messages = messages
        plan.intervalMicroseconds = 2_000_000
        plan.seed = testSeed
        plan.duplicates = 0.02
        plan.outOfOrder = 0.02
        plan.late = 0.003
        return plan
    }

    /// An instant at which a processor may be stopped without knowing it.
    private enum Instant: CaseIterable {
        /// It has messages, and no transaction.
        case betweenTransactions
        /// The server waits for it in the middle of a batch's transaction, which holds locks.
        case inTransaction
        /// It has sent COMMIT, and the server commits while it is stopped: it does not know, and has told nobody.
        case commitUnanswered
    }

    private final class Flag: Sendable {
        private let state = Atomic(false)
        // Swift 6.0 does not get through an atomic that an asynchronous function reaches into.
        var isSet: Bool { state.load(ordering: .relaxed) }
        func set() { state.store(true, ordering: .relaxed) }
    }

    @Test(.requiresApacheKafka, .timeLimit(.minutes(10)))
    func aProcessorPausedPastItsSessionStepsBack() async throws {
        var random = SeededGenerator(seed: testSeed)
        let site = try await Site(partitions: 4)
        // The shortest that Kafka allows by default.
        let session = ["session.timeout.ms": "6000", "heartbeat.interval.ms": "500"]
        let names = ["left", "right"]
        let configurations = try names.map {
            try site.writeProcessorConfiguration(instance: $0, properties: session)
        }
        let migration = try await BuiltProgram.processor.run(
            ["migrate", "--config", configurations[0]], in: site.folder)
        try #require(migration.ending == .status(0), "\(migration.output)")
        try prepareForCommits(site)
        let processors = try zip(names, configurations).map { name, configuration in
            try BuiltProgram.processor.start(["run", "--config", configuration], in: site.makeFolder(name))
        }

        // Until the last takeover is over, however long that takes.
        let isEnough = Flag()
        let producer = FleetProducer(configuration: site.kafka, topic: site.topic, rate: 800)
        // So long ago that no time comes to lie in the future.
        let plan = plan(1_000_000, minutes: 24 * 60)
        async let produced = Self.produce(plan, producer, until: isEnough)
        var paused = Int.random(in: 0...1, using: &random)
        for instant in Instant.allCases.shuffled(using: &random) {
            // A member without partitions loses none when its session ends.
            try await waitUntil(
                "both have partitions", within: .seconds(120),
                evidence: processors.map { $0.output }.joined(separator: "\n")
            ) {
                processors.allSatisfy { $0.isRunning && heldPartitions($0).count == 2 }
            }
            // At some point of what it does by the second.
            try await Task.sleep(for: .milliseconds(Int.random(in: 0...1000, using: &random)))
            print("  \(names[paused]) is stopped: \(instant)")
            try await pause(processors[paused], names[paused], at: instant, of: site)
            // What the paused one had sent before may still be committed: only what comes after is the other one's work.
            let other = processors[1 - paused]
            try await waitUntil("the other one has all partitions", within: .seconds(120), evidence: other.output) {
                heldPartitions(other) == [0, 1, 2, 3]
            }
            let before = try offsets(site)
            try await waitUntil("the other one has gone on in all partitions", within: .seconds(120)) {
                try #require(other.isRunning, "\(other.output)")
                let now = try offsets(site)
                return now.count == 4 && now.allSatisfy { $0.value > before[$0.key] ?? 0 }
            }
            let written = processors[paused].output.count
            processors[paused].send(SIGCONT)
            try await waitUntil(
                "the paused one has stepped back and is a member again", within: .seconds(120),
                evidence: processors[paused].output
            ) {
                try #require(processors[paused].isRunning, "\(processors[paused].output)")
                let lines = processors[paused].output.dropFirst(written).split(separator: "\n")
                let revoked = lines.lastIndex { $0.contains("partitions revoked") }
                let assigned = lines.lastIndex { $0.contains("partitions assigned") && !$0.contains("=[]") }
                return revoked != nil && assigned ?? 0 > revoked ?? 0
            }
            paused = 1 - paused
        }
        isEnough.set()
        let manifest = try await produced
        try await expectEverythingOnce(site, manifest, processors)
        #expect(
            processors.contains { $0.output.contains("ended sessions of processors that do not go on") },
            "\(processors.map { $0.output.suffix(6000) })")
        try await site.remove()
    }

    /// Makes commits of chosen processors take long: what is deferred is done by COMMIT.
    private func prepareForCommits(_ site: Site) throws {
        try site.database.execute(
            """
            CREATE TABLE slow (name text PRIMARY KEY);
            CREATE FUNCTION commit_slowly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF EXISTS (SELECT FROM slow WHERE name = current_setting('application_name')) THEN
                    PERFORM pg_sleep(2); END IF;
                RETURN NULL;
            END $$;
            CREATE CONSTRAINT TRIGGER slow AFTER UPDATE ON consumed_offset DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION commit_slowly();
            """)
    }

    /// Stops a processor at an instant.
    private func pause(_ processor: ChildProcess, _ name: String, at instant: Instant, of site: Site) async throws {
        if instant == .commitUnanswered { try site.database.execute("INSERT INTO slow VALUES ('\(name)')") }
        try await waitUntil("the processor is stopped: \(instant)", within: .seconds(120), every: .milliseconds(3)) {
            if instant == .commitUnanswered, try !isCommitting(name, site) { return false }
            processor.send(SIGSTOP)
            let wasCommitting = try instant == .commitUnanswered && isCommitting(name, site)
            if try isReached(instant, name, wasCommitting, site) { return true }
            processor.send(SIGCONT)
            return false
        }
    }

    /// Whether the server is at a slow commit of a processor.
    private func isCommitting(_ name: String, _ site: Site) throws -> Bool {
        try site.database.query(
            """
            SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1
                AND query = 'COMMIT' AND wait_event = 'PgSleep'
            """, [.value(name)]
        ).value(0, 0)
    }

    /// Looks at what the server does for a processor that is stopped, until it does nothing more by itself.
    private func isReached(_ instant: Instant, _ name: String, _ wasCommitting: Bool, _ site: Site) throws -> Bool {
        let deadline = ContinuousClock.now + .seconds(wasCommitting ? 60 : 1)
        var inTheMiddleSince: ContinuousClock.Instant?
        while ContinuousClock.now < deadline || inTheMiddleSince != nil {
            let session = try site.database.query(
                """
                SELECT bool_or(a.wait_event = 'ClientRead' AND l.pid IS NOT NULL)
                FROM pg_stat_activity a LEFT JOIN pg_locks l ON l.pid = a.pid AND l.granted
                    AND l.relation = to_regclass('consumed_offset') AND l.mode = 'RowExclusiveLock'
                WHERE a.datname = current_database() AND a.application_name = $1 AND a.xact_start IS NOT NULL
                HAVING count(*) > 0
                """, [.value(name)])
            if session.rowCount == 0 {
                if wasCommitting { try site.database.execute("DELETE FROM slow") }
                return instant == .betweenTransactions || wasCommitting
            }
            guard try session.optional(0, 0, as: Bool.self) == true else {
                inTheMiddleSince = nil
                continue
            }
            if instant != .inTransaction { return false }
            // On a busy machine the server may not have seen yet what it was sent last, such as COMMIT.
            let since = inTheMiddleSince ?? .now
            inTheMiddleSince = since
            if since.duration(to: .now) > .milliseconds(500) { return true }
        }
        return false
    }

    private static func produce(
        _ plan: FleetPlan, _ producer: FleetProducer, until isEnough: Flag
    ) async throws -> FleetManifest {
        var generator = try FleetGenerator(plan)
        try await producer.run(&generator) { isEnough.isSet }
        generator.finish()
        try await producer.run(&generator)
        return generator.manifest
    }

    /// What a processor has been given and not lost, by its log.
    private func heldPartitions(_ processor: ChildProcess) -> Set<Int> {
        var held: Set<Int> = []
        for line in processor.output.split(separator: "\n") {
            guard let field = line.firstRange(of: "partitions=") else { continue }
            let numbers = line[field.upperBound...].prefix { $0 != "]" }.split { !$0.isNumber }.compactMap { Int($0) }
            if line.contains("partitions assigned") { held.formUnion(numbers) }
            if line.contains("partitions revoked") { held.subtract(numbers) }
        }
        return held
    }

    private func offsets(_ site: Site) throws -> [Int32: Int64] {
        let rows = try site.database.query("SELECT kafka_partition, next_offset FROM consumed_offset")
        var found: [Int32: Int64] = [:]
        for row in 0..<rows.rowCount { found[try rows.value(row, 0)] = try rows.value(row, 1) }
        return found
    }

    private func expectEverythingOnce(
        _ site: Site, _ manifest: FleetManifest, _ processors: [ChildProcess]
    ) async throws {
        try await waitUntil("all messages are processed", within: .seconds(120)) {
            for processor in processors { try #require(processor.isRunning, "\(processor.output)") }
            return try offsets(site).values.reduce(0, +) >= manifest.messages
        }
        for processor in processors {
            processor.send(SIGTERM)
            #expect(await processor.ending() == .status(0), "\(processor.output)")
        }
        for stream in manifest.streams {
            let rows = try site.database.query(
                """
                SELECT count(*), count(DISTINCT seq), max(seq) FROM sensor_data WHERE gateway_id = $1 AND stream_id = $2
                """, [.value(stream.gateway.description), .value(stream.stream.description)])
            let found = try (0..<3).map { try rows.value(0, $0, as: Int64.self) }
            #expect(found == [Int64](repeating: stream.lastSequence, count: 3), "\(stream.gateway)")
        }
        #expect(try site.value("SELECT count(*) FROM loss", as: Int64.self) == 0, "holes that are none")
        let differences = try site.database.query(
            "SELECT coalesce(string_agg(d::text, e'\\n'), '') FROM (SELECT * FROM (\(Windows.differences)) AS a LIMIT 20) AS d"
        ).value(0, 0, as: String.self)
        #expect(differences == "", "\(processors.map { $0.output.suffix(6000) })")
        let verify = try await BuiltProgram.processor.run(
            ["verify", "--config", site.folder.appendingPathComponent("left.yaml").path], in: site.folder)
        #expect(verify.ending == .status(0), "\(verify.output)")
    }

    /// The one that was there first loses the name, and both go on.
    @Test(.requiresApacheKafka, .timeLimit(.minutes(10)))
    func twoProcessorsByOneNameShareThePartitions() async throws {
        let site = try await Site(partitions: 4)
        let configuration = try site.writeProcessorConfiguration(instance: "left")
        var generator = try FleetGenerator(plan(6000))
        try await site.send(3000, of: &generator)
        func start(_ folder: String) throws -> ChildProcess {
            try BuiltProgram.processor.start(["run", "--config", configuration], in: site.makeFolder(folder))
        }
        let first = try start("first")
        try await waitUntil("the first one has partitions", within: .seconds(120)) {
            try #require(first.isRunning, "\(first.output)")
            return first.output.contains("partitions assigned")
        }
        let second = try start("second")
        try await waitUntil("both have partitions", within: .seconds(120)) {
            for processor in [first, second] { try #require(processor.isRunning, "\(processor.output)") }
            let lines = first.output.split(separator: "\n")
            guard let change = lines.firstIndex(where: { $0.contains("going on without a name") }) else { return false }
            return lines[change...].contains { $0.contains("partitions assigned") && !$0.contains("=[]") }
                && second.output.contains("partitions assigned")
        }
        try await site.send(3000, of: &generator)
        #expect(generator.next() == nil)
        try await expectEverythingOnce(site, generator.manifest, [first, second])
        try await site.remove()
    }

    /// Readings of one board come from two partitions then, the newer ones first.
    @Test(.timeLimit(.minutes(10)))
    func partitionsThatAreAddedLoseNothing() async throws {
        let site = try await Site(partitions: 2)
        var properties = ["topic.metadata.refresh.interval.ms": "500"]
        // The stand-in knows the range assignor only.
        if Servers.kind == "stand-in" { properties["partition.assignment.strategy"] = "range" }
        let configuration = try site.writeProcessorConfiguration(instance: "left", workers: 2, properties: properties)
        var generator = try FleetGenerator(plan(40_000))
        let admin = try KafkaAdmin(configuration: site.kafka)

        // While nobody reads: the first partitions hold a backlog when the newer readings come through other ones.
        try await site.send(5000, of: &generator)
        try await admin.createPartitions(site.topic, total: 3, timeout: .seconds(120))
        try await site.send(5000, of: &generator)
        let processor = try BuiltProgram.processor.start(["run", "--config", configuration], in: site.folder)
        // While it reads.
        try await site.send(10_000, of: &generator)
        try await admin.createPartitions(site.topic, total: 5, timeout: .seconds(120))
        try await site.send(20_000, of: &generator)
        #expect(generator.next() == nil)

        try await expectEverythingOnce(site, generator.manifest, [processor])
        #expect(try offsets(site).filter { $0.value > 0 }.count == 5)
        let moved = try site.value(
            """
            SELECT count(*) FROM (SELECT FROM sensor_data GROUP BY gateway_id
                HAVING min(kafka_partition) <> max(kafka_partition)) moved
            """, as: Int64.self)
        #expect(moved > 0, "no board's readings came from two partitions")
        try await site.remove()
    }
}
