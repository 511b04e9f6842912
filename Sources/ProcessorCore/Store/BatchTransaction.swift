import Alerting
import PostgresClient
import ProcessorStatus
import ReadingDecoding
import Readings
import Windowing

/// The offsets in the database are not those that the batch started from: somebody else has the partition.
struct StaleOffsets: Error {}

/// What a committed batch came to.
struct BatchSummary: Sendable, Equatable {
    /// Messages read.
    var messages = 0
    /// Rows written to `sensor_data`.
    var rows = 0
    /// Readings that were there already.
    var duplicates = 0
    /// Readings that were admitted and are too old to be kept.
    var expired = 0
    /// Rows that came after their sensor's watermark.
    var late = 0
    /// Messages that were reports of gateways.
    var reports = 0
    /// Messages that went to the rejected topic.
    var rejected = 0
    /// The same by reason.
    var rejectedByReason: [Rejection.Reason: Int] = [:]
    /// Rows written to `sensor_data_agg`.
    var windows = 0
    /// How long writing them took, without those that were computed again.
    var windowDuration = Duration.zero
    /// Alerts opened.
    var alertsOpened = 0
    /// Alerts closed.
    var alertsClosed = 0
    /// The change of the number of missing readings.
    var missing: Int64 = 0
    /// When the batch was written, by the processor's clock.
    var ingestedAt = Timestamp(milliseconds: 0)
}

extension WorkCounts {
    /// What a committed batch came to.
    init(_ summary: BatchSummary) {
        self.init()
        messages = summary.messages
        rows = summary.rows
        duplicates = summary.duplicates
        late = summary.late
        rejected = summary.rejected
        windows = summary.windows
        batches = summary.messages > 0 ? 1 : 0
    }
}

/// One batch in one transaction: offsets, rows, windows, sensors, streams and holes, or nothing of it.
///
/// The rows of the streams are locked before anything is decided, so that what is decided on is true until the commit.
struct BatchTransaction {
    let connection: PostgresConnection
    let topic: String
    let policy: WindowPolicy
    let rules: AlertRules
    /// When the batch is written.
    let now: Timestamp
    /// How often the open windows of a gateway are written, milliseconds.
    let updateInterval: Int64
    /// Gateways whose windows are not written, as the database refuses them; their readings are.
    var held: Set<String> = []
    /// In what time silence means something.
    var caughtUp = CaughtUpTracker()
    /// What becomes of readings whose windows are final.
    var latePolicy = LatePolicy.recompute
    /// Whether there is a webhook to tell of alerts.
    var notifies = false

    private var ingestedAt: PostgresTimestamp { PostgresTimestamp(milliseconds: now.milliseconds) }
    private var alerts: AlertTables { AlertTables(connection: connection, notifies: notifies) }
    private var tables: GatewayTables { GatewayTables(connection: connection, policy: policy) }

    /// About so many windows are written at once: each stands in memory for that long.
    static let mostWindows = 20_000

    private static let beginning = "\(PausedSessions.bounds); \(RetentionCutoff.lock)"

    // MARK: A batch of messages

