import Alerting
import PostgresClient
import Readings
import Windowing

/// The pass over a batch's rows that decides each one: admitted or duplicate, its status, late or not. It feeds the
/// windows and writes the admitted ones to the COPY as it goes.
struct Admission {
    /// Per stream of the batch: where it stood and where it stands.
    private(set) var progress: [(before: StreamProgress, after: StreamProgress)]
    /// Per stream of the batch: whether it has rows there.
    private(set) var hasRows: [Bool]
    /// Per sensor of the batch.
    let sensors: [SensorState]
    /// The sensors of which a reading was admitted.
    private(set) var touched: [SensorState] = []
    /// How many admitted readings were late.
    private(set) var lateCount = 0
    /// The final windows to compute again.
    private(set) var lateWindows: [(SensorState, LateWindow)] = []

    /// Per stream of the batch: how many admitted readings are too old to be kept.
    private(set) var expired: [Int64]

    /// What happened to alerts.
    var alerts = AlertChanges()

    private let streamTexts: [String]

    /// A gateway's row was not found although it had just been locked.
    struct MissingState: Error {}

    /// - Parameters:
    ///   - names: the names of the batch's streams.
    ///   - states: the states of the batch's gateways.
    init(batch: ReadingBatch, names: [StreamName], states: [GatewayState?]) throws {
        progress = try zip(names, batch.streams).map { name, stream in
            guard let progress = states[Int(stream.gateway)]?.streams[name.streamID] else { throw MissingState() }
            return (progress, progress)
        }
        sensors = try batch.sensors.map { sensor in
            guard let state = states[Int(sensor.gateway)] else { throw MissingState() }
            if let known = state.sensors[sensor.name] { return known }
            let new = SensorState(gatewayID: batch.gateways[Int(sensor.gateway)], sensorID: sensor.name)
            state.sensors[sensor.name] = new
            return new
        }
        expired = [Int64](repeating: 0, count: names.count)
        hasRows = [Bool](repeating: false, count: names.count)
        streamTexts = names.map(\.streamID.description)
    }

    /// Whether a stream's row is to be written: also if it had duplicates only, as copies of its sensors may differ.
    func isChanged(_ stream: Int) -> Bool {
        hasRows[stream] || !progress[stream].after.changes.isEmpty
            || progress[stream].after.differs(from: progress[stream].before)
    }

    /// The gateways that have rows in the batch, as indices.
    func gatewaysWithRows(of batch: ReadingBatch) -> [Int] {
        var found = [Bool](repeating: false, count: batch.gateways.count)
        for (stream, hasRows) in zip(batch.streams, hasRows) where hasRows { found[Int(stream.gateway)] = true }
        return found.indices.filter { found[$0] }
    }

    /// Takes note of what the batch's reports say.
    mutating func note(_ reports: [ReadingBatch.Report]) {
        var gaps: [Gap: [ClosedRange<Int64>]] = [:]
        for report in reports {
            for told in report.streams {
                progress[Int(told.stream)].after.note(first: told.first, last: told.last, previous: told.previous)
            }
            for gap in report.gaps { gaps[Gap(stream: gap.stream, reason: gap.reason), default: []] += gap.ranges }
        }
        // All ranges of a batch together, so that whoever tells the same again and again costs no more than once.
        for (gap, ranges) in gaps {
            progress[Int(gap.stream)].after.note(gap: Admission.united(ranges), reason: gap.reason)
        }
    }

    private struct Gap: Hashable {
        var stream: Int32
        var reason: LossReason
    }

    /// The same numbers as disjoint ranges in order.
    private static func united(_ ranges: [ClosedRange<Int64>]) -> [ClosedRange<Int64>] {
        var united: [ClosedRange<Int64>] = []
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = united.last, range.lowerBound <= last.upperBound + 1 {
                united[united.count - 1] = last.lowerBound...max(last.upperBound, range.upperBound)
            } else {
                united.append(range)
            }
        }
        return united
    }

    /// Decides and writes all rows.
    mutating func copyRows(
        of batch: ReadingBatch, to writer: inout BinaryCopyWriter, rules: AlertRules, policy: WindowPolicy,
        cutoff: RetentionCutoff, now: Timestamp, ingestedAt: PostgresTimestamp
    ) throws {
        var late: Set<LateWindow> = []
        var isTouched = [Bool](repeating: false, count: sensors.count)
        for row in batch.rows {
            let stream = Int(row.stream)
            hasRows[stream] = true
            guard
                progress[stream].after.admit(
                    row.sequence, streamFirst: row.streamFirst, eventTime: row.eventTime)
            else { continue }
            guard row.eventTime >= cutoff.readings else {
                expired[stream] += 1
                continue
            }
            let sensor = sensors[Int(row.sensor)]
            let status = rules.status(of: row.values, hasFaults: row.faults >= 0, known: sensor.quantities)
            let isNewest = row.eventTime >= (sensor.windows.largestEventTime ?? .min)
            let isLate = sensor.windows.add(
                Observation(
                    eventTime: row.eventTime, interval: row.interval, status: status, values: row.values),
                policy: policy, lateWindows: &late)
            if isLate { lateCount += 1 }
            if !late.isEmpty {
                lateWindows += late.map { (sensor, $0) }
                late.removeAll(keepingCapacity: true)
            }
            sensor.quantities.formUnion(QuantitySet(of: row.values))
            sensor.firstEventTime = min(sensor.firstEventTime, row.eventTime)
            sensor.lastArrival = now.milliseconds
            isTouched[Int(row.sensor)] = true
            let faults = row.faults >= 0 ? batch.faultLists[Int(row.faults)] : nil
            if isNewest {
                sensor.latest = LatestReading(row: row, faults: faults, status: status)
                sensor.interval = row.interval
            }
            // Nearly always nothing is wrong, and nothing was.
            if status != .ok || !sensor.alerts.isQuiet {
                alerts.move(sensor) { alerts, emit in
                    alerts.arrive(at: now.milliseconds, emit: emit)
                    if isNewest {
                        alerts.evaluate(
                            row.values, faults: faults ?? [], time: row.eventTime, rules: rules, emit: emit)
                    }
                }
            }

            try ReadingTable.append(
                row, of: sensor,
                ReadingTable.Judgement(
                    streamID: streamTexts[stream], faults: faults, status: status, isLate: isLate,
                    ingestedAt: ingestedAt), to: &writer)
        }
        touched = zip(sensors, isTouched).filter(\.1).map(\.0)
        // A window may have been named by several readings.
        var seen: Set<NamedWindow> = []
        lateWindows = lateWindows.filter {
            cutoff.keepsWindow(from: $0.1.start)
                && seen.insert(NamedWindow(sensor: ObjectIdentifier($0.0), window: $0.1)).inserted
        }
    }

    private struct NamedWindow: Hashable {
        var sensor: ObjectIdentifier
        var window: LateWindow
    }
}
