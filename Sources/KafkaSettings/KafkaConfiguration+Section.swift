import Configuration
import Glibc
import KafkaClient

extension Setting where Value == String {
    /// Brokers, each a host and, unless it is 9092, a port; separated by commas.
    static var brokers: Setting {
        Setting(expected: "brokers such as kafka-1:9092,kafka-2:9092", standIn: "") { text in
            let isValid = text.split(separator: ",", omittingEmptySubsequences: false).allSatisfy { word in
                var broker = word.drop { $0 == " " }
                while broker.last == " " { broker.removeLast() }
                // librdkafka takes any text for a name, and never finds it.
                guard broker.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F }) else { return false }
                // An IPv6 address is in brackets; librdkafka also takes a protocol before the host.
                guard let colon = broker.lastIndex(of: ":"), broker.last != "]" else { return !broker.isEmpty }
                guard let port = Int(broker[broker.index(after: colon)...]) else { return false }
                return colon != broker.startIndex && (1...65_535).contains(port)
            }
            return isValid ? text : nil
        }
    }
}

extension Setting where Value == String {
    /// The name of a topic, as brokers take it.
    public static var topicName: Setting {
        Setting(expected: "a topic's name of 1 to 249 of A-Z a-z 0-9 . _ -", standIn: "topic") { text in
            let isLegal = text.utf8.allSatisfy { byte in
                (0x61...0x7a).contains(byte | 0x20) || (0x30...0x39).contains(byte)
                    || [UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-")].contains(byte)
            }
            return isLegal && (1...249).contains(text.utf8.count) && text != "." && text != ".." ? text : nil
        }
    }
}

/// What becomes of a program whose certificates, keys or password cannot be used when it starts.
public enum UnusableFiles: Sendable {
    /// It starts without Kafka, and takes them when they can be used: that is a remark.
    case areAwaited
    /// It does not start: that is a problem.
    case preventStart
}

extension Section {
    /// Reads how to reach a cluster from a `kafka` section, in the same words for every program: `bootstrap`,
    /// `security` (plaintext, ssl, sasl_plaintext, sasl_ssl), `ca_file`, `certificate_file`, `key_file`, `mechanism`,
    /// `username`, `password_file`, and `properties` of librdkafka. A property that is not known, whose value is not
    /// valid, or that could cost a reading is a problem in its line.
    /// - Parameters:
    ///   - client: what the program does with the cluster.
    ///   - path: makes the path of a file of what is written, such as relative to the configuration's folder.
    public func kafkaConfiguration(
        for client: KafkaClientKind, path: (String) -> String
    ) -> KafkaConfiguration {
        KafkaConfiguration(
            bootstrapServers: required("bootstrap", as: .brokers),
            securityProtocol: value("security", as: .choice(.plaintext), default: .plaintext),
            certificateAuthorityFile: optional("ca_file", as: .text).map(path),
            certificateFile: optional("certificate_file", as: .text).map(path),
            keyFile: optional("key_file", as: .text).map(path),
            mechanism: optional("mechanism", as: .choice(.plain)),
            username: optional("username", as: .text),
            passwordFile: optional("password_file", as: .text).map(path),
            properties: kafkaProperties(for: client, path: path))
    }

    private func kafkaProperties(for client: KafkaClientKind, path: (String) -> String) -> [String: String] {
        guard let section = optionalSection("properties") else { return [:] }
        var properties: [String: String] = [:]
        for property in section.keys {
            guard let written = section.optional(property, as: .text) else {
                section.problem("expected a value; librdkafka's default holds without this line", at: property)
                continue
            }
            let value = KafkaConfiguration.namesFile(property) ? path(written) : written
            let rule = PropertyRule.rule(for: property, of: client)
            do throws(KafkaConfigurationError) {
                let canonical = try KafkaConfiguration.canonicalValue(of: property, value)
                if let rule, !rule.allows(canonical) {
                    section.problem("not allowed: \(rule.reason); \(rule.remedy)", at: property)
                }
            } catch {
                section.problem(error.message, at: property)
            }
            properties[property] = value
        }
        return properties
    }

    /// Asks librdkafka whether it makes a client of a configuration that was read of this section, without connecting.
    /// - Parameters:
    ///   - client: which client.
    ///   - defaults: what the program sets besides.
    ///   - topic: where the client sends to, if it does.
    ///   - files: what files mean that cannot be used.
    public func checkClient(
        _ client: KafkaClientKind, of configuration: KafkaConfiguration,
        defaults: [(property: String, value: String)] = [], topic: String? = nil, files: UnusableFiles
    ) {
        // What is known to be wrong would be found once more.
        guard isDocumentValid else { return }
        do throws(KafkaConfigurationError) {
            try configuration.tryOut(as: client, defaults: defaults, topic: topic, usingFiles: false)
        } catch {
            problem(error.message, at: has("properties") && error.property != "" ? "properties" : nil)
            return
        }
        guard let (key, message) = unusableFile(client, configuration, defaults) else { return }
        switch files {
        case .preventStart: problem(message, at: key)
        case .areAwaited:
            remark("\(message); \"run\" starts and keeps readings in the outbox until it can be used", at: key)
        }
    }

    /// - Returns: the key of a file that cannot be used, and why.
    private func unusableFile(
        _ client: KafkaClientKind, _ configuration: KafkaConfiguration, _ defaults: [(property: String, value: String)]
    ) -> (key: String, message: String)? {
        // librdkafka opens them when it makes a client only, and does not say which one it is about.
        for (key, path) in [
            ("ca_file", configuration.certificateAuthorityFile),
            ("certificate_file", configuration.certificateFile),
            ("key_file", configuration.keyFile),
        ] {
            guard let path, access(path, R_OK) != 0 else { continue }
            return (key, "\(path) cannot be read: \(String(cString: strerror(errno)))")
        }
        do throws(KafkaConfigurationError) {
            try configuration.tryOut(as: client, defaults: defaults)
            return nil
        } catch {
            let keys = [
                "sasl.password": "password_file", "ssl.ca.location": "ca_file",
                "ssl.certificate.location": "certificate_file", "ssl.key.location": "key_file",
            ]
            return (keys[error.property].flatMap { has($0) ? $0 : nil } ?? "properties", error.message)
        }
    }
}
