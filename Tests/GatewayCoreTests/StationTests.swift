import CSQLite
import Foundation
import Monitoring
import Outbox
import Readings
import SimulatedHardware
import Testing

@testable import GatewayCore

@Suite struct StationTests {
    private let barometer = "  - {sensor_id: hall, interval: 10s, chips: [{type: bme280}]}"

    /// A BMP280 is often sold as a BME280: it works, without humidity, and the log says so once, also if it is opened again.
    @Test func aBMP280InPlaceOfABME280IsSaidOnce() async throws {
        let bench = try Bench(logFile: "log")
        let rig = StationRig(bench)
        let script = FaultScript([.init(.unplug, from: .seconds(95), to: .seconds(205))])
        rig.attach(SimulatedBME280(world: rig.world, variant: .bmp280, faults: script), at: 0x76)
        let readings = try await rig.run(
            "  - {sensor_id: hall, interval: 10s, chips: [{type: bme280}]}", for: .seconds(600))
        #expect(readings.allSatisfy { $0.values[.humidity] == nil })
        for reading in [readings[1], readings[60]] {
            #expect(reading.faults.isEmpty)
            #expect(reading.values[.temperature] != nil && reading.values[.pressure] != nil)
        }
        let log = try String(contentsOfFile: "\(bench.folder)/log", encoding: .utf8)
        let lines = log.split(separator: "\n").filter { $0.contains("it is a BMP280, which has no humidity") }
        #expect(lines.count == 1, "\(log)")
    }

    /// A chip that never said what it is is called what the configuration says.
    @Test func aChipThatNeverAnsweredHasItsConfiguredName() async throws {
        let readings = try await StationRig(try Bench()).run(
            "  - {sensor_id: hall, interval: 10s, chips: [{type: bmp280}]}", for: .seconds(20))
        #expect(readings.count == 3)
        #expect(readings.allSatisfy { $0.faults.map(\.description) == ["bmp280:not_acknowledged"] })
    }

    /// What a sample takes does not add up: after a thousand samples the schedule is where it began.
    @Test func theScheduleDoesNotDrift() async throws {
        let bench = try Bench()
        let rig = StationRig(bench)
        rig.attach(SimulatedBME280(world: rig.world), at: 0x76)
        let readings = try await rig.run(barometer, for: .seconds(9990))
        let expected = (0..<1000).map { Timestamp(milliseconds: StationRig.origin.milliseconds + $0 * 10_000) }
        #expect(readings.map(\.eventTime) == expected)
        #expect(readings.map(\.sequence) == Array(1...1000))
        #expect(readings.allSatisfy { $0.faults.isEmpty && $0.intervalMilliseconds == 10_000 && $0.isSimulated })
        #expect(bench.metrics.missed.value == 0)
        #expect(bench.metrics.sampled.value == 1000)
    }

    /// An SCD41's first value takes more than five seconds. The first reading waits for it as far as the schedule allows,
    /// and no slot is missed.
    @Test func theFirstReadingIsCompleteIfTheScheduleAllowsIt() async throws {
        let bench = try Bench()
        let rig = StationRig(bench)
        rig.attach(SimulatedSCD4x(world: rig.world), at: 0x62)
        let readings = try await rig.run(
            "  - {sensor_id: hall, interval: 10s, chips: [{type: scd41}]}", for: .seconds(60))
        #expect(offsets(readings) == Array(stride(from: 0, through: 60_000, by: 10_000)))
        #expect(readings.allSatisfy { $0.values[.co2] != nil && $0.faults.isEmpty })
        #expect(bench.metrics.missed.value == 0)
    }

    /// Neither if the schedule would not: a chip that starts has not failed, and the slots meanwhile are not missed.
    @Test(arguments: [("scd41", 6000 as Int64), ("scd41, mode: low_power", 31_000)])
    func theFirstReadingIsCompleteAtAShortInterval(chip: String, second: Int64) async throws {
        let bench = try Bench()
        let rig = StationRig(bench)
        rig.attach(SimulatedSCD4x(world: rig.world), at: 0x62)
        let readings = try await rig.run(
            "  - {sensor_id: hall, interval: 1s, chips: [{type: \(chip)}]}", for: .seconds(60))
        #expect(offsets(readings) == [0] + Array(stride(from: second, through: 60_000, by: 1000)))
        #expect(readings.allSatisfy { $0.values[.co2] == 600 && $0.faults.isEmpty })
        #expect(bench.metrics.missed.value == 0)
    }

