import Monitoring
import Platform
import Readings
import SensorBus
import SimulatedHardware
import Testing

@testable import GatewayCore

/// What a chip that is dead, dying or coming back does to a station: as little as possible. All of it through the real
/// drivers, with what is in the outbox at the end.
@Suite struct DeadChipTests {
    /// A way for a chip to be dead.
    enum Death: String, CaseIterable, Sendable {
        case silent, damaged, frozen, unplugged
        /// Transfers to it time out: at once, or after the second in which the kernel waits for the controller.
        case stuck, hanging
        /// Its adapter is gone.
        case adapterGone

        /// The chip's part of it.
        var script: FaultScript {
            let kind: FaultScript.Kind? =
                switch self {
                case .silent: .nack
                case .damaged: .crc
                case .frozen: .freeze
                case .unplugged: .unplug
                case .stuck, .hanging, .adapterGone: nil
                }
            return FaultScript(kind.map { [.init($0, from: Death.start, to: Death.end)] } ?? [])
        }

        /// The bus's part of it.
        func trouble(at address: I2CAddress) -> TroubledBus.Trouble? {
            let (kind, blocking): (BusError.Kind, Duration)
            switch self {
            case .silent, .damaged, .frozen, .unplugged: return nil
            case .stuck: (kind, blocking) = (.timedOut, .zero)
            case .hanging: (kind, blocking) = (.timedOut, .seconds(1))
            case .adapterGone: (kind, blocking) = (.missing, .zero)
            }
            return TroubledBus.Trouble(
                kind: kind, address: address, start: Death.start, end: Death.end, blocking: blocking)
        }

        /// What readings may say of it.
        var faults: Set<String> {
            switch self {
            case .silent, .unplugged: ["not_acknowledged", "not_ready", "timed_out"]
            case .damaged: ["crc", "not_ready"]
            case .frozen: ["not_ready", "timed_out", "not_acknowledged"]
            case .stuck, .hanging: ["timed_out"]
            case .adapterGone: ["no_bus"]
            }
        }

        /// Between two samples, for twenty minutes.
        static let start = Duration.seconds(95)
        static let end = Duration.seconds(1305)
    }

    /// A chip that dies. Each measures something that no other does, but for the SHT4x.
    enum Victim: String, CaseIterable, Sendable {
        case scd41, bme280, sht4x, ads1115

        var address: I2CAddress {
            switch self {
            case .scd41: 0x62
            case .bme280: 0x76
            case .sht4x: 0x44
            case .ads1115: 0x48
            }
        }

        /// What readings lack without it.
        func isMissing(in values: Values) -> Bool? {
            switch self {
            case .scd41: values[.co2] == nil
            case .bme280: values[.pressure] == nil
            case .sht4x: nil
            case .ads1115: values[.batteryVoltage] == nil
            }
        }
    }

    /// A death of a chip, with the station's interval in seconds.
    struct Case: Sendable, CustomTestStringConvertible {
        var death: Death
        var victim: Victim
        var interval: Int

        var testDescription: String { "\(victim) \(death), every \(interval) s" }

        /// Of the shorter interval the slowest chip, of the usual one all. Only Sensirion's chips have checksums.
        static let all =
            Death.allCases.map { Case(death: $0, victim: .scd41, interval: 1) }
            + Death.allCases.flatMap { death in
                Victim.allCases.filter { death != .damaged || $0 == .scd41 || $0 == .sht4x }
                    .map { Case(death: death, victim: $0, interval: 10) }
            }
    }

    private static let length = Duration.seconds(1800)
    /// The longest pause, and what an SCD41 takes to start.
    private static let longestReturn = CircuitBreaker.longestPause + .seconds(10)

