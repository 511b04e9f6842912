import Alerting
import PostgresClient
import Readings

/// The columns of `alert`.
enum AlertColumn: String, TableColumn, CaseIterable {
    case id
    case gatewayID = "gateway_id"
    case sensorID = "sensor_id"
    case kind, variable, severity
    case pendingSince = "pending_since"
    case openedAt = "opened_at"
    case escalatedAt = "escalated_at"
    case closedAt = "closed_at"
    case value
    case worst = "worst_value"
    case detail
    case updatedAt = "updated_at"

    var type: String {
        switch self {
        case .id: "int8"
        case .gatewayID, .sensorID, .kind, .variable, .severity, .detail: "text"
        case .pendingSince, .openedAt, .escalatedAt, .closedAt, .updatedAt: "timestamptz"
        case .value, .worst: "float8"
        }
    }
}

/// The columns of `alert_state`.
enum AlertStateColumn: String, TableColumn, CaseIterable {
    case gatewayID = "gateway_id"
    case sensorID = "sensor_id"
    case kind, variable, side, since
    case criticalSince = "critical_since"
    case worst, detail, severity
    case alertID = "alert_id"

    var type: String {
        switch self {
        case .gatewayID, .sensorID, .kind, .variable, .side, .detail, .severity: "text"
        case .since, .criticalSince: "timestamptz"
        case .worst: "float8"
        case .alertID: "int8"
        }
    }
}

/// Reads and writes alerts, what is pending, and what the webhook is to be told.
struct AlertTables {
    let connection: PostgresConnection
    /// Whether there is a webhook to tell.
    let notifies: Bool

    /// An alert is open in memory that the database does not know.
    struct UnknownAlert: Error, CustomStringConvertible {
        var identity: AlertIdentity
        var description: String { "an open \(identity.key.kind) alert of \(identity.sensorID) has no row" }
    }

    // MARK: Loading

    /// Takes up what is pending or open of sensors.
    func load(sensors: [SensorState], into cache: [String: GatewayState]) throws {
        let names: [AlertStateColumn] = [.gatewayID, .sensorID]
        let rows = try states(
            names: names, [.array(sensors.map(\.gatewayID)), .array(sensors.map(\.sensorID))])
        if rows.isEmpty { return }
        var states: [SensorName: [AlertState]] = [:]
        for (name, alertID, state) in rows {
            states[name, default: []].append(state)
            let identity = AlertIdentity(sensorID: name.sensorID, key: state.key)
            cache[name.gatewayID]?.alertIDs[identity] = alertID
        }
        for sensor in sensors {
            if let states = states[sensor.name] { sensor.alerts = SensorAlerts(states) }
        }
    }

    /// Takes up the open alerts of streams.
    func load(streams: some Collection<StreamName>, into cache: [String: GatewayState]) throws {
        let names: [AlertStateColumn] = [.gatewayID, .sensorID, .kind, .variable]
        let rows = try states(
            names: names,
            [
                .array(streams.map(\.gatewayID)), .array(streams.map { _ in "" }),
                .array(streams.map { _ in AlertKind.loss.rawValue }), .array(streams.map(\.streamID.description)),
            ])
        for (name, alertID, state) in rows {
            guard let gateway = cache[name.gatewayID], let streamID = StreamID(state.key.variable) else { continue }
            gateway.streamAlerts[streamID] = StreamAlert(state)
            gateway.alertIDs[AlertIdentity(sensorID: "", key: state.key)] = alertID
        }
    }

    /// The states that some columns name.
    private func states(
        names: [AlertStateColumn], _ parameters: [PostgresParameter]
    ) throws -> [(name: SensorName, alertID: Int64?, state: AlertState)] {
        let rows = ResultRows(
            try connection.query(
                prepared: """
                    SELECT \(AlertStateColumn.allCases.names(of: "t")) FROM \(names.lookUp(in: "alert_state"))
                    ORDER BY t.gateway_id, t.sensor_id, t.since, t.kind, t.variable
                    """, parameters), of: AlertStateColumn.self)
        return try rows.compactMap { row in
            guard let kind = AlertKind(rawValue: try row.value(.kind)) else { return nil }
            let state = AlertState(
                key: AlertKey(kind, try row.value(.variable)),
                side: try row.optional(.side, as: String.self).flatMap { Side(rawValue: $0) },
                since: try row.time(.since), criticalSince: try row.optionalTime(.criticalSince),
                worst: try row.optional(.worst), detail: try row.value(.detail),
                severity: try row.optional(.severity, as: String.self).flatMap { Severity(rawValue: $0) })
            return (
                SensorName(gatewayID: try row.value(.gatewayID), sensorID: try row.value(.sensorID)),
                try row.optional(.alertID), state
            )
        }
    }

