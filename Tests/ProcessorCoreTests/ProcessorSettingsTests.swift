import Alerting
import Configuration
import Foundation
import KafkaClient
import Monitoring
import Testing

@testable import ProcessorCore

@Suite struct ProcessorSettingsTests {
    private func settings(_ text: String) throws -> ProcessorSettings {
        try ProcessorSettings(ConfigurationDocument(text: text, name: "processor.yaml"))
    }

    private let least = "kafka: {bootstrap: here}\npostgres: {connection: dbname=vigie}\n"

    @Test func theLeastConfigurationHasTheDocumentedDefaults() throws {
        let settings = try settings(least)
        #expect(settings.topic == "sensor.readings" && settings.rejectedTopic == "sensor.readings.rejected")
        #expect(settings.windows.specifications.map(\.size) == [600_000, 60_000])
        #expect(settings.windows.lateness == 600_000 && settings.idleTimeout == 60_000)
        #expect(settings.limits.futureTolerance == 300_000 && settings.monitoring == nil)
    }

    @Test func checkKnowsWhatLibpqTakes() throws {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        defer { try? FileManager.default.removeItem(at: file) }
        try least.write(to: file, atomically: true, encoding: .utf8)
        _ = try ProcessorSettings(file: file.path, checkingFiles: true)
        try least.replacing("dbname=vigie", with: "prot=secret").write(to: file, atomically: true, encoding: .utf8)
        do throws(ConfigurationError) {
            _ = try ProcessorSettings(file: file.path, checkingFiles: true)
            Issue.record("it was taken")
        } catch {
            #expect(error.problems.map(\.line) == [2] && !"\(error)".contains("secret"), "\(error)")
        }
    }

    /// Debian 12's library looks again only a second after its queue was full: a small one would bound the rate.
    @Test func theQueueIsSmallOnlyWhereTheLibraryLooksAgainSoon() throws {
        let looksSoon = KafkaConfiguration.isKnown(property: "fetch.queue.backoff.ms")
        let properties = try settings(least).consumerConfiguration(worker: 1).properties
        #expect(properties["queued.max.messages.kbytes"] == (looksSoon ? "4096" : "32768"))
        let chosen = try settings(
            "kafka: {bootstrap: here, properties: {queued.max.messages.kbytes: 1000}}\npostgres: {connection: dbname=vigie}"
        )
        #expect(chosen.consumerConfiguration(worker: 1).properties["queued.max.messages.kbytes"] == "1000")
    }

    @Test func theShippedExampleIsValid() throws {
        let root = #filePath.components(beforeFolder: "Tests")
        let settings = try ProcessorSettings(file: root + "configuration/processor.yaml")
        #expect(settings.windows.specifications.count == 2)
        #expect(settings.monitoring?.address == .network(host: "127.0.0.1", port: 9465))
    }

    @Test(arguments: [
        ("windows: [{size: 10m, slide: 3m}]", "must divide"),
        ("windows: [{size: 1m}, {size: 1m}]", "twice"),
        ("windows: [{size: 10m, slide: 1m}, {size: 10m, slide: 5m}]", "one slide"),
        ("windows: [{size: 365d, slide: 1ms}]", "longer slides"),
        ("windows: [{size: 1m, slide: 1ms}]", "60000 windows"),
        ("windows: [{size: 1m, slide: 1s}]\nlateness: 30d", "less lateness"),
        ("limits: {temperature: {min: -1e308}}", "number"),
        ("windows: [{slide: 1m}]", "size"),
        ("lateness: soon", "duration"),
        ("latenes: 1m", "did you mean \"lateness\""),
        ("limits: {co2: {min: 5, max: 4}}", "min is above max"),
        ("rules: {co2: {warning: {below: 5, above: 4}}}", "above"),
        ("rules: {co2: {warning: {above: 5}, critical: {above: 4}}}", "before the warning"),
        ("rules: {co2: {warning: {below: 4, above: 5}, hysteresis: 2}}", "no alert would close"),
        ("rules: {oxygen: {warning: {above: 5}}}", "unknown key"),
        ("alerts: {loss: {for: 2d}}", "longer than"),
        ("alerts: {fault: {severity: bad}}", "warning, critical"),
        ("webhook: {url: \"ftp://here/\"}", "an address such as"),
        ("webhook: {token_file: /x}", "url"),
        ("retention: {readings: 1d}", "a duration such as 10s of at least"),
        ("retention: {reading: 400d}", "did you mean \"readings\""),
    ])
    func aMistakeIsNamedWithItsLine(text: String, expected: String) throws {
        do {
            _ = try settings(least + text)
            Issue.record("no error")
        } catch let error as ConfigurationError {
            #expect("\(error)".contains(expected))
            #expect("\(error)".contains("processor.yaml:3:"))
        }
    }

