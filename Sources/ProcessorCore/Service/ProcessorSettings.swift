import Alerting
import Configuration
import Glibc
import KafkaClient
import KafkaSettings
import Monitoring
import Platform
import PostgresClient
import ReadingDecoding
import Readings
import Windowing

/// The processor's configuration file, read and checked.
public struct ProcessorSettings: Sendable {
    /// How to reach the cluster.
    var kafka: KafkaConfiguration
    /// Where readings come from.
    var topic: String
    /// Where messages go that are no readings.
    var rejectedTopic: String
    /// The consumer group.
    var group: String
    /// The name of this process in the group.
    var instance: String
    /// How the group shares its partitions.
    var groupProtocol: GroupProtocol
    /// How many members of the group this process is.
    var workers: Int
    /// The most messages of one transaction.
    var maximumBatch: Int
    /// A libpq connection string.
    var postgres: String
    /// Bounds the waits of all connections that are made with these settings, and ends them when the program stops.
    private(set) var databaseWaits = PostgresWaits()
    /// Whether statements may be prepared in a session; not behind a pooler in transaction mode.
    var preparesStatements: Bool
    /// The role that may read everything.
    var readerRole: String
    /// For how many days after today partitions are made ahead.
    var daysAhead: Int64
    /// How long things are kept.
    var retention: RetentionSettings
    /// Where the HTTP endpoint listens, and whom it answers; nil for none.
    var monitoring: HTTPEndpointSettings?
    /// What becomes of a reading whose windows are final.
    var latePolicy: LatePolicy
    /// The windows and the allowed lateness.
    var windows: WindowPolicy
    /// A sensor that has been silent for so long has its windows made final by the wall clock, milliseconds.
    var idleTimeout: Int64
    /// How often open windows are written, milliseconds.
    var updateInterval: Int64
    /// What the state of sensors and streams may take in memory, all workers together, bytes.
    var stateSize: Int
    /// What numbers may be.
    var limits: PhysicalLimits
    /// What is worth a warning, and what an alert.
    var rules: AlertRules
    /// Where alerts are told; nil for nowhere.
    var webhook: WebhookSettings?
    /// The least important log messages to write.
    var logLevel: Log.Level

    /// Reads a file. Kafka's files in it are relative to its folder.
    /// - Parameter checkingFiles: whether everything is looked at that keeps a processor from starting, as `check` and
    ///   `run` do: also the files that it names, and what the clients of Kafka and PostgreSQL take.
    /// - Throws: all its problems at once, each with its line.
    public init(file: String, checkingFiles: Bool = false) throws(ConfigurationError) {
        let folder = file.lastIndex(of: "/").map { String(file[...$0]) } ?? ""
        self = try ConfigurationDocument(file: file).decode {
            ProcessorSettings($0, folder: folder, checkingFiles: checkingFiles)
        }
    }

    /// Reads a document; paths in it are relative to the current folder.
    public init(_ document: ConfigurationDocument) throws(ConfigurationError) {
        self = try document.decode { ProcessorSettings($0, folder: "", checkingFiles: false) }
    }

