import Foundation
import Monitoring
import Platform
import Readings
import SimulatedHardware
import TestSupport
import Testing

@testable import GatewayCore

/// A station whose battery runs down and is charged again.
@Suite struct LowBatteryTests {
    /// A percent less every ten seconds, from 22.5 % to 6 %; from half an hour on a percent more a minute, to 30 %.
    private struct RunningDown: Environment {
        func conditions(at time: Timestamp) -> Conditions {
            let seconds = Double(time.milliseconds - StationRig.origin.milliseconds) / 1000
            let level = min(30, max(6, seconds < 1800 ? 22.5 - seconds / 10 : (seconds - 1800) / 60))
            // The part of the lithium-ion curve that is linear between these points.
            let points = [(0, 3.10), (10, 3.30), (20, 3.42), (30, 3.53)]
            let index = min(2, Int(level / 10))
            let share = (level - Double(points[index].0)) / 10
            return Conditions(battery: points[index].1 + share * (points[index + 1].1 - points[index].1))
        }
    }

    /// Every reading says when the next one comes, also when that changes: nobody takes a spared battery for a silent
    /// sensor. Once the battery has recovered the interval is the usual one again.
    @Test func aLowBatteryStretchesTheScheduleAndReadingsSaySo() async throws {
        let bench = try Bench()
        let text = "  - {sensor_id: cellar, interval: 10s, chips: [{type: ads1115, chemistry: li_ion}]}"
        let battery = try settings(stations: text, more: "battery: {low_interval: 5m}").battery
        let power = PowerManager(battery, metrics: bench.registry, health: bench.health, log: bench.log, flush: {})
        let rig = StationRig(
            bench, environment: RunningDown(), pace: { power.interval($0) }, recorded: { power.took($0) })
        rig.attach(SimulatedADS1115(world: rig.world, dividerRatio: 1), at: 0x48)
        let readings = try await rig.run(text, for: .seconds(2 * 3600))
        for (reading, next) in zip(readings, readings.dropFirst()) {
            #expect(next.eventTime.milliseconds - reading.eventTime.milliseconds == reading.intervalMilliseconds)
        }
        let spared = readings.split { $0.intervalMilliseconds == 10_000 }
        #expect(spared.count == 1 && spared.first.map { $0.count > 5 } == true, "\(spared.map(\.count))")
        #expect(spared.joined().allSatisfy { $0.intervalMilliseconds == 300_000 })
        // The first reading below the bound is followed by one that says that the next ones come less often, and the
        // first one that is well above it by one that says the opposite.
        let levels = readings.map { $0.values[.batteryLevel] ?? -1 }
        let first = try #require(spared.first?.startIndex)
        #expect(levels[..<(first - 1)].allSatisfy { $0 >= 20 } && levels[first - 1] < 20)
        let last = try #require(spared.first?.endIndex)
        #expect(levels[first..<(last - 1)].allSatisfy { $0 < 25 } && levels[last - 1] >= 25)
        #expect(bench.metrics.missed.value == 0)
        #expect(bench.health.state(of: "battery") == .healthy)
    }
}

@Suite struct ScheduleTests {
    /// Against a model that keeps every slot of the day as a list, as the interval had it when they were made.
    @Test func agreesWithTheModel() {
        let seed = printedSeed()
        var random = SeededGenerator(seed: seed)
        for round in 0..<300 {
            var interval = Int.random(in: 1...20, using: &random)
            var slots = Array(stride(from: 0, to: 2000, by: interval))
            var schedule = Schedule(interval: .seconds(interval))
            var now = 0
            while let slot = slots.first, slot < 1000 {
                #expect(schedule.time == .seconds(slot), "seed \(seed), round \(round)")
                now = max(now, slot)
                if Int.random(in: 0..<4, using: &random) == 0 {
                    interval = Int.random(in: 1...20, using: &random)
                    slots = Array(stride(from: slot, to: 2000, by: interval))
                    schedule.change(interval: .seconds(interval))
                    #expect(schedule.time == .seconds(slot) && schedule.interval == .seconds(interval))
                }
                // A sample takes a while, which may be longer than the interval.
                now += Int.random(in: 0...30, using: &random)
                let passed = slots.dropFirst().prefix { $0 <= now }.count
                #expect(schedule.advance(past: .seconds(now)) == passed, "seed \(seed), round \(round)")
                slots.removeFirst(passed + 1)
            }
        }
    }
}
