import Alerting
import PostgresClient
import ReadingDecoding
import Readings
import Windowing

/// Reads and writes what the processor keeps of gateways: streams, holes, sensors.
struct GatewayTables {
    let connection: PostgresConnection
    let policy: WindowPolicy

    /// A stream of a gateway, by its names.
    struct StreamName: Hashable, Comparable {
        var gatewayID: String
        var streamID: StreamID

        static func < (left: StreamName, right: StreamName) -> Bool {
            (left.gatewayID, left.streamID.bits) < (right.gatewayID, right.streamID.bits)
        }
    }

    /// A stream that may not have a row yet.
    struct NewStream {
        var name: StreamName
        /// The smallest number that the batch tells of it.
        var first: Int64
        /// The partition that it came from.
        var partition: Int32
    }

    /// What a transaction made of a stream.
    struct StreamChange {
        var name: StreamName
        var before: StreamProgress
        var after: StreamProgress
    }

    // MARK: Locking and loading

    /// Locks all streams of some gateways, in one order everywhere, and makes sure that the cached copies are true.
    /// - Parameters:
    ///   - gatewayIDs: the gateways, each once.
    ///   - newStreams: streams that may not have a row yet.
    ///   - cache: the copies; those that are missing or out of date are loaded.
    /// - Throws: what the database says; 40001 if a copy is of a stream that the database does not have.
    /// - Returns: how far retention has come; true until the commit if the transaction began with `RetentionCutoff.lock`.
    func lock(
        _ gatewayIDs: [String], newStreams: [NewStream], cache: inout [String: GatewayState],
        now: PostgresTimestamp
    ) throws -> RetentionCutoff {
        if !newStreams.isEmpty { try insert(newStreams, &cache, now: now) }
        let rows = try connection.query(
            prepared: """
                SELECT gateway_id, stream_id, last_seq, last_event_time, kafka_partition, revision,
                    (SELECT readings_since FROM retention), (SELECT windows_since FROM retention),
                    first_seq, end_seq, previous_stream_id, previous_known, updated_at
                FROM stream_progress WHERE gateway_id = ANY ($1) ORDER BY gateway_id, stream_id FOR UPDATE
                """, [.array(gatewayIDs)])
        var found: [String: GatewayState] = [:]
        var newest: [String: PostgresTimestamp] = [:]
        for row in 0..<rows.rowCount {
            let gatewayID: String = try rows.value(row, 0)
            let text: String = try rows.value(row, 1)
            guard let streamID = StreamID(text) else { continue }
            let state = found[gatewayID] ?? GatewayState(partition: -1)
            found[gatewayID] = state
            // Streams that have ended keep the partition that was theirs.
            let updatedAt = try rows.value(row, 12, as: PostgresTimestamp.self)
            if updatedAt.milliseconds >= newest[gatewayID]?.milliseconds ?? .min {
                newest[gatewayID] = updatedAt
                state.partition = try rows.value(row, 4)
            }
            state.revisions[streamID] = try rows.value(row, 5)
            state.streams[streamID] = StreamProgress(
                first: try rows.value(row, 8), last: try rows.value(row, 2),
                lastEventTime: try rows.optional(row, 3, as: PostgresTimestamp.self)?.milliseconds,
                end: try rows.optional(row, 9),
                previous: try rows.optional(row, 10, as: String.self).flatMap { StreamID($0) }.map { .stream($0) }
                    ?? (try rows.value(row, 11, as: Bool.self) ? .noStream : .notTold))
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
        if !stale.isEmpty {
            try loadLosses(stale)
            try loadSensors(stale)
            try AlertTables(connection: connection, notifies: false).load(stale)
            cache.merge(stale) { _, loaded in loaded }
        }
        guard rows.rowCount > 0 else { return RetentionCutoff() }
        return RetentionCutoff(
            readings: try rows.value(0, 6, as: PostgresTimestamp.self).milliseconds,
            windows: try rows.value(0, 7, as: PostgresTimestamp.self).milliseconds)
    }

    /// Makes the rows of streams that have none. Whoever makes a row knows all that is in it, so a copy in memory stays
    /// true.
    private func insert(
        _ streams: [NewStream], _ cache: inout [String: GatewayState], now: PostgresTimestamp
    ) throws {
        let sorted = streams.sorted { $0.name < $1.name }
        let made = try connection.query(
            prepared: """
                INSERT INTO stream_progress
                    (gateway_id, stream_id, first_seq, last_seq, lost, kafka_partition, revision, updated_at)
                SELECT gateway_id, stream_id, first_seq, first_seq - 1, 0, kafka_partition, 0, $5
                FROM unnest($1::text[], $2::text[], $3::int8[], $4::int4[])
                    AS s (gateway_id, stream_id, first_seq, kafka_partition)
                ON CONFLICT DO NOTHING RETURNING gateway_id, stream_id, first_seq
                """,
            [
                .array(sorted.map(\.name.gatewayID)), .array(sorted.map(\.name.streamID.description)),
                .array(sorted.map(\.first)), .array(sorted.map(\.partition)), .value(now),
            ])
        for row in 0..<made.rowCount {
            guard let state = cache[try made.value(row, 0)], let streamID = StreamID(try made.value(row, 1)) else {
                continue
            }
            state.revisions[streamID] = 0
            state.streams[streamID] = StreamProgress(first: try made.value(row, 2))
        }
    }

    private func loadLosses(_ gateways: [String: GatewayState]) throws {
        let rows = try connection.query(
            prepared: """
                SELECT gateway_id, stream_id, first_seq, last_seq, after_time, before_time, reason
                FROM loss WHERE gateway_id = ANY ($1) ORDER BY gateway_id, stream_id, first_seq
                """, [.array(gateways.keys)])
        var losses: [StreamName: [LossRange]] = [:]
        for row in 0..<rows.rowCount {
            let text: String = try rows.value(row, 1)
            guard let streamID = StreamID(text) else { continue }
            let range = LossRange(
                first: try rows.value(row, 2), last: try rows.value(row, 3),
                reason: LossReason(text: try rows.value(row, 6)),
                timeBefore: try rows.optional(row, 4, as: PostgresTimestamp.self)?.milliseconds,
                timeAfter: try rows.optional(row, 5, as: PostgresTimestamp.self)?.milliseconds)
            losses[StreamName(gatewayID: try rows.value(row, 0), streamID: streamID), default: []].append(range)
        }
        for (name, ranges) in losses {
            guard let state = gateways[name.gatewayID], let progress = state.streams[name.streamID] else { continue }
            state.streams[name.streamID] = StreamProgress(
                first: progress.first, last: progress.last, lastEventTime: progress.lastEventTime, end: progress.end,
                previous: progress.previous, losses: LossRanges(ranges))
        }
    }

    private func loadSensors(_ gateways: [String: GatewayState]) throws {
        let rows = try connection.query(
            prepared: """
                SELECT gateway_id, sensor_id, first_event_time, last_event_time, last_arrival, final_through, quantities,
                    interval_ms
                FROM sensor WHERE gateway_id = ANY ($1)
                """, [.array(gateways.keys)])
        guard rows.rowCount > 0 else { return }
        var panes = try loadPanes(gateways)
        for row in 0..<rows.rowCount {
            let gatewayID: String = try rows.value(row, 0)
            let sensorID: String = try rows.value(row, 1)
            func time(_ column: Int) throws -> Int64 {
                try rows.value(row, column, as: PostgresTimestamp.self).milliseconds
            }
            let windows = SensorWindows(
                restoring: panes.removeValue(forKey: SensorName(gatewayID: gatewayID, sensorID: sensorID)) ?? [],
                largestEventTime: try time(3), finalThrough: try time(5))
            gateways[gatewayID]?.sensors[sensorID] = SensorState(
                gatewayID: gatewayID, sensorID: sensorID, windows: windows,
                quantities: QuantitySet(rawValue: UInt8(truncatingIfNeeded: try rows.value(row, 6, as: Int16.self))),
                firstEventTime: try time(2), lastArrival: try time(4),
                interval: Int64(try rows.value(row, 7, as: Int32.self)))
        }
    }

    private struct SensorName: Hashable {
        var gatewayID: String
        var sensorID: String
    }

    /// Adds up the panes of every open window from the raw rows.
    private func loadPanes(_ gateways: [String: GatewayState]) throws -> [SensorName: [SensorWindows.Pane]] {
        let summaries = WindowTable.quantities.map {
            "count(d.\($0)), avg(d.\($0)), var_pop(d.\($0)) * count(d.\($0)), min(d.\($0)), max(d.\($0))"
        }
        // LATERAL, so that each sensor's rows are found by the index in the few days that they can be in: a join would
        // read the whole table.
        let rows = try connection.query(
            prepared: """
                SELECT s.gateway_id, s.sensor_id, p.*
                FROM sensor s CROSS JOIN LATERAL (
                    SELECT date_bin($2 * interval '1 millisecond', d.event_time, timestamptz 'epoch') AS pane,
                        count(*), count(*) FILTER (WHERE d.status = 'warning'),
                        count(*) FILTER (WHERE d.status = 'failure'), count(*) FILTER (WHERE d.late),
                        sum(d.interval_ms)::int8, \(summaries.joined(separator: ", "))
                    FROM sensor_data d WHERE d.sensor_id = s.sensor_id AND d.gateway_id = s.gateway_id
                        AND d.event_time >= s.final_through - $3 * interval '1 millisecond'
                    GROUP BY pane) p
                WHERE s.gateway_id = ANY ($1)
                """, [.array(gateways.keys), .value(policy.paneSize), .value(policy.longestWindow + policy.paneSize)])
        var panes: [SensorName: [SensorWindows.Pane]] = [:]
        for row in 0..<rows.rowCount {
            var totals = Totals()
            totals.readingCount = try rows.value(row, 3)
            totals.warningCount = try rows.value(row, 4)
            totals.failureCount = try rows.value(row, 5)
            totals.lateCount = try rows.value(row, 6)
            totals.coveredTime = try rows.value(row, 7)
            for (index, summary) in WindowTable.summaries.enumerated() {
                let column = 8 + index * 5
                let count: Int64 = try rows.value(row, column)
                guard count > 0 else { continue }
                totals[keyPath: summary] = Summary(
                    count: count, mean: try rows.value(row, column + 1),
                    squaredDeviations: try rows.value(row, column + 2), minimum: try rows.value(row, column + 3),
                    maximum: try rows.value(row, column + 4))
            }
            let name = SensorName(gatewayID: try rows.value(row, 0), sensorID: try rows.value(row, 1))
            let start = try rows.value(row, 2, as: PostgresTimestamp.self).milliseconds
            panes[name, default: []].append(SensorWindows.Pane(start: start, totals: totals))
        }
        return panes
    }

    // MARK: Writing

    /// Writes the progress of streams and raises their revisions, in the rows and in the copies.
    func save(streams: [StreamChange], of cache: [String: GatewayState], now: PostgresTimestamp) throws {
        guard !streams.isEmpty else { return }
        let progress = streams.map(\.after)
        _ = try connection.query(
            prepared: """
                UPDATE stream_progress p SET first_seq = s.first_seq, last_seq = s.last_seq,
                    last_event_time = s.last_event_time, end_seq = s.end_seq,
                    previous_stream_id = s.previous_stream_id, previous_known = s.previous_known, lost = s.lost,
                    kafka_partition = s.kafka_partition, revision = p.revision + 1, updated_at = $11
                FROM unnest($1::text[], $2::text[], $3::int8[], $4::int8[], $5::timestamptz[], $6::int8[], $7::text[],
                        $8::bool[], $9::int8[], $10::int4[])
                    AS s (gateway_id, stream_id, first_seq, last_seq, last_event_time, end_seq, previous_stream_id,
                        previous_known, lost, kafka_partition)
                WHERE p.gateway_id = s.gateway_id AND p.stream_id = s.stream_id
                """,
            [
                .array(streams.map(\.name.gatewayID)), .array(streams.map(\.name.streamID.description)),
                .array(progress.map(\.first)), .array(progress.map(\.last)),
                .array(progress.map { $0.lastEventTime.map { PostgresTimestamp(milliseconds: $0) } }),
                .array(progress.map(\.end)), .array(progress.map(\.previous.streamID?.description)),
                .array(progress.map { $0.previous != .notTold }), .array(progress.map(\.missing)),
                .array(streams.map { cache[$0.name.gatewayID]?.partition ?? -1 }), .value(now),
            ])
        try saveLosses(streams, now: now)
        for stream in streams {
            var after = stream.after
            after.forgetChanges()
            cache[stream.name.gatewayID]?.streams[stream.name.streamID] = after
            cache[stream.name.gatewayID]?.revisions[stream.name.streamID]? += 1
        }
    }

    private func saveLosses(_ streams: [StreamChange], now: PostgresTimestamp) throws {
        var gone: [(name: StreamName, first: Int64)] = []
        var new: [(name: StreamName, range: LossRange)] = []
        for stream in streams {
            let ranges = stream.after.rangesToWrite
            gone += ranges.gone.map { (stream.name, $0) }
            new += ranges.new.map { (stream.name, $0) }
        }
        if !gone.isEmpty {
            _ = try connection.query(
                prepared: """
                    DELETE FROM loss l USING unnest($1::text[], $2::text[], $3::int8[]) AS g (gateway_id, stream_id, seq)
                    WHERE l.gateway_id = g.gateway_id AND l.stream_id = g.stream_id AND l.first_seq = g.seq
                    """,
                [
                    .array(gone.map(\.name.gatewayID)), .array(gone.map(\.name.streamID.description)),
                    .array(gone.map(\.first)),
                ])
        }
        if !new.isEmpty {
            func time(_ milliseconds: Int64?) -> PostgresTimestamp? {
                milliseconds.map { PostgresTimestamp(milliseconds: $0) }
            }
            _ = try connection.query(
                prepared: """
                    INSERT INTO loss
                        (gateway_id, stream_id, first_seq, last_seq, after_time, before_time, reason, detected_at)
                    SELECT *, $8 FROM unnest($1::text[], $2::text[], $3::int8[], $4::int8[], $5::timestamptz[],
                        $6::timestamptz[], $7::text[])
                    """,
                [
                    .array(new.map(\.name.gatewayID)), .array(new.map(\.name.streamID.description)),
                    .array(new.map(\.range.first)), .array(new.map(\.range.last)),
                    .array(new.map { time($0.range.timeBefore) }), .array(new.map { time($0.range.timeAfter) }),
                    .array(new.map(\.range.reason.text)), .value(now),
                ])
        }
    }

    /// Counts readings that were too old to be kept when they came.
    func save(expired: [(name: StreamName, count: Int64)]) throws {
        guard !expired.isEmpty else { return }
        _ = try connection.query(
            prepared: """
                INSERT INTO expired AS e (gateway_id, stream_id, on_arrival, readings)
                SELECT gateway_id, stream_id, true, readings
                FROM unnest($1::text[], $2::text[], $3::int8[]) AS n (gateway_id, stream_id, readings)
                ON CONFLICT (gateway_id, stream_id, on_arrival)
                    DO UPDATE SET readings = e.readings + excluded.readings
                """,
            [
                .array(expired.map(\.name.gatewayID)), .array(expired.map(\.name.streamID.description)),
                .array(expired.map(\.count)),
            ])
    }

    /// Writes sensors: all facts of those with a new latest reading, else only what the windows need.
    func save(sensors: [SensorState]) throws {
        let seen = sensors.compactMap { sensor in sensor.latest.map { (sensor: sensor, latest: $0) } }
        if !seen.isEmpty { try upsert(seen) }
        let rest = sensors.filter { $0.latest == nil }
        if !rest.isEmpty {
            _ = try connection.query(
                prepared: """
                    UPDATE sensor t SET first_event_time = s.first_event_time, last_arrival = s.last_arrival,
                        final_through = s.final_through, quantities = s.quantities
                    FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[],
                        $6::int2[]) AS s (gateway_id, sensor_id, first_event_time, last_arrival, final_through,
                        quantities)
                    WHERE t.gateway_id = s.gateway_id AND t.sensor_id = s.sensor_id
                    """, keys(rest))
        }
        for sensor in sensors { sensor.latest = nil }
    }

    private func keys(_ sensors: [SensorState]) -> [PostgresParameter] {
        [
            .array(sensors.map(\.gatewayID)), .array(sensors.map(\.sensorID)),
            .array(sensors.map { PostgresTimestamp(milliseconds: $0.firstEventTime) }),
            .array(sensors.map { PostgresTimestamp(milliseconds: $0.lastArrival) }),
            .array(sensors.map { PostgresTimestamp(milliseconds: $0.windows.finalThrough) }),
            .array(sensors.map { Int16($0.quantities.rawValue) }),
        ]
    }

    private func upsert(_ sensors: [(sensor: SensorState, latest: LatestReading)]) throws {
        let rows = sensors.map(\.latest.row)
        _ = try connection.query(
            prepared: GatewayTables.upsertSensors,
            keys(sensors.map(\.sensor)) + [
                .array(rows.map { PostgresTimestamp(milliseconds: $0.eventTime) }),
                .array(rows.map { Int32(clamping: $0.interval) }),
                .array(sensors.map(\.latest.status.name)),
                .array(rows.map(\.values.temperature)), .array(rows.map(\.values.humidity)),
                .array(rows.map(\.values.co2)), .array(rows.map(\.values.pressure)),
                .array(rows.map(\.values.batteryLevel)), .array(rows.map(\.values.batteryVoltage)),
                // An array of arrays would have to be rectangular.
                .array(sensors.map { $0.latest.faults?.joined(separator: " ") }),
                .array(rows.map(\.latitude)), .array(rows.map(\.longitude)),
                .array(rows.map(\.timeQuality.rawValue)), .array(rows.map(\.isSimulated)),
            ])
    }

    private static let upsertSensors: String = {
        let columns = [
            ("gateway_id", "text"), ("sensor_id", "text"), ("first_event_time", "timestamptz"),
            ("last_arrival", "timestamptz"), ("final_through", "timestamptz"), ("quantities", "int2"),
            ("last_event_time", "timestamptz"), ("interval_ms", "int4"), ("last_status", "text"),
            ("temperature", "float8"), ("humidity", "float8"), ("co2", "float8"), ("pressure", "float8"),
            ("battery_level", "float8"), ("battery_voltage", "float8"), ("faults", "text"), ("latitude", "float8"),
            ("longitude", "float8"), ("time_quality", "text"), ("simulated", "bool"),
        ]
        let names = columns.map(\.0)
        let arrays = columns.enumerated().map { "$\($0.offset + 1)::\($0.element.1)[]" }
        let values = names.map { $0 == "faults" ? "string_to_array(faults, ' ')" : $0 }
        return """
            INSERT INTO sensor (\(names.joined(separator: ", ")))
            SELECT \(values.joined(separator: ", "))
            FROM unnest(\(arrays.joined(separator: ", "))) AS s (\(names.joined(separator: ", ")))
            ON CONFLICT (gateway_id, sensor_id) DO UPDATE SET
            \(names.dropFirst(2).map { "\($0) = excluded.\($0)" }.joined(separator: ", "))
            """
    }()
}

extension DecodedReport.Previous {
    fileprivate var streamID: StreamID? {
        if case .stream(let streamID) = self { streamID } else { nil }
    }
}
