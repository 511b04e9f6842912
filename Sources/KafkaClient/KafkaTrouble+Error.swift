import CRdkafka
import Glibc
import NetworkProbe

extension KafkaTrouble {
    /// What an error means for a person.
    ///
    /// The codes of librdkafka and of the protocol decide as far as they go. Only what they leave open is taken from
    /// librdkafka's text, and of OpenSSL's errors the number is read, not the words: the words of both change from
    /// release to release.
    /// - Parameters:
    ///   - error: what librdkafka or the broker reported.
    ///   - configuration: how the client connects; names in the remedy come from it.
    /// - Returns: nil if the error says nothing of the cluster, such as a full queue of the client.
    public init?(_ error: KafkaError, of configuration: KafkaConfiguration) {
        let report = BrokerReport(error.message)
        let broker = report.broker ?? configuration.bootstrapServers
        let user = configuration.username ?? "this client"
        switch error.code.native {
        case RD_KAFKA_RESP_ERR__RESOLVE:
            self = .unknownHost(broker, report.reason)
        case RD_KAFKA_RESP_ERR__AUTHENTICATION, RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED,
            RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM:
            self = .refusedUser(broker, report, configuration)
        case RD_KAFKA_RESP_ERR__SSL, RD_KAFKA_RESP_ERR__TRANSPORT:
            self = .lostConnection(error, broker, report, configuration)
        case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE,
            RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION:
            // What keeps each broker from being reached is reported before this, and explains more.
            self = KafkaTrouble(
                .unknown, "no broker of \(configuration.bootstrapServers) can be reached", remedy: Self.networkRemedy)
        case RD_KAFKA_RESP_ERR__TIMED_OUT, RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
            self = .notAnswering(broker)
        case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
            self = KafkaTrouble(
                .unknown, "no broker of \(configuration.bootstrapServers) took a message in time",
                remedy: Self.networkRemedy)
        case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
            RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
            self = KafkaTrouble(
                .authorization, "\(user) is not allowed to \(error.forbidden)",
                remedy: "allow it with kafka-acls.sh: Write and Describe on the topic for a gateway; Read and Describe"
                    + " on the topic and Read on the group for a processor")
        case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION,
            RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
            self = KafkaTrouble(
                .missingTopic, "\(error.lead)the topic or its partition does not exist",
                remedy: "check kafka.topic, or create the topic: kafka-topics.sh --bootstrap-server"
                    + " \(configuration.bootstrapServers) --create --topic NAME --partitions 12")
        case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH, RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH,
            RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_PREFERRED_LEADER_NOT_AVAILABLE:
            self = KafkaTrouble(
                .noLeader, "\(error.lead)its partition has no leader now",
                remedy: "bring the missing brokers back; kafka-topics.sh --describe shows leaders")
        case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
            self = KafkaTrouble(
                .tooFewReplicas, "\(error.lead)fewer replicas are in sync than min.insync.replicas",
                remedy: "bring the missing brokers back")
        case RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED:
            self = .throttled(user, by: nil)
        case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
            self = KafkaTrouble(
                .messageTooLarge, "\(error.lead)the message is too large",
                remedy: "raise max.message.bytes of the topic to 70000 or more")
        default:
            guard error.isFatal else { return nil }
            self = KafkaTrouble(
                .producerLost, "the broker cannot go on with this client: \(error.message)",
                remedy: "none is needed: another one takes over")
        }
    }

    /// No client can be made, since a file cannot be used.
    public init(_ error: KafkaConfigurationError) {
        self.init(
            .unusableFile, error.message,
            remedy: "\"check\" names the line; the file is read again when it changes")
    }

    /// A quota slows the client down.
    /// - Parameter duration: how long the broker delays its answers, if it said so.
    static func throttled(_ user: String, by duration: Duration?) -> KafkaTrouble {
        let delay = duration.map { ", its answers by \($0.components.seconds) s and more" } ?? ""
        return KafkaTrouble(
            .throttled, "a quota of the cluster slows \(user) down\(delay)",
            remedy: "raise the quota: kafka-configs.sh --entity-type users or clients, producer_byte_rate and"
                + " consumer_byte_rate")
    }

