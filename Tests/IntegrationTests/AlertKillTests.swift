import FleetCore
import Foundation
import KafkaClient
import Platform
import PostgresClient
import Readings
import Testing
import TestSupport

/// The processor is killed again and again while a fleet has trouble, and yet every alert opens and closes once, and the
/// webhook hears of each.
@Suite(Servers.areThere) struct AlertKillTests {
    private static let kills = 6

    private func plan() -> FleetPlan {
        let now = Timestamp(milliseconds: SystemWallClock().now().milliseconds / 1000 * 1000)
        var plan = FleetPlan(start: Timestamp(milliseconds: now.milliseconds - 45 * 60_000))
        plan.gateways = 20
        plan.sensorsPerGateway = 2
        plan.messages = 30_000
        plan.intervalMicroseconds = 2_000_000
        plan.seed = testSeed
        plan.duplicates = 0.02
        plan.anomalies = 0.002
        plan.episodes = 0.3
        plan.faults = 0.005
        plan.outOfOrder = 0.02
        plan.late = 0.002
        plan.silent = 3
        return plan
    }

    @Test(.timeLimit(.minutes(10)))
    func everyAlertOpensAndClosesOnceWhateverIsKilledWhen() async throws {
        let plan = plan()
        var generator = try FleetGenerator(plan)
        while generator.next() != nil {}
        let manifest = generator.manifest
        let site = try await Site(partitions: 3)
        let hook = try TestServer { _ in .answer(204) }
        defer { hook.stop() }
        let configuration = try site.writeProcessorConfiguration(
            rest: AlertModel.configuration + "\nwebhook: {url: \"http://127.0.0.1:\(hook.port)/\"}")
        let migration = try await BuiltProgram.processor.run(["migrate", "--config", configuration], in: site.folder)
        try #require(migration.ending == .status(0), "\(migration.output)")

        let fleet = try produce(plan, to: site)
        var random = SeededGenerator(seed: testSeed)
        for threshold in (0..<Self.kills).map({ _ in
            Int.random(in: 0..<manifest.readings * 9 / 10, using: &random)
        }).sorted() {
            let processor = try start(site, configuration)
            try await waitUntil("\(threshold) readings are stored", within: .seconds(120), every: .milliseconds(5)) {
                try #require(processor.isRunning, "\(processor.output)")
                return try rows(site) >= threshold
            }
            try await Task.sleep(for: .milliseconds(Int.random(in: 0...100, using: &random)))
            processor.send(SIGKILL)
            #expect(await processor.ending() == .signal(SIGKILL), "\(processor.output)")
        }
        let processor = try start(site, configuration)
        #expect(await fleet.ending() == .status(0), "\(fleet.output)")
        try await waitUntil("all readings are stored", within: .seconds(120)) {
            try #require(processor.isRunning, "\(processor.output)")
            return try rows(site) >= manifest.readings
        }
        // The fleet has ended, so every sensor is silent now.
        try await waitUntil("every sensor is known to be silent", within: .seconds(120)) {
            try site.value("SELECT count(*) FROM alert WHERE kind = 'silence'", as: Int64.self) >= Int64(plan.sensors)
        }
        try await waitUntil("the webhook has heard of everything", within: .seconds(120)) {
            try site.value("SELECT count(*) FROM alert_notification WHERE sent_at IS NULL", as: Int64.self) == 0
        }
        processor.send(SIGTERM)
        #expect(await processor.ending() == .status(0), "\(processor.output)")

        let expected = try AlertModel.alerts(of: site.database)
        #expect(expected.count > 150, "the fleet was too tame")
        let found = try AlertModel.found(in: site.database)
        #expect(found.count == expected.count)
        for (found, expected) in zip(found, expected) where found != expected {
            Issue.record("found    \(found)\nexpected \(expected)")
            break
        }
        try expectSilence(site, plan)
        try expectDeliveries(hook.requests, site)
        let verification = try await BuiltProgram.processor.run(["verify", "--config", configuration], in: site.folder)
        #expect(verification.ending == .status(0), "\(verification.output)")
        try await site.remove()
    }

    private func produce(_ plan: FleetPlan, to site: Site) throws -> ChildProcess {
        try BuiltProgram.fleet.start(
            [
                "produce", "--bootstrap=\(site.kafka.bootstrapServers)", "--topic=\(site.topic)", "--rate=3000",
                "--manifest=\(site.folder.path)/manifest.json", "--gateways=\(plan.gateways)",
                "--sensors-per-gateway=\(plan.sensorsPerGateway)", "--count=\(plan.messages)", "--seed=\(plan.seed)",
                "--start=\(plan.start)", "--interval=\(plan.intervalMicroseconds / 1000)ms",
                "--duplicates=\(plan.duplicates)", "--anomalies=\(plan.anomalies)", "--episodes=\(plan.episodes)",
                "--faults=\(plan.faults)", "--out-of-order=\(plan.outOfOrder)", "--late=\(plan.late)",
                "--silent=\(plan.silent)",
            ], in: site.folder)
    }

