import Platform
import Readings
import TestSupport
import Testing

@testable import Alerting

/// The alerts of a quantity against a model that keeps all values and looks back over them each time.
@Suite struct AlertModelTests {
    private struct Model {
        let rule: QuantityRule
        var history: [(time: Int64, value: Double)] = []
        /// The first reading that counts: after the last closing.
        var first = 0
        var open: (side: Side, severity: Severity)?

        private func passes(_ value: Double, _ bounds: Bounds, _ side: Side) -> Bool {
            side == .above ? value > bounds.above : value < bounds.below
        }

        /// How long the latest readings have all been beyond any of some bounds; nil if the last is not.
        private func duration(_ side: Side, _ bounds: [Bounds]) -> Int64? {
            let run = history[first...].reversed().prefix { reading in
                bounds.contains { passes(reading.value, $0, side) }
            }
            guard let newest = run.first, let oldest = run.reversed().first else { return nil }
            return newest.time - oldest.time
        }

        mutating func step(_ time: Int64, _ value: Double) -> [String] {
            history.append((time, value))
            var steps: [String] = []
            if let open {
                let both = [rule.warning, rule.critical]
                let other: Side = open.side == .above ? .below : .above
                let isBack =
                    open.side == .above
                    ? both.allSatisfy { value <= $0.above - rule.hysteresis }
                    : both.allSatisfy { value >= $0.below + rule.hysteresis }
                if isBack || both.contains(where: { passes(value, $0, other) }) {
                    steps.append("closed \(open.severity)")
                    self.open = nil
                    first = history.count - 1
                }
            }
            for side in Side.allCases {
                let wrong = duration(side, [rule.warning, rule.critical])
                let isCritical = duration(side, [rule.critical]).map { $0 >= rule.minimumDuration } ?? false
                if open == nil, let wrong, wrong >= rule.minimumDuration {
                    open = (side, isCritical ? .critical : .warning)
                    steps.append("opened \(isCritical ? "critical" : "warning")")
                } else if let known = open, known.side == side, known.severity == .warning, isCritical {
                    open = (side, .critical)
                    steps.append("escalated critical")
                }
            }
            return steps
        }
    }

    @Test func alertsAgreeWithTheModel() {
        let seed = printedSeed()
        var random = SeededGenerator(seed: seed)
        var steps = 0
        for _ in 0..<2000 {
            // Small whole numbers, so that values fall on the bounds often.
            let low = Double(random.next(5)), width = Double(1 + random.next(5))
            var rule = QuantityRule(
                hysteresis: Double(random.next(Int(width) + 1)), minimumDuration: Int64(random.next(6)))
            switch random.next(4) {
            case 0: rule.warning = Bounds(below: low, above: low + width)
            case 1: rule.critical = Bounds(below: low, above: low + width)
            case 2:
                rule.warning = Bounds(below: low, above: low + width)
                rule.critical = Bounds(below: low - Double(random.next(3)), above: low + width + Double(random.next(3)))
            default:
                rule.warning = Bounds(above: low + width)
                rule.critical = Bounds(above: low + width + 1)
            }
            var rules = AlertRules()
            rules[.humidity] = rule
            var model = Model(rule: rule)
            var alerts = SensorAlerts()
            var time: Int64 = 0
            var value = Int(low)
            for _ in 0..<60 {
                time += Int64(random.next(4))
                value += random.next(7) - 3
                if value < -4 || value > 16 { value = Int(low) }
                var found: [String] = []
                alerts.evaluate([.humidity: Double(value)], faults: [], time: time, rules: rules) {
                    found.append("\($0.action) \($0.severity)")
                }
                let expected = model.step(time, Double(value))
                steps += expected.count
                #expect(found == expected, "\(rule) at \(time), value \(value)")
                if found != expected { return }
                // As after a takeover.
                alerts = SensorAlerts(alerts.states)
            }
        }
        #expect(steps > 5000, "the readings were too tame")
    }
}

extension SeededGenerator {
    /// A number of 0 ..< `bound`.
    fileprivate mutating func next(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &self) }
}