    /// A chip that has no value after all that its start may take has failed, and the other one is not kept waiting.
    @Test func aChipThatHangsFromTheStartIsWaitedForOnce() async throws {
        let bench = try Bench()
        let rig = StationRig(bench)
        rig.attach(SimulatedBME280(world: rig.world), at: 0x76)
        rig.attach(SimulatedSCD4x(world: rig.world), at: 0x62, bus: 2)
        rig.bus(2).add(.init(kind: .timedOut, address: nil, start: .zero, end: .seconds(1000), blocking: .seconds(20)))
        let readings = try await rig.run(
            "  - {sensor_id: hall, interval: 1s, chips: [{type: bme280}, {type: scd41, bus: 2}]}", for: .seconds(60))
        // What an SCD41's start may take, 7 s, and a second for its bus.
        #expect(offsets(readings) == [0] + Array(stride(from: 9000, through: 60_000, by: 1000)))
        #expect(readings.allSatisfy { $0.faults.first?.description == "scd41:timed_out" })
        #expect(readings.allSatisfy { abs(($0.values[.temperature] ?? 0) - 21) < 0.02 })
        #expect(bench.metrics.missed.value == 0)
    }

    private func offsets(_ readings: [Reading]) -> [Int64] {
        readings.map { $0.eventTime.milliseconds - StationRig.origin.milliseconds }
    }

    /// A chip that does not answer is a fault in the reading; the other chip's values are there all the time, and the
    /// first one's come back after it does.
    @Test func aDeadChipIsAFaultAndTakesNothingFromTheOthers() async throws {
        let bench = try Bench()
        let rig = StationRig(bench)
        let script = FaultScript([.init(.unplug, from: .seconds(95), to: .seconds(205))])
        rig.attach(SimulatedBME280(world: rig.world, faults: script), at: 0x76)
        rig.attach(SimulatedADS1115(world: rig.world, dividerRatio: 0.5), at: 0x48)
        let readings = try await rig.run(
            """
              - sensor_id: hall
                interval: 10s
                chips:
                  - {type: bme280}
                  - {type: ads1115, divider: {upper: 100000, lower: 100000}, chemistry: li_ion}
            """, for: .seconds(600))
        #expect(readings.count == 61)
        for (index, reading) in readings.enumerated() {
            let time = index * 10
            let voltage = try #require(reading.values[.batteryVoltage])
            #expect(abs(voltage - 3.9) < 0.001, "at \(time) s")
            #expect(reading.values[.batteryLevel] != nil)
            switch time {
            case ..<95, 300...:
                #expect(reading.faults.isEmpty, "at \(time) s")
                #expect(abs((reading.values[.temperature] ?? 0) - 21) < 0.02, "at \(time) s")
            case 100..<205:
                #expect(reading.faults.map(\.description) == ["bme280:not_acknowledged"], "at \(time) s")
                #expect(reading.values[.temperature] == nil)
                #expect(reading.values[.pressure] == nil)
            default: break
            }
        }
        #expect(bench.metrics.faults.value >= 11)
        #expect(bench.metrics.missed.value == 0)
    }

    /// The first in the configuration wins, and a CO2 chip is told the pressure.
    @Test func theFirstChipThatGivesAQuantityWins() async throws {
        let bench = try Bench()
        let rig = StationRig(bench)
        rig.attach(SimulatedBME280(world: rig.world), at: 0x76)
        rig.attach(SimulatedSCD4x(world: rig.world), at: 0x62)
        let readings = try await rig.run(
            "  - {sensor_id: hall, interval: 10s, chips: [{type: scd41}, {type: bme280}]}", for: .seconds(30))
        let last = try #require(readings.last)
        // The SCD41's steps are 0.0027 degrees, the BME280's 0.01.
        #expect(abs(try #require(last.values[.temperature]) - 21) < 0.003)
        #expect(last.values[.co2] == 600)
        #expect(abs(try #require(last.values[.pressure]) - 1013.25) < 0.1)
        try rig.bus().chips.write([0xE0, 0x00], to: 0x62)
        try await rig.clock.sleep(for: .milliseconds(1))
        let word = try rig.bus().chips.read(3, from: 0x62)
        #expect(Int(word[0]) << 8 | Int(word[1]) == 1013)
    }