    private init(_ root: Section, folder: String, checkingFiles: Bool) {
        let kafka = root.section("kafka")
        self.kafka = kafka.kafkaConfiguration(for: .consumer) { $0.hasPrefix("/") ? $0 : folder + $0 }
        topic = kafka.value("topic", as: .topicName, default: "sensor.readings")
        rejectedTopic = kafka.value("rejected_topic", as: .topicName, default: "sensor.readings.rejected")
        group = kafka.value("group", as: .text, default: "vigie-processor")
        instance =
            kafka.optional("instance", as: .text) ?? self.kafka.properties["group.instance.id"]
            ?? ProcessorSettings.hostName
        // Each worker has its own.
        self.kafka.properties["group.instance.id"] = nil
        groupProtocol = kafka.value("group_protocol", as: .choice(GroupProtocol.classic), default: .classic)
        if groupProtocol == .consumer { ProcessorSettings.checkConsumerProtocol(self.kafka.properties, kafka) }
        workers = kafka.value("workers", as: .integer(1...64), default: 1)
        maximumBatch = kafka.value("maximum_batch", as: .integer(1...1_000_000), default: 200_000)

        let postgres = root.section("postgres")
        self.postgres = postgres.required("connection", as: .text)
        if checkingFiles, !PostgresConnection.takes(self.postgres) {
            // What libpq says may quote a part of it, which may be the password.
            postgres.problem(
                "libpq does not take it: a keyword is unknown, or a value with spaces lacks its quotes",
                at: "connection")
        }
        preparesStatements = postgres.value("prepared_statements", as: .boolean, default: true)
        readerRole = postgres.value("reader_role", as: .text, default: "vigie_reader")
        daysAhead = postgres.value("days_ahead", as: .integer(0...366), default: 3)
        monitoring = root.optionalSection("monitoring")?.httpEndpoint(checkingFiles: checkingFiles)

        let lateness = root.value("lateness", as: .duration(), default: .seconds(600)).millisecondsRoundedDown
        windows = ProcessorSettings.windows(root, lateness: lateness)
        latePolicy = root.value("late_policy", as: .choice(LatePolicy.recompute), default: .recompute)
        idleTimeout = root.value("idle_timeout", as: .duration(), default: .seconds(60)).millisecondsRoundedDown
        let open = windows.longestWindow + lateness + idleTimeout
        retention = root.optionalSection("retention").map { RetentionSettings($0, open: open) } ?? RetentionSettings()
        updateInterval = root.value("update_interval", as: .duration(), default: .seconds(5)).millisecondsRoundedDown
        stateSize = Int(
            clamping: root.value("state_size", as: .size(ByteCount.mebibytes(1)...), default: .mebibytes(1024)).bytes)
        limits = ProcessorSettings.limits(root)
        rules = AlertRules(root)
        webhook = root.optionalSection("webhook").flatMap(WebhookSettings.init)
        logLevel = root.value("log_level", as: .choice(.info), default: .info)
        guard checkingFiles else { return }
        kafka.checkClient(.consumer, of: consumerConfiguration(worker: 1), files: .preventStart)
        kafka.checkClient(.producer, of: self.kafka, topic: rejectedTopic, files: .preventStart)
    }

    /// The name of one of this process' workers in the group, from 1.
    func memberName(worker: Int) -> String { "\(instance)-\(worker)" }

    /// What the group's coordinator knows this process by, beside its members' names.
    var clientName: String { kafka.properties["client.id"] ?? instance }

    /// How one of this process' workers, from 1, reaches the cluster as a member of the group.
    func consumerConfiguration(worker: Int) -> KafkaConfiguration {
        var configuration = kafka
        // A static member that crashed and restarts gets its partitions back at once instead of waiting for its session
        // to end; one that stops in order leaves the group all the same, which librdkafka does with the protocol classic
        // only.
        if groupProtocol == .classic { configuration.properties["group.instance.id"] = memberName(worker: worker) }
        configuration.properties["client.id"] = clientName
        let defaults =
            groupProtocol == .classic
            ? ProcessorSettings.consumerDefaults.merging(ProcessorSettings.classicDefaults) { $1 }
            : ProcessorSettings.consumerDefaults.merging(["group.protocol": "consumer"]) { $1 }
        for (property, value) in defaults
        where configuration.properties[property] == nil && KafkaConfiguration.isKnown(property: property) {
            configuration.properties[property] = value
        }
        return configuration
    }

    /// The group protocol `consumer` needs a library that knows it, and leaves to the broker what `classic` sets here.
    private static func checkConsumerProtocol(_ properties: [String: String], _ section: Section) {
        if !KafkaConfiguration.isKnown(property: "group.protocol") {
            section.problem(
                "this librdkafka is too old for the protocol consumer, which needs 2.4 or later; use classic",
                at: "group_protocol")
        }
        for property in classicDefaults.keys.sorted() where properties[property] != nil {
            section.problem(
                "\(property) is for the protocol classic only: with consumer the broker decides", at: "properties")
        }
    }

    /// How librdkafka is set as a member of a group of the protocol `classic`.
    private static let classicDefaults = [
        // A member that comes or goes moves only the partitions that must move; the others go on being read.
        "partition.assignment.strategy": "cooperative-sticky",
        // A processor that dies is missed after so long, a little above the 6 s that brokers allow at least.
        "session.timeout.ms": "9000",
        // How soon a member learns that another one has come or gone, and that there are partitions for it.
        "heartbeat.interval.ms": "500",
    ]