    @Test func aMemberOfTheGroupIsMissedSoonAndKeepsItsName() throws {
        let member = try settings("kafka: {bootstrap: here, instance: left}\npostgres: {connection: a=b}")
            .consumerConfiguration(worker: 2).properties
        #expect(member["session.timeout.ms"] == "9000" && member["group.instance.id"] == "left-2")
        #expect(member["client.id"] == "left" && member["partition.assignment.strategy"] == "cooperative-sticky")
        let slow = try settings(
            "kafka: {bootstrap: here, properties: {session.timeout.ms: 45000}}\npostgres: {connection: a=b}")
        #expect(slow.consumerConfiguration(worker: 1).properties["session.timeout.ms"] == "45000")
    }

    @Test func theGroupProtocolConsumerNeedsALibraryThatKnowsIt() throws {
        func problems(_ kafka: String) throws -> String {
            do {
                _ = try settings("postgres: {connection: a=b}\nkafka: {bootstrap: here, \(kafka)}")
                return ""
            } catch let error as ConfigurationError {
                return "\(error)"
            }
        }
        let found = try problems("group_protocol: consumer")
        let own = try problems("group_protocol: consumer, properties: {session.timeout.ms: 9000}")
        #expect(own.contains("session.timeout.ms is for the protocol classic only"), "\(own)")
        guard KafkaConfiguration.isKnown(property: "group.protocol") else {
            #expect(found.contains("too old for the protocol consumer") && found.contains("yaml:2:"), "\(found)")
            return
        }
        #expect(found.isEmpty)
        let member = try settings("postgres: {connection: a=b}\nkafka: {bootstrap: here, group_protocol: consumer}")
            .consumerConfiguration(worker: 1).properties
        #expect(member["group.protocol"] == "consumer" && member["session.timeout.ms"] == nil)
        #expect(member["partition.assignment.strategy"] == nil && member["group.instance.id"] == nil)
    }

    @Test func nothingIsDeletedUnlessTold() throws {
        #expect(try !settings(least).retention.isSet)
        let set = try settings(least + "retention: {readings: 400d, windows: 1200d}").retention
        #expect(set.readings == 400 * 86_400_000 && set.windows == 1200 * 86_400_000)
        let sparse = try settings("kafka: {bootstrap: here}\npostgres: {connection: a=b, days_ahead: 9}")
        #expect(sparse.daysAhead == 9 && sparse.preparesStatements)
    }

    @Test func rulesAndAlertsAreRead() throws {
        let settings = try settings(
            least + """
                rules:
                  co2: {warning: {above: 1000}, critical: {above: 2000}, hysteresis: 50, for: 5m}
                  battery_level: {critical: {below: 10}}
                alerts:
                  fault: {severity: critical, for: 1m}
                  silence: {intervals: 3}
                  loss: {}
                webhook: {url: "https://example.org/hook", token_file: /etc/token, timeout: 2s}
                """)
        let expected = QuantityRule(
            warning: .init(above: 1000), critical: .init(above: 2000), hysteresis: 50, minimumDuration: 300_000)
        #expect(settings.rules[.co2] == expected && settings.rules[.temperature] == QuantityRule())
        #expect(settings.rules[.batteryLevel] == QuantityRule(critical: .init(below: 10)))
        #expect(settings.rules.fault == FaultRule(severity: .critical, minimumDuration: 60_000))
        #expect(settings.rules.silence == SilenceRule(intervals: 3, least: 60_000))
        #expect(settings.rules.loss == LossRule(minimumDuration: 600_000, clearAfter: 86_400_000))
        #expect(settings.webhook.map { "\($0.address)" } == "https://example.org:443")
        #expect(settings.webhook?.tokenFile == "/etc/token" && settings.webhook?.timeout == .seconds(2))
        let without = try self.settings(least)
        #expect(without.rules == AlertRules() && without.webhook == nil)
    }
}

extension String {
    fileprivate func components(beforeFolder name: String) -> String {
        range(of: "/\(name)/").map { String(self[..<$0.lowerBound]) + "/" } ?? self
    }

    private func range(of text: String) -> Range<String.Index>? {
        indices.first { self[$0...].hasPrefix(text) }.map { $0..<index($0, offsetBy: text.count) }
    }
}
