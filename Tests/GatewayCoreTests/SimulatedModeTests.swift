import CSQLite
import Foundation
import Monitoring
import Outbox
import Readings
import SimulatedHardware
import Testing

@testable import GatewayCore

/// What the simulated mode does beyond what a station does anyway.
@Suite struct SimulatedModeTests {
    private static let start = "2026-03-01T06:00:00Z"
    /// Degrees Celsius, a minute each; the end of the last begins no more.
    private static let temperatures = (0...10).map { 20 + Double($0) / 10 }

    /// Settings of a gateway that replays ten minutes of recorded air as fast as it goes.
    private func settings(_ bench: Bench, stations: String, board: String = "", faults: String = "[]") throws
        -> GatewaySettings
    {
        let file = bench.folder + "/air.csv"
        let rows = Self.temperatures.enumerated().map { minute, temperature in
            "2026-03-01T06:\(minute < 10 ? "0" : "")\(minute):00Z,\(temperature)\n"
        }
        try Data(("time,temperature\n" + rows.joined()).utf8).write(to: URL(fileURLWithPath: file))
        return try GatewayCoreTests.settings(
            stations: stations,
            more: """
                \(board)
                simulation:
                  speed: unlimited
                  recording: {file: "\(file)", columns: {time: time, temperature: temperature}}
                  faults: \(faults)
                """)
    }

    /// Stations share the clock that waits for them: each is sampled exactly at its slots, whatever the others do, and
    /// another run gives the same readings in the same order.
    @Test func stationsAtAnUnlimitedSpeedKeepTheirTimes() async throws {
        func run() async throws -> [Reading] {
            let bench = try Bench()
            let settings = try settings(
                bench,
                stations: """
                      - {sensor_id: hall, interval: 7s, chips: [{type: bme280}]}
                      - {sensor_id: roof, interval: 10s, chips: [{type: bme280}, {type: scd41}]}
                      - {sensor_id: yard, interval: 10s, chips: [{type: sht4x}]}
                    """)
            let outbox = try await bench.openOutbox()
            let gateway = Gateway(settings)
            let hardware = try gateway.settings.hardware()
            let stations = try gateway.stations(
                on: hardware, record: bench.recording(to: outbox, on: hardware), metrics: bench.metrics)
            try await Sampler(stations: stations).sample()
            #expect(bench.metrics.missed.value == 0)
            return try await outbox.read(limit: 100_000).map(\.reading)
        }
        let readings = try await run()
        let start = try #require(Timestamp(Self.start)).milliseconds
        for (name, interval) in [("hall", 7000), ("roof", 10_000), ("yard", 10_000)] as [(String, Int64)] {
            let times = readings.filter { "\($0.sensorID)" == name }.map { $0.eventTime.milliseconds - start }
            #expect(times == Array(stride(from: 0, through: 600_000, by: Int64.Stride(interval))), "\(name)")
        }
        for reading in readings {
            let minute = Int(reading.eventTime.milliseconds - start) / 60_000
            #expect(abs(try #require(reading.values[.temperature]) - Self.temperatures[minute]) < 0.011, "\(reading)")
            #expect(reading.faults.isEmpty)
        }
        func facts(_ readings: [Reading]) -> [String] {
            readings.map { "\($0.sensorID) \($0.eventTime) \($0.values)" }
        }
        #expect(facts(try await run()) == facts(readings))
    }

    /// Another program has the outbox's lock for ten minutes of ten stations' time: sampling waits for nothing, no slot is
    /// skipped, and all readings are stored in order afterwards.
    @Test func aForeignLockSkipsNoSlot() async throws {
        let bench = try Bench()
        let stations = (0..<10).map { "  - {sensor_id: s\($0), interval: 1s, chips: [{type: bme280}]}" }
        let settings = try settings(bench, stations: stations.joined(separator: "\n"))
        let outbox = try await bench.openOutbox()
        _ = try await outbox.status()
        var holder: OpaquePointer?
        #expect(sqlite3_open(bench.file, &holder) == SQLITE_OK)
        defer { sqlite3_close(holder) }
        #expect(sqlite3_exec(holder, "BEGIN IMMEDIATE", nil, nil, nil) == SQLITE_OK)
        let writer = OutboxWriter(outbox: outbox)
        let task = Task { await writer.run() }
        let gateway = Gateway(settings)
        // As on a board: the station only enqueues.
        let sampling = try gateway.stations(
            on: gateway.settings.hardware(), record: { writer.enqueue($0) }, metrics: bench.metrics)
        try await Sampler(stations: sampling).sample()
        #expect(writer.waiting == 10 * 601)
        #expect(bench.metrics.missed.value == 0)
        #expect(sqlite3_exec(holder, "ROLLBACK", nil, nil, nil) == SQLITE_OK)
        writer.finish()
        #expect(await task.value == 0)
        let readings = try await outbox.read(limit: 10_000).map(\.reading)
        #expect(readings.map(\.sequence) == Array(1...6010))
        let start = try #require(Timestamp(Self.start)).milliseconds
        for station in 0..<10 {
            let times = readings.filter { "\($0.sensorID)" == "s\(station)" }.map { $0.eventTime.milliseconds - start }
            #expect(times == Array(stride(from: 0, through: 600_000, by: 1000)), "station \(station)")
        }
    }

    /// The line of the board that feeds the chips feeds the twins: one that hangs is sound after a power cycle.
    @Test func theSupplysLineFeedsTheTwins() async throws {
        let bench = try Bench()
        let settings = try settings(
            bench, stations: "  - {sensor_id: hall, interval: 10s, chips: [{type: sht4x}, {type: bme280}]}",
            board: "board: {sensor_power: {line: supply}}",
            faults: "[{sensor_id: hall, chip: sht4x, kind: nack, start: 61s, length: 1d}]")
        let outbox = try await bench.openOutbox()
        let gateway = Gateway(settings)
        let hardware = try gateway.settings.hardware()
        let (requests, time) = (Board.deadChips(), try #require(hardware.virtualTime))
        let stations = try gateway.stations(
            on: hardware, record: bench.recording(to: outbox, on: hardware), metrics: bench.metrics,
            health: bench.health,
            whenDead: { requests.continuation.yield($0) })
        let gpio = SimulatedGPIO.board(
            settings.board, keepsSteps: true, observer: time.observer, setPower: try #require(hardware.setTwinPower))
        let rail = SensorRail(
            try #require(settings.board.sensorPower), requests: requests.stream, gpio: gpio, clock: hardware.clock,
            metrics: bench.registry, health: bench.health, log: bench.log
        ) {
            for chip in stations[0].chips { await chip.restart() }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            // Time stands still until both have begun.
            time.observer.workBegan()
            group.addTask(executorPreference: time.executor) { try await rail.serve() }
            group.addTask(executorPreference: time.executor) {
                try await stations[0].run()
                requests.continuation.finish()
            }
            time.observer.workEnded()
            try await group.waitForAll()
        }
        #expect(gpio.steps(.name("supply", chip: nil)).count { !$0.isActive } == 1)
        let readings = try await outbox.read(limit: 1000).map(\.reading)
        #expect(readings.count == 61)
        let faulty = readings.indices.filter { !readings[$0].faults.isEmpty }
        // From the first sample after the minute on, until the breaker gives up and the power was away: seconds.
        #expect(faulty.first == 7 && faulty.count <= 4, "\(faulty)")
        #expect(readings[7].faults.map(\.description) == ["sht4x:not_acknowledged"])
        #expect(readings.suffix(45).allSatisfy { $0.values[.humidity] != nil && $0.values[.pressure] != nil })
    }
}