    private func start(_ site: Site, _ configuration: String) throws -> ChildProcess {
        try BuiltProgram.processor.start(["run", "--config", configuration], in: site.folder)
    }

    private func rows(_ site: Site) throws -> Int {
        Int(try site.value("SELECT count(*) FROM sensor_data", as: Int64.self))
    }

    /// Each sensor's last silence is still open; one before it, if there is one, was ended by a reading.
    private func expectSilence(_ site: Site, _ plan: FleetPlan) throws {
        let early: Int64 = try site.value(
            """
            SELECT count(*) FROM alert a JOIN sensor s USING (gateway_id, sensor_id)
            WHERE kind = 'silence' AND closed_at IS NULL AND opened_at < s.last_arrival + interval '8 seconds'
            """)
        #expect(early == 0, "silence of less than eight seconds")
        let open: Int64 = try site.value("SELECT count(*) FROM alert WHERE kind = 'silence' AND closed_at IS NULL")
        #expect(open == plan.sensors)
    }

    /// What the webhook was told is what the table says, each alert's steps in order.
    private func expectDeliveries(_ requests: [TestServer.Request], _ site: Site) throws {
        var heard: [String: String] = [:]
        var order: [Int: [String]] = [:]
        for request in requests {
            let key = try #require(request.headers["idempotency-key"])
            let object = try #require(
                try JSONSerialization.jsonObject(with: Data(request.body.utf8)) as? [String: Any])
            #expect(heard[key] == nil || heard[key] == request.body, "the same content each time")
            if heard[key] == nil {
                let id = try #require(object["alert_id"] as? Int)
                order[id, default: []].append(try #require(object["event"] as? String))
            }
            heard[key] = request.body
        }
        let rows = try site.database.query("SELECT id, escalated_at IS NOT NULL, closed_at IS NOT NULL FROM alert")
        var expected: [Int: [String]] = [:]
        for row in 0..<rows.rowCount {
            expected[Int(try rows.value(row, 0, as: Int64.self))] =
                ["opened"] + (try rows.value(row, 1) ? ["escalated"] : []) + (try rows.value(row, 2) ? ["closed"] : [])
        }
        #expect(order == expected)
        print("AlertKillTests: \(expected.count) alerts, \(heard.count) notifications, \(requests.count) requests")
    }
}

/// What the alerts must be, by the plainest means: for each reading in the order of arrival that is not older than one
/// before it, all that came before is looked at again.
private enum AlertModel {
    static let configuration = """
        rules:
          temperature: {warning: {above: 40}, critical: {above: 50}, hysteresis: 1, for: 10s}
          humidity: {warning: {above: 85}, hysteresis: 5, for: 20s}
          co2: {warning: {above: 2500}, critical: {above: 5000}, hysteresis: 200}
          pressure: {critical: {below: 955}, hysteresis: 3, for: 6s}
          battery_level: {warning: {below: 12}, critical: {below: 4}, hysteresis: 2, for: 4s}
        alerts:
          fault: {severity: critical}
          silence: {intervals: 4, at_least: 8s}
          loss: {}
        """

    private struct Rule {
        var kind = "threshold"
        var name: String
        /// 1 for a bound above, -1 for one below.
        var sign: Double
        var warning: Double
        var critical: Double
        var hysteresis: Double
        var duration: Int64
    }

    private static let rules = [
        Rule(name: "temperature", sign: 1, warning: 40, critical: 50, hysteresis: 1, duration: 10_000),
        Rule(name: "humidity", sign: 1, warning: 85, critical: .infinity, hysteresis: 5, duration: 20_000),
        Rule(name: "co2", sign: 1, warning: 2500, critical: 5000, hysteresis: 200, duration: 0),
        Rule(name: "pressure", sign: -1, warning: 955, critical: 955, hysteresis: 3, duration: 6000),
        Rule(
            kind: "battery", name: "battery_level", sign: -1, warning: 12, critical: 4, hysteresis: 2, duration: 4000),
    ]

    struct Alert: Equatable, Comparable, CustomStringConvertible {
        var place: String
        var severity: String
        var since: Int64
        var opened: Int64
        var escalated: Int64?
        var closed: Int64?
        var worst: Double?

        var description: String {
            "\(place) \(severity) \(since) \(opened) \(escalated ?? 0) \(closed ?? 0) \(worst ?? 0)"
        }
        static func < (left: Alert, right: Alert) -> Bool { (left.place, left.opened) < (right.place, right.opened) }
    }

