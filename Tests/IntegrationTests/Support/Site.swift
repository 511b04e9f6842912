import Foundation
import KafkaClient
import PostgresClient
import TestSupport
import Testing

/// The servers that integration tests run against, by environment variables. `make test` starts and names them.
enum Servers {
    /// Kafka's bootstrap list.
    static let kafka = ProcessInfo.processInfo.environment["VIGIE_KAFKA"]
    /// libpq's connection string or URI.
    static let postgres = ProcessInfo.processInfo.environment["VIGIE_POSTGRES"]

    /// Disables a test, and says why, where a server is missing.
    static var areThere: some TestTrait & SuiteTrait {
        .enabled(
            if: kafka != nil && postgres != nil,
            "VIGIE_KAFKA and VIGIE_POSTGRES name the servers to run against; make test starts both")
    }

    /// What VIGIE_KAFKA names: `apache` or `stand-in` as `make test` has started it, `yours` if it was named before.
    static let kind = ProcessInfo.processInfo.environment["VIGIE_KAFKA_KIND"]
}

extension Trait where Self == ConditionTrait {
    /// Disables what the stand-in for Apache Kafka cannot do: put out members of a group that are silent, give
    /// partitions cooperatively.
    static var requiresApacheKafka: Self {
        .enabled(if: Servers.kind != "stand-in", "the broker is not Apache Kafka but its stand-in")
    }

    /// Disables what needs nodes of Apache Kafka of its own, where there is none.
    static var requiresKafkaNodes: Self {
        .enabled(
            if: ApacheKafka.program != nil,
            "needs nodes of Apache Kafka of its own: VIGIE_KAFKA_NODE names the program that starts them")
    }
}

/// The seed of this run's random tests.
let testSeed = printedSeed()

/// What one test has to itself: a folder, a database, a topic and one for what is rejected.
final class Site {
    let folder: URL
    let topic: String
    let rejectedTopic: String
    let kafka: KafkaConfiguration
    let databaseConnection: String
    let database: PostgresConnection
    let databaseName: String
    private let serverConnection: String
    let topics: Topics

    /// How topics are made.
    struct Topics {
        /// Of the topic of readings; that of what is rejected has one.
        var partitions: Int32
        /// Copies of each partition; -1 is the broker's default.
        var replication: Int32 = -1
        /// Properties of the topics.
        var properties: [String: String] = [:]
    }

    /// Makes all of it.
    /// - Parameters:
    ///   - topics: how the topics are made.
    ///   - server: the PostgreSQL to make the database in; the one that VIGIE_POSTGRES names by default.
    ///   - kafka: how the test reaches the cluster to make the topics in; the one that VIGIE_KAFKA names by default.
    init(_ topics: Topics, server: String? = nil, kafka: KafkaConfiguration? = nil) async throws {
        self.topics = topics
        self.kafka = try kafka ?? KafkaConfiguration(bootstrapServers: #require(Servers.kafka))
        serverConnection = try #require(server ?? Servers.postgres)
        let name = "vigie_test_\(UUID().uuidString.prefix(8).lowercased())_\(getpid())"
        folder = FileManager.default.temporaryDirectory.appendingPathComponent(name)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)

        topic = "\(name).readings"
        rejectedTopic = "\(name).readings.rejected"
        databaseName = name
        let server = try PostgresConnection(connectionString: serverConnection, applicationName: "vigie-tests")
        try server.execute("CREATE DATABASE \(name)")
        databaseConnection = try Site.connection(serverConnection, database: name)
        database = try PostgresConnection(connectionString: databaseConnection, applicationName: "vigie-tests")
        try await createTopics()
    }

    /// Makes all of it on a broker that is reached without security.
    /// - Parameters:
    ///   - partitions: of the topic.
    ///   - server: the PostgreSQL to make the database in; the one that VIGIE_POSTGRES names by default.
    ///   - broker: the cluster to make the topics in; the one that VIGIE_KAFKA names by default.
    convenience init(partitions: Int32, server: String? = nil, broker: String? = nil) async throws {
        try await self.init(
            Topics(partitions: partitions), server: server,
            kafka: broker.map { KafkaConfiguration(bootstrapServers: $0) })
    }

    /// Makes the topics, or makes them anew after the broker has lost them.
    func createTopics() async throws {
        let admin = try KafkaAdmin(configuration: kafka)
        for (name, partitions) in [(topic, topics.partitions), (rejectedTopic, 1)] {
            try await admin.createTopic(
                name, partitions: partitions, replication: topics.replication, configuration: topics.properties,
                timeout: .seconds(120))
        }
    }

    /// Deletes the topics with all that they hold.
    func deleteTopics() async throws {
        let admin = try KafkaAdmin(configuration: kafka)
        for name in [topic, rejectedTopic] { try await admin.deleteTopic(name, timeout: .seconds(120)) }
    }

    /// Removes all of it. Without this call everything stays, to look at after a failure.
    func remove() async throws {
        let server = try PostgresConnection(connectionString: serverConnection, applicationName: "vigie-tests")
        try server.execute("DROP DATABASE \(databaseName) WITH (FORCE)")
        try await deleteTopics()
        try FileManager.default.removeItem(at: folder)
    }

    /// The same server, another database.
    private static func connection(_ connection: String, database: String) throws -> String {
        guard connection.hasPrefix("postgres://") || connection.hasPrefix("postgresql://") else {
            // The last of equal keywords counts.
            return "\(connection) dbname=\(database)"
        }
        var parts = try #require(URLComponents(string: connection))
        parts.path = "/\(database)"
        return try #require(parts.string)
    }

