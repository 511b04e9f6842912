import KafkaClient

/// What `kafka.properties` must not say of one of librdkafka's properties: a value with which a reading could be lost,
/// sent out of order, or kept for ever.
struct PropertyRule: Sendable {
    /// Which values are allowed, as librdkafka writes them.
    enum Allowed: Sendable {
        /// None: the program sets it, or it has a key of its own.
        case nothing
        /// These only.
        case only([String])
        /// Any but these.
        case except([String])
        /// A whole number of at least this, or 0 where librdkafka takes that as "no limit".
        case atLeast(Int, orZero: Bool)
        /// A whole number of at most this.
        case atMost(Int)
    }

    /// The property and its other names, without `topic.`.
    var names: [String]
    var allowed: Allowed
    /// What would happen, and what to write instead.
    var reason: String

    init(_ names: String..., allowed: Allowed = .nothing, reason: String) {
        self.names = names
        self.allowed = allowed
        self.reason = reason
    }

    /// Whether a value is allowed.
    /// - Parameter value: as librdkafka writes it.
    func allows(_ value: String) -> Bool {
        switch allowed {
        case .nothing: false
        case .only(let values): values.contains(value)
        case .except(let values): !values.contains(value)
        case .atLeast(let least, let orZero): Int(value).map { $0 >= least || (orZero && $0 == 0) } ?? false
        case .atMost(let most): Int(value).map { $0 <= most } ?? false
        }
    }

    /// What to write instead, for the end of a message.
    var remedy: String {
        switch allowed {
        case .nothing, .except: "remove it"
        case .only(let values): "remove it, or set it to \(values.joined(separator: " or "))"
        case .atLeast(let least, _): "set it to \(least) or more, or remove it"
        case .atMost(let most): "set it to \(most) or less, or remove it"
        }
    }

    /// The rule for a property, if there is one.
    /// - Parameters:
    ///   - property: as it is written.
    ///   - client: what reads the configuration.
    static func rule(for property: String, of client: KafkaClientKind) -> PropertyRule? {
        let name = KafkaConfiguration.canonicalName(property)
        if name.hasPrefix("test.") || name.hasPrefix("ut_") {
            return PropertyRule(name, reason: "it is for librdkafka's own tests")
        }
        // A consumer's program has producers too, of the same properties.
        let rules = client == .consumer ? always + producing + consuming : always + producing
        return rules.first { $0.names.contains(name) }
    }

    /// For every client.
    private static let always = [
        PropertyRule("bootstrap.servers", "metadata.broker.list", reason: "write the brokers to kafka.bootstrap"),
        PropertyRule("security.protocol", reason: "write it to kafka.security"),
        PropertyRule("ssl.ca.location", reason: "name the file by kafka.ca_file"),
        PropertyRule("ssl.certificate.location", reason: "name the file by kafka.certificate_file"),
        PropertyRule("ssl.key.location", reason: "name the file by kafka.key_file"),
        PropertyRule("sasl.mechanism", "sasl.mechanisms", reason: "write it to kafka.mechanism"),
        PropertyRule("sasl.username", reason: "write it to kafka.username"),
        PropertyRule(
            "sasl.password", reason: "write the password to a file of its own and name it by kafka.password_file"),
        PropertyRule(
            "topic.blacklist", reason: "a topic that the client does not see is never written to or read"),
        PropertyRule(
            "api.version.request", allowed: .only(["true"]),
            reason: "without it librdkafka takes the broker for one that is too old to write each message once"),
        PropertyRule(
            "enabled_events", "log.queue", "internal.termination.signal",
            reason: "the program sets it, and takes no logs, events or signals by another way"),
    ]

    /// For what sends messages.
    private static let producing = [
        PropertyRule(
            "acks", "request.required.acks", allowed: .only(["-1"]),
            reason: "a message that not all replicas have could be lost after it was acknowledged (-1 is all)"),
        PropertyRule(
            "enable.idempotence", allowed: .only(["true"]), reason: "messages could change places or be doubled"),
        PropertyRule(
            "enable.gapless.guarantee", allowed: .only(["false"]),
            reason: "one message that the broker refuses would end the producer again and again"),
        PropertyRule("transactional.id", reason: "what is sent outside of a transaction would be refused"),
        PropertyRule(
            "message.timeout.ms", "delivery.timeout.ms",
            reason: "the producer would give messages up that may still arrive, out of order; the program waits itself"),
        PropertyRule(
            "retries", "message.send.max.retries", allowed: .only(["2147483647"]),
            reason: "the producer would give messages up that may still arrive, out of order"),
        PropertyRule(
            "max.in.flight.requests.per.connection", "max.in.flight", allowed: .atMost(5),
            reason: "the broker keeps the order of 5 requests"),
        PropertyRule(
            "queuing.strategy", allowed: .only(["fifo"]), reason: "messages would be sent in the wrong order"),
        PropertyRule(
            "partitioner", allowed: .except(["random"]),
            reason: "a gateway's messages must go to one partition, or their order is lost"),
        PropertyRule(
            "delivery.report.only.error", allowed: .only(["false"]),
            reason: "the program would never learn that a message is safe"),
        PropertyRule(
            "message.max.bytes", allowed: .atLeast(70_000, orZero: false),
            reason: "a reading of 64 KiB would be refused"),
        PropertyRule(
            "queue.buffering.max.kbytes", allowed: .atLeast(1024, orZero: false),
            reason: "a reading of 64 KiB must find room"),
        PropertyRule(
            "queue.buffering.max.messages", allowed: .atLeast(10, orZero: true),
            reason: "several messages must find room"),
    ]

    /// For what reads messages into the database.
    private static let consuming = [
        PropertyRule("group.id", reason: "write it to kafka.group"),
        PropertyRule("group.protocol", reason: "write it to kafka.group_protocol"),
        PropertyRule("group.protocol.type", allowed: .only(["consumer"]), reason: "there is no other one"),
        PropertyRule(
            "enable.auto.commit", "auto.commit.enable", allowed: .only(["false"]),
            reason: "offsets are committed with the rows, in the database"),
        PropertyRule(
            "enable.auto.offset.store", allowed: .only(["false"]),
            reason: "offsets are committed with the rows, in the database"),
        PropertyRule(
            "offset.store.method", allowed: .only(["broker"]),
            reason: "offsets are committed with the rows, in the database"),
        PropertyRule(
            "auto.offset.reset", allowed: .only(["error"]),
            reason: "messages would be skipped without a trace: the program finds its place itself"),
        PropertyRule(
            "isolation.level", allowed: .only(["read_committed"]),
            reason: "messages of transactions that were given up would become rows"),
        PropertyRule(
            "enable.partition.eof", allowed: .only(["true"]),
            reason: "the program must learn that it has read a partition to its end"),
    ]
}