    /// The broker's certificate is not believed.
    /// - Parameter problem: why; nil if that is not known.
    public static func brokerCertificate(
        of broker: String, _ problem: KafkaError.CertificateProblem?
    ) -> KafkaTrouble {
        KafkaTrouble(
            .brokerCertificate(problem), "the certificate of \(broker) is not believed: \(problem.words)",
            remedy: problem.remedy)
    }

    /// The broker refuses the client's certificate, or wants one and gets none.
    public static func clientCertificate(
        refusedBy broker: String, _ configuration: KafkaConfiguration
    ) -> KafkaTrouble {
        guard let file = configuration.certificateFile else {
            return KafkaTrouble(
                .clientCertificate, "\(broker) wants a certificate of its clients, and none is configured",
                remedy: "set kafka.certificate_file and kafka.key_file")
        }
        let refused = "\(broker) refuses the certificate in \(file)"
        guard let certificate = try? NetworkProbe.certificate(in: file) else {
            return KafkaTrouble(
                .clientCertificate, refused,
                remedy: "check kafka.certificate_file: that it has not expired (openssl x509 -in \(file) -noout"
                    + " -dates), and that the broker trusts its authority")
        }
        if let complaint = certificate.complaint(at: Int64(time(nil))) {
            return KafkaTrouble(
                .clientCertificate, refused + complaint,
                remedy: "renew it (kafka.certificate_file); if it is valid, set this machine's clock: timedatectl")
        }
        return KafkaTrouble(
            .clientCertificate, "\(refused), for \(certificate.subject) by \(certificate.issuer)",
            remedy: "let the broker trust that authority, or set kafka.certificate_file to a certificate of one that it"
                + " trusts"
        )
    }

    private static let networkRemedy =
        "check that the broker runs and listens there, and the network and its firewalls on the way"

    private static func unreachable(_ text: String) -> KafkaTrouble {
        KafkaTrouble(.unreachable, text, remedy: networkRemedy)
    }

    private static func notAnswering(_ broker: String) -> KafkaTrouble {
        KafkaTrouble(
            .notAnswering, "\(broker) takes requests and does not answer",
            remedy: "look at that broker: it hangs, or its disk or the network is too slow")
    }

    private static func unknownHost(_ broker: String, _ reason: String) -> KafkaTrouble {
        let host = broker.split(separator: ":").first.map(String.init) ?? broker
        return KafkaTrouble(
            .unknownHost, "the name \(host) is not known: \(reason)",
            remedy: "check kafka.bootstrap, and the name server: getent hosts \(host)")
    }

    private static func refusedUser(
        _ broker: String, _ report: BrokerReport, _ configuration: KafkaConfiguration
    ) -> KafkaTrouble {
        let offered = report.reason.split(separator: "broker's supported mechanisms: ").dropFirst().first
        if let offered {
            let isOneUnderstood = offered.split(separator: ",").contains { name in
                KafkaConfiguration.Mechanism(rawValue: String(name))?.isUnderstoodByKafka4 == true
            }
            return refused(
                "\(broker) does not know kafka.mechanism; it offers \(offered)",
                remedy: "set kafka.mechanism to one of these", byKafka4: !isOneUnderstood)
        }
        return refused(
            "\(broker) refuses \(configuration.username ?? "this client"): \(report.reason)",
            remedy: "check kafka.username, kafka.mechanism and the first line of kafka.password_file",
            byKafka4: configuration.mechanism?.isUnderstoodByKafka4 == false)
    }

