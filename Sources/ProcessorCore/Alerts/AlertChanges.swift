import Alerting

/// Whose alert it is: a sensor's, or a gateway's with an empty sensor.
struct AlertIdentity: Hashable {
    var sensorID: String
    var key: AlertKey
}

/// What a transaction does to alerts, collected while it decides and then written at once.
struct AlertChanges {
    /// A step of an alert, in the order in which they happened.
    struct Step {
        var gatewayID: String
        var sensorID: String
        var event: AlertEvent
    }

    private(set) var steps: [Step] = []
    /// The sensors whose states have changed, each once.
    private(set) var sensors: [SensorState] = []
    /// The streams whose states have changed, each once.
    private(set) var streams: [StreamName] = []

    /// The gateways whose conflict alerts have changed, each once, and what they are now.
    private(set) var conflicts: [(gatewayID: String, state: AlertState?)] = []

    /// Whether there is nothing to write.
    var isEmpty: Bool { sensors.isEmpty && streams.isEmpty && conflicts.isEmpty }

    /// Moves the alerts of a sensor.
    mutating func move(_ sensor: SensorState, _ body: (inout SensorAlerts, (AlertEvent) -> Void) -> Void) {
        let wasNoted = sensor.alerts.hasChanged
        body(&sensor.alerts) { event in
            steps.append(Step(gatewayID: sensor.gatewayID, sensorID: sensor.sensorID, event: event))
        }
        if sensor.alerts.hasChanged, !wasNoted { sensors.append(sensor) }
    }

    /// Moves the alert of a gateway's conflicts.
    /// - Parameters:
    ///   - open: how many are not settled.
    ///   - before: the alert as it was.
    mutating func evaluate(
        conflicts open: Int64, of gatewayID: String, before: AlertState?, time: Int64, rule: ConflictRule?
    ) {
        var alert = ConflictAlert(before)
        alert.evaluate(open: open, time: time, rule: rule) { event in
            steps.append(Step(gatewayID: gatewayID, sensorID: "", event: event))
        }
        if alert.state != before { conflicts.append((gatewayID, alert.state)) }
    }

    /// Moves the alert of a stream.
    mutating func evaluate(
        _ progress: inout StreamProgress, of name: StreamName, in gateway: GatewayState, rule: LossRule?
    ) {
        guard rule != nil && progress.losses.count > 0 || gateway.streamAlerts[name.streamID] != nil,
            let time = progress.lastEventTime
        else { return }
        var alert = gateway.streamAlerts[name.streamID] ?? StreamAlert()
        let digests = rule.map { progress.lossDigests(since: time - $0.clearAfter + 1) } ?? []
        let holes = digests.flatMap { digest -> [StreamAlert.Hole] in
            let reason = digest.reason == .unknown ? nil : digest.reason.text
            let timed = digest.seen.map { StreamAlert.Hole(seen: $0.lowerBound, count: digest.count, reason: reason) }
            let untimed = StreamAlert.Hole(seen: time, count: digest.untimed, reason: reason)
            return [timed, digest.untimed > 0 ? untimed : nil].compactMap { $0 }
        }
        alert.evaluate(holes, stream: name.streamID.description, time: time, rule: rule) { event in
            steps.append(Step(gatewayID: name.gatewayID, sensorID: "", event: event))
        }
        if alert.hasChanged { streams.append(name) }
        gateway.streamAlerts[name.streamID] = alert.state == nil && !alert.hasChanged ? nil : alert
    }
}
