import PostgresClient
import Readings
import Windowing

/// What the processor keeps of gateways in memory, as copies of rows: how it is locked, loaded and written.
struct GatewayTables {
    let connection: PostgresConnection
    let policy: WindowPolicy

    private var gateways: GatewayTable { GatewayTable(connection: connection) }
    private var streams: StreamTable { StreamTable(connection: connection) }
    private var losses: LossTable { LossTable(connection: connection) }
    private var sensors: SensorTable { SensorTable(connection: connection, policy: policy) }
    private var panes: PaneQuery { PaneQuery(connection: connection, paneSize: policy.paneSize) }
    private var alerts: AlertTables { AlertTables(connection: connection, notifies: false) }

    // MARK: Locking

    /// Locks gateways and makes sure that what is in memory of them is true: the copy of a gateway whose row has another
    /// token than this process gave it last is replaced by an empty one. Its parts are loaded when they are needed.
    /// - Parameters:
    ///   - uses: the gateways, each once.
    ///   - inserting: whether to make the rows of those that have none; otherwise they have no copy afterwards.
    ///   - token: random, new with each transaction, not 0.
    /// - Returns: how far retention has come.
    func lock(
        _ uses: [GatewayTable.Use], inserting: Bool, token: Int64, cache: inout [String: GatewayState]
    ) throws -> RetentionCutoff {
        var (locked, cutoff) = try gateways.lock(uses, token: token)
        if locked.count < uses.count {
            let found = Set(locked.map(\.gatewayID))
            let missing = uses.filter { !found.contains($0.gatewayID) }
            // Also those that were there: a server may have taken over that lacks the last commits.
            for use in missing { cache[use.gatewayID] = nil }
            if inserting {
                try gateways.insert(missing)
                let rest = try gateways.lock(missing, token: token)
                locked += rest.gateways
                cutoff = cutoff ?? rest.cutoff
            }
        }
        for row in locked {
            var state: GatewayState
            if let copy = cache[row.gatewayID], copy.token == row.previousToken {
                state = copy
            } else {
                state = GatewayState(partition: row.partition)
                // Of a gateway whose row was just made there is nothing that is not in memory.
                state.isWhole = row.commitNumber == 1
                cache[row.gatewayID] = state
            }
            state.token = token
            state.commitNumber = row.commitNumber
            state.partition = row.partition
        }
        return try cutoff ?? RetentionTable(connection: connection).cutoff()
    }

    // MARK: Loading

    /// Loads streams that are not in memory, with their losses and alerts. Those that have no row stay unknown.
    func load(_ streams: [StreamName], into cache: [String: GatewayState]) throws {
        let missing = streams.filter { cache[$0.gatewayID]?.streams[$0.streamID] == nil && cache[$0.gatewayID] != nil }
        if missing.isEmpty { return }
        let found = try self.streams.load(missing)
        if found.isEmpty { return }
        let ranges = try losses.ranges(of: found.keys)
        for (name, progress) in found {
            var progress = progress
            if let ranges = ranges[name] { progress.restore(LossRanges(ranges)) }
            cache[name.gatewayID]?.streams[name.streamID] = progress
        }
        try alerts.load(streams: found.keys, into: cache)
    }

    /// Loads sensors that are not in memory, with their alerts and without their panes. Those that have no row stay
    /// unknown.
    /// - Returns: how many were not in memory.
    func load(_ sensors: [SensorName], into cache: [String: GatewayState]) throws -> Int {
        let missing = sensors.filter { cache[$0.gatewayID] != nil && cache[$0.gatewayID]?.sensors[$0.sensorID] == nil }
        if missing.isEmpty { return 0 }
        try take(try self.sensors.load(missing), into: cache)
        return missing.count
    }

    /// Loads the sensors of gateways that time may make due: those with open windows, and those that may become silent.
    /// - Parameter limit: at most so many of each gateway; the next ones come with the next call.
    func loadDue(
        of gatewayIDs: [String], atMost limit: Int, lookingForSilence: Bool, into cache: [String: GatewayState]
    ) throws {
        let states = gatewayIDs.compactMap { id in cache[id].flatMap { $0.isWhole ? nil : (id, $0) } }
        if states.isEmpty { return }
        let found = try sensors.loadDue(
            of: states.map { ($0, $1.loadedThrough) }, atMost: limit, lookingForSilence: lookingForSilence)
        var counts: [String: Int] = [:]
        for sensor in found {
            counts[sensor.gatewayID, default: 0] += 1
            guard let state = cache[sensor.gatewayID] else { continue }
            state.loadedThrough = max(state.loadedThrough, sensor.sensorID)
        }
        for (gatewayID, state) in states { state.isWhole = counts[gatewayID, default: 0] < limit }
        try take(found.filter { cache[$0.gatewayID]?.sensors[$0.sensorID] == nil }, into: cache)
    }

    private func take(_ sensors: [SensorState], into cache: [String: GatewayState]) throws {
        if sensors.isEmpty { return }
        for sensor in sensors {
            guard let state = cache[sensor.gatewayID] else { continue }
            state.sensors[sensor.sensorID] = sensor
            if !sensor.windows.hasPanes { state.sensorsWithoutPanes.insert(sensor.sensorID) }
        }
        try alerts.load(sensors: sensors, into: cache)
    }

    /// Loads the panes of sensors' open windows from the raw rows.
    func loadPanes(of sensors: [SensorState], into cache: [String: GatewayState]) throws {
        if sensors.isEmpty { return }
        let ranges = sensors.map { sensor in
            let (since, overflow) = sensor.windows.finalThrough.subtractingReportingOverflow(policy.longestWindow)
            return PaneQuery.Range(
                name: sensor.name, from: overflow ? .min : since, to: (sensor.windows.largestEventTime ?? 0) + 1)
        }
        for (sensor, panes) in zip(sensors, try panes.panes(of: ranges)) {
            sensor.windows.restore(panes)
            cache[sensor.gatewayID]?.sensorsWithoutPanes.remove(sensor.sensorID)
        }
    }

    // MARK: Writing

    /// Writes the progress of streams with their losses.
    func save(streams changes: [StreamTable.Change], of cache: [String: GatewayState], now: PostgresTimestamp) throws {
        guard !changes.isEmpty else { return }
        try streams.insert(changes.filter { $0.before == nil }, now: now)
        try streams.update(changes.filter { $0.before != nil }, now: now)
        try losses.update(changes, now: now)
        for change in changes {
            var after = change.after
            after.forgetChanges()
            cache[change.name.gatewayID]?.streams[change.name.streamID] = after
        }
    }

    /// Notes when streams were needed, as far as they are in memory.
    func noteUse(of streams: [StreamName], in cache: [String: GatewayState], at time: Int64) {
        for name in streams {
            guard let state = cache[name.gatewayID], state.streams[name.streamID] != nil else { continue }
            state.streamUse[name.streamID] = time
        }
    }

    /// Writes sensors: all facts of those with a new latest reading, else only what the windows need.
    func save(sensors: [SensorState]) throws { try self.sensors.save(sensors) }
}
