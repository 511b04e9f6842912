import CPlatform
import Glibc
import Monitoring
import Outbox
import Platform
import Readings
import SensorDrivers

/// Samples one station on a fixed schedule, whatever its chips do.
package struct Station: Sendable {
    package let settings: StationSettings
    let gatewayID: Identifier
    package let chips: [ChipSupervisor]
    /// Takes each reading; nil drops them.
    let record: (@Sendable (OutboxRecord) async -> Void)?
    let wallClock: any WallClock
    let clock: any Clock<Duration>
    /// Where the station's tasks run; nil: on the cooperative pool.
    var executor: (any TaskExecutor)?
    let timeQuality: @Sendable () -> TimeQuality
    let bootID: String
    let isSimulated: Bool
    /// When to stop sampling, such as at a recording's end.
    let end: Timestamp?
    /// The interval now, of the one that is set: longer while the battery is low.
    var pace: @Sendable (Duration) -> Duration = { $0 }
    let metrics: GatewayMetrics
    let log: Log

    /// What one sampling gave: the reading, what each chip did, by its index, and what was made of that.
    package struct Observation: Sendable {
        package var record: OutboxRecord
        package var results: [Int: Result<Measurement, ChipError>]
        package var composition: Composition
    }

    /// Samples until the task is cancelled, or until `end`. It or `observe` may be called once.
    func run() async throws {
        try await withChips { try await sampleOnSchedule() }
    }

    /// Samples once, and waits until every chip has started and given a value or failed.
    package func observe() async throws -> Observation {
        try await withChips {
            var pressure: Pressure?
            return try await observe(interval: nil, pressure: &pressure)
        }
    }

    private func sampleOnSchedule() async throws {
        let passed = elapsed(on: clock)
        var schedule = Schedule(interval: settings.interval)
        var pressure: Pressure?
        var isStarting = true
        while true {
            try await clock.sleep(for: max(.zero, schedule.time - passed()))
            if let end, wallClock.now() > end {
                log.notice("the recording has ended", ["sensor": "\(settings.sensorID)"])
                return
            }
            // A reading says when the next one comes, so that nobody misses it before.
            schedule.change(interval: pace(settings.interval))
            let observation = try await observe(interval: schedule.interval, pressure: &pressure)
            await record?(observation.record)
            let missed = schedule.advance(past: passed())
            // The first sample waits for chips to start, whatever the interval: nothing was to be measured meanwhile.
            if missed > 0, !isStarting { metrics.missed.increment(by: UInt64(missed)) }
            isStarting = false
        }
    }

    /// Samples once, with all chips at the same time.
    ///
    /// No chip is waited for longer than its supervisor allows, and one that is known to be away not at all: the others are
    /// measured when they are due, and the reading says who was missing.
    /// - Parameters:
    ///   - interval: the time until the next sample; nil: there is none.
    ///   - pressure: the air's, which the values of some chips depend on: as the sample before had it, which is near
    ///     enough; for the first sample it is measured before them.
    /// - Throws: CancellationError if a stop interrupted a chip: that is no fault of the chip, so there is no reading.
    private func observe(interval: Duration?, pressure: inout Pressure?) async throws -> Observation {
        let eventTime = wallClock.now()
        let quality = timeQuality()
        var bootTime = timespec()
        clock_gettime(CLOCK_BOOTTIME, &bootTime)
        var results: [Int: Result<Measurement, ChipError>] = [:]
        func compose() -> Composition { Composition(settings, chips.indices.map { results[$0] }) }
        if pressure == nil {
            let independent = chips.indices.filter { !chips[$0].isPressureCompensated }
            results = await measure(independent, pressure: nil, interval: interval)
            pressure = compose().pressure
        }
        let remaining = chips.indices.filter { results[$0] == nil }
        results.merge(await measure(remaining, pressure: pressure, interval: interval)) { $1 }
        for case .failure(let error) in results.values where error.kind == .cancelled { throw CancellationError() }
        let composition = compose()
        pressure = composition.pressure ?? pressure
        let reading = Reading(
            gatewayID: gatewayID, sensorID: settings.sensorID, streamID: StreamID(bits: 0), sequence: 0,
            eventTime: eventTime, timeQuality: quality,
            intervalMilliseconds: (interval ?? settings.interval).millisecondsRoundedDown,
            values: composition.values, faults: composition.faults + count(composition), place: settings.place,
            isSimulated: isSimulated)
        let record = OutboxRecord(
            reading: reading, bootID: bootID,
            bootTimeMilliseconds: Int64(bootTime.tv_sec) * 1000 + Int64(bootTime.tv_nsec) / 1_000_000)
        return Observation(record: record, results: results, composition: composition)
    }

    /// Counts the faults of the chips.
    /// - Returns: those of their buses.
    private func count(_ composition: Composition) -> [Fault] {
        for (chip, fault) in zip(settings.chips, composition.chipFaults) {
            guard let fault else { continue }
            metrics.faults.increment()
            metrics.chipFaults(settings.sensorID, chip.name, kind: fault.kind).increment()
        }
        var faults: [Fault] = []
        for fault in chips.compactMap(\.busFault) where !faults.contains(fault) { faults.append(fault) }
        return faults
    }
}

extension [Station] {
    /// Does something with all of them, on the executor that they share if they have one: a clock that waits for what runs
    /// there does not go on before all tasks that `body` starts have begun.
    package func onTheirTime<Outcome: Sendable>(
        _ body: @Sendable ([Station]) async throws -> Outcome
    ) async throws -> Outcome {
        try await withTaskExecutorPreference(first?.executor) { try await body(self) }
    }
}

extension Station {
    /// Does something while the chips are served.
    private func withChips<Outcome: Sendable>(_ body: @Sendable () async throws -> Outcome) async throws -> Outcome {
        try await withTaskExecutorPreference(executor) {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for chip in chips { group.addTask { await chip.run() } }
                defer { group.cancelAll() }
                return try await body()
            }
        }
    }

    /// Asks some of the chips at once.
    /// - Returns: what each gave, by its index.
    private func measure(
        _ indices: [Int], pressure: Pressure?, interval: Duration?
    ) async -> [Int: Result<Measurement, ChipError>] {
        await withTaskGroup(of: (Int, Result<Measurement, ChipError>).self) { group in
            for index in indices {
                let chip = chips[index]
                group.addTask { (index, await chip.measurement(pressure: pressure, interval: interval)) }
            }
            var results: [Int: Result<Measurement, ChipError>] = [:]
            for await (index, result) in group { results[index] = result }
            return results
        }
    }
}

extension Composition {
    /// The air's pressure.
    fileprivate var pressure: Pressure? { values[.pressure].map { Pressure(hectopascals: $0) } }
}

/// What the kernel says of its clock (adjtimex(2)).
func kernelTimeQuality() -> TimeQuality {
    vigie_clock_is_synchronised() == 1 ? .synced : .estimated
}
