import CRdkafka
import Glibc
import Platform

/// What a client does.
public enum KafkaClientKind: Sendable {
    /// Sends messages (`KafkaProducer`).
    case producer
    /// Reads messages (`KafkaConsumer`).
    case consumer
}

/// How to reach a Kafka cluster, and librdkafka's own settings.
///
/// A secret never is in here: the password stays in its file, which is read when a handle is made.
public struct KafkaConfiguration: Sendable, Equatable {
    /// How the connection is protected (`security.protocol`).
    public enum SecurityProtocol: String, Sendable, CaseIterable {
        /// Neither encrypted nor authenticated.
        case plaintext
        /// TLS; with `certificateFile` and `keyFile` the client is authenticated too.
        case tls = "ssl"
        /// A user and password, in the clear.
        case saslPlaintext = "sasl_plaintext"
        /// A user and password, inside TLS.
        case saslTLS = "sasl_ssl"
    }

    /// How the password is proved to the broker (`sasl.mechanism`).
    public enum Mechanism: String, Sendable, CaseIterable {
        /// The password itself is sent (RFC 4616).
        case plain = "PLAIN"
        /// A salted challenge with SHA-256 (RFC 7677).
        case scramSHA256 = "SCRAM-SHA-256"
        /// A salted challenge with SHA-512.
        case scramSHA512 = "SCRAM-SHA-512"

        /// Whether the library in use proves a password so that Kafka 4 takes it. By SCRAM it does from librdkafka 2.6.1
        /// on (Debian 13 has 2.8): what older ones send, Kafka before 4.0 took, although RFC 5802 does not allow it.
        public var isUnderstoodByKafka4: Bool { self == .plain || rd_kafka_version() >= 0x0206_0100 }
    }

    /// `host:port`, or several with commas between them.
    public var bootstrapServers: String
    /// How the connection is protected.
    public var securityProtocol: SecurityProtocol
    /// PEM file of the authorities that may vouch for the broker; nil means the system's.
    public var certificateAuthorityFile: String?
    /// PEM file of this client's certificate.
    public var certificateFile: String?
    /// PEM file of this client's private key.
    public var keyFile: String?
    /// How the password is proved; nil without SASL.
    public var mechanism: Mechanism?
    /// The SASL user name.
    public var username: String?
    /// The file whose first line is the SASL password.
    public var passwordFile: String?
    /// Any of librdkafka's properties (its CONFIGURATION.md); they override what this library sets by itself.
    public var properties: [String: String]

    /// Makes a configuration; only the servers are needed.
    public init(
        bootstrapServers: String, securityProtocol: SecurityProtocol = .plaintext,
        certificateAuthorityFile: String? = nil, certificateFile: String? = nil, keyFile: String? = nil,
        mechanism: Mechanism? = nil, username: String? = nil, passwordFile: String? = nil,
        properties: [String: String] = [:]
    ) {
        self.bootstrapServers = bootstrapServers
        self.securityProtocol = securityProtocol
        self.certificateAuthorityFile = certificateAuthorityFile
        self.certificateFile = certificateFile
        self.keyFile = keyFile
        self.mechanism = mechanism
        self.username = username
        self.passwordFile = passwordFile
        self.properties = properties
    }

    /// The properties in the order in which they are set, without the password.
    var assignments: [(property: String, value: String)] {
        var result = [("bootstrap.servers", bootstrapServers), ("security.protocol", securityProtocol.rawValue)]
        func append(_ property: String, _ value: String?) {
            if let value { result.append((property, value)) }
        }
        append("ssl.ca.location", certificateAuthorityFile)
        append("ssl.certificate.location", certificateFile)
        append("ssl.key.location", keyFile)
        append("sasl.mechanism", mechanism?.rawValue)
        append("sasl.username", username)
        result += properties.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
        return result
    }

    /// Whether the librdkafka that is loaded has a property; newer releases have more.
    public static func isKnown(property: String) -> Bool {
        guard let native = rd_kafka_conf_new() else { return false }
        defer { rd_kafka_conf_destroy(native) }
        var size = 0
        return rd_kafka_conf_get(native, property, nil, &size) == RD_KAFKA_CONF_OK
    }

