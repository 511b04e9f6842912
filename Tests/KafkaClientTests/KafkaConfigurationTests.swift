import Foundation
import Testing

@testable import KafkaClient

struct KafkaConfigurationTests {
    private func withFile<Result>(_ text: String, _ body: (String) throws -> Result) throws -> Result {
        let path = NSTemporaryDirectory() + "/" + uniqueName("password")
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(atPath: path) }
        return try body(path)
    }

    @Test func aFullConfigurationIsAccepted() throws {
        try withFile("very-secret\nsecond line\n") { path in
            try KafkaConfiguration(
                bootstrapServers: "a:1,b:2", securityProtocol: .saslTLS, mechanism: .scramSHA256, username: "u",
                passwordFile: path, properties: ["linger.ms": "50"]
            ).validate()
        }
    }

    @Test func noSecretIsPrinted() throws {
        let configuration = KafkaConfiguration(
            bootstrapServers: "a:1", passwordFile: "/etc/secret-file",
            properties: ["sasl.password": "hidden-1", "ssl.key.pem": "hidden-2", "ssl.key.password": "hidden-3"])
        var dumped = ""
        dump(configuration, to: &dumped)
        for text in ["\(configuration)", String(reflecting: configuration), dumped] {
            #expect(!text.contains("hidden"))
            #expect(text.contains("/etc/secret-file"))
        }
    }

    @Test(arguments: [("no.such.property", "1"), ("linger.ms", "soon"), ("security.protocol", "magic")])
    func anErrorNamesTheProperty(property: String, value: String) {
        let configuration = KafkaConfiguration(bootstrapServers: "a:1", properties: [property: value])
        #expect { try configuration.validate() } throws: { ($0 as? KafkaConfigurationError)?.property == property }
    }

    @Test func aPasswordFileThatIsMissingOrEmptyIsAnError() throws {
        let missing = KafkaConfiguration(bootstrapServers: "a:1", passwordFile: "/no/such/file")
        #expect { try missing.validate() } throws: { "\($0)".contains("/no/such/file") }
        try withFile("\n") { path in
            let empty = KafkaConfiguration(bootstrapServers: "a:1", passwordFile: path)
            #expect { try empty.validate() } throws: { "\($0)".contains(path) }
        }
    }

    @Test func contradictoryPropertiesAreAnError() {
        let configuration = KafkaConfiguration(bootstrapServers: "a:1", properties: ["acks": "0"])
        #expect(throws: KafkaConfigurationError.self) {
            try KafkaProducer(configuration: configuration) { _ in }
        }
    }

    /// The texts of librdkafka 2.0.2 with OpenSSL 3.0.
    @Test func filesThatItDoesNotTakeAreNamedAsInTheConfiguration() {
        let configuration = KafkaConfiguration(
            bootstrapServers: "a:1", securityProtocol: .tls, certificateAuthorityFile: "/x/ca.pem",
            certificateFile: "/x/me.pem", keyFile: "/x/me.key")
        let expected = [
            "ssl.key.location failed: error:05800074:x509 certificate routines::key values mismatch":
                "the key in /x/me.key does not belong to the certificate in /x/me.pem: set kafka.key_file",
            "ssl.key.location failed: error:0A080002:SSL routines::system lib": "/x/me.key is not there, may not be",
            "ssl.certificate.location failed: error:0A080002:SSL routines::system lib": "check kafka.certificate_file",
            "ssl.ca.location failed: error:05800088:x509 certificate routines::no certificate or crl found":
                "/x/ca.pem is not there, may not be read or is no PEM file: check kafka.ca_file",
            "No provider for SASL mechanism GSSAPI": "Kafka configuration: No provider for SASL mechanism GSSAPI",
        ]
        for (reason, text) in expected {
            let error = KafkaConfigurationError(refused: reason, configuration)
            #expect(error.description.contains(text), "\(error)")
        }
    }

    /// `check` compares values as librdkafka has them, whatever the way they are written in.
    @Test(arguments: [
        ("acks", "all", "-1"), ("request.required.acks", "1", "1"), ("topic.acks", "ALL", "-1"),
        ("enable.idempotence", "t", "true"), ("queuing.strategy", "LIFO", "lifo"),
        ("topic.partitioner", "random", "random"), ("enable.auto.commit", "False", "false"),
    ])
    func aValueIsKnownAsLibrdkafkaHasIt(property: String, value: String, canonical: String) throws {
        #expect(try KafkaConfiguration.canonicalValue(of: property, value) == canonical)
    }

    /// Certificates and passwords may come later; whatever else keeps a client from being made is found without them.
    @Test func aClientIsTriedOutWithAndWithoutItsFiles() throws {
        var configuration = KafkaConfiguration(
            bootstrapServers: "a:1", securityProtocol: .saslTLS, certificateAuthorityFile: "/nowhere/ca.pem",
            mechanism: .plain, username: "u", passwordFile: "/nowhere/password")
        try configuration.tryOut(as: .producer, topic: "t", usingFiles: false)
        try configuration.tryOut(as: .consumer, usingFiles: false)
        #expect(throws: KafkaConfigurationError.self) { try configuration.tryOut(as: .producer) }
        configuration.properties = ["linger.ms": "400000"]
        #expect(throws: KafkaConfigurationError.self) {
            try configuration.tryOut(as: .producer, topic: "t", usingFiles: false)
        }
        configuration.properties = ["session.timeout.ms": "3600000"]
        #expect(throws: KafkaConfigurationError.self) { try configuration.tryOut(as: .consumer, usingFiles: false) }
    }
}
