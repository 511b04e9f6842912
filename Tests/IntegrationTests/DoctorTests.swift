import Foundation
import KafkaClient
import Testing

/// `vigie-gateway doctor` as a program, with the real broker and without one.
@Suite(Servers.areThere) struct DoctorTests {
    private struct Report: Decodable {
        struct Check: Decodable {
            var area: String
            var subject: String
            var state: String
            var seen: String
            var remedy: String?
        }

        var failures: Int
        var checks: [Check]
    }

    /// - Parameter security: lines of the section `kafka`.
    private func diagnose(
        _ site: Site, broker: String, topic: String, security: [String] = []
    ) async throws -> (ChildProcess.Ending, Report) {
        let file = site.folder.appendingPathComponent("doctor.yaml")
        let text = """
            gateway: {id: cellar}
            mode: simulated
            clock: {policy: trust}
            outbox: {path: outbox.sqlite, size: 1MiB}
            kafka:
              bootstrap: "\(broker)"
              topic: \(topic)
            \(security.map { "  \($0)\n" }.joined())
            monitoring: {listen: "127.0.0.1:0"}
            stations: [{sensor_id: air, chips: [{type: bme280}, {type: scd41}]}]
            """
        try Data(text.utf8).write(to: file)
        let (ending, output) = try await BuiltProgram.gateway.run(
            ["doctor", "--json", "--config", file.path], in: site.folder)
        let line = try #require(output.split(separator: "\n").first)
        return (ending, try JSONDecoder().decode(Report.self, from: Data(line.utf8)))
    }

    @Test(.timeLimit(.minutes(10))) func theBrokerIsJudged() async throws {
        let site = try await Site(partitions: 2)
        let broker = try #require(ProcessInfo.processInfo.environment["VIGIE_KAFKA"])
        let (ending, report) = try await diagnose(site, broker: broker, topic: site.topic)
        let checks = report.checks.filter { $0.area == "broker" }
        #expect(checks.allSatisfy { $0.state == "ok" }, "\(checks)")
        #expect(checks.last?.seen.hasPrefix("2 partitions") == true)
        #expect(report.checks.filter { $0.area == "chips" }.map(\.state) == ["ok", "ok"])
        #expect((ending == .status(0)) == (report.failures == 0), "\(report)")

        let topicless = try await diagnose(site, broker: broker, topic: site.topic + "-none")
        #expect(topicless.0 == .status(1))
        #expect(topicless.1.checks.last { $0.area == "broker" }?.state == "failure")

        let (absentEnding, absent) = try await diagnose(site, broker: "127.0.0.1:9", topic: site.topic)
        #expect(absentEnding == .status(1))
        let refused = try #require(absent.checks.first { $0.area == "broker" })
        #expect(refused.state == "failure" && refused.seen.hasSuffix("Connection refused") && refused.remedy != nil)
        try await site.remove()
    }

    /// A password by SCRAM is refused as wrong where the library is too old for Kafka 4, although it is right.
    @Test(.requiresKafkaNodes, .timeLimit(.minutes(5))) func aPasswordBySCRAMIsJudged() async throws {
        let password = FileManager.default.temporaryDirectory.appendingPathComponent("vigie-password-\(UUID())")
        try Data("right\n".utf8).write(to: password)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: password.path)
        let kafka = try await ApacheKafka(
            ApacheKafka.Options(arguments: ["--sasl=scram", "--user=cellar:\(password.path)"]))
        let site = try await Site(partitions: 1, broker: kafka.innerBootstrap)
        for mechanism in [KafkaConfiguration.Mechanism.scramSHA512, .plain] {
            let (_, report) = try await diagnose(
                site, broker: kafka.bootstrap, topic: site.topic,
                security: [
                    "security: sasl_plaintext", "mechanism: \(mechanism.rawValue)", "username: cellar",
                    "password_file: \(password.path)",
                ])
            let failures = report.checks.filter { $0.area == "broker" && $0.state == "failure" }
            let isUnderstood = KafkaConfiguration.Mechanism.scramSHA512.isUnderstoodByKafka4
            if mechanism == .scramSHA512, isUnderstood {
                #expect(failures.isEmpty, "\(failures)")
                continue
            }
            let failure = try #require(failures.first, "\(report)")
            if mechanism == .plain { #expect(failure.seen.contains("it offers SCRAM-SHA-512"), "\(failure)") }
            #expect(failure.seen.hasSuffix("by SCRAM to Kafka 4") != isUnderstood, "\(failure)")
            #expect(failure.remedy?.contains("PLAIN with kafka.security sasl_ssl") != isUnderstood, "\(failure)")
        }
        try await site.remove()
        try await kafka.remove()
        try FileManager.default.removeItem(at: password)
    }
}