    /// Writes a batch.
    /// - Parameter cache: copies of gateways' rows; must be dropped for the batch's gateways if this throws.
    /// - Throws: `StaleOffsets`, or what the database says.
    func write(_ batch: ReadingBatch, cache: inout [String: GatewayState]) throws -> BatchSummary {
        try connection.transaction(beginningWith: BatchTransaction.beginning) {
            try OffsetTable(connection: connection, topic: topic).advance(batch.offsets, now: ingestedAt)
            var summary = BatchSummary()
            summary.messages = batch.messageCount
            summary.rejected = batch.rejected.count
            for message in batch.rejected { summary.rejectedByReason[message.rejection.reason, default: 0] += 1 }
            summary.ingestedAt = now
            summary.reports = batch.reports.count
            guard !batch.parts.isEmpty else { return summary }

            let names = batch.streams.map {
                StreamName(gatewayID: batch.gateways[Int($0.gateway)], streamID: $0.streamID)
            }
            let cutoff = try lock(batch, names, &cache)
            let states = batch.gateways.map { cache[$0] }
            var admission = try Admission(batch: batch, names: names, states: states)
            admission.note(batch.reports)
            if !batch.rows.isEmpty {
                summary.rows = try connection.copyIn(ReadingTable.copy) { writer in
                    try admission.copyRows(
                        of: batch, to: &writer, rules: rules, policy: policy, cutoff: cutoff, now: now,
                        ingestedAt: ingestedAt)
                }
            }
            let expired = zip(names, admission.expired).filter { $0.1 > 0 }
            try RetentionTable(connection: connection).add(expired: expired.map { (name: $0.0, count: $0.1) })
            summary.expired = expired.reduce(0) { $0 + Int($1.1) }
            summary.duplicates = batch.rows.count - summary.rows - summary.expired
            summary.late = admission.lateCount

            let late = latePolicy == .recompute ? admission.lateWindows : []
            let recomputed = late.filter { !held.contains($0.0.gatewayID) }.map {
                WindowTable.Named(
                    gatewayID: $0.0.gatewayID, sensorID: $0.0.sensorID, size: $0.1.specification.size, start: $0.1.start
                )
            }
            summary.windows = try WindowTable.recompute(recomputed, now: ingestedAt, connection)
            // Only those whose streams are written: that is how others know that a copy is out of date.
            let gateways = admission.gatewaysWithRows(of: batch).compactMap { index in
                held.contains(batch.gateways[index]) ? nil : states[index]
            }
            let began = ContinuousClock.now
            summary.windows += try writeWindows(advancing: admission.touched, updating: gateways, cutoff)
            summary.windowDuration = began.duration(to: .now)
            try tables.save(sensors: admission.touched)
            // Windows that cannot be computed again now become due once more, for when they can.
            try tables.reopen(
                late.filter { held.contains($0.0.gatewayID) }.map {
                    SensorTable.Reopened(gatewayID: $0.0.gatewayID, sensorID: $0.0.sensorID, start: $0.1.start)
                })
            // A report may name hundreds of streams of which it says nothing new.
            let streams = names.indices.filter { admission.isChanged($0) }.map { index in
                StreamTable.Change(
                    name: names[index], before: admission.progress[index].before,
                    after: admission.progress[index].after)
            }
            for stream in streams {
                guard let gateway = cache[stream.name.gatewayID] else { continue }
                admission.alerts.evaluate(stream.after, of: stream.name, in: gateway, rule: rules.loss)
            }
            (summary.alertsOpened, summary.alertsClosed) = try alerts.save(
                admission.alerts, of: cache, now: ingestedAt)
            for stream in streams {
                // Each is below 2^53, but there may be thousands.
                let (sum, overflow) = summary.missing.addingReportingOverflow(
                    stream.after.missing - stream.before.missing)
                if !overflow { summary.missing = sum }
            }
            try tables.save(streams: streams, of: cache, now: ingestedAt)
            return summary
        }
    }

    private func lock(
        _ batch: ReadingBatch, _ names: [StreamName], _ cache: inout [String: GatewayState]
    ) throws -> RetentionCutoff {
        var partitions = [Int32](repeating: -1, count: batch.gateways.count)
        // Every stream of the batch has one: of a reading, of its entry in a report, or of a gap.
        var firstNumbers = [Int64](repeating: .max, count: names.count)
        for report in batch.reports {
            partitions[Int(report.gateway)] = report.message.partition
            for told in report.streams {
                firstNumbers[Int(told.stream)] = min(firstNumbers[Int(told.stream)], told.first)
            }
            for gap in report.gaps {
                for range in gap.ranges {
                    firstNumbers[Int(gap.stream)] = min(firstNumbers[Int(gap.stream)], range.lowerBound)
                }
            }
        }
        for row in batch.rows {
            let stream = Int(row.stream)
            partitions[Int(batch.streams[stream].gateway)] = row.partition
            if row.streamFirst < firstNumbers[stream] { firstNumbers[stream] = row.streamFirst }
        }
        let new = names.indices.filter { cache[names[$0].gatewayID]?.revisions[names[$0].streamID] == nil }
        let cutoff = try tables.lock(
            batch.gateways,
            newStreams: new.map {
                StreamTable.New(
                    name: names[$0], first: firstNumbers[$0],
                    partition: partitions[Int(batch.streams[$0].gateway)])
            }, cache: &cache, now: ingestedAt)
        for (name, partition) in zip(batch.gateways, partitions) { cache[name]?.partition = partition }
        return cutoff
    }

    // MARK: Windows

    /// Writes the windows that the watermarks of some sensors have passed, and the open windows of gateways that are
    /// due.
    private func writeWindows(
        advancing sensors: [SensorState], updating gateways: [GatewayState], _ cutoff: RetentionCutoff
    ) throws -> Int {
        var rows = WindowRows(cutoff: cutoff)
        for sensor in sensors where !held.contains(sensor.gatewayID) {
            sensor.windows.advance(policy: policy) { rows.append($0, of: sensor) }
        }
        for gateway in gateways where gateway.isUpdateDue(now: now.milliseconds, interval: updateInterval) {
            // What is left is due still, and written as time passes.
            if rows.count >= BatchTransaction.mostWindows { break }
            drainDirtyWindows(gateway, &rows)
        }
        try rows.write(connection, now: ingestedAt)
        return rows.count
    }

