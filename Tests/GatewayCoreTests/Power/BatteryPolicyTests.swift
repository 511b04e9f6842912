import Configuration
import Foundation
import Monitoring
import Platform
import Readings
import Synchronization
import TestSupport
import Testing

@testable import GatewayCore

@Suite struct BatteryPolicyTests {
    private func states(_ levels: [Double], _ policy: BatteryPolicy = BatteryPolicy()) -> [BatteryPolicy.State] {
        var policy = policy
        return levels.map { level in
            policy.measured(level)
            return policy.state
        }
    }

    /// Exactly at a bound it is not below it; up again it takes five percent more.
    @Test func theBoundsHaveHysteresis() {
        #expect(states([20, 19.9, 24.9, 25, 20]) == [.normal, .low, .low, .normal, .normal])
        #expect(states([5, 4.9, 9.9, 10, 4.9, 25]) == [.low, .critical, .critical, .low, .critical, .normal])
        #expect(states([4]) == [.critical])
    }

    /// A cell that is charged shows more than it has, and a board that is supplied does not live on it.
    @Test func aSupplyIsNoReasonToSpare() {
        var policy = BatteryPolicy()
        policy.measured(10)
        #expect(policy.state == .low)
        policy.setCharging(true)
        #expect(policy.state == .normal)
        policy.measured(3)
        #expect(policy.state == .normal)
        // The level of that time is not believed either.
        policy.setCharging(false)
        #expect(policy.state == .normal && policy.level == nil)
        policy.measured(10)
        #expect(policy.state == .low)
        policy.setPowerGood(true)
        #expect(policy.state == .normal)
        policy.setPowerGood(nil)
        policy.measured(10)
        #expect(policy.state == .low)
        // An input that comes to be known and says that there is no supply changes nothing.
        policy.setPowerGood(false)
        policy.setCharging(nil)
        #expect(policy.state == .low && policy.level == 10)
    }

    /// Against a model that looks at all that happened: the state is what the levels since the last supply say, one
    /// after the other.
    @Test func agreesWithTheModel() {
        let seed = printedSeed()
        var random = SeededGenerator(seed: seed)
        for round in 0..<500 {
            var policy = BatteryPolicy(.init(low: 30, critical: 10))
            var (isPowerGood, isCharging) = (Bool?.none, Bool?.none)
            var sinceSupply: [Double] = []
            for step in 0..<60 {
                switch Int.random(in: 0..<8, using: &random) {
                case 0:
                    isPowerGood = [nil, true, false].randomElement(using: &random) ?? nil
                    policy.setPowerGood(isPowerGood)
                case 1:
                    isCharging = [nil, true, false].randomElement(using: &random) ?? nil
                    policy.setCharging(isCharging)
                default:
                    let level = Double(Int.random(in: 0...45, using: &random))
                    policy.measured(level)
                    sinceSupply.append(level)
                }
                let isSupplied = isPowerGood == true || isCharging == true
                if isSupplied { sinceSupply = [] }
                var expected = BatteryPolicy.State.normal
                for level in sinceSupply {
                    switch expected {
                    case .normal: expected = level < 10 ? .critical : level < 30 ? .low : .normal
                    case .low: expected = level < 10 ? .critical : level < 35 ? .low : .normal
                    case .critical: expected = level < 15 ? .critical : level < 35 ? .low : .normal
                    }
                }
                #expect(policy.state == expected, "seed \(seed), round \(round), step \(step): \(sinceSupply)")
            }
        }
    }
}

@Suite struct PowerManagerTests {
    private static let stations = """
          - {sensor_id: cellar, interval: 10s, chips: [{type: ads1115, chemistry: li_ion}]}
          - {sensor_id: attic, chips: [{type: ads1115, address: 0x49, chemistry: li_ion}]}
        """
    private let bench: Bench

    init() throws { bench = try Bench() }

    private func manager(_ battery: BatterySettings?, _ flushed: @escaping @Sendable () -> Void) -> PowerManager {
        PowerManager(battery, metrics: bench.registry, health: bench.health, log: bench.log, flush: flushed)
    }

    private func reading(_ sensor: String, battery: Double?) throws -> Reading {
        var reading = try record(1).reading
        reading.sensorID = try #require(Identifier(sensor))
        reading.values[.batteryLevel] = battery
        return reading
    }

