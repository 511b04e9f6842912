import Configuration

extension Section {
    /// Reads how to reach a cluster from a `kafka` section, in the same words for every program: `bootstrap`,
    /// `security` (plaintext, ssl, sasl_plaintext, sasl_ssl), `ca_file`, `certificate_file`, `key_file`, `mechanism`,
    /// `username`, `password_file`, and `properties` of librdkafka.
    public func kafkaConfiguration() -> KafkaConfiguration {
        let configuration = KafkaConfiguration(
            bootstrapServers: required("bootstrap", as: .text),
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
        return configuration
    }
}