    /// Makes a folder in the site's folder.
    func makeFolder(_ name: String) throws -> URL {
        let made = folder.appendingPathComponent(name)
        try FileManager.default.createDirectory(at: made, withIntermediateDirectories: true)
        return made
    }

    /// Writes a file into the site's folder.
    /// - Returns: its path.
    func write(_ name: String, _ text: String) throws -> String {
        let file = folder.appendingPathComponent(name)
        try text.write(to: file, atomically: true, encoding: .utf8)
        return file.path
    }

    /// Writes a processor's configuration, with the windows that tests recompute.
    /// - Parameters:
    ///   - instance: the processor's name in the group and in pg_stat_activity.
    ///   - workers: its members of the group.
    ///   - batch: the most messages of one transaction.
    ///   - properties: librdkafka's.
    ///   - bootstrap: how to reach the site's broker, if not as the test does.
    ///   - kafka: more lines of the section `kafka`.
    ///   - connection: how to reach the site's database, if not as the test does.
    ///   - postgres: more lines of the section `postgres`.
    ///   - rest: more lines.
    /// - Returns: its path.
    func writeProcessorConfiguration(
        instance: String = "processor", workers: Int = 1, batch: Int = 20_000, properties: [String: String] = [:],
        bootstrap: String? = nil, kafka: [String] = [], connection: String? = nil, postgres: [String] = [],
        rest: String = ""
    ) throws -> String {
        let properties = properties.map { "\"\($0.key)\": \"\($0.value)\"" }.sorted().joined(separator: ", ")
        return try write(
            "\(instance).yaml",
            """
            kafka:
              bootstrap: "\(bootstrap ?? self.kafka.bootstrapServers)"
              topic: \(topic)
              rejected_topic: \(rejectedTopic)
              group: \(topic)
              instance: \(instance)
              workers: \(workers)
              maximum_batch: \(batch)
              properties: {\(properties)}
            \(kafka.map { "  \($0)\n" }.joined())
            postgres:
              connection: "\(connection ?? databaseConnection(of: instance))"
            \(postgres.map { "  \($0)\n" }.joined())
            monitoring:
              listen: "127.0.0.1:0"
            windows:
              - {size: 10m, slide: 1m}
              - {size: 1m, slide: 1m}
            lateness: 10m
            \(rest)

            """)
    }

    /// The connection string of a program that pg_stat_activity shows by a name.
    private func databaseConnection(of name: String) -> String {
        guard databaseConnection.contains("://") else { return "\(databaseConnection) application_name=\(name)" }
        return databaseConnection + (databaseConnection.contains("?") ? "&" : "?") + "application_name=\(name)"
    }

    /// A message as the broker holds it.
    struct Message {
        var partition: Int32
        var offset: Int64
        var value: [UInt8]
        var headers: [String: String]
        /// The key; nil if it is null.
        var key: [UInt8]?
        /// Whether the value is null, not only empty.
        var isNull: Bool
        /// The headers as they are.
        var allHeaders: [KafkaHeader]
    }

    /// Everything that a topic holds now.
    func messages(of topic: String) async throws -> [Message] {
        let partitions = try await KafkaAdmin(configuration: kafka).partitionCount(topic, timeout: .seconds(120))
        let consumer = try KafkaConsumer(configuration: kafka, group: "\(topic).check")
        defer { consumer.close() }
        var missing: [TopicPartition: Int64] = [:]
        for partition in 0..<Int32(partitions) {
            let place = TopicPartition(topic, partition)
            missing[place] = try consumer.watermarks(place, timeout: .seconds(120)).high
        }
        missing = missing.filter { $0.value > 0 }
        try consumer.assign(missing.mapValues { _ in .earliest })
        var messages: [Message] = []
        let deadline = ContinuousClock.now + .seconds(120)
        while !missing.isEmpty {
            try #require(ContinuousClock.now < deadline, "\(topic) was not read to its end: \(missing)")
            consumer.nextBatch(maximumMessages: 10_000, timeout: .milliseconds(200)) { batch, _ in
                for message in batch {
                    let allHeaders = message.headers
                    let headers = allHeaders.map { ($0.name, String(decoding: $0.value, as: UTF8.self)) }
                    messages.append(
                        Message(
                            partition: message.partition, offset: message.offset, value: Array(message.value),
                            headers: Dictionary(headers) { $1 }, key: message.keyBytes,
                            isNull: message.valueBytes == nil, allHeaders: allHeaders))
                    let place = TopicPartition(topic, message.partition)
                    if let end = missing[place], message.offset >= end - 1 { missing[place] = nil }
                }
            }
        }
        return messages
    }

    /// The only value of a statement's only row.
    func value<Value: PostgresValue>(_ sql: String, as type: Value.Type = Value.self) throws -> Value {
        try database.query(sql).value(0, 0)
    }
}

/// Waits until a condition of another process's state holds, looking every few milliseconds.
/// - Parameter evidence: what a failure shows besides, such as the output of a process.
/// - Throws: if it does not hold before the deadline.
func waitUntil(
    _ what: String, within limit: Duration, every interval: Duration = .milliseconds(20),
    evidence: @autoclosure () -> String = "", isolation: isolated (any Actor)? = #isolation,
    _ condition: () throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + limit
    while try !condition() {
        try #require(ContinuousClock.now < deadline, "not within \(limit): \(what)\n\(evidence())")
        try await Task.sleep(for: interval)
    }
}