    /// The open alerts of gateways' conflicts, whose rows are then known of their gateways.
    func loadConflicts(
        of gatewayIDs: Set<String>, into cache: [String: GatewayState]
    ) throws -> [String: AlertState] {
        let key = AlertKey(.conflict)
        let rows = ResultRows(
            try connection.query(
                prepared: """
                    SELECT \(AlertStateColumn.allCases.names) FROM alert_state
                    WHERE gateway_id = ANY ($1) AND sensor_id = '' AND kind = $2 AND variable = $3
                    """, [.array(gatewayIDs.sorted()), .value(key.kind.rawValue), .value(key.variable)]),
            of: AlertStateColumn.self)
        var states: [String: AlertState] = [:]
        for row in rows {
            let gatewayID: String = try row.value(.gatewayID)
            cache[gatewayID]?.alertIDs[AlertIdentity(sensorID: "", key: key)] = try row.optional(.alertID)
            states[gatewayID] = AlertState(
                key: key, since: try row.time(.since), worst: try row.optional(.worst),
                detail: try row.value(.detail),
                severity: try row.optional(.severity, as: String.self).flatMap { Severity(rawValue: $0) })
        }
        return states
    }

    // MARK: Writing

    /// What changes in a row of `alert`.
    private struct Change {
        var severity: Severity
        var escalatedAt: Int64?
        var closedAt: Int64?
        var worst: Double?
        var detail: String

        init(_ severity: Severity, worst: Double?, detail: String) {
            self.severity = severity
            self.worst = worst
            self.detail = detail
        }
    }

    /// Writes what has changed.
    /// - Returns: how many alerts were opened and closed.
    func save(
        _ changes: AlertChanges, of cache: [String: GatewayState], now: PostgresTimestamp
    ) throws -> (opened: Int, closed: Int) {
        guard !changes.isEmpty else { return (0, 0) }
        // By the alerts' identifiers: how those opened now began, and what becomes of these and of older ones.
        var openings: [Int64: AlertChanges.Step] = [:]
        var rows: [Int64: Change] = [:]
        var told: [(id: Int64, step: AlertChanges.Step)] = []
        var ids = try identifiers(changes.steps.count { $0.event.action == .opened })[...]
        for step in changes.steps {
            let identity = AlertIdentity(sensorID: step.sensorID, key: step.event.key)
            guard let gateway = cache[step.gatewayID] else { throw Admission.MissingState() }
            if step.event.action == .opened, let id = ids.popFirst() {
                gateway.alertIDs[identity] = id
                openings[id] = step
            }
            guard let id = gateway.alertIDs[identity] else { throw UnknownAlert(identity: identity) }
            var row = Change(step.event.severity, worst: step.event.worst, detail: step.event.detail)
            row.escalatedAt = step.event.action == .escalated ? step.event.time : rows[id]?.escalatedAt
            if step.event.action == .closed {
                row.closedAt = step.event.time
                gateway.alertIDs[identity] = nil
            }
            rows[id] = row
            told.append((id, step))
        }
        let states = try self.states(changes, cache)
        for state in states {
            guard let id = state.alertID, let severity = state.state.severity else { continue }
            var row = rows[id] ?? Change(severity, worst: nil, detail: state.state.detail)
            row.worst = state.state.worst
            rows[id] = row
        }
        // Alerts are closed before others are opened in their identity.
        try update(rows.filter { openings[$0.key] == nil }.sorted { $0.key < $1.key }, now: now)
        try insert(openings.sorted { $0.key < $1.key }, rows, now: now)
        try save(states, changes, now: now)
        if notifies { try tell(told, now: now) }
        for sensor in changes.sensors { sensor.alerts.hasChanged = false }
        for name in changes.streams {
            guard let gateway = cache[name.gatewayID] else { continue }
            gateway.streamAlerts[name.streamID]?.hasChanged = false
            if gateway.streamAlerts[name.streamID]?.state == nil { gateway.streamAlerts[name.streamID] = nil }
        }
        return (openings.count, changes.steps.count { $0.event.action == .closed })
    }