    /// - Parameter byKafka4: whether Kafka 4 refuses every password from this library by the mechanism, whatever else is
    ///   wrong.
    private static func refused(_ text: String, remedy: String, byKafka4: Bool) -> KafkaTrouble {
        guard byKafka4 else { return KafkaTrouble(.authentication, text, remedy: remedy) }
        let library = "librdkafka \(String(cString: rd_kafka_version_str()))"
        return KafkaTrouble(
            .authentication, "\(text); \(library) cannot prove a password by SCRAM to Kafka 4",
            remedy: "if the broker is Kafka 4, use kafka.mechanism PLAIN with kafka.security sasl_ssl, a client"
                + " certificate, or librdkafka 2.6.1 (Debian 13) or newer; if it is older, \(remedy)")
    }

    private static func wrongProtocol(_ text: String) -> KafkaTrouble {
        KafkaTrouble(
            .securityProtocol, text,
            remedy: "set kafka.security to what the listener speaks, plaintext, ssl, sasl_plaintext or sasl_ssl, and"
                + " check the port")
    }

    private static func lostConnection(
        _ error: KafkaError, _ broker: String, _ report: BrokerReport, _ configuration: KafkaConfiguration
    ) -> KafkaTrouble {
        let isTLS = configuration.securityProtocol == .tls || configuration.securityProtocol == .saslTLS
        if isTLS {
            if let trouble = handshake(error, broker, report, configuration) { return trouble }
        } else if report.text.contains("connecting to a SSL listener") {
            return wrongProtocol("\(broker) ended the connection at the first request: it may want TLS")
        } else if report.text.contains("might require SASL") {
            return wrongProtocol("\(broker) ended the connection at once: it may want a user and a password")
        }
        if report.text.contains("Local: Timed out") { return notAnswering(broker) }
        if report.reason.hasPrefix("Connect to "), let failure = report.reason.split(separator: " failed: ").last {
            return unreachable("no connection to \(broker): \(failure)")
        }
        if report.text.hasPrefix("Connection setup timed out") {
            return unreachable("no connection to \(broker): no answer in time")
        }
        return .lostConnection(error, of: configuration)
    }

    /// A connection has ended, and no more is known.
    static func lostConnection(_ error: KafkaError, of configuration: KafkaConfiguration) -> KafkaTrouble {
        let broker = BrokerReport(error.message).broker ?? configuration.bootstrapServers
        var trouble = unreachable("the connection to \(broker) was lost")
        if configuration.securityProtocol == .plaintext {
            trouble.remedy += "; if it wants TLS or a password, set kafka.security"
        }
        return trouble
    }

    /// What an error of TLS means; nil if it is none.
    private static func handshake(
        _ error: KafkaError, _ broker: String, _ report: BrokerReport, _ configuration: KafkaConfiguration
    ) -> KafkaTrouble? {
        switch report.tlsReason {
        case nil:
            return report.text.contains("SSL handshake failed")
                ? wrongProtocol("\(broker) ended the TLS handshake: it may not speak TLS there") : nil
        case TLSReason.certificateVerifyFailed?:
            return .brokerCertificate(of: broker, error.certificateProblem)
        case let reason? where TLSReason.certificateAlerts.contains(reason):
            return .clientCertificate(refusedBy: broker, configuration)
        case TLSReason.wrongVersionNumber?, TLSReason.unexpectedEnd?, TLSReason.httpRequest?, TLSReason.packetLength?:
            // A broker that dies ends a connection in the same way; only in the handshake it says something.
            return error.code == .tls || report.text.contains("SSL_HANDSHAKE")
                ? wrongProtocol("\(broker) ended the TLS handshake: it may not speak TLS there") : nil
        case .some:
            return KafkaTrouble(
                .tls, "TLS with \(broker) fails: \(report.reason)",
                remedy: "check kafka.ca_file, kafka.certificate_file and kafka.key_file, and the broker's own TLS")
        }
    }
}

extension KafkaError {
    /// How a sentence on a failed operation begins; empty if the client was at nothing that its owner asked for.
    fileprivate var lead: String { operation == Self.noOperation ? "" : "cannot \(operation): " }

