import Configuration
import Glibc

extension Setting where Value == String {
    /// Brokers, each a host and, unless it is 9092, a port; separated by commas.
    static var brokers: Setting {
        Setting(expected: "brokers such as kafka-1:9092,kafka-2:9092", standIn: "") { text in
            let isValid = text.split(separator: ",", omittingEmptySubsequences: false).allSatisfy { word in
                var broker = word.drop { $0 == " " }
                while broker.last == " " { broker.removeLast() }
                // An IPv6 address is in brackets; librdkafka also takes a protocol before the host.
                guard let colon = broker.lastIndex(of: ":"), broker.last != "]" else { return !broker.isEmpty }
                guard let port = Int(broker[broker.index(after: colon)...]) else { return false }
                return colon != broker.startIndex && (1...65_535).contains(port)
            }
            return isValid ? text : nil
        }
    }
}

extension Section {
    /// Reads how to reach a cluster from a `kafka` section, in the same words for every program: `bootstrap`,
    /// `security` (plaintext, ssl, sasl_plaintext, sasl_ssl), `ca_file`, `certificate_file`, `key_file`, `mechanism`,
    /// `username`, `password_file`, and `properties` of librdkafka.
    /// - Parameter checkingFiles: whether the files are looked at and librdkafka is asked for its opinion, as `check` does.
    public func kafkaConfiguration(checkingFiles: Bool = false) -> KafkaConfiguration {
        let configuration = KafkaConfiguration(
            bootstrapServers: required("bootstrap", as: .brokers),
            securityProtocol: value("security", as: .choice(.plaintext), default: .plaintext),
            certificateAuthorityFile: optional("ca_file", as: .text),
            certificateFile: optional("certificate_file", as: .text),
            keyFile: optional("key_file", as: .text),
            mechanism: optional("mechanism", as: .choice(.plain)),
            username: optional("username", as: .text),
            passwordFile: optional("password_file", as: .text),
            properties: Dictionary(map("properties", as: .text).map { ($0.key, $0.value) }) { $1 })
        if configuration.properties["sasl.password"] != nil {
            problem("write the password to a file of its own and name it by \"password_file\"", at: "properties")
        }
        if checkingFiles {
            // librdkafka opens them when it makes a client only.
            for (key, path) in [
                ("ca_file", configuration.certificateAuthorityFile),
                ("certificate_file", configuration.certificateFile),
                ("key_file", configuration.keyFile),
            ] {
                guard let path, access(path, R_OK) != 0 else { continue }
                problem("\(path) cannot be read: \(String(cString: strerror(errno)))", at: key)
            }
            do throws(KafkaConfigurationError) {
                try configuration.validate()
            } catch {
                let isOfFile = error.property == "sasl.password" && configuration.passwordFile != nil
                problem(
                    isOfFile ? error.message : error.description,
                    at: isOfFile ? "password_file" : has("properties") ? "properties" : nil)
            }
        }
        return configuration
    }
}
