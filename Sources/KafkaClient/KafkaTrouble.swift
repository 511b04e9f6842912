/// What keeps a client from working with its cluster, for a person: what is wrong, and what to do about it.
public struct KafkaTrouble: Sendable, Equatable, CustomStringConvertible {
    /// What is wrong, so that two reports of the same trouble can be recognised as one.
    public enum Kind: Sendable, Hashable {
        /// Nothing more than that it does not work is known yet.
        case unknown
        /// No connection, or a lost one.
        case unreachable
        /// The broker takes connections or requests and does not answer.
        case notAnswering
        /// The listener seems to speak another protocol than `kafka.security` says.
        case securityProtocol
        /// The name of a broker is not known.
        case unknownHost
        /// The broker's certificate is not believed.
        case brokerCertificate(KafkaError.CertificateProblem?)
        /// The broker refuses this client's certificate, or wants one.
        case clientCertificate
        /// Something else of TLS.
        case tls
        /// The broker refuses the user, the password or the mechanism.
        case authentication
        /// A file of certificates, keys or the password cannot be used, so that there is no client.
        case unusableFile
        /// The broker knows the user and forbids what it asked for.
        case authorization
        /// The topic or its partition is not there.
        case missingTopic
        /// A partition has no leader now.
        case noLeader
        /// Fewer replicas are in sync than the topic wants.
        case tooFewReplicas
        /// A quota slows this client down.
        case throttled
        /// A message is larger than the broker takes. This is about one message, not about the cluster.
        case messageTooLarge
        /// The broker cannot go on with this producer, which must be made anew.
        case producerLost

        /// How much it explains. What explains less does not replace what explains more, such as "all brokers are down"
        /// after a refused password.
        var weight: Int {
            switch self {
            case .unknown: 0
            case .unreachable, .notAnswering, .securityProtocol: 1
            case .unknownHost, .brokerCertificate, .clientCertificate, .tls, .authentication, .unusableFile: 2
            case .noLeader, .tooFewReplicas, .throttled, .producerLost, .messageTooLarge: 3
            case .authorization, .missingTopic: 4
            }
        }

        /// Whether it lasts until a person mends it, as far as one can tell: the next try to connect ends in the same way.
        public var isLasting: Bool {
            switch self {
            case .unknownHost, .brokerCertificate, .clientCertificate, .tls, .authentication, .securityProtocol,
                .unusableFile:
                true
            case .unknown, .unreachable, .notAnswering, .noLeader, .tooFewReplicas, .throttled, .producerLost,
                .messageTooLarge, .authorization, .missingTopic:
                false
            }
        }

        /// Whether it is over when a broker is connected for a while. What the cluster forbids or lacks is not.
        var endsWithConnection: Bool { weight <= 2 }

        /// Whether it is no trouble while another broker is connected.
        var isAboutConnections: Bool { weight <= 2 && self != .notAnswering }
    }

    /// Which trouble.
    public var kind: Kind
    /// What is wrong: one sentence without a full stop, such as `no connection to kafka-1:9092: Connection refused`.
    public var text: String
    /// What to do about it, in the words of the configuration.
    public var remedy: String

    /// Makes one.
    public init(_ kind: Kind, _ text: String, remedy: String) {
        self.kind = kind
        self.text = text
        self.remedy = remedy
    }

    /// Whether `other` says more of the cause.
    public func explains(lessThan other: KafkaTrouble) -> Bool { kind.weight < other.kind.weight }

    /// What is wrong and what to do about it.
    public var description: String { "\(text); \(remedy)" }
}