    /// How librdkafka is set for a consumer that is as fast as the database.
    private static let consumerDefaults = [
        // The end of a partition is told, which lies after what marks the end of a transaction.
        "enable.partition.eof": "true",
        // How soon partitions that were added to the topic are seen, and a right to the topic that is given.
        "topic.metadata.refresh.interval.ms": "4000",
        // A broker that comes back is found within a second or so; there are few processors, so this costs it nothing.
        // librdkafka adds its jitter.
        "reconnect.backoff.max.ms": "1000",
        // What is fetched in advance: a batch is all that is needed. But before 2.2 librdkafka looks again only a second
        // after that was full, so that its size bounds the rate.
        "queued.max.messages.kbytes": KafkaConfiguration.isKnown(property: "fetch.queue.backoff.ms") ? "4096" : "32768",
        // The same second is the default from 2.2 on.
        "fetch.queue.backoff.ms": "5",
        // A small broker may answer a fetch with all that it has, whatever was asked for; refusing that would stall.
        "receive.message.max.bytes": "1000000000",
    ]

    static var hostName: String {
        var name = [CChar](repeating: 0, count: 256)
        guard gethostname(&name, name.count - 1) == 0 else { return "vigie-processor" }
        return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func windows(_ root: Section, lateness: Int64) -> WindowPolicy {
        var specifications = root.sections("windows", each: "window").compactMap { section -> WindowSpecification? in
            let size = section.required("size", as: .duration(.milliseconds(1)...)).millisecondsRoundedDown
            let slide = section.optional("slide", as: .duration(.milliseconds(1)...))?.millisecondsRoundedDown ?? size
            let specification = WindowSpecification(size: size, slide: slide)
            if specification == nil { section.problem("the slide must divide the size", at: "slide") }
            return specification
        }
        if specifications.isEmpty {
            specifications = [(600_000, 60_000), (60_000, 60_000)].compactMap {
                WindowSpecification(size: $0.0, slide: $0.1)
            }
        }
        let policy = WindowPolicy(specifications: specifications, lateness: lateness)
        if policy == nil || Set(specifications.map(\.size)).count < specifications.count {
            root.problem(
                "a size stands twice: a window's row is found by its size and its beginning, so each size has one slide",
                at: "windows")
        }
        // Never used after a problem was reported.
        guard let policy else { return WindowPolicy.standIn }
        if policy.paneCount > mostPanes || policy.windowsPerReading > mostWindowsPerReading {
            root.problem(
                "a reading would be in \(policy.windowsPerReading) windows and a sensor in memory could have"
                    + " \(policy.paneCount) panes of the greatest common slide; at most \(mostWindowsPerReading) and"
                    + " \(mostPanes) are allowed: choose longer slides, shorter windows or less lateness",
                at: "windows")
            return WindowPolicy.standIn
        }
        return policy
    }

    /// The most panes of a sensor, some 36 MB, and the most windows that a reading may be in.
    private static let (mostPanes, mostWindowsPerReading) = (100_000, Int64(10_000))
    /// The largest value for which the sums over all readings of a window are exact enough to be compared.
    private static let mostOfQuantity = 1e9

    private static func limits(_ root: Section) -> PhysicalLimits {
        var limits = PhysicalLimits()
        limits.futureTolerance =
            root.value("future_tolerance", as: .duration(), default: .milliseconds(limits.futureTolerance))
            .millisecondsRoundedDown
        guard let section = root.optionalSection("limits") else { return limits }
        for quantity in Quantity.all {
            guard let range = section.optionalSection(quantity.name) else { continue }
            let known = limits[quantity]
            let low = range.value("min", as: .number(-mostOfQuantity...mostOfQuantity), default: known.lowerBound)
            let high = range.value("max", as: .number(-mostOfQuantity...mostOfQuantity), default: known.upperBound)
            if low <= high { limits[quantity] = low...high } else { range.problem("min is above max") }
        }
        return limits
    }
}

extension WindowPolicy {
    /// One tumbling window of a minute.
    fileprivate static var standIn: WindowPolicy {
        guard let minute = WindowSpecification(size: 60_000, slide: 60_000),
            let policy = WindowPolicy(specifications: [minute], lateness: 0)
        else { preconditionFailure("a minute is a valid window") }
        return policy
    }
}

/// How the members of a consumer group come to share its partitions.
enum GroupProtocol: String, CaseIterable, Sendable {
    /// The members agree on it through the broker; every broker and every library knows it.
    case classic
    /// The broker decides (KIP-848): Kafka 4 and librdkafka 2.4, in which it is a preview.
    case consumer
}

/// What becomes of a reading that comes after its sensor's watermark. It is a row in any case.
enum LatePolicy: String, CaseIterable, Sendable {
    /// It is folded into its windows, and the revision of those that are final goes up.
    case recompute
    /// No window counts it.
    case drop
}
