import Alerting
import PostgresClient
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

    // MARK: Locking and loading

    /// Locks all streams of some gateways, in one order everywhere, and makes sure that the cached copies are true.
    /// - Parameters:
    ///   - gatewayIDs: the gateways, each once.
    ///   - newStreams: streams that may not have a row yet, with the partition that they came from.
    ///   - cache: the copies; those that are missing or out of date are loaded.
    /// - Throws: what the database says; 40001 if a copy is of a stream that the database does not have.
    /// - Returns: how far retention has come; true until the commit if the transaction began with `Horizon.lock`.
    func lock(
        _ gatewayIDs: [String], newStreams: [(StreamName, Int32)], cache: inout [String: GatewayState],
        now: PostgresTimestamp
    ) throws -> Horizon {
        if !newStreams.isEmpty {
            let sorted = newStreams.sorted { $0.0 < $1.0 }
            _ = try connection.query(
                prepared: """
                    INSERT INTO stream_progress
                        (gateway_id, stream_id, last_seq, lost, kafka_partition, revision, updated_at)
                    SELECT gateway_id, stream_id, 0, 0, kafka_partition, 0, $4
                    FROM unnest($1::text[], $2::text[], $3::int4[]) AS s (gateway_id, stream_id, kafka_partition)
                    ON CONFLICT DO NOTHING
                    """,
                [
                    .array(sorted.map(\.0.gatewayID)), .array(sorted.map(\.0.streamID.description)),
                    .array(sorted.map(\.1)), .value(now),
                ])
        }
        let rows = try connection.query(
            prepared: """
                SELECT gateway_id, stream_id, last_seq, last_event_time, kafka_partition, revision,
                    (SELECT readings_since FROM retention), (SELECT windows_since FROM retention)
                FROM stream_progress WHERE gateway_id = ANY ($1) ORDER BY gateway_id, stream_id FOR UPDATE
                """, [.array(gatewayIDs)])
        var found: [String: GatewayState] = [:]
        for row in 0..<rows.rowCount {
            let gatewayID: String = try rows.value(row, 0)
            let text: String = try rows.value(row, 1)
            guard let streamID = StreamID(text) else { continue }
            let partition: Int32 = try rows.value(row, 4)
            let state = found[gatewayID] ?? GatewayState(partition: partition)
            found[gatewayID] = state
            state.revisions[streamID] = try rows.value(row, 5)
            state.streams[streamID] = StreamProgress(
                last: try rows.value(row, 2),
                lastEventTime: try rows.optional(row, 3, as: PostgresTimestamp.self)?.milliseconds)
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
            try loadHoles(stale)
            try loadSensors(stale)
            try AlertTables(connection: connection, notifies: false).load(stale)
            cache.merge(stale) { _, loaded in loaded }
        }
        guard rows.rowCount > 0 else { return Horizon() }
        return Horizon(
            readings: try rows.value(0, 6, as: PostgresTimestamp.self).milliseconds,
            windows: try rows.value(0, 7, as: PostgresTimestamp.self).milliseconds)
    }

    private func loadHoles(_ gateways: [String: GatewayState]) throws {
        let rows = try connection.query(
            prepared: """
                SELECT gateway_id, stream_id, first_seq, last_seq, after_time, before_time
                FROM loss WHERE gateway_id = ANY ($1) ORDER BY gateway_id, stream_id, first_seq
                """, [.array(gateways.keys)])
        var holes: [StreamName: [Hole]] = [:]
        for row in 0..<rows.rowCount {
            let text: String = try rows.value(row, 1)
            guard let streamID = StreamID(text) else { continue }
            let hole = Hole(
                first: try rows.value(row, 2), last: try rows.value(row, 3),
                timeBefore: try rows.optional(row, 4, as: PostgresTimestamp.self)?.milliseconds,
                timeAfter: try rows.optional(row, 5, as: PostgresTimestamp.self)?.milliseconds)
            holes[StreamName(gatewayID: try rows.value(row, 0), streamID: streamID), default: []].append(hole)
        }
        for (name, holes) in holes {
            guard let state = gateways[name.gatewayID], let progress = state.streams[name.streamID] else { continue }
            state.streams[name.streamID] = StreamProgress(
                last: progress.last, lastEventTime: progress.lastEventTime, holes: holes)
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
    func save(
        streams: [(name: StreamName, before: StreamProgress, after: StreamProgress)],
        of cache: [String: GatewayState], now: PostgresTimestamp
    ) throws {
        guard !streams.isEmpty else { return }
        _ = try connection.query(
            prepared: """
                UPDATE stream_progress p SET last_seq = s.last_seq, last_event_time = s.last_event_time, lost = s.lost,
                    kafka_partition = s.kafka_partition, revision = p.revision + 1, updated_at = $7
                FROM unnest($1::text[], $2::text[], $3::int8[], $4::timestamptz[], $5::int8[], $6::int4[])
                    AS s (gateway_id, stream_id, last_seq, last_event_time, lost, kafka_partition)
                WHERE p.gateway_id = s.gateway_id AND p.stream_id = s.stream_id
                """,
            [
                .array(streams.map(\.name.gatewayID)), .array(streams.map(\.name.streamID.description)),
                .array(streams.map(\.after.last)),
                .array(streams.map { $0.after.lastEventTime.map { PostgresTimestamp(milliseconds: $0) } }),
                .array(streams.map(\.after.missing)),
                .array(streams.map { cache[$0.name.gatewayID]?.partition ?? -1 }), .value(now),
            ])
        for stream in streams {
            cache[stream.name.gatewayID]?.streams[stream.name.streamID] = stream.after
            cache[stream.name.gatewayID]?.revisions[stream.name.streamID]? += 1
        }
        try saveHoles(streams.filter { $0.before.holes != $0.after.holes }, now: now)
    }

    private func saveHoles(
        _ streams: [(name: StreamName, before: StreamProgress, after: StreamProgress)], now: PostgresTimestamp
    ) throws {
        var gone: [(StreamName, Int64)] = []
        var new: [(StreamName, Hole)] = []
        for stream in streams {
            let before = Dictionary(uniqueKeysWithValues: stream.before.holes.map { ($0.first, $0) })
            let after = Dictionary(uniqueKeysWithValues: stream.after.holes.map { ($0.first, $0) })
            gone += stream.before.holes.filter { after[$0.first] != $0 }.map { (stream.name, $0.first) }
            new += stream.after.holes.filter { before[$0.first] != $0 }.map { (stream.name, $0) }
        }
        if !gone.isEmpty {
            _ = try connection.query(
                prepared: """
                    DELETE FROM loss l USING unnest($1::text[], $2::text[], $3::int8[]) AS g (gateway_id, stream_id, seq)
                    WHERE l.gateway_id = g.gateway_id AND l.stream_id = g.stream_id AND l.first_seq = g.seq
                    """,
                [
                    .array(gone.map(\.0.gatewayID)), .array(gone.map(\.0.streamID.description)),
                    .array(gone.map(\.1)),
                ])
        }
        if !new.isEmpty {
            func time(_ milliseconds: Int64?) -> PostgresTimestamp? {
                milliseconds.map { PostgresTimestamp(milliseconds: $0) }
            }
            _ = try connection.query(
                prepared: """
                    INSERT INTO loss (gateway_id, stream_id, first_seq, last_seq, after_time, before_time, detected_at)
                    SELECT *, $7 FROM unnest($1::text[], $2::text[], $3::int8[], $4::int8[], $5::timestamptz[],
                        $6::timestamptz[])
                    """,
                [
                    .array(new.map(\.0.gatewayID)), .array(new.map(\.0.streamID.description)),
                    .array(new.map(\.1.first)), .array(new.map(\.1.last)), .array(new.map { time($0.1.timeBefore) }),
                    .array(new.map { time($0.1.timeAfter) }), .value(now),
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
