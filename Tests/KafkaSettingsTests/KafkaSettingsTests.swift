import Configuration
import Foundation
import KafkaClient
import Testing

@testable import KafkaSettings

struct KafkaSettingsTests {
    /// What is said of a section `kafka`: problems, or remarks if there are none, each with its line.
    private func complaints(
        _ section: String, of client: KafkaClientKind = .producer, files: UnusableFiles = .preventStart
    ) -> [String] {
        do throws(ConfigurationError) {
            let document = try ConfigurationDocument(text: "kafka:\n  \(section)\n", name: "x.yaml")
            return try document.decodeWithRemarks { root in
                let kafka = root.section("kafka")
                let configuration = kafka.kafkaConfiguration(for: client) { $0.hasPrefix("/") ? $0 : "/folder/\($0)" }
                kafka.checkClient(client, of: configuration, topic: client == .producer ? "t" : nil, files: files)
            }.remarks.map(\.description)
        } catch {
            return error.problems.map(\.description)
        }
    }

    /// A name of a property, and a value that could cost a reading.
    @Test(arguments: [
        ("acks", "1"), ("acks", "0"), ("request.required.acks", "1"), ("topic.acks", "1"),
        ("topic.request.required.acks", "0"), ("enable.idempotence", "false"), ("enable.idempotence", "F"),
        ("enable.gapless.guarantee", "true"), ("transactional.id", "x"), ("message.timeout.ms", "1000"),
        ("topic.message.timeout.ms", "0"), ("delivery.timeout.ms", "300000"), ("retries", "3"),
        ("message.send.max.retries", "0"), ("max.in.flight", "6"), ("max.in.flight.requests.per.connection", "1000000"),
        ("queuing.strategy", "lifo"), ("topic.queuing.strategy", "LIFO"), ("partitioner", "random"),
        ("delivery.report.only.error", "true"), ("message.max.bytes", "2000"), ("queue.buffering.max.kbytes", "1"),
        ("queue.buffering.max.messages", "1"), ("topic.blacklist", "sensor"), ("api.version.request", "false"),
        ("enabled_events", "1"), ("log.queue", "true"), ("internal.termination.signal", "15"),
        ("test.mock.num.brokers", "3"), ("bootstrap.servers", "other:1"), ("metadata.broker.list", "other:1"),
        ("security.protocol", "ssl"), ("ssl.ca.location", "/ca.pem"), ("ssl.certificate.location", "/c.pem"),
        ("ssl.key.location", "/k.pem"), ("sasl.mechanism", "PLAIN"), ("sasl.mechanisms", "PLAIN"),
        ("sasl.username", "u"), ("sasl.password", "p"),
    ])
    func aPropertyThatCouldCostAReadingIsRefusedInItsLine(property: String, value: String) {
        for client in [KafkaClientKind.producer, .consumer] {
            let found = complaints(
                "bootstrap: here\n  properties:\n    client.id: me\n    \(property): \"\(value)\"", of: client)
            #expect(
                found.count == 1 && found[0].hasPrefix("x.yaml:5: kafka: properties: \(property): not allowed: "),
                "\(found)")
            #expect(found.allSatisfy { !$0.contains("\"p\"") })
        }
    }

    /// What only a program that reads messages must not have.
    @Test(arguments: [
        ("group.id", "g"), ("enable.auto.commit", "true"), ("auto.commit.enable", "true"),
        ("topic.auto.commit.enable", "true"), ("enable.auto.offset.store", "true"), ("offset.store.method", "file"),
        ("auto.offset.reset", "latest"), ("topic.auto.offset.reset", "earliest"),
        ("isolation.level", "read_uncommitted"), ("enable.partition.eof", "false"),
    ])
    func whatBreaksTheReadingOfEachMessageOnceIsRefused(property: String, value: String) {
        let section = "bootstrap: here\n  properties: {\(property): \(value)}"
        let found = complaints(section, of: .consumer)
        #expect(found.count == 1 && found[0].contains("kafka: properties: \(property): not allowed: "), "\(found)")
        #expect(complaints(section) == [], "a producer does not look at it")
    }

    /// Unusual, and harmless.
    @Test(arguments: [
        "acks: all", "acks: -1", "topic.acks: all", "enable.idempotence: True", "max.in.flight: 1",
        "partitioner: murmur2_random", "compression.type: gzip", "compression.codec: lz4", "linger.ms: 0",
        "linger.ms: 250.5", "batch.num.messages: 1", "batch.size: 1000", "client.id: board 7",
        "debug: \"broker,topic\"",
        "statistics.interval.ms: 60000", "queue.buffering.max.messages: 0", "reconnect.backoff.max.ms: 60000",
        "broker.address.family: v4", "enable.ssl.certificate.verification: false", "retries: 2147483647",
        "socket.keepalive.enable: true", "request.timeout.ms: 5000", "message.max.bytes: 70000",
    ])
    func aPropertyThatCostsNothingIsTaken(property: String) {
        #expect(complaints("bootstrap: here\n  properties: {\(property)}") == [])
    }

    @Test func everyWrongPropertyIsNamedInItsOwnLine() {
        let found = complaints(
            """
            bootstrap: here
              properties:
                linger.mss: 5
                acks: 1
                linger.ms: soon
                retry.backoff.ms:
                opaque: 5
                interceptors: x
                error_cb: x
            """)
        #expect(
            found.map { $0.prefix(31) }.map(String.init)
                == (4...10).map { line in
                    let names = [
                        "linger.mss", "acks", "linger.ms", "retry.backoff.ms", "opaque", "interceptors", "error_cb",
                    ]
                    return String("x.yaml:\(line): kafka: properties: \(names[line - 4])".prefix(31))
                }, "\(found.joined(separator: "\n"))")
    }

    @Test func aFileThatCannotBeUsedIsAProblemOrARemarkInItsLine() throws {
        let least = "bootstrap: here\n  security: sasl_plaintext\n  mechanism: PLAIN\n  username: u"
        let file = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try "secret\n".write(to: file, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(at: file) }
        #expect(complaints("\(least)\n  password_file: \(file.path)") == [])
        let missing = complaints("\(least)\n  password_file: nowhere/password")
        #expect(
            missing == [
                "x.yaml:6: kafka: password_file: /folder/nowhere/password cannot be read: No such file or directory"
            ])
        let awaited = complaints("\(least)\n  password_file: nowhere/password", files: .areAwaited)
        #expect(awaited.count == 1 && awaited[0].contains("\"run\" starts and keeps readings"), "\(awaited)")
        try "\nsecret\n".write(to: file, atomically: true, encoding: .utf8)
        let empty = complaints("\(least)\n  password_file: \(file.path)")
        #expect(empty.count == 1 && empty[0].contains("is empty"), "\(empty)")
        let trust = complaints("bootstrap: here\n  security: ssl\n  ca_file: ca.pem")
        #expect(trust == ["x.yaml:4: kafka: ca_file: /folder/ca.pem cannot be read: No such file or directory"])
        // The system's authorities need no file; without TLS none is opened.
        #expect(complaints("bootstrap: here\n  security: ssl") == [])
    }

    /// What is wrong whatever is in the files is a problem for every program.
    @Test(arguments: [
        "security: sasl_plaintext\n  mechanism: SCRAM-SHA-256",
        "security: sasl_plaintext\n  mechanism: PLAIN\n  username: u",
        "properties: {linger.ms: 400000}",
    ])
    func settingsThatExcludeEachOtherAreAProblem(section: String) {
        #expect(complaints("bootstrap: here\n  \(section)", files: .areAwaited).count == 1)
    }

    @Test func brokersAndTopicsAreRecognised() {
        for brokers in [
            "kafka:99999, ,foo:bar", "127.0.0.1:abc", ":9092", "kafka:", "a b:9092", "a b", "a:9092 b:9092",
        ] {
            let found = complaints("bootstrap: \"\(brokers)\"")
            #expect(found.count == 1 && found[0].contains("expected brokers such as"), "\(brokers): \(found)")
        }
        for brokers in [
            "kafka", "kafka:9092", "kafka-1:9092, kafka-2:9093", "[::1]:9092", "[::1]", "PLAINTEXT://kafka:9092",
        ] {
            #expect(complaints("bootstrap: \"\(brokers)\"") == [])
        }
        let topics = ["a b", "", ".", "..", "räume", String(repeating: "x", count: 250), "a/b"]
        #expect(topics.allSatisfy { Setting.topicName.convert($0) == nil })
        #expect(["sensor.readings", "A-1_x"].allSatisfy { Setting.topicName.convert($0) == $0 })
    }
}