    private func drainDirtyWindows(_ gateway: GatewayState, _ rows: inout WindowRows) {
        for sensor in gateway.sensors.values {
            sensor.windows.drainDirtyWindows(policy: policy) { rows.append($0, of: sensor) }
        }
        gateway.lastUpdate = now.milliseconds
    }

    // MARK: The passing of time

    /// Writes what time alone has made due: open windows that have changed, and the windows of silent sensors, which
    /// become final.
    /// - Parameters:
    ///   - gatewayIDs: the gateways to look at; locked for it.
    ///   - idleTimeout: a sensor is silent after this, milliseconds.
    func onProcessingTime(
        _ gatewayIDs: [String], idleTimeout: Int64, cache: inout [String: GatewayState]
    ) throws -> BatchSummary {
        try connection.transaction(beginningWith: BatchTransaction.beginning) {
            let cutoff = try tables.lock(gatewayIDs, newStreams: [], cache: &cache, now: ingestedAt)
            var summary = BatchSummary()
            summary.ingestedAt = now
            var rows = WindowRows(cutoff: cutoff)
            var changed: [SensorState] = []
            var silence = AlertChanges()
            // In steps of a pane, so that a silent sensor is not written at every look.
            let finalThrough =
                (now.milliseconds - policy.lateness).flooredQuotient(by: policy.paneSize) * policy.paneSize
            for gatewayID in gatewayIDs {
                guard let gateway = cache[gatewayID] else { continue }
                for sensor in gateway.sensors.values where sensor.isIdle(now: now.milliseconds, timeout: idleTimeout) {
                    let before = sensor.windows.finalThrough
                    sensor.windows.advance(through: finalThrough, policy: policy) {
                        rows.append($0, of: sensor)
                    }
                    if sensor.windows.finalThrough != before { changed.append(sensor) }
                }
                drainDirtyWindows(gateway, &rows)
                lookForSilence(gateway, &silence)
            }
            (summary.alertsOpened, summary.alertsClosed) = try alerts.save(silence, of: cache, now: ingestedAt)
            let began = ContinuousClock.now
            try rows.write(connection, now: ingestedAt)
            summary.windowDuration = began.duration(to: .now)
            try tables.save(sensors: changed)
            // The streams themselves have not moved, but copies elsewhere are out of date now: of what is final, and of
            // which windows have rows. One stream of each gateway says so.
            let streams = gatewayIDs.compactMap { gatewayID in
                cache[gatewayID]?.streams.max { $0.key.bits < $1.key.bits }.map { streamID, progress in
                    StreamTable.Change(
                        name: StreamName(gatewayID: gatewayID, streamID: streamID), before: progress,
                        after: progress)
                }
            }
            if !changed.isEmpty || rows.count > 0 || !silence.isEmpty {
                try tables.save(streams: streams, of: cache, now: ingestedAt)
            }
            summary.windows = rows.count
            return summary
        }
    }

    private func lookForSilence(_ gateway: GatewayState, _ changes: inout AlertChanges) {
        guard let rule = rules.silence else { return }
        for sensor in gateway.sensors.values where sensor.isNewlySilent(rule, caughtUp, partition: gateway.partition) {
            guard let silence = caughtUp.silence(lastArrival: sensor.lastArrival, partition: gateway.partition) else {
                continue
            }
            changes.move(sensor) { alerts, emit in
                alerts.look(
                    at: silence.through, silentSince: silence.since, interval: sensor.interval, rule: rule, emit: emit)
            }
        }
    }
}

extension GatewayState {
    /// Whether the passing of time may have made something due.
    func needsLook(now: Int64, interval: Int64, idleTimeout: Int64) -> Bool {
        isUpdateDue(now: now, interval: interval)
            && sensors.values.contains { $0.windows.hasChanges || $0.isIdle(now: now, timeout: idleTimeout) }
    }

    /// Whether its open windows are to be written now.
    func isUpdateDue(now: Int64, interval: Int64) -> Bool {
        now - lastUpdate >= interval || now < lastUpdate
    }
}

extension SensorState {
    /// Whether it is silent and still has open windows.
    func isIdle(now: Int64, timeout: Int64) -> Bool {
        !windows.isEmpty && now - lastArrival >= timeout
    }
}
