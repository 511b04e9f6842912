import Alerting
import PostgresClient
import Readings
import Windowing

/// The pass over a batch's rows that decides each one: admitted or known before, its status, late or not. It feeds the
/// windows and writes the admitted ones to the COPY as it goes.
struct Admission {
    /// Per stream of the batch: where it stood, nil if it has no row yet, and where it stands.
    private(set) var progress: [(before: StreamProgress?, after: StreamProgress)]
    /// Per sensor of the batch.
    let sensors: [SensorState]
    /// The sensors of which a reading was admitted.
    private(set) var touched: [SensorState] = []
    /// How many admitted readings were late.
    private(set) var lateCount = 0
    /// Per stream of the batch: how many admitted readings are too old to be kept.
    private(set) var expired: [Int64]

    /// The rows whose numbers were admitted before.
    private(set) var known = KnownNumbers()
    /// The streams, as indices, whose number `SequenceConflict.ownSequence` was admitted.
    private(set) var ownStreams: [Int] = []

    /// What happened to alerts.
    var alerts = AlertChanges()

    private let streamTexts: [String]
    /// Per stream of the batch: whether nothing of it is noted.
    private var isIgnored: [Bool]

    /// A gateway's row was not found although it had just been locked.
    struct MissingState: Error {}

    /// - Parameters:
    ///   - names: the names of the batch's streams.
    ///   - firstNumbers: the smallest number that the batch tells of each stream.
    ///   - states: the states of the batch's gateways, with all of its streams and sensors that have rows.
    init(batch: ReadingBatch, names: [StreamName], firstNumbers: [Int64], states: [GatewayState?]) throws {
        progress = try names.indices.map { index in
            guard let state = states[Int(batch.streams[index].gateway)] else { throw MissingState() }
            let known = state.streams[names[index].streamID]
            return (known, known ?? StreamProgress(first: firstNumbers[index]))
        }
        sensors = try batch.sensors.map { sensor in
            guard let state = states[Int(sensor.gateway)] else { throw MissingState() }
            if let known = state.sensors[sensor.name] { return known }
            let new = SensorState(gatewayID: batch.gateways[Int(sensor.gateway)], sensorID: sensor.name)
            state.sensors[sensor.name] = new
            return new
        }
        expired = [Int64](repeating: 0, count: names.count)
        isIgnored = [Bool](repeating: false, count: names.count)
        streamTexts = names.map(\.streamID.description)
    }

    /// Finds the streams of which nothing is known but that rejected readings name them.
    private mutating func markStreamsToIgnore(_ batch: ReadingBatch) {
        guard batch.reports.contains(where: \.isRejectedReading) else { return }
        isIgnored = progress.map { $0.before == nil }
        for row in batch.rows { isIgnored[Int(row.stream)] = false }
        for report in batch.reports where !report.isRejectedReading {
            for told in report.streams { isIgnored[Int(told.stream)] = false }
            for gap in report.gaps { isIgnored[Int(gap.stream)] = false }
        }
    }

    /// Whether a stream's row is to be written.
    func isChanged(_ stream: Int) -> Bool {
        if isIgnored[stream] { return false }
        guard let before = progress[stream].before else { return true }
        return !progress[stream].after.changes.isEmpty || progress[stream].after.differs(from: before)
    }

    /// Takes note of what the batch's reports say.
    mutating func note(_ batch: ReadingBatch) {
        var gaps: [Gap: [ClosedRange<Int64>]] = [:]
        markStreamsToIgnore(batch)
        for report in batch.reports where !report.isRejectedReading {
            for told in report.streams {
                progress[Int(told.stream)].after.note(first: told.first, last: told.last, previous: told.previous)
            }
            for gap in report.gaps { gaps[Gap(stream: gap.stream, reason: gap.reason), default: []] += gap.ranges }
        }
        for report in batch.reports where report.isRejectedReading {
            for gap in report.gaps where !isIgnored[Int(gap.stream)] {
                let first = progress[Int(gap.stream)].after.first
                let ranges = gap.ranges.filter { $0.lowerBound >= first }
                gaps[Gap(stream: gap.stream, reason: gap.reason), default: []] += ranges
            }
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
        of batch: ReadingBatch, states: [GatewayState?], to writer: inout BinaryCopyWriter, rules: AlertRules,
        policy: WindowPolicy, latePolicy: LatePolicy, cutoff: RetentionCutoff, now: Timestamp
    ) throws {
        let ingestedAt = PostgresTimestamp(milliseconds: now.milliseconds)
        let commitNumbers = batch.sensors.map { states[Int($0.gateway)]?.commitNumber ?? 0 }
        var isTouched = [Bool](repeating: false, count: sensors.count)
        for (index, row) in batch.rows.enumerated() {
            let stream = Int(row.stream)
            guard
                progress[stream].after.admit(
                    row.sequence, streamFirst: row.streamFirst, eventTime: row.eventTime)
            else {
                known.note(row, at: index, cutoff: cutoff)
                continue
            }
            if row.sequence == SequenceConflict.ownSequence { ownStreams.append(stream) }
            guard row.eventTime >= cutoff.readings else {
                expired[stream] += 1
                continue
            }
            let sensor = sensors[Int(row.sensor)]
            let status = rules.status(of: row.values, hasFaults: row.faults >= 0, known: sensor.quantities)
            let isNewest = row.eventTime >= (sensor.windows.largestEventTime ?? .min)
            let isLate = sensor.windows.isLate(row.eventTime, policy: policy)
            let isInWindows = !isLate || latePolicy == .recompute
            if isInWindows {
                sensor.windows.add(
                    Observation(
                        eventTime: row.eventTime, interval: row.interval, status: status, values: row.values),
                    policy: policy)
            }
            if isLate { lateCount += 1 }
            sensor.lastCommit = commitNumbers[Int(row.sensor)]
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
                    isInWindows: isInWindows, ingestedAt: ingestedAt, commitNumber: sensor.lastCommit), to: &writer)
        }
        for (index, sensor) in sensors.enumerated() {
            let state = states[Int(batch.sensors[index].gateway)]
            if isTouched[index] {
                touched.append(sensor)
                if !sensor.windows.hasPanes { state?.sensorsWithoutPanes.insert(sensor.sensorID) }
            } else if sensor.windows.largestEventTime == nil {
                // No reading of it was ever kept, so it has no row.
                state?.sensors[sensor.sensorID] = nil
            }
        }
    }
}
