import PostgresClient
import Readings
import Windowing

/// What the processor keeps of gateways: their streams with their losses, their sensors and their alerts.
struct GatewayTables {
    let connection: PostgresConnection
    let policy: WindowPolicy

    private var streams: StreamTable { StreamTable(connection: connection) }
    private var losses: LossTable { LossTable(connection: connection) }
    private var sensors: SensorTable { SensorTable(connection: connection, policy: policy) }

    /// Locks all streams of some gateways, in one order everywhere, and makes sure that the cached copies are true.
    /// - Parameters:
    ///   - gatewayIDs: the gateways, each once.
    ///   - newStreams: streams that may not have a row yet.
    ///   - cache: the copies; those that are missing or out of date are loaded.
    /// - Returns: how far retention has come.
    /// - Throws: what the database says; 40001 if a copy is of a stream that the database does not have.
    func lock(
        _ gatewayIDs: [String], newStreams: [StreamTable.New], cache: inout [String: GatewayState],
        now: PostgresTimestamp
    ) throws -> RetentionCutoff {
        if !newStreams.isEmpty {
            // Whoever makes a row knows all that is in it, so a copy in memory stays true.
            for made in try streams.insert(newStreams, now: now) {
                guard let state = cache[made.name.gatewayID] else { continue }
                state.revisions[made.name.streamID] = 0
                state.streams[made.name.streamID] = StreamProgress(first: made.first)
            }
        }
        var found: [String: GatewayState] = [:]
        var newest: [String: PostgresTimestamp] = [:]
        let (rows, cutoff) = try streams.lock(gatewayIDs)
        for row in rows {
            let (gatewayID, streamID) = (row.name.gatewayID, row.name.streamID)
            let state = found[gatewayID] ?? GatewayState(partition: -1)
            found[gatewayID] = state
            // Streams that have ended keep the partition that was theirs.
            if row.updatedAt.milliseconds >= newest[gatewayID]?.milliseconds ?? .min {
                newest[gatewayID] = row.updatedAt
                state.partition = row.partition
            }
            state.revisions[streamID] = row.revision
            state.streams[streamID] = row.progress
        }
        for gatewayID in gatewayIDs {
            guard let copy = cache[gatewayID]?.revisions, !copy.isEmpty else { continue }
            let there = found[gatewayID]?.revisions ?? [:]
            guard copy.keys.allSatisfy({ there[$0] != nil }) else {
                // Tried again without the copy, all is as the database has it.
                throw PostgresError(
                    sqlState: "40001",
                    message: """
                        a stream of \(gatewayID) is in memory and not in the database: a server has taken over that lacks \
                        the last commits
                        """)
            }
        }
        let stale = found.filter { cache[$0.key]?.revisions != $0.value.revisions }
        if stale.isEmpty { return cutoff }
        for (name, ranges) in try losses.ranges(of: stale.keys) {
            stale[name.gatewayID]?.streams[name.streamID]?.restore(LossRanges(ranges))
        }
        try sensors.load(stale)
        try AlertTables(connection: connection, notifies: false).load(stale)
        cache.merge(stale) { _, loaded in loaded }
        return cutoff
    }

    /// Writes the progress of streams with their losses, and raises their revisions, in the rows and in the copies.
    func save(streams changes: [StreamTable.Change], of cache: [String: GatewayState], now: PostgresTimestamp) throws {
        guard !changes.isEmpty else { return }
        try streams.update(changes, partition: { cache[$0]?.partition ?? -1 }, now: now)
        try losses.update(changes, now: now)
        for change in changes {
            var after = change.after
            after.forgetChanges()
            cache[change.name.gatewayID]?.streams[change.name.streamID] = after
            cache[change.name.gatewayID]?.revisions[change.name.streamID]? += 1
        }
    }

    /// Writes sensors: all facts of those with a new latest reading, else only what the windows need.
    func save(sensors: [SensorState]) throws { try self.sensors.save(sensors) }

    /// Makes final windows due once more.
    func reopen(_ windows: [SensorTable.Reopened]) throws { try sensors.reopen(windows) }
}