    /// The value that librdkafka has of a property after it was set: `all` of `acks` is `-1`, `True` is `true`.
    /// - Parameters:
    ///   - property: a name of CONFIGURATION.md, for a topic's property also with `topic.` before it.
    ///   - value: as it is written.
    /// - Throws: if there is no such property, or if it does not take the value.
    public static func canonicalValue(of property: String, _ value: String) throws(KafkaConfigurationError) -> String {
        guard let native = rd_kafka_conf_new() else {
            throw KafkaConfigurationError(property: "", message: "no memory for a configuration")
        }
        defer { rd_kafka_conf_destroy(native) }
        try set(property, value, on: native)
        var buffer = [CChar](repeating: 0, count: 4096)
        var size = buffer.count
        for name in [property, canonicalName(property)] {
            guard rd_kafka_conf_get(native, name, &buffer, &size) == RD_KAFKA_CONF_OK, size <= buffer.count else {
                continue
            }
            return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
        return value
    }

    /// The name of a property without the `topic.` that librdkafka allows before a topic's property.
    public static func canonicalName(_ property: String) -> String {
        // These are the client's own, and begin so.
        let isClients = property.hasPrefix("topic.metadata.") || property == "topic.blacklist"
        return property.hasPrefix("topic.") && !isClients ? String(property.dropFirst("topic.".count)) : property
    }

    /// Whether a property names a file of certificates or keys, which is opened when a client is made.
    public static func namesFile(_ property: String) -> Bool { property.hasSuffix(".location") }

    /// Checks every property, and reads the password file, without connecting.
    public func validate() throws(KafkaConfigurationError) {
        rd_kafka_conf_destroy(try makeNative())
    }

    /// Makes a client that connects nowhere and lets it go: finds what librdkafka does not take only then, such as
    /// properties that exclude each other.
    /// - Parameters:
    ///   - client: which client.
    ///   - defaults: what the program sets besides; the configuration's own properties override it.
    ///   - topic: a topic to send to, whose properties are then checked too; nil for none.
    ///   - usingFiles: whether certificates, keys and the password are read from their files. Without, everything else is
    ///     checked.
    public func tryOut(
        as client: KafkaClientKind, defaults: [(property: String, value: String)] = [], topic: String? = nil,
        usingFiles: Bool = true
    ) throws(KafkaConfigurationError) {
        let configuration = usingFiles ? self : withoutFiles
        let (type, own) =
            switch client {
            case .producer: (RD_KAFKA_PRODUCER, KafkaProducer.guarantees)
            case .consumer: (RD_KAFKA_CONSUMER, KafkaConsumer.guarantees(group: "group"))
            }
        try makeAndLetGo(type, configuration, own + defaults, topic: topic)
    }

    /// Tries out a client with its files, on a thread of its own, as the disk may be slow.
    /// - Throws: what keeps a client from being made.
    public func tryOutAside(
        as client: KafkaClientKind, defaults: [(property: String, value: String)]
    ) async throws(KafkaConfigurationError) {
        try await onOwnThread("kafka-try") { () throws(KafkaConfigurationError) in
            try tryOut(as: client, defaults: defaults)
        }
    }

    /// The same, with nothing that is in files: a password stands for that of the file.
    private var withoutFiles: KafkaConfiguration {
        var result = self
        (result.certificateAuthorityFile, result.certificateFile, result.keyFile) = (nil, nil, nil)
        result.properties = properties.filter { !Self.namesFile($0.key) }
        if passwordFile != nil {
            result.passwordFile = nil
            result.properties["sasl.password"] = "password"
        }
        return result
    }

    /// A librdkafka configuration that the caller owns.
    /// - Parameter defaults: properties that `properties` may override.
    func makeNative(defaults: [(property: String, value: String)] = []) throws(KafkaConfigurationError) -> OpaquePointer
    {
        guard let native = rd_kafka_conf_new() else {
            throw KafkaConfigurationError(property: "", message: "no memory for a configuration")
        }
        do throws(KafkaConfigurationError) {
            for (property, value) in defaults + assignments {
                if Self.namesFile(property) { try mustBeReadable(property, value) }
                try set(property, value, on: native)
            }
            if let passwordFile {
                try set("sasl.password", try readPassword(passwordFile), on: native)
            }
        } catch {
            rd_kafka_conf_destroy(native)
            throw error
        }
        return native
    }
}

extension KafkaConfiguration: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The properties, with the values of secret ones replaced.
    public var description: String {
        var parts = assignments.map { "\($0.property)=\(isSecret($0.property) ? "[redacted]" : $0.value)" }
        if let passwordFile { parts.append("password file \(passwordFile)") }
        return parts.joined(separator: " ")
    }