    private func identifiers(_ count: Int) throws -> [Int64] {
        guard count > 0 else { return [] }
        let rows = try connection.query(
            prepared: "SELECT nextval('alert_id') FROM generate_series(1, $1)", [.value(Int64(count))])
        return try (0..<rows.rowCount).map { try rows.value($0, 0) }
    }

    private func update(_ rows: [(key: Int64, value: Change)], now: PostgresTimestamp) throws {
        guard !rows.isEmpty else { return }
        let columns: [AlertColumn] = [.id, .severity, .detail, .escalatedAt, .closedAt, .worst]
        let changes = rows.map(\.value)
        let parameters = columns.map { column -> PostgresParameter in
            switch column {
            case .id: .array(rows.map(\.key))
            case .severity: .array(changes.map(\.severity.rawValue))
            case .detail: .array(changes.map(\.detail))
            case .escalatedAt: .array(changes.map { time($0.escalatedAt) })
            case .closedAt: .array(changes.map { time($0.closedAt) })
            default: .array(changes.map(\.worst))
            }
        }
        _ = try connection.query(
            prepared: """
                UPDATE alert a SET severity = u.severity, detail = u.detail,
                    updated_at = \(columns.nextParameter),
                    escalated_at = coalesce(u.escalated_at, a.escalated_at),
                    closed_at = coalesce(u.closed_at, a.closed_at), worst_value = u.worst_value
                FROM \(columns.unnest(as: "u")) WHERE a.id = u.id
                """, parameters + [.value(now)])
    }

    private func insert(
        _ openings: [(key: Int64, value: AlertChanges.Step)], _ rows: [Int64: Change], now: PostgresTimestamp
    ) throws {
        guard !openings.isEmpty else { return }
        let steps = openings.map(\.value)
        let changes = openings.map { rows[$0.key] }
        let columns = AlertColumn.allCases
        let parameters = columns.map { column -> PostgresParameter in
            switch column {
            case .id: .array(openings.map(\.key))
            case .gatewayID: .array(steps.map(\.gatewayID))
            case .sensorID: .array(steps.map(\.sensorID))
            case .kind: .array(steps.map(\.event.key.kind.rawValue))
            case .variable: .array(steps.map(\.event.key.variable))
            case .severity: .array(changes.map { $0?.severity.rawValue })
            case .pendingSince: .array(steps.map { time($0.event.since) })
            case .openedAt: .array(steps.map { time($0.event.time) })
            case .escalatedAt: .array(changes.map { time($0?.escalatedAt) })
            case .closedAt: .array(changes.map { time($0?.closedAt) })
            case .value: .array(steps.map(\.event.value))
            case .worst: .array(changes.map { $0?.worst })
            case .detail: .array(changes.map { $0?.detail })
            case .updatedAt: .array(steps.map { _ in now })
            }
        }
        _ = try connection.query(
            prepared: """
                INSERT INTO alert (\(columns.names)) SELECT \(columns.names) FROM \(columns.unnest(as: "n"))
                """, parameters)
    }

    /// A row of `alert_state`.
    private struct StateRow {
        var gatewayID: String
        var sensorID: String
        var state: AlertState
        var alertID: Int64?
    }

    private func states(_ changes: AlertChanges, _ cache: [String: GatewayState]) throws -> [StateRow] {
        func row(_ gatewayID: String, _ sensorID: String, _ state: AlertState) throws -> StateRow {
            let identity = AlertIdentity(sensorID: sensorID, key: state.key)
            let id = state.severity == nil ? nil : cache[gatewayID]?.alertIDs[identity]
            if state.severity != nil, id == nil { throw UnknownAlert(identity: identity) }
            return StateRow(gatewayID: gatewayID, sensorID: sensorID, state: state, alertID: id)
        }
        var rows: [StateRow] = []
        for sensor in changes.sensors {
            rows += try sensor.alerts.states.map { try row(sensor.gatewayID, sensor.sensorID, $0) }
        }
        for name in changes.streams {
            guard let state = cache[name.gatewayID]?.streamAlerts[name.streamID]?.state else { continue }
            rows.append(try row(name.gatewayID, "", state))
        }
        for (gatewayID, state) in changes.conflicts {
            if let state { rows.append(try row(gatewayID, "", state)) }
        }
        return rows
    }

