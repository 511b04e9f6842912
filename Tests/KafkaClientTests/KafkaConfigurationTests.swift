import Configuration
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

    /// What `check` says of a section `kafka`, each with its line.
    private func problems(_ section: String) -> [String] {
        do throws(ConfigurationError) {
            let document = try ConfigurationDocument(text: "kafka:\n  \(section)\n", name: "x.yaml")
            _ = try document.decode { $0.section("kafka").kafkaConfiguration(checkingFiles: true) }
            return []
        } catch {
            return error.problems.map(\.description)
        }
    }

    @Test func whatNoClientCouldBeMadeOfIsSaidWithItsLine() throws {
        let least = "bootstrap: here\n  security: sasl_plaintext\n  username: u"
        let file = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try "secret\n".write(to: file, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(at: file) }
        #expect(problems("\(least)\n  password_file: \(file.path)") == [])
        let missing = problems("\(least)\n  password_file: /nowhere/password")
        #expect(
            missing.count == 1 && missing[0].hasPrefix("x.yaml:5: kafka: password_file: cannot be read"), "\(missing)")
        for brokers in ["kafka:99999, ,foo:bar", "127.0.0.1:abc", ":9092", "kafka:"] {
            let found = problems("bootstrap: \"\(brokers)\"")
            #expect(found.count == 1 && found[0].contains("expected brokers such as"), "\(brokers): \(found)")
        }
        for brokers in [
            "kafka", "kafka:9092", "kafka-1:9092, kafka-2:9093", "[::1]:9092", "[::1]", "PLAINTEXT://kafka:9092",
        ] {
            #expect(problems("bootstrap: \"\(brokers)\"") == [])
        }
        let trust = problems("bootstrap: here\n  security: ssl\n  ca_file: /nowhere/ca.pem")
        #expect(trust == ["x.yaml:4: kafka: ca_file: /nowhere/ca.pem cannot be read: No such file or directory"])
        let unknown = problems("bootstrap: here\n  properties: {linger.mss: 5}")
        #expect(unknown.count == 1 && unknown[0].hasPrefix("x.yaml:3: kafka: properties: "), "\(unknown)")
    }
}