    /// The same as `description`, so that no way of printing shows a secret.
    public var debugDescription: String { description }

    /// Only the description, so that `dump` shows no secret either.
    public var customMirror: Mirror { Mirror(self, children: ["description": description]) }
}

/// A property that librdkafka does not take, or a password file that cannot be read.
public struct KafkaConfigurationError: Error, Equatable, Sendable, CustomStringConvertible {
    /// librdkafka's name of the property, or empty if the combination of several is at fault.
    public var property: String
    /// What is wrong with it. Never holds a secret.
    public var message: String

    /// One line for a person.
    public var description: String {
        property.isEmpty ? "Kafka configuration: \(message)" : "Kafka property \(property): \(message)"
    }
}

extension KafkaConfigurationError {
    /// Why librdkafka makes no client, in the words of the configuration where it is about a file:
    /// `ssl.key.location failed: error:05800074:x509 certificate routines::key values mismatch`.
    init(refused reason: String, _ configuration: KafkaConfiguration) {
        let files = [
            ("ssl.key.location", "kafka.key_file", configuration.keyFile),
            ("ssl.certificate.location", "kafka.certificate_file", configuration.certificateFile),
            ("ssl.ca.location", "kafka.ca_file", configuration.certificateAuthorityFile),
        ]
        guard let (property, setting, file) = files.first(where: { reason.hasPrefix($0.0 + " failed: ") }),
            let file
        else {
            self.init(property: "", message: reason)
            return
        }
        // X509_R_KEY_VALUES_MISMATCH (x509err.h), which is the same in every release of OpenSSL.
        if BrokerReport(reason).tlsReason == 116, let certificate = configuration.certificateFile {
            self.init(
                property: property,
                message: "the key in \(file) does not belong to the certificate in \(certificate): set kafka.key_file"
                    + " and kafka.certificate_file to two that do")
            return
        }
        let text = reason.dropFirst(property.utf8.count + " failed: ".utf8.count)
        self.init(
            property: property,
            message: "\(file) is not there, may not be read or is no PEM file: check \(setting) (\(text))")
    }
}

/// Properties whose value must not be shown: passwords, keys, tokens, credentials.
private func isSecret(_ property: String) -> Bool {
    let name = property.lowercased()
    if name.hasSuffix(".location") || name.hasSuffix(".url") { return false }
    return ["password", "secret", "key.pem", "ssl_key", "ssl.key", "oauthbearer.config", "token", "jaas"]
        .contains { name.contains($0) }
}

private func set(_ property: String, _ value: String, on native: OpaquePointer) throws(KafkaConfigurationError) {
    let (result, reason) = withErrorBuffer { rd_kafka_conf_set(native, property, value, $0, $1) }
    if result == RD_KAFKA_CONF_OK { return }
    // librdkafka's reason may quote the value.
    throw KafkaConfigurationError(property: property, message: isSecret(property) ? "not accepted" : reason)
}

/// Makes sure that librdkafka, which opens the file of a property when a client is made, does not wait there for ever.
private func mustBeReadable(_ property: String, _ path: String) throws(KafkaConfigurationError) {
    var status = stat()
    guard stat(path, &status) == 0, ![S_IFREG, S_IFDIR].contains(status.st_mode & S_IFMT) else { return }
    throw KafkaConfigurationError(
        property: property, message: "\(path) is a pipe, a socket or a device, and no file: name a file")
}

/// The first line of the file.
private func readPassword(_ path: String) throws(KafkaConfigurationError) -> String {
    let bytes: [UInt8]
    do {
        bytes = try readFile(path, limit: 65_536)
    } catch {
        let reason = String(cString: strerror(error.code))
        throw KafkaConfigurationError(property: "sasl.password", message: "\(path) cannot be read: \(reason)")
    }
    let line = bytes.prefix { $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: "\r") }
    if line.isEmpty {
        throw KafkaConfigurationError(property: "sasl.password", message: "the first line of \(path) is empty")
    }
    return String(decoding: line, as: UTF8.self)
}

/// Runs a C call that writes its reason into a buffer.
func withErrorBuffer<Result>(_ body: (UnsafeMutablePointer<CChar>, Int) -> Result) -> (Result, String) {
    let capacity = 512
    var buffer = [CChar](repeating: 0, count: capacity)
    let result = body(&buffer, capacity)
    return (result, String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
}
