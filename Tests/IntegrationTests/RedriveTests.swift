import Foundation
import KafkaClient
import PostgresClient
import Readings
import Testing

/// `vigie-processor redrive` with real servers: what was rejected comes back once its cause is mended, once.
@Suite(Servers.areThere) struct RedriveTests {
    private let start = Timestamp(milliseconds: SystemWallClock().now().milliseconds - 600_000)

    /// A site whose processor is started and stopped as a test needs it.
    private final class Setting {
        let site: Site
        var configuration: String

        init(partitions: Int32 = 2) async throws {
            site = try await Site(partitions: partitions)
            configuration = try site.writeProcessorConfiguration()
            let migration = try await BuiltProgram.processor.run(
                ["migrate", "--config", configuration], in: site.folder)
            try #require(migration.ending == .status(0), "\(migration.output)")
        }

        /// Puts more settings at the end of the configuration.
        func add(_ text: String) throws {
            configuration = try site.write(
                "processor.yaml", try String(contentsOfFile: site.writeProcessorConfiguration(), encoding: .utf8) + text
            )
        }

        /// Lets a processor read everything that is on the topic now.
        func process() async throws {
            let processor = try BuiltProgram.processor.start(["run", "--config", configuration], in: site.folder)
            let admin = try KafkaAdmin(configuration: site.kafka)
            var end: Int64 = 0
            for partition in 0..<Int32(try await admin.partitionCount(site.topic, timeout: .seconds(120))) {
                end += try await admin.watermarks(TopicPartition(site.topic, partition), timeout: .seconds(120)).high
            }
            try await waitUntil("everything is read", within: .seconds(120)) {
                try #require(processor.isRunning, "\(processor.output)")
                return try site.value("SELECT coalesce(sum(next_offset), 0)::int8 FROM consumed_offset") == end
            }
            processor.send(SIGTERM)
            #expect(await processor.ending() == .status(0), "\(processor.output)")
        }

        /// Runs redrive.
        func redrive(_ arguments: String..., expecting status: Int32 = 0) async throws -> String {
            let result = try await BuiltProgram.processor.run(
                ["redrive", "--config", configuration] + arguments, in: site.folder)
            #expect(result.ending == .status(status), "\(result.output)")
            return result.output
        }

        /// The columns of the line of a reason: selected, valid now, already stored, still invalid, sent.
        func counts(_ reason: String, in output: String) -> [Int]? {
            output.split(separator: "\n").last { $0.hasPrefix("\(reason) ") }.map { line in
                line.dropFirst(reason.count).split(separator: " ").compactMap { Int($0) }
            }
        }

        func sequences() throws -> String {
            try site.value("SELECT coalesce(string_agg(seq::text, ',' ORDER BY seq), '') FROM sensor_data")
        }

        func lost() throws -> Int64 {
            try site.value("SELECT coalesce(sum(last_seq - first_seq + 1), 0)::int8 FROM loss")
        }

        func sent() async throws -> [Site.Message] { try await site.messages(of: site.topic) }

        func verify() async throws {
            let result = try await BuiltProgram.processor.run(["verify", "--config", configuration], in: site.folder)
            #expect(result.ending == .status(0), "\(result.output)")
        }
    }