    /// A preferred chip that fails is replaced in that very sample, and says so; when it is back it gives its values
    /// again.
    @Test(arguments: [FaultScript.Kind.nack, .freeze, .saturate, .unplug])
    func aFailedChipIsReplacedInTheSameSample(kind: FaultScript.Kind) async throws {
        let bench = try Bench()
        let rig = StationRig(bench)
        let script = FaultScript([.init(kind, from: .seconds(95), to: .seconds(125))])
        rig.attach(SimulatedBME280(world: rig.world, faults: script), at: 0x77)
        rig.attach(SimulatedBME280(world: rig.world), at: 0x76)
        let readings = try await rig.run(
            """
              - sensor_id: hall
                interval: 10s
                quantities: {temperature: [duct, room]}
                chips:
                  - {type: bme280, name: room, address: 0x76}
                  - {type: bme280, name: duct, address: 0x77, calibration: {temperature: {offset: 5}}}
            """, for: .seconds(300))
        #expect(readings.count == 31)
        for (index, reading) in readings.enumerated() {
            let temperature = try #require(reading.values[.temperature], "at \(index * 10) s")
            switch index * 10 {
            case ..<95, 150...:
                #expect(abs(temperature - 26) < 0.02, "at \(index * 10) s")
                #expect(reading.faults.isEmpty)
            case 100..<125:
                #expect(abs(temperature - 21) < 0.02, "at \(index * 10) s")
                #expect(reading.faults.map(\.chip.description) == ["duct"])
            default: break
            }
            #expect(abs((reading.values[.pressure] ?? 0) - 1013.25) < 0.1)
        }
    }

    @Test(arguments: [TimeQuality.synced, .estimated])
    func theClocksQualityIsInTheReading(quality: TimeQuality) async throws {
        let bench = try Bench()
        let rig = StationRig(bench)
        rig.attach(SimulatedBME280(world: rig.world), at: 0x76)
        let readings = try await rig.run(barometer, for: .seconds(20), timeQuality: quality)
        #expect(readings.map(\.timeQuality) == [quality, quality, quality])
    }
}

@Suite struct StoringTests {
    /// While another program holds the file, health says so once and the log has one line; then it says that it is over.
    @Test func aLockedOutboxIsToldOnce() async throws {
        let bench = try Bench(logFile: "log")
        let outbox = try await bench.openOutbox()
        let store = bench.recording(to: outbox)
        await store(try record(1))
        #expect(bench.health.state(of: "outbox") == .healthy)
        var blocker: OpaquePointer?
        #expect(sqlite3_open(bench.file, &blocker) == SQLITE_OK)
        defer { sqlite3_close(blocker) }
        #expect(sqlite3_exec(blocker, "BEGIN IMMEDIATE", nil, nil, nil) == SQLITE_OK)
        for number in 2...4 { await store(try record(number)) }
        guard case .degraded(let text) = bench.health.state(of: "outbox") else {
            Issue.record("the health says nothing: \(String(describing: bench.health.state(of: "outbox")))")
            return
        }
        #expect(text.contains("readings wait in memory"))
        #expect(sqlite3_exec(blocker, "ROLLBACK", nil, nil, nil) == SQLITE_OK)
        while bench.health.state(of: "outbox") != .healthy { try await Task.sleep(for: .milliseconds(5)) }
        #expect(try await outbox.read(limit: 10).map(\.reading.values[.temperature]) == [1, 2, 3, 4])
        let log = try String(contentsOfFile: bench.folder + "/log", encoding: .utf8)
        #expect(log.components(separatedBy: "the outbox takes no readings").count == 2)
        #expect(log.components(separatedBy: "the outbox takes readings again").count == 2)
    }

    /// Only a file that is open is said to be, with its last number.
    @Test func anOutboxThatCannotBeOpenedIsNotSaidToBeOpen() async throws {
        let bench = try Bench(logFile: "log")
        func log() throws -> String { try String(contentsOfFile: bench.folder + "/log", encoding: .utf8) }
        func report(_ outbox: Outbox, until isOver: () async throws -> Void) async throws {
            let reporter = OutboxStatusReporter(
                outbox: outbox, writer: OutboxWriter(outbox: outbox, budget: .each), limits: OutboxLimits(),
                metrics: bench.metrics, health: Health(), log: bench.log)
            let task = Task { try await reporter.run() }
            try await isOver()
            task.cancel()
            _ = await task.result
        }
        let troubles = AsyncStream.makeStream(of: OutboxError.self)
        let closed = try await Outbox.open(
            path: bench.folder + "/none/outbox.sqlite",
            observer: OutboxObserver(troubled: { troubles.continuation.yield($0) }))
        // The lock, then the file.
        var iterator = troubles.stream.makeAsyncIterator()
        _ = await iterator.next()
        try await report(closed) { _ = await iterator.next() }
        #expect(try !log().contains("outbox open"))
        try await report(try await bench.openOutbox()) {
            while try !log().contains("outbox open last_number=0") { try await Task.sleep(for: .milliseconds(5)) }
        }
    }
}
