import CPlatform
import Glibc
import Monitoring
import Outbox
import Platform
import Readings
import SensorDrivers

/// Samples one station on a fixed schedule, whatever its chips do.
struct Station: Sendable {
    let settings: StationSettings
    let gatewayID: Identifier
    let chips: [ChipSlot]
    /// Where readings go; nil drops them.
    let recorder: Recorder?
    let wallClock: any WallClock
    let clock: any Clock<Duration>
    let timeQuality: @Sendable () -> TimeQuality
    let bootID: String
    let isSimulated: Bool
    /// When to stop sampling, such as at a recording's end.
    let end: Timestamp?
    let metrics: GatewayMetrics
    let log: Log

    /// Samples until the task is cancelled, or until `end`.
    func run() async throws {
        let passed = elapsed(on: clock)
        var slot = 0
        while true {
            try await clock.sleep(for: max(.zero, settings.interval * slot - passed()))
            if let end, wallClock.now() > end {
                log.notice("the recording has ended", ["sensor": "\(settings.sensorID)"])
                return
            }
            await recorder?.record(try await sample())
            // The schedule stands: what was missed is left out, and the next slot is where it always was.
            let next = max(slot + 1, Int((passed() / settings.interval).rounded(.down)) + 1)
            if next > slot + 1 { metrics.missed.increment(by: UInt64(next - slot - 1)) }
            slot = next
        }
    }

    /// Measures with the barometers, then with all other chips at once.
    ///
    /// It waits for every chip, so a reading is complete or says what failed. An SCD4x gives its first value one of its
    /// periods after it was opened (5 s, about 30 s in low power): slots that pass meanwhile are missed, and counted.
    /// - Throws: CancellationError if a stop interrupted a chip: that is no fault of the chip, so there is no reading.
    func sample() async throws -> OutboxRecord {
        try await observe().record
    }

    /// What one sampling gave: the reading, what each chip did, by its index, and what was made of that.
    struct Observation: Sendable {
        var record: OutboxRecord
        var results: [Int: Result<Measurement, SensorError>]
        var composition: Composition
    }

    /// Samples once, as `sample` does, and keeps what each chip did.
    func observe() async throws -> Observation {
        let eventTime = wallClock.now()
        let quality = timeQuality()
        var bootTime = timespec()
        clock_gettime(CLOCK_BOOTTIME, &bootTime)
        // The air's pressure first: carbon dioxide depends on it.
        let barometers = chips.indices.filter { chips[$0].isBarometer }
        var results = await measure(barometers, pressure: nil)
        let pressure = Composition(settings, chips.indices.map { results[$0] }).values.pressure
        let others = chips.indices.filter { !chips[$0].isBarometer }
        results.merge(await measure(others, pressure: pressure.map { Pressure(hectopascals: $0) })) { $1 }
        for case .failure(let error) in results.values {
            if error.kind == .cancelled { throw CancellationError() }
            metrics.faults.increment()
            log.warning("a chip failed", ["sensor": "\(settings.sensorID)", "error": "\(error)"])
        }
        let composition = Composition(settings, chips.indices.map { results[$0] })
        let reading = Reading(
            gatewayID: gatewayID, sensorID: settings.sensorID, streamID: StreamID(bits: 0), sequence: 0,
            eventTime: eventTime, timeQuality: quality,
            intervalMilliseconds: settings.interval.millisecondsRoundedDown,
            values: composition.values, faults: composition.faults, place: settings.place, isSimulated: isSimulated)
        let record = OutboxRecord(
            reading: reading, bootID: bootID,
            bootTimeMilliseconds: Int64(bootTime.tv_sec) * 1000 + Int64(bootTime.tv_nsec) / 1_000_000)
        return Observation(record: record, results: results, composition: composition)
    }
}

extension Station {
    /// Measures with some of the chips at once.
    /// - Returns: what each gave, by its index.
    private func measure(
        _ indices: [Int], pressure: Pressure?
    ) async -> [Int: Result<Measurement, SensorError>] {
        await withTaskGroup(of: (Int, Result<Measurement, SensorError>).self) { group in
            for index in indices {
                let chip = chips[index]
                group.addTask { (index, await chip.result(pressure: pressure)) }
            }
            var results: [Int: Result<Measurement, SensorError>] = [:]
            for await (index, result) in group { results[index] = result }
            return results
        }
    }
}

/// What the kernel says of its clock (adjtimex(2)).
func kernelTimeQuality() -> TimeQuality {
    vigie_clock_is_synchronised() == 1 ? .synced : .estimated
}