    @Test(.timeLimit(.minutes(10)))
    func whatNewSettingsAllowFillsItsHoleOnce() async throws {
        let setting = try await Setting()
        let site = setting.site
        try setting.add("limits: {temperature: {max: 50}}\n")
        let messages = try (1...5).map { sequence in
            Outgoing(
                value: try site.reading(Int64(sequence), from: start, temperature: sequence == 3 ? 60 : 20).encoded(),
                headers: [
                    KafkaHeader(name: "vigie-committed", text: "\(sequence)"),
                    KafkaHeader(name: "vigie-reason", text: "x"),
                ], partition: 1)
        }
        try await site.send(messages)
        try await setting.process()
        #expect(try setting.sequences() == "1,2,4,5" && setting.lost() == 1)

        // Nothing is mended yet: nothing is sent.
        var output = try await setting.redrive()
        #expect(setting.counts("out_of_range", in: output) == [1, 0, 0, 1, 0], "\(output)")
        #expect(try await setting.sent().count == 5)

        try setting.add("limits: {temperature: {max: 70}}\n")
        output = try await setting.redrive("--dry-run")
        #expect(setting.counts("out_of_range", in: output) == [1, 1, 0, 0, 1], "\(output)")
        #expect(output.contains("\(site.topic)[1]@2") && output.contains("to send"), "\(output)")
        #expect(try await setting.sent().count == 5, "a dry run sends nothing")

        output = try await setting.redrive()
        #expect(setting.counts("out_of_range", in: output) == [1, 1, 0, 0, 1], "\(output)")
        let sent = try await setting.sent()
        let back = try #require(sent.first { $0.headers["vigie-redriven"] != nil })
        #expect(sent.count == 6 && back.value == messages[2].value && back.key == messages[2].key)
        #expect(
            Array(back.allHeaders.prefix(2)) == messages[2].headers, "its own headers, and nothing of the rejection")
        #expect(back.allHeaders.dropFirst(2).map(\.name) == ["vigie-redriven", "vigie-redriven-time", "vigie-origin"])
        #expect(back.headers["vigie-redriven"] == "1" && back.headers["vigie-origin"] == "\(site.topic)[1]@2")

        try await setting.process()
        #expect(try setting.sequences() == "1,2,3,4,5" && setting.lost() == 0)
        #expect(try site.value("SELECT temperature FROM sensor_data WHERE seq = 3", as: Double.self) == 60)
        #expect(try site.database.query(Windows.differences).rowCount == 0)
        try await setting.verify()

