import Readings
import Testing

@testable import Alerting

@Suite struct SensorAlertsTests {
    private var rules: AlertRules {
        var rules = AlertRules()
        rules[.co2] = QuantityRule(
            warning: Bounds(below: 300, above: 1000), critical: Bounds(above: 2000), hysteresis: 50,
            minimumDuration: 60_000)
        rules[.batteryLevel] = QuantityRule(warning: Bounds(below: 20), critical: Bounds(below: 10), hysteresis: 5)
        rules[.temperature] = QuantityRule(critical: Bounds(above: 40))
        rules.fault = FaultRule(severity: .critical, minimumDuration: 30_000)
        rules.silence = SilenceRule(intervals: 5, least: 20_000)
        return rules
    }

    /// What readings `(time, values, faults)` do: `opened warning 60000` ...
    private func events(_ readings: [(Int64, Values, [String])]) -> [String] {
        var alerts = SensorAlerts()
        var events: [String] = []
        for (time, values, faults) in readings {
            alerts.evaluate(values, faults: faults, time: time, rules: rules) {
                events.append("\($0.action) \($0.key.variable) \($0.severity) \($0.time)")
            }
        }
        return events
    }

    private func co2(_ readings: [(Int64, Double?)]) -> [String] {
        events(readings.map { ($0.0, [.co2: $0.1], []) })
    }

    @Test func anAlertOpensWhenABoundWasPassedForLongEnough() {
        #expect(co2([(0, 1000), (100_000, 1000)]) == [], "on the bound is inside")
        #expect(co2([(0, 1000.01), (59_999, 1001)]) == [])
        #expect(co2([(0, 1000.01), (60_000, 1001)]) == ["opened co2 warning 60000"])
        #expect(co2([(0, 1001), (30_000, 1000), (60_000, 1001), (119_999, 1001)]) == [], "it began anew")
        #expect(co2([(0, 1001), (30_000, nil), (60_000, 1001)]) == ["opened co2 warning 60000"], "nothing was said")
        #expect(co2([(0, 299.9), (60_000, 1001)]) == [], "the other side is another matter")
    }

