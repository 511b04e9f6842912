import Alerting
import Configuration
import Foundation
import PostgresClient
import Testing

@testable import ProcessorCore

private let server = ProcessInfo.processInfo.environment["VIGIE_POSTGRES"]

/// What readers are told of the rules, in a real PostgreSQL, each test in a schema of its own.
@Suite(.enabled(if: server != nil, "VIGIE_POSTGRES names no PostgreSQL: run `make test`"))
struct RuleTableTests {
    private let connection: PostgresConnection
    private let schema = "test_\(UInt64.random(in: 0...UInt64.max))"
    private let table: RuleTable

    init() throws {
        connection = try PostgresConnection(connectionString: try #require(server), applicationName: "test")
        try connection.execute("CREATE SCHEMA \(schema); SET search_path = \(schema)")
        _ = try Migrator.migrate(connection)
        table = RuleTable(connection: connection)
    }

    private func rules(_ yaml: String) throws -> AlertRules {
        let document = try ConfigurationDocument(
            text: """
                kafka: {bootstrap: "localhost:9092"}
                postgres: {connection: "host=localhost"}
                rules:
                \(yaml)
                """, name: "processor.yaml")
        return try ProcessorSettings(document).rules
    }

    /// `quantity severity side bound hysteresis milliseconds` of each row.
    private func told() throws -> [String] {
        try table.read().map {
            "\($0.quantity) \($0.severity) \($0.side) \($0.bound) \($0.hysteresis) \($0.minimumDuration)"
        }.sorted()
    }

    /// Tells rows that were written anew from those that stayed.
    private func writers() throws -> String {
        try connection.query("SELECT coalesce(string_agg(DISTINCT xmin::text, ','), '') FROM alert_rule").value(0, 0)
    }

    @Test func everyBoundIsARowAndWhatHasNoneIsNot() throws {
        #expect(try table.replace(with: AlertRules()) == false, "no rules, no rows")
        let rules = try rules(
            """
              temperature: {warning: {below: 5, above: 35}, critical: {below: -0.5, above: 45}, hysteresis: 0.5, for: 5m}
              co2: {critical: {above: 3000}}
              battery_level: {warning: {below: 15}, hysteresis: 5}
            """)
        #expect(try table.replace(with: rules))
        #expect(
            try told() == [
                "battery_level warning below 15.0 5.0 0", "co2 critical above 3000.0 0.0 0",
                "temperature critical above 45.0 0.5 300000", "temperature critical below -0.5 0.5 300000",
                "temperature warning above 35.0 0.5 300000", "temperature warning below 5.0 0.5 300000",
            ])
    }

    @Test func itIsReplacedAsAWholeAndOnlyIfItDiffers() throws {
        let first = try rules("  co2: {warning: {above: 1000}, critical: {above: 2000}}")
        #expect(try table.replace(with: first))
        let written = try writers()
        #expect(try table.replace(with: first) == false)
        #expect(try writers() == written, "nothing was written")
        for yaml in [
            "  co2: {warning: {above: 1000}}", "  co2: {warning: {above: 1001}}",
            "  co2: {warning: {above: 1001}, hysteresis: 1}", "  co2: {warning: {above: 1001}, hysteresis: 1, for: 1s}",
            "  humidity: {warning: {above: 80}}",
        ] {
            #expect(try table.replace(with: rules(yaml)), "\(yaml)")
            #expect(try table.read().count == 1, "\(yaml)")
        }
        #expect(try table.replace(with: AlertRules()))
        #expect(try table.read().isEmpty)
    }

    @Test func aReaderSeesTheOldRulesOrTheNewAndIsNotHeldUp() throws {
        try table.replace(with: rules("  co2: {warning: {above: 1000}}"))
        let reader = try PostgresConnection(connectionString: try #require(server), applicationName: "test")
        try reader.execute("SET search_path = \(schema); SET lock_timeout = '1ms'")
        try connection.transaction {
            try connection.execute("LOCK TABLE alert_rule IN SHARE ROW EXCLUSIVE MODE; DELETE FROM alert_rule")
            #expect(try RuleTable(connection: reader).read().map(\.bound) == [1000])
        }
        #expect(try RuleTable(connection: reader).read().isEmpty)
    }

    @Test func ofManyThatStartAtOnceOneWrites() async throws {
        let rules = try rules("  co2: {warning: {above: 1000}, critical: {above: 2000}}")
        let (address, schema) = (try #require(server), schema)
        let written = try await withThrowingTaskGroup(of: Bool.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    try await withCheckedThrowingContinuation { continuation in
                        // Blocking work stays off the threads that tasks share.
                        Thread.detachNewThread {
                            continuation.resume(
                                with: Result {
                                    let own = try PostgresConnection(
                                        connectionString: address, applicationName: "test")
                                    try own.execute("SET search_path = \(schema)")
                                    return try RuleTable(connection: own).replace(with: rules)
                                })
                        }
                    }
                }
            }
            return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(written == 1)
        #expect(try table.read().count == 2)
    }
}