        // Again: it is known to be stored. And forced by a copy on the topic, it is dropped.
        output = try await setting.redrive()
        #expect(setting.counts("out_of_range", in: output) == [1, 0, 1, 0, 0], "\(output)")
        try await site.send([messages[2]])
        try await setting.process()
        #expect(try setting.sequences() == "1,2,3,4,5" && setting.lost() == 0)
        try await setting.verify()
        try await site.remove()
    }

    @Test(.timeLimit(.minutes(10)))
    func aConflictBecomesOneRowUnderItsOwnStream() async throws {
        let setting = try await Setting(partitions: 1)
        let site = setting.site
        let first = try (1...3).map { try site.reading(Int64($0), from: start, temperature: 20).encoded() }
        let other = try site.reading(2, from: start, temperature: 30).encoded()
        try await site.send((first + [other, first[0], other]).map { Outgoing(value: $0) })
        try await setting.process()
        #expect(try setting.sequences() == "1,2,3" && setting.lost() == 0)
        let rejected = try await site.messages(of: site.rejectedTopic)
        #expect(rejected.count == 1 && rejected.first?.value == other)
        #expect(rejected.first?.headers["vigie-reason"] == "sequence_conflict")
        let own = try #require(rejected.first?.headers["vigie-own-stream"])
        let entry = "SELECT concat_ws(' ', own_stream_id, seq, kafka_offset, settled_at IS NULL) FROM sequence_conflict"
        #expect(try site.value(entry) == "\(own) 2 3 t")
        let before = try await BuiltProgram.processor.run(
            ["verify", "--config", setting.configuration], in: site.folder)
        #expect(before.ending == .status(1) && before.output.contains("sequence_conflict"), "\(before.output)")

        // Sent back however often, and coming once more as it was: one entry and one row.
        for round in 1...2 {
            let output = try await setting.redrive("--reason", "sequence_conflict")
            #expect(
                setting.counts("sequence_conflict", in: output) == (round == 1 ? [1, 1, 0, 0, 1] : [1, 0, 1, 0, 0]))
            try await site.send([Outgoing(value: other)])
            try await setting.process()
            #expect(try setting.sequences() == "1,1,2,3" && setting.lost() == 0)
            try await setting.verify()
        }
        #expect(try site.value(entry) == "\(own) 2 3 f")
        #expect(try site.value("SELECT temperature FROM sensor_data WHERE stream_id = '\(own)'", as: Double.self) == 30)
        #expect(try await site.messages(of: site.rejectedTopic).count == 1)
        try await site.remove()
    }

    @Test(.timeLimit(.minutes(10)))
    func whatTheDatabaseRefusedIsAdmittedWhenItsOperatorHasMendedIt() async throws {
        let setting = try await Setting()
        let site = setting.site
        try site.database.execute("ALTER TABLE sensor_data ADD CONSTRAINT cool CHECK (temperature < 60)")
        try await site.send(
            try (1...40).map { sequence in
                Outgoing(
                    value: try site.reading(
                        Int64(sequence), from: start, temperature: sequence.isMultiple(of: 10) ? 65 : 20
                    ).encoded())
            })
        try await setting.process()
        #expect(try site.value("SELECT count(*) FROM sensor_data", as: Int64.self) == 36 && setting.lost() == 4)

        // Sent back too early it is refused again, and only its newest copy counts.
        var output = try await setting.redrive("--reason", "refused_by_database")
        #expect(setting.counts("refused_by_database", in: output) == [4, 4, 0, 0, 4], "\(output)")
        try await setting.process()
        #expect(try await site.messages(of: site.rejectedTopic).count == 8)
        output = try await setting.redrive("--dry-run")
        #expect(setting.counts("refused_by_database", in: output) == [4, 4, 0, 0, 4], "\(output)")
        #expect(output.contains("4 older copies") && output.contains("sent back 1 times"), "\(output)")

        try site.database.execute(
            """
            DO $$ DECLARE part regclass; BEGIN
                ALTER TABLE sensor_data DROP CONSTRAINT cool;
                FOR part IN SELECT conrelid::regclass FROM pg_constraint WHERE conname = 'cool' LOOP
                    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT cool', part); END LOOP; END $$
            """)
        _ = try await setting.redrive()
        try await setting.process()
        #expect(try setting.sequences() == (1...40).map(String.init).joined(separator: ",") && setting.lost() == 0)
        #expect(try site.value("SELECT count(*) FROM sensor_data WHERE temperature = 65", as: Int64.self) == 4)
        try await setting.verify()
        let count = try await setting.sent().count
        output = try await setting.redrive()
        #expect(setting.counts("refused_by_database", in: output) == [4, 0, 4, 0, 0], "\(output)")
        #expect(try await setting.sent().count == count)
        try await site.remove()
    }

    @Test(.timeLimit(.minutes(10)))
    func aTimeInTheFutureComesToPass() async throws {
        let setting = try await Setting()
        let site = setting.site
        try setting.add("future_tolerance: 0s\n")
        let future = Timestamp(milliseconds: SystemWallClock().now().milliseconds + 8000)
        try await site.send([
            Outgoing(value: try site.reading(1, from: start).encoded()),
            Outgoing(value: try site.reading(2, from: future).encoded()),
            Outgoing(value: try site.reading(3, from: start).encoded()),
        ])
        try await setting.process()
        #expect(try setting.sequences() == "1,3")
        try await waitUntil("its time has come", within: .seconds(120)) {
            SystemWallClock().now().milliseconds > future.milliseconds + 200
        }
        let output = try await setting.redrive("--reason", "future,not_json")
        #expect(setting.counts("future", in: output) == [1, 1, 0, 0, 1], "\(output)")
        try await setting.process()
        #expect(try setting.sequences() == "1,2,3" && setting.lost() == 0)
        try await setting.verify()
        try await site.remove()
    }

    @Test(.timeLimit(.minutes(10)))
    func repairsFiltersAndForces() async throws {
        let setting = try await Setting()
        let site = setting.site
        func text(_ sequence: Int64, gateway: String = "g") throws -> String {
            String(decoding: try site.reading(sequence, gateway: gateway, from: start).encoded(), as: UTF8.self)
        }
        func broken(_ sequence: Int64, gateway: String = "g") throws -> [UInt8] {
            Array(try text(sequence, gateway: gateway).replacingOccurrences(of: "20.0", with: "NaN").utf8)
        }
        let values: [[UInt8]?] = [
            Array(try text(1).utf8), try broken(2), nil, Array("{}".utf8), try broken(3), Array(try text(4).utf8),
            try broken(1, gateway: "h"),
        ]
        try await site.send(
            values.enumerated().map { Outgoing(key: Array(($0.offset == 6 ? "h" : "g").utf8), value: $0.element) })
        try await setting.process()
        #expect(try setting.sequences() == "1,4")

        var output = try await setting.redrive("--dry-run", "--gateway", "h")
        #expect(setting.counts("total", in: output) == [1, 0, 0, 1, 0], "\(output)")
        output = try await setting.redrive("--dry-run", "--partition", "0", "--offset", "4", "--force")
        #expect(setting.counts("total", in: output) == [1, 0, 0, 1, 1], "\(output)")
        output = try await setting.redrive("--dry-run", "--until", "2026-01-01T00:00:00Z")
        #expect(setting.counts("total", in: output) == [0, 0, 0, 0, 0], "\(output)")
        output = try await setting.redrive("--dry-run", "--since", "2026-01-01T00:00:00Z", "--force", "--limit", "2")
        #expect(setting.counts("total", in: output)?.last == 2, "\(output)")
        _ = try await setting.redrive("--reason", "bad_mood", expecting: 2)
        _ = try await setting.redrive("--since", "yesterday", expecting: 2)
        #expect(try await setting.sent().count == values.count)

        // A repair that fails on a message leaves it out and says so by the exit status.
        output = try await setting.redrive("--repair", "grep NaN | sed s/NaN/21.5/", expecting: 1)
        #expect(setting.counts("not_json", in: output) == [3, 3, 0, 0, 3], "\(output)")
        #expect(output.contains("2 messages that the repair command failed on"), "\(output)")
        try await setting.process()
        #expect(try setting.sequences() == "1,1,2,3,4" && setting.lost() == 0)
        #expect(try site.value("SELECT count(*) FROM sensor_data WHERE temperature = 21.5", as: Int64.self) == 3)

        // Forced, it is rejected again: its copies are told by their number.
        _ = try await setting.redrive("--force", "--reason", "empty,missing_field")
        try await setting.process()
        let rejected = try await site.messages(of: site.rejectedTopic)
        #expect(rejected.filter { $0.headers["vigie-redriven"] == "1" }.count == 2)
        #expect(rejected.filter(\.isNull).count == 2, "a null value stays null")
        _ = try await setting.redrive("--force", "--reason", "empty,missing_field")
        try await setting.process()
        let again = try await site.messages(of: site.rejectedTopic)
        #expect(again.count == rejected.count + 2 && again.filter { $0.headers["vigie-redriven"] == "2" }.count == 2)
        try await setting.verify()
        try await site.remove()
    }

    /// A message that is just below the broker's limit is above it with the headers that say why it was rejected.
    @Test(.timeLimit(.minutes(10)))
    func whatWasTooLargeToBeRejectedWithItsValueIsReadWhereItWas() async throws {
        let setting = try await Setting(partitions: 1)
        let site = setting.site
        let reading = try site.reading(1, from: start).encoded()
        // Kafka's limit is 1048588 bytes, those of the batch around the message included.
        let note = Array(",\"note\":\"".utf8) + Array(repeating: UInt8(ascii: "x"), count: 1_048_430 - reading.count)
        let value = Array(reading.dropLast()) + note + Array("\"}".utf8)
        try await site.send([
            Outgoing(value: value, headers: [KafkaHeader(name: "own", text: "1")]),
            Outgoing(value: try site.reading(2, from: start).encoded()),
        ])
        try await setting.process()
        #expect(try setting.sequences() == "2" && setting.lost() == 1)
        let rejected = try #require(try await site.messages(of: site.rejectedTopic).first)
        #expect(rejected.isNull && rejected.headers["vigie-omitted"] == "\(value.count)", "\(rejected.headers)")
        #expect(rejected.headers["vigie-reason"] == "too_large" && rejected.key == Array("g".utf8))
        #expect(rejected.headers["vigie-offset"] == "0" && rejected.headers["own"] == nil)

        var output = try await setting.redrive()
        #expect(setting.counts("too_large", in: output) == [1, 0, 0, 1, 0], "\(output)")
        output = try await setting.redrive("--repair", "sed s/xx*//")
        #expect(setting.counts("too_large", in: output) == [1, 1, 0, 0, 1], "\(output)")
        try await setting.process()
        #expect(try setting.sequences() == "1,2" && setting.lost() == 0)
        try await setting.verify()

        // Once the broker has dropped it, there is nothing to send.
        let admin = try KafkaAdmin(configuration: site.kafka)
        try await admin.deleteTopic(site.topic, timeout: .seconds(120))
        try await admin.createTopic(site.topic, partitions: 1, timeout: .seconds(120))
        output = try await setting.redrive(expecting: 1)
        #expect(output.contains("1 messages whose value the broker does not have any more"), "\(output)")
        try await site.remove()
    }

    /// What an administrator forbids ends it, with the reason.
    @Test(.requiresKafkaNodes, .timeLimit(.minutes(10)))
    func aTopicThatIsForbiddenIsAnError() async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("vigie-acl-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let passwordFile = folder.appendingPathComponent("password").path
        try "secret\n".write(toFile: passwordFile, atomically: true, encoding: .utf8)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: passwordFile)
        let kafka = try await ApacheKafka(
            ApacheKafka.Options(arguments: ["--sasl=plain", "--user=processor:\(passwordFile)", "--authorise"]))
        let site = try await Site(partitions: 1, broker: kafka.innerBootstrap)
        let configuration = try site.writeProcessorConfiguration(
            bootstrap: kafka.bootstrap,
            kafka: [
                "security: sasl_plaintext", "mechanism: PLAIN", "username: processor",
                "password_file: \(passwordFile)",
            ])
        let migration = try await BuiltProgram.processor.run(["migrate", "--config", configuration], in: site.folder)
        try #require(migration.ending == .status(0), "\(migration.output)")
        try await site.send(
            [
                Outgoing(
                    value: try site.reading(1, from: start).encoded(),
                    headers: [
                        KafkaHeader(name: "vigie-reason", text: "future"),
                        KafkaHeader(name: "vigie-topic", text: site.topic),
                        KafkaHeader(name: "vigie-partition", text: "0"),
                        KafkaHeader(name: "vigie-offset", text: "0"),
                    ])
            ], to: site.rejectedTopic)
        for topic in [site.topic, site.rejectedTopic] {
            try await kafka.allow("processor", "all", topic: topic)
        }
        for (operation, topic) in [("read", site.rejectedTopic), ("write", site.topic)] {
            try await kafka.forbid("processor", operation, topic: topic)
            let result = try await BuiltProgram.processor.run(["redrive", "--config", configuration], in: site.folder)
            #expect(result.ending == .status(1), "\(operation)")
            let last = try #require(result.output.split(separator: "\n").last, "\(result.output)")
            #expect(last.contains("Topic authorization failed") && last.contains(topic), "\(result.output)")
            try await kafka.withdraw("processor", operation, topic: topic)
        }
        try await site.remove()
        try await kafka.remove()
        try FileManager.default.removeItem(at: folder)
    }
}