    private func outcome(
        _ death: Death?, of victim: Victim, interval: Int, bus: Int
    ) async throws -> (readings: [Reading], others: [[TroubledBus.Transfer]], rig: StationRig) {
        let bench = try Bench()
        let rig = StationRig(bench)
        let world = rig.world
        func attach(_ chip: Victim, _ make: (FaultScript) -> any SimulatedChip) {
            let isVictim = chip == victim
            rig.attach(
                make(isVictim ? death?.script ?? FaultScript() : FaultScript()), at: chip.address,
                bus: isVictim ? bus : 1)
        }
        attach(.bme280) { SimulatedBME280(world: world, faults: $0) }
        attach(.scd41) { SimulatedSCD4x(world: world, faults: $0) }
        attach(.sht4x) { SimulatedSHT4x(world: world, faults: $0) }
        attach(.ads1115) { SimulatedADS1115(world: world, dividerRatio: 0.5, faults: $0) }
        if let trouble = death?.trouble(at: victim.address) { rig.bus(bus).add(trouble) }
        func number(_ chip: Victim) -> Int { chip == victim ? bus : 1 }
        let readings = try await rig.run(
            """
              - sensor_id: hall
                interval: \(interval)s
                chips:
                  - {type: bme280, bus: \(number(.bme280))}
                  - {type: scd41, bus: \(number(.scd41))}
                  - {type: sht4x, bus: \(number(.sht4x))}
                  - {type: ads1115, bus: \(number(.ads1115)), divider: {upper: 100000, lower: 100000}}
            """, for: DeadChipTests.length)
        let others = Victim.allCases.filter { $0 != victim }
        return (readings, others.map { rig.bus().transfers(to: $0.address) }, rig)
    }

    /// The heart of it: the other chips are asked at the same instants, byte for byte, as when nothing is wrong, and
    /// the readings have the same times and intervals.
    @Test(arguments: Case.all)
    func theOthersAreSampledWhenTheyAlwaysWere(which: Case) async throws {
        // A transfer that hangs holds up its own bus, which is the controller's doing.
        let bus = which.death == .hanging ? 2 : 1
        let sound = try await outcome(nil, of: which.victim, interval: which.interval, bus: bus)
        let dying = try await outcome(which.death, of: which.victim, interval: which.interval, bus: bus)
        #expect(dying.others == sound.others)
        #expect(dying.others.allSatisfy { $0.count > 100 })
        #expect(dying.readings.map(\.eventTime) == sound.readings.map(\.eventTime))
        #expect(dying.readings.map(\.intervalMilliseconds) == sound.readings.map(\.intervalMilliseconds))
        #expect(dying.rig.bench.metrics.missed.value == 0)
        // While the SCD41 starts, the first sample waits: at 1 s, five slots.
        let starting = which.interval == 1 ? 5 : 0
        let expected = Int(DeadChipTests.length.components.seconds) / which.interval + 1 - starting
        #expect(dying.readings.count == expected)
        check(dying.readings, which.death, of: which.victim)
    }

    /// The readings tell of the dead chip while it is dead, and of nothing else.
    private func check(_ readings: [Reading], _ death: Death, of victim: Victim) {
        let start = readings[0].eventTime.milliseconds
        var wasBack = false
        for reading in readings {
            let time = Duration.milliseconds(reading.eventTime.milliseconds - start)
            // A chip that hangs alone on its bus cannot be told from a controller that does.
            let faults = reading.faults.filter { $0.description != "i2c-2:wedged" }
            // Of the three that measure the temperature two live.
            #expect(abs((reading.values[.temperature] ?? 0) - 21) < 0.02, "at \(time)")
            for chip in Victim.allCases where chip != victim {
                #expect(chip.isMissing(in: reading.values) != true, "\(chip) at \(time)")
            }
            if time >= .seconds(10) {
                #expect(faults.allSatisfy { $0.chip.description == victim.rawValue }, "at \(time): \(faults)")
                if let isMissing = victim.isMissing(in: reading.values) {
                    #expect(isMissing == !faults.isEmpty, "at \(time): \(faults)")
                }
            }
            if time >= Death.start + .seconds(5), time < Death.end {
                #expect(faults.count == 1, "at \(time): \(faults)")
                #expect(faults.allSatisfy { death.faults.contains($0.kind.description) }, "at \(time): \(faults)")
            }
            if time >= .seconds(10) && time < Death.start || time >= Death.end + DeadChipTests.longestReturn {
                #expect(faults.isEmpty, "at \(time): \(faults)")
            }
            // Once it is back it stays.
            if time >= Death.end {
                #expect(!wasBack || faults.isEmpty, "at \(time): \(faults)")
                wasBack = faults.isEmpty
            }
        }
    }