    private func save(_ rows: [StateRow], _ changes: AlertChanges, now: PostgresTimestamp) throws {
        // Of a sensor all, of a gateway one.
        let variables: [String?] =
            changes.sensors.map { _ in nil } + changes.streams.map(\.streamID.description)
            + changes.conflicts.map { _ in AlertKey(.conflict).variable }
        let gatewayIDs = changes.streams.map(\.gatewayID) + changes.conflicts.map(\.gatewayID)
        _ = try connection.query(
            prepared: """
                DELETE FROM alert_state s
                USING unnest($1::text[], $2::text[], $3::text[]) AS d (gateway_id, sensor_id, variable)
                WHERE s.gateway_id = d.gateway_id AND s.sensor_id = d.sensor_id
                    AND (d.variable IS NULL OR s.variable = d.variable)
                """,
            [
                .array(changes.sensors.map(\.gatewayID) + gatewayIDs),
                .array(changes.sensors.map(\.sensorID) + gatewayIDs.map { _ in "" }), .array(variables),
            ])
        guard !rows.isEmpty else { return }
        let columns = AlertStateColumn.allCases
        let parameters = columns.map { column -> PostgresParameter in
            switch column {
            case .gatewayID: .array(rows.map(\.gatewayID))
            case .sensorID: .array(rows.map(\.sensorID))
            case .kind: .array(rows.map(\.state.key.kind.rawValue))
            case .variable: .array(rows.map(\.state.key.variable))
            case .side: .array(rows.map(\.state.side?.rawValue))
            case .since: .array(rows.map { time($0.state.since) })
            case .criticalSince: .array(rows.map { time($0.state.criticalSince) })
            case .worst: .array(rows.map(\.state.worst))
            case .detail: .array(rows.map(\.state.detail))
            case .severity: .array(rows.map(\.state.severity?.rawValue))
            case .alertID: .array(rows.map(\.alertID))
            }
        }
        _ = try connection.query(
            prepared: """
                INSERT INTO alert_state (\(columns.names)) SELECT \(columns.names) FROM \(columns.unnest(as: "n"))
                """, parameters)
    }

    /// Writes what the webhook is to be told. The content is made now, so that it is the same however often it is sent.
    func tell(_ told: [(id: Int64, step: AlertChanges.Step)], now: PostgresTimestamp) throws {
        guard !told.isEmpty else { return }
        func text(_ column: String) -> String {
            "to_char(\(column) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"
        }
        let events = told.map(\.step.event)
        _ = try connection.query(
            prepared: """
                INSERT INTO alert_notification (alert_id, event, payload, created_at, next_attempt_at)
                SELECT n.id, n.event, json_build_object('event', n.event, 'alert_id', n.id, 'kind', a.kind,
                    'variable', a.variable, 'severity', n.severity, 'gateway_id', a.gateway_id,
                    'sensor_id', a.sensor_id, 'time', \(text("n.time")), 'since', \(text("a.pending_since")),
                    'opened_at', \(text("a.opened_at")), 'value', n.value, 'worst_value', n.worst,
                    'detail', n.detail)::text, $8, $8
                FROM unnest($1::int8[], $2::text[], $3::text[], $4::timestamptz[], $5::float8[], $6::float8[], $7::text[])
                    WITH ORDINALITY AS n (id, event, severity, time, value, worst, detail, position)
                    JOIN alert a ON a.id = n.id ORDER BY n.position
                """,
            [
                .array(told.map(\.id)), .array(events.map(\.action.rawValue)), .array(events.map(\.severity.rawValue)),
                .array(events.map { time($0.time) }), .array(events.map(\.value)), .array(events.map(\.worst)),
                .array(events.map(\.detail)), .value(now),
            ])
    }

    private func time(_ milliseconds: Int64?) -> PostgresTimestamp? {
        milliseconds.map { PostgresTimestamp(milliseconds: $0) }
    }
}
