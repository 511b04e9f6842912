import Configuration
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
        #expect(settings.limits.futureTolerance == 300_000 && settings.listen == nil)
    }

    @Test func theShippedExampleIsValid() throws {
        let root = #filePath.components(beforeFolder: "Tests")
        let settings = try ProcessorSettings(file: root + "configuration/processor.yaml")
        #expect(settings.windows.specifications.count == 2 && settings.listen?.port == 9465)
    }

    @Test(arguments: [
        ("windows: [{size: 10m, slide: 3m}]", "must divide"),
        ("windows: [{size: 1m}, {size: 1m}]", "twice"),
        ("windows: [{slide: 1m}]", "size"),
        ("lateness: soon", "duration"),
        ("latenes: 1m", "did you mean \"lateness\""),
        ("limits: {co2: {min: 5, max: 4}}", "min is above max"),
        ("warnings: {co2: {below: 5, above: 4}}", "above"),
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

    @Test func nothingIsDeletedUnlessTold() throws {
        #expect(try !settings(least).retention.isSet)
        let set = try settings(least + "retention: {readings: 400d, windows: 1200d}").retention
        #expect(set.readings == 400 * 86_400_000 && set.windows == 1200 * 86_400_000)
        let sparse = try settings("kafka: {bootstrap: here}\npostgres: {connection: a=b, days_ahead: 9}")
        #expect(sparse.daysAhead == 9 && sparse.preparesStatements)
    }

    @Test func warningsClassify() throws {
        let rules = try settings(least + "warnings: {co2: {above: 1000}, temperature: {below: 5, above: 30}}").rules
        func status(_ temperature: Double?, _ co2: Double?, faults: Bool = false) -> String {
            rules.status(
                of: .init(temperature: temperature, co2: co2), hasFaults: faults,
                known: QuantitySet(of: .init(temperature: 0, co2: 0))
            ).name
        }
        #expect(status(20, 1000) == "ok" && status(20, 1000.1) == "warning" && status(4.9, 500) == "warning")
        #expect(status(nil, 500) == "failure", "a known quantity is missing")
        #expect(status(20, 500, faults: true) == "failure")
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