    /// On the same bus a transfer that hangs delays the others by itself, seldom, and costs no reading of theirs.
    @Test func aTransferThatHangsDelaysItsBusSeldom() async throws {
        let dying = try await outcome(.hanging, of: .scd41, interval: 10, bus: 1)
        check(dying.readings, .hanging, of: .scd41)
        #expect(dying.readings.count == 181)
        #expect(dying.rig.bus().transfers(to: 0x62).count { $0.time >= Death.start && $0.time < Death.end } <= 14)
        let late = dying.rig.bus().transfers(to: 0x76).count { transfer in
            transfer.time > .seconds(90) && transfer.time.components.attoseconds == 0
                && transfer.time.components.seconds % 10 != 0
        }
        #expect(late <= 14)
    }

    /// A controller that is stuck is said once, as what it is; it is tried seldom; other buses are not concerned; and
    /// it comes back by itself.
    @Test func aStuckControllerIsSaidOnceAndTriedSeldom() async throws {
        let bench = try Bench()
        let rig = StationRig(bench)
        rig.attach(SimulatedBME280(world: rig.world), at: 0x76)
        rig.attach(SimulatedSHT4x(world: rig.world), at: 0x44)
        rig.attach(SimulatedSCD4x(world: rig.world), at: 0x62)
        rig.attach(SimulatedADS1115(world: rig.world), at: 0x48, bus: 2)
        rig.bus().add(
            .init(kind: .timedOut, address: nil, start: Death.start, end: Death.end, blocking: .seconds(1)))
        let readings = try await rig.run(
            """
              - sensor_id: hall
                interval: 10s
                chips: [{type: bme280}, {type: sht4x}, {type: scd41}, {type: ads1115, bus: 2}]
            """, for: DeadChipTests.length)
        #expect(readings.count == 181)
        for (index, reading) in readings.enumerated() {
            let time = Duration.seconds(index * 10)
            #expect(reading.values[.batteryVoltage] != nil)
            let faults = reading.faults.map(\.description)
            if time >= Death.start + .seconds(20), time < Death.end {
                let expected = ["bme280:timed_out", "sht4x:timed_out", "scd41:timed_out", "i2c-1:wedged"]
                #expect(faults == expected, "\(time)")
                #expect(reading.values[.temperature] == nil)
            }
            if time >= .seconds(10) && time < Death.start || time >= Death.end + DeadChipTests.longestReturn {
                #expect(faults.isEmpty, "\(time): \(faults)")
            }
        }
        for address: I2CAddress in [0x76, 0x44, 0x62] {
            #expect(rig.bus().transfers(to: address).count { $0.time >= Death.start && $0.time < Death.end } <= 14)
        }
        #expect(rig.bus(2).transfers(to: 0x48).allSatisfy { $0.time.components.seconds % 10 == 0 })
        #expect(bench.health.state(of: "bus i2c-1") == .healthy)
    }

    @Test func aStuckControllerIsInTheHealth() async throws {
        let bench = try Bench()
        let rig = StationRig(bench)
        rig.attach(SimulatedBME280(world: rig.world), at: 0x76)
        rig.bus().add(.init(kind: .timedOut, address: nil, start: .seconds(15), end: .seconds(1000)))
        _ = try await rig.run("  - {sensor_id: hall, interval: 10s, chips: [{type: bme280}]}", for: .seconds(100))
        guard case .degraded(let text) = bench.health.state(of: "bus i2c-1") else {
            Issue.record("\(String(describing: bench.health.state(of: "bus i2c-1")))")
            return
        }
        #expect(text.contains("wedged") && text.contains("power"))
        #expect(bench.metrics.busWedged(Identifier(constant: "i2c-1")).value == 1)
    }

