import Alerting
import PostgresClient
import ProcessorStatus
import ReadingDecoding
import Readings
import Windowing

/// What a committed batch came to.
struct BatchSummary: Sendable, Equatable {
    /// Messages read.
    var messages = 0
    /// Rows written to `sensor_data`.
    var rows = 0
    /// Readings that were there already.
    var duplicates = 0
    /// Readings whose numbers other readings have.
    var conflicts = 0
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
    /// Those of them that were final before, for late readings.
    var lateWindows = 0
    /// How long writing them took, without those that were computed again.
    var windowDuration = Duration.zero
    /// Sensors that were not in memory.
    var sensorsLoaded = 0
    /// Alerts opened.
    var alertsOpened = 0
    /// Alerts closed.
    var alertsClosed = 0
    /// Partitions whose log was another one than was read before.
    var logsChanged = 0
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
        conflicts = summary.conflicts
        late = summary.late
        rejected = summary.rejected
        windows = summary.windows
        batches = summary.messages > 0 ? 1 : 0
    }
}

/// One batch in one transaction: offsets, rows, windows, sensors, streams and holes, or nothing of it.
///
/// The rows of its gateways are locked before anything is decided, so that what is decided on is true until the commit. Of
/// a gateway only the streams and sensors of the batch are loaded, if they are not in memory.
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
    /// What the transaction leaves in the gateways' rows: random, and not 0.
    var token = Int64.random(in: 1...Int64.max)
    /// The conflicts that are in the rejected topic, by their own streams; nil: it does not matter, as nothing is kept.
    var announced: Set<StreamName>? = []

    var ingestedAt: PostgresTimestamp { PostgresTimestamp(milliseconds: now.milliseconds) }
    var alerts: AlertTables { AlertTables(connection: connection, notifies: notifies) }
    private var tables: GatewayTables { GatewayTables(connection: connection, policy: policy) }

    /// About so many windows are written at once: each stands in memory for that long.
    static let mostWindows = 20_000

    /// Whatever the tables' statistics say, each row is found by its index, so that a statement costs what it is about: the
    /// planner would rather read a whole table once than look up ten thousand rows of it, and compile what runs for
    /// milliseconds. What a statement is given stands in memory.
    private static let plans = """
        SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off;
        SET LOCAL jit = off; SET LOCAL work_mem = '64MB'
        """

    private static let beginning = "\(PausedSessions.bounds); \(plans); \(RetentionCutoff.lock)"

    // MARK: A batch of messages

    /// Writes a batch.
    /// - Parameter cache: copies of gateways' rows; must be dropped for the batch's gateways if this throws.
    /// - Throws: `StaleOffsets`, or what the database says.
    func write(_ batch: ReadingBatch, cache: inout [String: GatewayState]) throws -> BatchSummary {
        try connection.transaction(beginningWith: BatchTransaction.beginning) {
            try OffsetTable(connection: connection, topic: topic).advance(batch.offsets, now: ingestedAt)
            var summary = BatchSummary()
            summary.logsChanged = batch.offsets.values.count { $0.anotherLog != nil }
            (summary.alertsOpened, summary.alertsClosed) = try alerts.save(logs: batch.offsets, of: topic, now: now)
            summary.messages = batch.messageCount
            summary.rejected = batch.rejected.count
            for message in batch.rejected { summary.rejectedByReason[message.rejection.reason, default: 0] += 1 }
            summary.ingestedAt = now
            summary.reports = batch.reports.count { !$0.isRejectedReading }
            let batch = try withoutStrangers(batch)
            guard !batch.parts.isEmpty else { return summary }

            let names = batch.streams.map {
                StreamName(gatewayID: batch.gateways[Int($0.gateway)], streamID: $0.streamID)
            }
            let (uses, firstNumbers) = BatchTransaction.survey(batch)
            let cutoff = try tables.lock(uses, inserting: true, token: token, cache: &cache)
            try tables.load(names, into: cache)
            summary.sensorsLoaded = try tables.load(
                batch.sensors.map { SensorName(gatewayID: batch.gateways[Int($0.gateway)], sensorID: $0.name) },
                into: cache)
            let states = batch.gateways.map { cache[$0] }
            var admission = try Admission(batch: batch, names: names, firstNumbers: firstNumbers, states: states)
            admission.note(batch)
            if !batch.rows.isEmpty {
                summary.rows = try connection.copyIn(ReadingTable.copy) { writer in
                    try admission.copyRows(
                        of: batch, states: states, to: &writer, rules: rules, policy: policy,
                        latePolicy: latePolicy, cutoff: cutoff, now: now)
                }
            }
            let expired = zip(names, admission.expired).filter { $0.1 > 0 }
            try RetentionTable(connection: connection).add(expired: expired.map { (name: $0.0, count: $0.1) })
            summary.expired = expired.reduce(0) { $0 + Int($1.1) }
            let conflicts = try conflicts(among: admission.known, of: batch)
            summary.conflicts = conflicts.count
            summary.duplicates = batch.rows.count - summary.rows - summary.expired - conflicts.count
            summary.late = admission.lateCount

            summary.lateWindows = try writeLateReadings(of: admission.touched, cache, cutoff)
            let began = ContinuousClock.now
            summary.windows = try writeWindows(
                advancing: admission.touched, updating: batch.gateways.compactMap { cache[$0] }, cache, cutoff)
            summary.windowDuration = began.duration(to: .now)
            summary.windows += summary.lateWindows
            try tables.save(sensors: admission.touched)
            // A report may name hundreds of streams of which it says nothing new.
            var streams = names.indices.filter { admission.isChanged($0) }.map { index in
                StreamTable.Change(
                    name: names[index], before: admission.progress[index].before,
                    after: admission.progress[index].after)
            }
            for index in streams.indices {
                guard let gateway = cache[streams[index].name.gatewayID] else { continue }
                admission.alerts.evaluate(
                    &streams[index].after, of: streams[index].name, in: gateway, rule: rules.loss)
            }
            let rejected = try note(
                conflicts, settling: admission.ownStreams.map { names[$0] }, &admission.alerts, cache)
            if rejected > 0 { summary.rejectedByReason[.sequenceConflict] = rejected }
            summary.rejected += rejected
            let saved = try alerts.save(admission.alerts, of: cache, now: ingestedAt)
            summary.alertsOpened += saved.opened
            summary.alertsClosed += saved.closed
            for stream in streams {
                // Each is below 2^53, but there may be thousands.
                let (sum, overflow) = summary.missing.addingReportingOverflow(
                    stream.after.missing - (stream.before?.missing ?? 0))
                if !overflow { summary.missing = sum }
            }
            try tables.save(streams: streams, of: cache, now: ingestedAt)
            tables.noteUse(of: names, in: cache, at: now.milliseconds)
            return summary
        }
    }

    /// The batch without rejected readings of gateways of which nothing is known: who sends rubbish makes no rows.
    private func withoutStrangers(_ batch: ReadingBatch) throws -> ReadingBatch {
        let doubtful = batch.gatewaysOfRejectedReadingsOnly
        if doubtful.isEmpty { return batch }
        let known = try GatewayTable(connection: connection).known(among: doubtful.map { batch.gateways[Int($0)] })
        let strangers = doubtful.filter { !known.contains(batch.gateways[Int($0)]) }
        if strangers.isEmpty { return batch }
        return batch.keeping(
            batch.parts.lazy.filter { part in
                batch.report(ofPart: part).map { !strangers.contains($0.gateway) } ?? true
            })
    }

    /// The gateways of a batch with their partitions, and the smallest number that it tells of each of its streams.
    private static func survey(_ batch: ReadingBatch) -> (uses: [GatewayTable.Use], firstNumbers: [Int64]) {
        var uses = batch.gateways.map { GatewayTable.Use(gatewayID: $0) }
        // Every stream of the batch has one: of a reading, of its entry in a report, or of a gap; but for those that only
        // rejected readings name, which are not written.
        var firstNumbers = [Int64](repeating: .max, count: batch.streams.count)
        for report in batch.reports {
            uses[Int(report.gateway)].partition = report.message.partition
            if report.isRejectedReading { continue }
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
            uses[Int(batch.streams[stream].gateway)].partition = row.partition
            if row.streamFirst < firstNumbers[stream] { firstNumbers[stream] = row.streamFirst }
        }
        return (uses, firstNumbers)
    }

    // MARK: Windows

    /// Opens the windows again that readings of some sensors fell into although they were final, and folds late readings
    /// into those that stay final.
    /// - Returns: how many windows were written.
    private func writeLateReadings(
        of sensors: [SensorState], _ cache: [String: GatewayState], _ cutoff: RetentionCutoff
    ) throws -> Int {
        var reopened: [WindowTable.Reopened] = []
        var late = LateReadings(cutoff: cutoff)
        for sensor in sensors {
            let since = sensor.windows.takeReopening()
            guard !held.contains(sensor.gatewayID), let gateway = cache[sensor.gatewayID] else {
                sensor.windows.reopenLateWindows()
                continue
            }
            if let since { reopened.append(WindowTable.Reopened(name: sensor.name, since: since)) }
            sensor.windows.drainLateReadings(policy: policy) {
                late.append($0, of: sensor.name, commitNumber: gateway.commitNumber)
            }
        }
        try WindowTable.reopen(reopened, policy: policy, now: ingestedAt, connection)
        try late.write(connection, policy: policy, now: ingestedAt)
        return late.count
    }

    /// Writes the windows that the watermarks of some sensors have passed, and the open windows of gateways that are
    /// due, of those sensors whose panes are in memory.
    private func writeWindows(
        advancing sensors: [SensorState], updating gateways: [GatewayState], _ cache: [String: GatewayState],
        _ cutoff: RetentionCutoff
    ) throws -> Int {
        var rows = WindowRows(cutoff: cutoff)
        for sensor in sensors where !held.contains(sensor.gatewayID) {
            guard let gateway = cache[sensor.gatewayID] else { continue }
            sensor.windows.advance(policy: policy) {
                rows.append($0, of: sensor.name, commitNumber: gateway.commitNumber)
            }
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
        for sensor in gateway.sensors.values where !held.contains(sensor.gatewayID) && sensor.windows.hasChanges {
            sensor.windows.drainDirtyWindows(policy: policy) {
                rows.append($0, of: sensor.name, commitNumber: gateway.commitNumber)
            }
        }
        gateway.lastUpdate = now.milliseconds
    }

    // MARK: The passing of time

    /// Writes what time alone has made due: open windows that have changed, and the windows of silent sensors, which
    /// become final. What is not in memory for that is loaded.
    /// - Parameters:
    ///   - gatewayIDs: the gateways to look at; locked for it.
    ///   - idleTimeout: a sensor is silent after this, milliseconds.
    ///   - limit: the panes of at most so many sensors are loaded, and at most so many sensors of each gateway. Whether
    ///     something is left `GatewayState.isComplete` says.
    func onProcessingTime(
        _ gatewayIDs: [String], idleTimeout: Int64, loadingAtMost limit: Int = .max, cache: inout [String: GatewayState]
    ) throws -> BatchSummary {
        try connection.transaction(beginningWith: BatchTransaction.beginning) {
            let cutoff = try tables.lock(
                gatewayIDs.map { GatewayTable.Use(gatewayID: $0) }, inserting: false, token: token, cache: &cache)
            try load(gatewayIDs, atMost: limit, cache)
            var summary = BatchSummary()
            summary.ingestedAt = now
            var rows = WindowRows(cutoff: cutoff)
            var changed: [SensorState] = []
            var silence = AlertChanges()
            for gateway in gatewayIDs.compactMap({ cache[$0] }) {
                for sensor in gateway.sensors.values where !sensor.windows.isEmpty && sensor.windows.hasPanes {
                    let before = sensor.windows.finalThrough
                    let idleEnd = sensor.idleEnd(
                        caughtUp, partition: gateway.partition, timeout: idleTimeout, policy: policy)
                    sensor.windows.advance(through: idleEnd ?? .min, policy: policy) {
                        rows.append($0, of: sensor.name, commitNumber: gateway.commitNumber)
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
            summary.windows = rows.count
            return summary
        }
    }

    /// Loads what time may make due and is not in memory.
    private func load(_ gatewayIDs: [String], atMost limit: Int, _ cache: [String: GatewayState]) throws {
        try tables.loadDue(of: gatewayIDs, atMost: limit, lookingForSilence: rules.silence != nil, into: cache)
        var missing: [SensorState] = []
        for gateway in gatewayIDs.compactMap({ cache[$0] }) {
            let rest = limit - missing.count
            if rest <= 0 { break }
            missing += gateway.sensorsWithoutPanes.prefix(rest).compactMap { gateway.sensors[$0] }
        }
        try tables.loadPanes(of: missing, into: cache)
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
    /// Whether the passing of time has made something due.
    func needsLook(
        now: Int64, interval: Int64, idleTimeout: Int64, caughtUp: CaughtUpTracker, policy: WindowPolicy
    ) -> Bool {
        isUpdateDue(now: now, interval: interval)
            && sensors.values.contains {
                $0.windows.hasChanges
                    || $0.idleEnd(caughtUp, partition: partition, timeout: idleTimeout, policy: policy) != nil
            }
    }

    /// Whether its open windows are to be written now.
    func isUpdateDue(now: Int64, interval: Int64) -> Bool {
        now - lastUpdate >= interval || now < lastUpdate
    }
}

extension SensorState {
    /// Through when its windows become final because it is idle, milliseconds since 1970; nil if that makes none final. In
    /// steps of a pane, so that a silent sensor is not written at every look.
    func idleEnd(_ caughtUp: CaughtUpTracker, partition: Int32, timeout: Int64, policy: WindowPolicy) -> Int64? {
        guard windows.hasPanes, !windows.isEmpty,
            let idle = caughtUp.idleThrough(lastArrival: lastArrival, partition: partition, timeout: timeout)
        else { return nil }
        let end = (idle - policy.lateness).flooredQuotient(by: policy.paneSize) * policy.paneSize
        return end > windows.finalThrough ? end : nil
    }
}