    @Test func aLowBatteryIsSparedAndWhatWaitsIsSent() throws {
        let settings = try settings(stations: Self.stations, more: "battery: {sensor_id: cellar}")
        let flushes = Mutex(0)
        let power = manager(settings.battery) { flushes.withLock { $0 += 1 } }
        func count() -> Int { flushes.withLock { $0 } }
        func states() -> [Substring] {
            bench.registry.exposition().split(separator: "\n").filter {
                $0.hasPrefix("vigie_battery_state") && $0.hasSuffix(" 1")
            }
        }
        // Another board's battery, and a reading without one.
        power.took(try reading("attic", battery: 1))
        power.took(try reading("cellar", battery: nil))
        #expect(power.state == .normal && power.interval(.seconds(10)) == .seconds(10))
        #expect(states() == [#"vigie_battery_state{state="normal"} 1"#])

        power.took(try reading("cellar", battery: 18))
        #expect(power.state == .low && count() == 1)
        #expect(power.interval(.seconds(10)) == .seconds(300))
        #expect(power.interval(.seconds(3600)) == .seconds(3600))
        #expect(
            bench.health.state(of: "battery") == .degraded("the battery is low: 18 %, a reading every 5m"))
        #expect(states() == [#"vigie_battery_state{state="low"} 1"#])
        power.took(try reading("cellar", battery: 17))
        #expect(count() == 1)

        // Now every reading may be the last.
        power.took(try reading("cellar", battery: 4))
        #expect(count() == 3)
        power.took(try reading("cellar", battery: 3))
        #expect(count() == 4)
        #expect(
            bench.health.state(of: "battery") == .degraded("the battery is nearly empty: 4 %, a reading every 5m"))

        power.setCharging(true)
        #expect(power.interval(.seconds(10)) == .seconds(10))
        #expect(bench.health.state(of: "battery") == .healthy)
        #expect(count() == 4)
    }

    /// Without a word on the battery, or without a battery, a lost supply alone makes haste.
    @Test func aLostSupplyMakesHaste() throws {
        let flushes = Mutex(0)
        let power = manager(nil) { flushes.withLock { $0 += 1 } }
        power.setPowerGood(true)
        #expect(flushes.withLock { $0 } == 0)
        power.setPowerGood(false)
        #expect(flushes.withLock { $0 } == 1)
        power.took(try reading("cellar", battery: 1))
        #expect(power.interval(.seconds(10)) == .seconds(10))
        #expect(bench.health.state(of: "battery") == nil)
        #expect(!bench.registry.exposition().contains("vigie_battery_state"))
    }

    @Test(arguments: [
        ("battery: {}", "battery: several stations measure a battery: say which is the board's by its sensor_id"),
        ("battery: {sensor_id: hall}", "battery: sensor_id: this station measures no battery"),
        ("battery: {sensor_id: attic, critical: 20}", "battery: critical: critical must be below low, which is 20.0"),
        ("battery: {sensor_id: attic, low: 91}", "battery: low: expected a number between 10.0 and 90.0"),
    ])
    func aMistakeIsNamedWithItsPlace(text: String, message: String) {
        var found: [String] = []
        do {
            _ = try settings(stations: Self.stations, more: text)
        } catch {
            found = (error as? ConfigurationError)?.problems.map(\.description) ?? ["\(error)"]
        }
        #expect(found.count == 1 && found[0].hasPrefix("gateway.yaml:5: " + message), "\(found)")
    }

    /// What the shipped configuration shows in a comment is valid, and says the defaults.
    @Test func theShippedExampleSaysTheDefaults() throws {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../../configuration/gateway.yaml").standardizedFileURL
        let text = try String(contentsOf: file, encoding: .utf8).split(separator: "\n")
            .drop { $0 != "# battery:" }.prefix { $0.hasPrefix("# battery:") || $0.hasPrefix("#   ") }
            .map { String($0.dropFirst(2)) }.joined(separator: "\n")
        let station = "  - {sensor_id: cellar-air, chips: [{type: ads1115, chemistry: li_ion}]}"
        let shipped = try settings(stations: station, more: text).battery
        #expect(shipped != nil)
        #expect(try settings(stations: station, more: "battery: {low_interval: 5m}").battery == shipped)
    }

    @Test func theOnlyBatteryNeedsNoName() throws {
        let one = "  - {sensor_id: cellar, chips: [{type: ads1115, chemistry: li_ion}]}"
        let battery = try settings(stations: one, more: "battery: {low: 30}").battery
        #expect(battery?.sensorID.description == "cellar" && battery?.policy.low == 30)
        #expect(throws: ConfigurationError.self) {
            try settings(stations: "  - {sensor_id: cellar, chips: [{type: ads1115}]}", more: "battery: {}")
        }
    }
}