    /// What is not allowed.
    fileprivate var forbidden: String {
        if operation != Self.noOperation { return operation }
        return switch code.native {
        case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED: "be a member of its group"
        case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED: "send messages"
        case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "use transactions"
        default: "use the topic"
        }
    }
}

/// OpenSSL's reasons (sslerr.h), which are the same in every release. An alert of the other side is 1000 more than its
/// number in RFC 8446, 6.
private enum TLSReason {
    static let certificateVerifyFailed = 134
    static let httpRequest = 156
    static let packetLength = 198
    static let wrongVersionNumber = 267
    static let unexpectedEnd = 294
    /// handshake_failure (before TLS 1.3), no_certificate, bad_certificate, unsupported_certificate,
    /// certificate_revoked, certificate_expired, certificate_unknown, unknown_ca, access_denied, certificate_required.
    static let certificateAlerts: Set<Int> = [1040, 1041, 1042, 1043, 1044, 1045, 1046, 1048, 1049, 1116]
}

/// What librdkafka says of one broker, such as
/// `ssl://kafka-1:9092/1: Connect to ipv4#192.0.2.1:9092 failed: Connection refused (after 3ms in state CONNECT)`.
struct BrokerReport {
    /// `kafka-1:9092`; nil if the text names none.
    let broker: String?
    /// The text without the broker. It still ends with the state, which says at what point of a connection it was.
    let text: String

    init(_ message: String) {
        guard let end = message.ranges(of: ": ").first else {
            (broker, text) = (nil, message)
            return
        }
        let name = message[..<end.lowerBound]
        let address = name.ranges(of: "://").first.map { name[$0.upperBound...] } ?? name
        let parts = address.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, !address.contains(" "), parts[0].contains(":") else {
            (broker, text) = (nil, message)
            return
        }
        broker = String(parts[0])
        text = String(message[end.upperBound...])
    }

    /// The last part of the text, without the state: the cause.
    var reason: String {
        let end = text.ranges(of: " (after ").last?.lowerBound ?? text.endIndex
        let whole = text[..<end]
        for lead in ["SASL authentication error: ", "SSL handshake failed: ", "Receive failed: ", "Send failed: "]
        where whole.hasPrefix(lead) { return String(whole.dropFirst(lead.count)) }
        if whole.hasPrefix("Failed to resolve"), let name = whole.ranges(of: "': ").first {
            return String(whole[name.upperBound...])
        }
        return String(whole)
    }

    /// Whether the broker's certificate is the reason.
    var isCertificateNotBelieved: Bool { tlsReason == TLSReason.certificateVerifyFailed }

    /// The reason in an error number of OpenSSL's, `error:0A000086:...`: its low 12 bits, in OpenSSL 1.1 as in 3.
    var tlsReason: Int? {
        guard let start = text.ranges(of: "error:").first?.upperBound else { return nil }
        let digits = text[start...].prefix { $0.isHexDigit }
        return digits.count == 8 ? Int(digits, radix: 16).map { $0 & 0xFFF } : nil
    }
}

extension KafkaError.CertificateProblem? {
    fileprivate var words: String {
        switch self {
        case .expired?: "it has expired"
        case .notYetValid?: "it is not valid yet"
        case .unknownAuthority?: "nobody who is trusted vouches for it"
        case .otherName?: "it is for another name"
        case .other(let code)?: "OpenSSL's verification error \(code)"
        case nil: "it has expired, is for another name, or nobody who is trusted vouches for it"
        }
    }

    fileprivate var remedy: String {
        switch self {
        case .expired?: "renew the broker's certificate; if it is valid, set this machine's clock: timedatectl"
        case .notYetValid?: "set this machine's clock: timedatectl; if it is right, renew the broker's certificate"
        case .unknownAuthority?: "set kafka.ca_file to the authority of the broker's certificate"
        case .otherName?:
            "set kafka.bootstrap to a name that the certificate is for, and advertised.listeners of the broker too"
        case .other?, nil:
            "check the broker's certificate and kafka.ca_file: openssl s_client -connect HOST:PORT -CAfile FILE"
        }
    }
}