    /// One damaged answer costs one value: an SCD41 that is initialised again would have none for five seconds, and
    /// would lose its place in its self-calibration.
    @Test(arguments: [BusError.Kind.notAcknowledged, .arbitrationLost, .lengthOrStretch])
    func aDisturbanceDoesNotInitialiseTheChip(kind: BusError.Kind) async throws {
        let bench = try Bench()
        let rig = StationRig(bench)
        rig.attach(SimulatedSCD4x(world: rig.world), at: 0x62)
        // What is not acknowledged, the driver tries once more at once.
        let count = kind == .notAcknowledged ? 2 : 1
        rig.bus().add(.init(kind: kind, address: 0x62, start: .seconds(95), end: .seconds(1000), count: count))
        let readings = try await rig.run(
            "  - {sensor_id: hall, interval: 10s, chips: [{type: scd41}]}", for: .seconds(200))
        #expect(readings.map { $0.faults.count } == (0...20).map { $0 == 10 ? 1 : 0 })
        let stops = rig.bus().transfers(to: 0x62).count { $0.written == [0x3F, 0x86] }
        let unhurt = StationRig(try Bench())
        unhurt.attach(SimulatedSCD4x(world: unhurt.world), at: 0x62)
        _ = try await unhurt.run("  - {sensor_id: hall, interval: 10s, chips: [{type: scd41}]}", for: .seconds(200))
        #expect(stops == unhurt.bus().transfers(to: 0x62).count { $0.written == [0x3F, 0x86] })
        #expect(bench.metrics.breakerOpened(Identifier(constant: "hall"), Identifier(constant: "scd41")).value == 1)
    }

    /// A value beyond what the chip can measure says nothing against the chip: it is asked at every sample, and its
    /// values are back with the first that it can measure.
    @Test func aValueOutOfRangeIsNoReasonToLeaveTheChipOut() async throws {
        let bench = try Bench()
        let rig = StationRig(bench)
        let script = FaultScript([.init(.saturate, from: .seconds(95), to: .seconds(205))])
        rig.attach(SimulatedBME280(world: rig.world, faults: script), at: 0x76)
        let readings = try await rig.run(
            "  - {sensor_id: hall, interval: 10s, chips: [{type: bme280}]}", for: .seconds(300))
        for (index, reading) in readings.enumerated() {
            let isBeyond = (10...20).contains(index)
            let faults = reading.faults.map(\.description)
            #expect(faults == (isBeyond ? ["bme280:out_of_range"] : []), "at \(index * 10) s")
            #expect((reading.values[.temperature] == nil) == isBeyond)
        }
        let names = (Identifier(constant: "hall"), Identifier(constant: "bme280"))
        #expect(bench.metrics.chipTries(names.0, names.1).value == 0)
        let kind = Identifier(constant: "out_of_range")
        #expect(bench.metrics.chipFaults(names.0, names.1, kind: kind).value == 11)
    }

