import Testing

@testable import KafkaClient

/// What is said for the errors of librdkafka. The texts are those that 2.0.2 and 2.8.0 gave with Apache Kafka 4.3.1.
@Suite struct KafkaTroubleTests {
    private static let plain = KafkaConfiguration(bootstrapServers: "kafka-1:9092")
    private static let tls = KafkaConfiguration(
        bootstrapServers: "kafka-1:9093", securityProtocol: .tls, certificateAuthorityFile: "/etc/vigie/ca.pem")
    private static let mutualTLS = KafkaConfiguration(
        bootstrapServers: "kafka-1:9093", securityProtocol: .tls, certificateAuthorityFile: "/etc/vigie/ca.pem",
        certificateFile: "/etc/vigie/me.pem", keyFile: "/etc/vigie/me.key")
    private static let user = KafkaConfiguration(
        bootstrapServers: "kafka-1:9094", securityProtocol: .saslPlaintext, mechanism: .scramSHA512, username: "cellar")

    private func trouble(
        _ code: KafkaError.Code, _ message: String? = nil, _ configuration: KafkaConfiguration = plain,
        operation: String = "client", certificate: KafkaError.CertificateProblem? = nil
    ) throws -> KafkaTrouble {
        var error = KafkaError(code, operation, message: message)
        error.certificateProblem = certificate
        return try #require(KafkaTrouble(error, of: configuration))
    }

    @Test func aRefusedConnectionIsNamedWithItsReason() throws {
        let found = try trouble(
            .transport,
            "kafka-1:9092/bootstrap: Connect to ipv4#192.0.2.1:9092 failed: Connection refused (after 0ms in state CONNECT,"
                + " 1 identical error(s) suppressed)")
        #expect(found.kind == .unreachable)
        #expect(found.text == "no connection to kafka-1:9092: Connection refused")
    }

    @Test func aLostConnectionIsNamed() throws {
        let found = try trouble(.transport, "kafka-1:9092/1: Disconnected (after 30000ms in state UP)")
        #expect(found.kind == .unreachable && found.text == "the connection to kafka-1:9092 was lost")
        let all = try trouble(.allBrokersDown, "1/1 brokers are down")
        #expect(all.kind == .unknown && all.text == "no broker of kafka-1:9092 can be reached")
    }

    @Test func anUnknownNameIsToldWithTheNameOnly() throws {
        let found = try trouble(
            .resolve,
            "nowhere.invalid:9092/bootstrap: Failed to resolve 'nowhere.invalid:9092': Name or service not known (after"
                + " 0ms in state CONNECT)")
        #expect(found.kind == .unknownHost)
        #expect(found.text == "the name nowhere.invalid is not known: Name or service not known")
        #expect(found.remedy.contains("getent hosts nowhere.invalid"))
    }

