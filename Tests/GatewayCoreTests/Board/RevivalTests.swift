import Platform
import SensorBus
import SimulatedHardware
import Synchronization
import Testing

@testable import GatewayCore

/// From the chip that hangs to its next value, with nobody at the board.
@Suite struct RevivalTests {
    /// The supply of simulated chips as a GPIO output. Whoever loses it is sound when it comes back.
    private final class Supply: GPIOLines, GPIOOutput {
        let executor: ThreadExecutor
        let name = "supply"
        private let chips: [FaultSwitch]
        private let history = Mutex<[Bool]>([])

        init(of chips: [FaultSwitch], clock: VirtualClock) {
            self.chips = chips
            executor = ThreadExecutor(name: "gpio", observer: clock)
        }

        /// The values that the output took, without repetitions.
        var values: [Bool] { history.withLock { $0 } }

        func set(_ isActive: Bool) {
            history.withLock { history in
                guard history.last != isActive else { return }
                history.append(isActive)
                for chip in chips {
                    chip.setPower(isActive)
                    if !isActive { chip.heal() }
                }
            }
        }

        func output(
            _ line: GPIOLineID, initially isActive: Bool, options: GPIOOutputOptions
        ) -> any GPIOOutput {
            set(isActive)
            return self
        }

        func input(_ line: GPIOLineID, options: GPIOInputOptions) throws(GPIOError) -> any GPIOInput {
            throw GPIOError(.unsupported, line: "\(line)")
        }
    }

    /// An SHT4x hangs after a minute and acknowledges nothing until its power was away. The barometer beside it works
    /// all the time, loses its power with it, and is set up again.
    @Test func aChipThatHangsIsRevivedByAPowerCycle() async throws {
        let bench = try Bench()
        let requests = Board.deadChips()
        let rig = StationRig(bench, whenDead: { requests.continuation.yield($0) })
        let (stuck, sound) = (FaultSwitch(world: rig.world), FaultSwitch(world: rig.world))
        rig.attach(SimulatedSHT4x(world: rig.world, faults: FaultScript(live: stuck)), at: 0x44)
        rig.attach(SimulatedBME280(world: rig.world, faults: FaultScript(live: sound)), at: 0x76)
        let outbox = try await bench.openOutbox()
        let station = try rig.station(
            "  - {sensor_id: hall, interval: 10s, chips: [{type: sht4x}, {type: bme280}]}", for: .seconds(600),
            outbox: outbox)
        let supply = Supply(of: [stuck, sound], clock: rig.clock)
        let settings = try settings(
            stations: "  - {sensor_id: a, chips: [{type: bme280}]}", more: "board: {sensor_power: {line: A}}")
        let rail = SensorRail(
            try #require(settings.board.sensorPower), requests: requests.stream, gpio: supply, clock: rig.clock,
            metrics: bench.registry, health: bench.health, log: bench.log
        ) {
            for chip in station.chips { await chip.restart() }
        }
        let (clock, executor) = (rig.clock, try #require(station.executor))
        try await withThrowingTaskGroup(of: Void.self) { group in
            // Time stands still until all have begun.
            clock.workBegan()
            group.addTask(executorPreference: executor) { try await rail.serve() }
            group.addTask(executorPreference: executor) {
                try await clock.sleep(for: .seconds(61))
                stuck.set(.nack, true)
            }
            group.addTask(executorPreference: executor) {
                try await station.run()
                requests.continuation.finish()
            }
            clock.workEnded()
            try await group.waitForAll()
        }
        #expect(rig.askedForPower == ["sht4x"])
        #expect(supply.values == [true, false, true])
        #expect(stuck.faults.isEmpty)
        let readings = try await outbox.read(limit: 1000).map(\.reading)
        let faulty = readings.indices.filter { !readings[$0].faults.isEmpty }
        // From the first sample after a minute on; the breaker's pauses until it gives up, and the cycle, are seconds.
        #expect(faulty.first == 7 && faulty.count <= 4, "\(faulty)")
        #expect(readings.count == 61)
        #expect(readings.filter { $0.values[.pressure] == nil }.count <= 1)
        #expect(readings.suffix(45).allSatisfy { $0.values[.temperature] != nil && $0.values[.pressure] != nil })
    }
}