    @Test func anAlertClosesWhenTheValueIsBackByTheHysteresis() {
        let open: [(Int64, Double?)] = [(0, 1001), (60_000, 1001)]
        #expect(co2(open + [(61_000, 1000), (62_000, 950.01), (63_000, nil)]) == ["opened co2 warning 60000"])
        #expect(co2(open + [(61_000, 950)]) == ["opened co2 warning 60000", "closed co2 warning 61000"])
        #expect(
            co2(open + [(61_000, 960), (62_000, 1200), (63_000, 940)])
                == ["opened co2 warning 60000", "closed co2 warning 63000"], "one alert, not two")
        #expect(
            co2(open + [(61_000, 100), (121_000, 100)])
                == ["opened co2 warning 60000", "closed co2 warning 61000", "opened co2 warning 121000"],
            "the other side is another alert")
    }

    @Test func anAlertEscalatesOnceAndStaysCritical() {
        #expect(
            co2([
                (0, 2001), (59_000, 1500), (60_000, 2001), (119_999, 2001), (120_000, 2001), (130_000, 1500),
                (140_000, 2001), (300_000, 2001), (301_000, 950),
            ]) == ["opened co2 warning 60000", "escalated co2 critical 120000", "closed co2 critical 301000"])
        #expect(co2([(0, 2001), (60_000, 2001)]) == ["opened co2 critical 60000"])
        #expect(
            events([(0, [.temperature: 40], []), (1, [.temperature: 40.1], [])])
                == ["opened temperature critical 1"], "without a warning bound")
    }

    @Test func theWorstValueAndTheBeginningAreKept() throws {
        var alerts = SensorAlerts()
        var seen: [AlertEvent] = []
        for (index, level) in [19.0, 12, 9.5, 14, 24.9, 25].enumerated() {
            alerts.evaluate([.batteryLevel: level], faults: [], time: Int64(index), rules: rules) {
                seen.append($0)
            }
        }
        #expect(seen.map(\.action) == [.opened, .escalated, .closed] && alerts.isQuiet)
        #expect(seen.map(\.time) == [0, 2, 5] && seen.map(\.since) == [0, 0, 0])
        #expect(seen.map(\.worst) == [19, 9.5, 9.5] && seen.map(\.value) == [19, 9.5, 25])
        #expect(seen[0].key == AlertKey(.battery, "battery_level"))
        #expect(seen.map(\.detail) == ["below 20.0", "below 10.0", "below 10.0"])
    }

    @Test func faultsAreAnAlertAChip() {
        let none = Values()
        #expect(
            events([
                (0, none, ["scd41:crc", "bme280:timeout"]), (29_999, none, ["scd41:crc", "scd41:timeout"]),
                (30_000, none, ["scd41:timeout", "bme280:timeout"]), (59_999, none, ["bme280:timeout"]),
                (60_000, none, ["bme280:timeout"]), (61_000, none, []),
            ]) == [
                "opened scd41 critical 30000", "closed scd41 critical 59999", "opened bme280 critical 60000",
                "closed bme280 critical 61000",
            ])
    }

    @Test func silenceOpensOnceAndEndsWithAnyReading() throws {
        let rule = try #require(rules.silence)
        var alerts = SensorAlerts()
        var seen: [String] = []
        func look(_ now: Int64, _ interval: Int64 = 10_000) {
            alerts.look(at: now, silentSince: 0, interval: interval, rule: rule) {
                seen.append("\($0.action) \($0.time)")
            }
        }
        look(49_999)
        #expect(alerts.isQuiet)
        look(50_000)
        look(60_000)
        #expect(seen == ["opened 50000"] && alerts.isSilent)
        alerts.arrive(at: 61_000) { seen.append("\($0.action) \($0.time)") }
        #expect(seen == ["opened 50000", "closed 61000"] && alerts.isQuiet)
        look(19_999, 1000)
        #expect(alerts.isQuiet, "not before the least time")
        #expect(rule.limit(interval: .max) == .max)
    }

    @Test func rulesThatAreGoneLeaveNothingOpen() {
        var alerts = SensorAlerts()
        var seen: [AlertEvent.Action] = []
        alerts.evaluate([.batteryLevel: 5], faults: [], time: 0, rules: rules) { seen.append($0.action) }
        alerts.evaluate([.batteryLevel: 5], faults: [], time: 1, rules: AlertRules()) { seen.append($0.action) }
        #expect(seen == [.opened, .closed] && alerts.isQuiet)
    }

    @Test func aStreamsHolesAreAnAlertUntilTheyAreFilledOrHistory() {
        let rule = LossRule(minimumDuration: 1000, clearAfter: 5000)
        var alert = StreamAlert()
        var seen: [String] = []
        func evaluate(_ holes: [(Int64, Int64)], _ time: Int64) {
            alert.evaluate(
                holes.map { StreamAlert.Hole(seen: $0.0, count: $0.1) }, stream: "s", time: time, rule: rule
            ) { seen.append("\($0.action) \($0.time) \($0.worst ?? -1)") }
        }
        evaluate([(0, 3)], 999)
        evaluate([], 1500)
        #expect(seen == [])
        evaluate([(1000, 3)], 2000)
        evaluate([(1000, 3), (1500, 4)], 2500)
        evaluate([(1500, 4)], 2600)
        evaluate([], 2700)
        #expect(seen == ["opened 2000 3.0", "closed 2700 7.0"])
        seen = []
        evaluate([(3000, 1)], 7999)
        evaluate([(3000, 1)], 8000)
        evaluate([(3000, 1)], 9000)
        #expect(seen == ["opened 7999 1.0", "closed 8000 1.0"])
    }

    @Test func statusKnowsNeitherHysteresisNorDuration() {
        func status(_ values: Values, faults: Bool = false) -> String {
            rules.status(of: values, hasFaults: faults, known: QuantitySet(of: [.co2: 1])).name
        }
        #expect(status([.co2: 1000]) == "ok" && status([.co2: 1000.1]) == "warning")
        #expect(status([.co2: 300]) == "ok" && status([.co2: 299.9]) == "warning")
        #expect(status([.temperature: 41, .co2: 500]) == "warning", "a critical bound warns too")
        #expect(status([.temperature: 20]) == "failure", "a known quantity is missing")
        #expect(status([.co2: 500], faults: true) == "failure")
    }
}