    @Test func aBrokerThatHangsIsNotAnswering() throws {
        let texts = [
            "kafka-1:9092/bootstrap: ApiVersionRequest failed: Local: Timed out: probably due to broker version < 0.10 (see"
                + " api.version.request configuration) (after 10011ms in state APIVERSION_QUERY)"
        ]
        for text in texts { #expect(try trouble(.transport, text).kind == .notAnswering) }
        let requests = try trouble(
            .timedOut, "kafka-1:9092/1: 5 request(s) timed out: disconnect (after 62000ms in state UP)")
        #expect(requests.kind == .notAnswering && requests.text == "kafka-1:9092 takes requests and does not answer")
    }

    @Test func aListenerThatSpeaksAnotherProtocolIsRecognised() throws {
        let cases: [(KafkaError.Code, String, KafkaConfiguration)] = [
            (
                .transport,
                "localhost:21001/bootstrap: Disconnected while requesting ApiVersion: might be caused by incorrect"
                    + " security.protocol configuration (connecting to a SSL listener?) or broker version is < 0.10 (see"
                    + " api.version.request) (after 33ms in state APIVERSION_QUERY)", Self.plain
            ),
            (
                .transport,
                "localhost:21002/bootstrap: Disconnected: verify that security.protocol is correctly configured, broker"
                    + " might require SASL authentication (after 0ms in state UP)", Self.plain
            ),
            // A plaintext listener, asked for TLS: librdkafka 2.0.2, the same at its next try, librdkafka 2.8.0.
            (
                .tls,
                "ssl://localhost:21000/bootstrap: SSL handshake failed: error:0A000126:SSL routines::unexpected eof while"
                    + " reading (after 3ms in state SSL_HANDSHAKE)", Self.tls
            ),
            (
                .transport,
                "ssl://localhost:21000/bootstrap: error:0A000126:SSL routines::unexpected eof while reading (after 0ms in"
                    + " state SSL_HANDSHAKE)", Self.tls
            ),
            (
                .transport,
                "ssl://localhost:21000/bootstrap: SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker"
                    + " listener? (after 7ms in state SSL_HANDSHAKE)", Self.tls
            ),
        ]
        for (code, text, configuration) in cases {
            let found = try trouble(code, text, configuration)
            #expect(found.kind == .securityProtocol && found.remedy.contains("kafka.security"), "\(text): \(found)")
        }
    }

    /// Of a broker that dies while TLS is up, librdkafka may say the same as of a wrong port.
    @Test func aConnectionThatEndsLaterIsLost() throws {
        let found = try trouble(
            .transport,
            "ssl://kafka-1:9093/1: Receive failed: error:0A000126:SSL routines::unexpected eof while reading (after 900ms"
                + " in state UP)", Self.tls)
        #expect(found.kind == .unreachable)
    }

    @Test(arguments: [
        (KafkaError.CertificateProblem.expired, "has expired", "renew"),
        (.notYetValid, "not valid yet", "clock"),
        (.unknownAuthority, "nobody who is trusted", "kafka.ca_file"),
        (.otherName, "another name", "kafka.bootstrap"),
    ]) func aCertificateIsNotBelievedForAReason(
        problem: KafkaError.CertificateProblem, text: String, remedy: String
    ) throws {
        let found = try trouble(
            .tls,
            "ssl://kafka-1:9093/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed:"
                + " broker certificate could not be verified, verify that ssl.ca.location is correctly configured or root"
                + " CA certificates are installed (install ca-certificates package) (after 23ms in state SSL_HANDSHAKE)",
            Self.tls, certificate: problem)
        #expect(found.kind == .brokerCertificate(problem))
        #expect(found.text.contains(text) && found.remedy.contains(remedy), "\(found)")
    }

    /// The broker's alerts: by librdkafka on OpenSSL 3.0, on OpenSSL 3.5, and on OpenSSL 1.1.
    @Test(arguments: [
        "error:0A000412:SSL routines::sslv3 alert bad certificate: SSL alert number 42",
        "error:0A000412:SSL routines::ssl/tls alert bad certificate: SSL alert number 42",
        "error:0A000416:SSL routines::sslv3 alert certificate unknown: SSL alert number 46",
        "error:0A00045C:SSL routines::tlsv13 alert certificate required: SSL alert number 116",
        "error:1409445C:SSL routines:ssl3_read_bytes:tlsv13 alert certificate required: SSL alert number 116",
        "error:0A000418:SSL routines::tlsv1 alert unknown ca: SSL alert number 48",
    ]) func theBrokerRefusesTheClientsCertificate(reason: String) throws {
        let text = "ssl://kafka-1:9093/bootstrap: Receive failed: \(reason) (after 2ms in state APIVERSION_QUERY)"
        let without = try trouble(.transport, text, Self.tls)
        #expect(without.kind == .clientCertificate && without.remedy == "set kafka.certificate_file and kafka.key_file")
        let with = try trouble(.transport, text, Self.mutualTLS)
        #expect(with.kind == .clientCertificate && with.remedy.contains("/etc/vigie/me.pem -noout -dates"))
        #expect(with.text == "kafka-1:9093 refuses the certificate in /etc/vigie/me.pem")
    }

    @Test func aRefusedPasswordIsToldInTheBrokersWords() throws {
        let found = try trouble(
            .authentication,
            "sasl_plaintext://kafka-1:9094/bootstrap: SASL authentication error: Authentication failed during"
                + " authentication due to invalid credentials with SASL mechanism SCRAM-SHA-512 (after 317ms in state"
                + " AUTH_REQ, 1 identical error(s) suppressed)", Self.user)
        #expect(found.kind == .authentication && found.remedy.contains("kafka.password_file"))
        #expect(found.text.hasPrefix("kafka-1:9094 refuses cellar: Authentication failed during authentication"))
        // Which Kafka 4 refuses from a library before 2.6.1, whatever the password is.
        let isOld = !KafkaConfiguration.Mechanism.scramSHA512.isUnderstoodByKafka4
        #expect(found.text.hasSuffix(isOld ? "cannot prove a password by SCRAM to Kafka 4" : "SCRAM-SHA-512"))
        #expect(found.remedy.hasPrefix("if the broker is Kafka 4, use kafka.mechanism PLAIN") == isOld)
        var sent = Self.user
        sent.mechanism = .plain
        #expect(try trouble(.authentication, "refused", sent).remedy.hasPrefix("check kafka.username"))
    }

    @Test func theMechanismsThatTheBrokerOffersAreSaid() throws {
        func mechanism(_ offered: String) throws -> KafkaTrouble {
            try trouble(
                .authentication,
                "sasl_plaintext://kafka-1:9094/bootstrap: SASL OTHER mechanism handshake failed: Broker: Unsupported"
                    + " SASL mechanism: broker's supported mechanisms: \(offered) (after 300ms in state"
                    + " AUTH_HANDSHAKE)", Self.user)
        }
        let found = try mechanism("SCRAM-SHA-512,PLAIN")
        #expect(found.text == "kafka-1:9094 does not know kafka.mechanism; it offers SCRAM-SHA-512,PLAIN")
        #expect(found.remedy == "set kafka.mechanism to one of these")
        // One that does not help is not recommended.
        let isOld = !KafkaConfiguration.Mechanism.scramSHA512.isUnderstoodByKafka4
        #expect(try mechanism("SCRAM-SHA-512").remedy.contains("librdkafka 2.6.1") == isOld)
    }

    @Test func whatTheClusterForbidsOrLacksIsSaidOfTheOperation() throws {
        let operation = "deliver to sensor.readings"
        let forbidden = try trouble(.topicAuthorizationFailed, nil, Self.user, operation: operation)
        #expect(forbidden.kind == .authorization)
        #expect(forbidden.text == "cellar is not allowed to deliver to sensor.readings")
        let missing = try trouble(.unknownTopicOrPartition, nil, operation: operation)
        #expect(missing.kind == .missingTopic && missing.text.contains("sensor.readings"))
        #expect(try trouble(.init(rawValue: 19), nil, operation: operation).kind == .tooFewReplicas)
        #expect(try trouble(.init(rawValue: 6), nil, operation: operation).kind == .noLeader)
        #expect(try trouble(.messageTooLarge, nil, operation: operation).kind == .messageTooLarge)
        #expect(try trouble(.messageTimedOut, nil, operation: operation).kind == .unknown)
    }

    @Test func whatIsTheClientsOwnIsNoTrouble() {
        for code in [KafkaError.Code.queueFull, .state, .partitionEnd, .purgedFromQueue, .offsetOutOfRange] {
            #expect(KafkaTrouble(KafkaError(code, "client"), of: Self.plain) == nil)
        }
    }
}