    /// A chip that stays dead asks for its power to be cycled, seldom; after the cycle it is back at once.
    @Test func aChipThatStaysDeadAsksForItsPower() async throws {
        let bench = try Bench()
        let rig = StationRig(bench)
        rig.attach(SimulatedBME280(world: rig.world), at: 0x76)
        let script = FaultScript([.init(.nack, from: .seconds(95), to: .seconds(2 * 3600 + 1))])
        rig.attach(SimulatedSHT4x(world: rig.world, faults: script), at: 0x44)
        let outbox = try await bench.openOutbox()
        let station = try rig.station(
            "  - {sensor_id: hall, interval: 10s, chips: [{type: bme280}, {type: sht4x}]}", for: .seconds(7300),
            outbox: outbox)
        let (clock, executor) = (rig.clock, try #require(station.executor))
        try await withThrowingTaskGroup(of: Void.self) { group in
            // Time stands still until both have begun.
            clock.workBegan()
            group.addTask(executorPreference: executor) {
                try await clock.sleep(for: .seconds(2 * 3600 + 5))
                await station.chips[1].restart()
            }
            group.addTask(executorPreference: executor) { try await station.run() }
            clock.workEnded()
            try await group.waitForAll()
        }
        let readings = try await outbox.read(limit: 10_000).map(\.reading)
        // After 15 s, when the pauses have grown to their bound, and then every hour.
        #expect(rig.askedForPower == ["sht4x", "sht4x", "sht4x"])
        #expect(readings[720].faults.map(\.description) == ["sht4x:not_acknowledged"])
        #expect(readings[721].faults.isEmpty)
    }

    /// Of the same value for long a chip that converts is not capable; another value proves it sound.
    @Test func aChipThatGivesTheSameForLongIsFrozen() async throws {
        struct Thawing: Environment {
            func conditions(at time: Timestamp) -> Conditions {
                let elapsed = time.milliseconds - StationRig.origin.milliseconds
                return Conditions(temperature: elapsed < 1_000_000 ? 21 : 21 + Double(elapsed / 10_000) / 100)
            }
        }
        let bench = try Bench()
        let rig = StationRig(bench, environment: Thawing())
        rig.attach(SimulatedBME280(world: rig.world), at: 0x76)
        rig.attach(SimulatedADS1115(world: rig.world), at: 0x48)
        let readings = try await rig.run(
            "  - {sensor_id: hall, interval: 10s, frozen_after: 50, chips: [{type: bme280}, {type: ads1115}]}",
            for: .seconds(2000))
        for (index, reading) in readings.enumerated() {
            switch index {
            case ..<49: #expect(reading.faults.isEmpty, "\(index)")
            case 49..<100:
                #expect(reading.faults.map(\.description) == ["bme280:frozen"], "\(index)")
                #expect(reading.values[.temperature] == nil)
            case 135...: #expect(reading.faults.isEmpty, "\(index)")
            default: break
            }
            #expect(reading.values[.batteryVoltage] != nil)
        }
    }

    @Test func whatIsSeenOfAChip() async throws {
        let bench = try Bench()
        let rig = StationRig(bench)
        let script = FaultScript([.init(.unplug, from: .seconds(95), to: .seconds(100_000))])
        rig.attach(SimulatedBME280(world: rig.world, faults: script), at: 0x76)
        _ = try await rig.run("  - {sensor_id: hall, interval: 10s, chips: [{type: bme280}]}", for: .seconds(600))
        let (hall, bme280) = (Identifier(constant: "hall"), Identifier(constant: "bme280"))
        let metrics = bench.metrics
        #expect(metrics.breaker(hall, bme280, .open).value == 1)
        #expect(metrics.breaker(hall, bme280, .closed).value == 0)
        #expect(metrics.breaker(hall, bme280, .halfOpen).value == 0)
        #expect(metrics.breakerOpened(hall, bme280).value == 1)
        #expect(metrics.chipFaults(hall, bme280, kind: Identifier(constant: "not_acknowledged")).value == 51)
        #expect(metrics.faults.value == 51)
        let lastValue = metrics.lastValue(hall, bme280).value - Double(StationRig.origin.milliseconds) / 1000
        #expect((90..<91).contains(lastValue))
        guard case .degraded(let text) = bench.health.state(of: "chip hall/bme280") else {
            Issue.record("\(String(describing: bench.health.state(of: "chip hall/bme280")))")
            return
        }
        #expect(text.contains("not acknowledged"))
    }
}

@Suite struct CircuitBreakerTests {
    @Test func pausesGrowToTheirBound() {
        var breaker = CircuitBreaker()
        var pauses: [Int64] = []
        for _ in 0..<14 {
            breaker.failed()
            #expect(breaker.state == .open)
            pauses.append(breaker.pause.components.seconds)
            breaker.tryAgain()
            #expect(breaker.state == .halfOpen)
        }
        #expect(pauses == [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300])
        breaker.succeeded()
        #expect(breaker == CircuitBreaker())
    }

    @Test func powerIsAskedForSeldom() {
        var breaker = CircuitBreaker()
        let asked = (1...40).filter { _ in
            breaker.failed()
            return breaker.isDead
        }
        #expect(asked == [5, 17, 29])
    }

    @Test func afterARestartItIsTriedAtOnce() {
        var breaker = CircuitBreaker()
        for _ in 0..<9 { breaker.failed() }
        breaker.restarted()
        #expect(breaker.pause == .zero)
        #expect(breaker.state == .open)
    }
}