    /// The alerts in the table.
    static func found(in database: PostgresConnection) throws -> [Alert] {
        let rows = try database.query(
            """
            SELECT concat_ws(' ', gateway_id, sensor_id, kind, variable), severity, pending_since, opened_at,
                escalated_at, closed_at, worst_value
            FROM alert WHERE kind <> 'silence'
            """)
        return try (0..<rows.rowCount).map { row in
            func time(_ column: Int) throws -> Int64? {
                try rows.optional(row, column, as: PostgresTimestamp.self)?.milliseconds
            }
            return Alert(
                place: try rows.value(row, 0), severity: try rows.value(row, 1), since: try #require(try time(2)),
                opened: try #require(try time(3)), escalated: try time(4), closed: try time(5),
                worst: try rows.optional(row, 6))
        }.sorted()
    }

    /// The alerts that the rows make.
    static func alerts(of database: PostgresConnection) throws -> [Alert] {
        let rows = try database.query(
            """
            SELECT concat_ws(' ', gateway_id, sensor_id), event_time, temperature, humidity, co2, pressure,
                battery_level, array_to_string(faults, ' ')
            FROM sensor_data ORDER BY gateway_id, sensor_id, kafka_partition, kafka_offset
            """)
        var readings: [String: [(time: Int64, values: [Double?], faults: [String])]] = [:]
        for row in 0..<rows.rowCount {
            let sensor: String = try rows.value(row, 0)
            let time = try rows.value(row, 1, as: PostgresTimestamp.self).milliseconds
            if let last = readings[sensor]?.last, last.time > time { continue }
            let values = try (2...6).map { try rows.optional(row, $0, as: Double.self) }
            let faults = try rows.optional(row, 7, as: String.self) ?? ""
            readings[sensor, default: []].append((time, values, faults.split(separator: " ").map(String.init)))
        }
        var alerts: [Alert] = []
        for (sensor, readings) in readings {
            for (index, rule) in rules.enumerated() {
                let series = readings.compactMap { reading in
                    reading.values[index].map { (reading.time, $0 * rule.sign) }
                }
                alerts += self.alerts(rule, series, "\(sensor) \(rule.kind) \(rule.name)")
            }
            for chip in Set(readings.flatMap(\.faults).map { String($0.prefix { $0 != ":" }) }) {
                let series = readings.map { ($0.time, $0.faults.contains { $0.hasPrefix("\(chip):") }) }
                alerts += faults(series, "\(sensor) fault \(chip)")
            }
        }
        return alerts.sorted()
    }

    /// The alerts of a series whose values are all the worse the greater they are.
    private static func alerts(_ rule: Rule, _ series: [(time: Int64, value: Double)], _ place: String) -> [Alert] {
        let (warning, critical) = (rule.warning * rule.sign, min(.infinity, rule.sign * rule.critical))
        let bound = min(warning, critical)
        var alerts: [Alert] = []
        var index = 0
        while index < series.count {
            // A run beyond the bound.
            guard series[index].value > bound else {
                index += 1
                continue
            }
            let first = index
            while index < series.count, series[index].value > bound,
                series[index].time - series[first].time < rule.duration
            {
                index += 1
            }
            guard index < series.count, series[index].value > bound else { continue }
            let opening = index
            let closing = (opening..<series.count).first { series[$0].value <= bound - rule.hysteresis }
            let life = first..<(closing ?? series.count)
            var firstCritical: Int?
            for place in life.dropFirst(opening - first) where firstCritical == nil {
                let run = life.prefix { $0 <= place }.reversed().prefix { series[$0].value > critical }
                if let began = run.last, series[place].time - series[began].time >= rule.duration {
                    firstCritical = place
                }
            }
            let worst = (life.map { series[$0].value }.max() ?? 0) * rule.sign
            alerts.append(
                Alert(
                    place: place, severity: firstCritical == nil ? "warning" : "critical", since: series[first].time,
                    opened: series[opening].time,
                    escalated: firstCritical.flatMap { $0 == opening ? nil : series[$0].time },
                    closed: closing.map { series[$0].time }, worst: worst))
            index = (closing ?? series.count - 1) + 1
        }
        return alerts
    }

    private static func faults(_ series: [(time: Int64, isFaulty: Bool)], _ place: String) -> [Alert] {
        var alerts: [Alert] = []
        for (index, reading) in series.enumerated() {
            let wasFaulty = index > 0 && series[index - 1].isFaulty
            if reading.isFaulty, !wasFaulty {
                alerts.append(Alert(place: place, severity: "critical", since: reading.time, opened: reading.time))
            } else if !reading.isFaulty, wasFaulty {
                alerts[alerts.count - 1].closed = reading.time
            }
        }
        return alerts
    }
}
