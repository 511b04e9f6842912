import Foundation
import KafkaClient
import Testing

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
}
