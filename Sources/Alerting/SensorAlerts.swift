import Readings

/// What is wrong with one sensor: the states of its alerts, moved by its readings in the order of event time and, for
/// silence, by the clock. Pure; for nearly every sensor empty.
///
/// Whoever calls leaves out readings that are older than one evaluated before: they neither open nor close anything.
public struct SensorAlerts: Sendable, Equatable {
    /// Everything that is pending or open.
    public private(set) var states: [AlertState]
    /// Whether the states have changed since this was last set to false.
    public var hasChanged = false

    /// Takes up states; by default of a sensor with which nothing is wrong.
    public init(_ states: [AlertState] = []) {
        self.states = states
    }

    /// Whether nothing is pending or open, so that a reading that passes no bound and has no faults changes nothing.
    @inlinable public var isQuiet: Bool { states.isEmpty }

    // MARK: Readings

    /// Evaluates the newest reading.
    /// - Parameters:
    ///   - values: its quantities. One that is missing neither opens nor closes anything.
    ///   - faults: its faults, each `chip:what`.
    ///   - time: its event time, milliseconds since 1970.
    ///   - emit: gets what happened.
    public mutating func evaluate(
        _ values: Values, faults: [String], time: Int64, rules: AlertRules, emit: (AlertEvent) -> Void
    ) {
        for quantity in QuantitySet(of: values).members {
            if let value = values[quantity] { evaluate(quantity, value, rules[quantity], time, emit) }
        }
        evaluate(faults, rules.fault, time, emit)
    }

    private mutating func evaluate(
        _ quantity: Quantity, _ value: Double, _ rule: QuantityRule, _ time: Int64, _ emit: (AlertEvent) -> Void
    ) {
        let passed = rule.passed(by: value)
        let key = AlertKey(quantity)
        var index = states.firstIndex { $0.key == key }
        if let known = index {
            let isSameSide = passed.map { $0.side == states[known].side } ?? true
            let isOver =
                states[known].severity == nil ? passed == nil : rule.isBack(value, from: states[known].side ?? .above)
            if isOver || !isSameSide {
                end(known, at: time, value: value, emit)
                index = nil
            }
        }
        if index == nil, let passed {
            index = states.count
            states.append(AlertState(key: key, side: passed.side, since: time, worst: value))
            hasChanged = true
        }
        guard let index else { return }
        let before = states[index]
        update(&states[index], value, passed?.severity, rule, time, emit)
        if states[index] != before { hasChanged = true }
    }

    private func update(
        _ state: inout AlertState, _ value: Double, _ passed: Severity?, _ rule: QuantityRule, _ time: Int64,
        _ emit: (AlertEvent) -> Void
    ) {
        let isAbove = state.side == .above
        state.worst = state.worst.map { isAbove ? max($0, value) : min($0, value) } ?? value
        state.criticalSince = passed == .critical ? state.criticalSince ?? time : nil
        let isCritical = state.criticalSince.map { time - $0 >= rule.minimumDuration } ?? false
        switch state.severity {
        case nil:
            guard time - state.since >= rule.minimumDuration else { return }
            state.severity = isCritical ? .critical : .warning
            let bounds = isCritical ? rule.critical : rule.warning
            // With critical bounds alone both conditions began together, so these are the bounds that were passed.
            state.detail = isAbove ? "above \(bounds.above)" : "below \(bounds.below)"
            emit(state.event(.opened, at: time, value: value))
        case .warning where isCritical:
            state.severity = .critical
            state.detail = isAbove ? "above \(rule.critical.above)" : "below \(rule.critical.below)"
            emit(state.event(.escalated, at: time, value: value))
        default:
            break
        }
    }

    private mutating func evaluate(
        _ faults: [String], _ rule: FaultRule?, _ time: Int64, _ emit: (AlertEvent) -> Void
    ) {
        var present: [(chip: String, fault: String)] = []
        if rule != nil {
            for fault in faults {
                let chip = String(fault.prefix { $0 != ":" })
                if !present.contains(where: { $0.chip == chip }) { present.append((chip, fault)) }
            }
        }
        for index in states.indices.reversed()
        where states[index].key.kind == .fault && !present.contains(where: { $0.chip == states[index].key.variable }) {
            end(index, at: time, value: nil, emit)
        }
        guard let rule else { return }
        for (chip, fault) in present {
            let key = AlertKey(.fault, chip)
            let index = states.firstIndex { $0.key == key } ?? states.count
            if index == states.count {
                states.append(AlertState(key: key, since: time, detail: fault))
                hasChanged = true
            }
            if states[index].severity == nil, time - states[index].since >= rule.minimumDuration {
                states[index].severity = rule.severity
                states[index].detail = fault
                hasChanged = true
                emit(states[index].event(.opened, at: time))
            }
        }
    }

    private mutating func end(_ index: Int, at time: Int64, value: Double?, _ emit: (AlertEvent) -> Void) {
        let state = states.remove(at: index)
        hasChanged = true
        if state.severity != nil { emit(state.event(.closed, at: time, value: value)) }
    }

    // MARK: Silence

    /// Notes that a reading has come, old or new.
    /// - Parameter now: by the processor's clock, milliseconds since 1970.
    public mutating func arrive(at now: Int64, emit: (AlertEvent) -> Void) {
        guard let index = states.firstIndex(where: { $0.key.kind == .silence }) else { return }
        end(index, at: now, value: nil, emit)
    }

    /// Whether silence is an alert already.
    public var isSilent: Bool { states.contains { $0.key.kind == .silence } }

    /// Looks whether the sensor has been silent for too long.
    /// - Parameters:
    ///   - now: up to when everything that was sent is known to have been taken in, by the processor's clock,
    ///     milliseconds since 1970.
    ///   - since: since when nothing has come although it would have been seen.
    ///   - interval: the sensor's, milliseconds.
    public mutating func look(
        at now: Int64, silentSince since: Int64, interval: Int64, rule: SilenceRule, emit: (AlertEvent) -> Void
    ) {
        guard !isSilent, now - since >= rule.limit(interval: interval) else { return }
        let state = AlertState(
            key: AlertKey(.silence), since: since, detail: "no reading for \((now - since) / 1000) s",
            severity: rule.severity)
        states.append(state)
        hasChanged = true
        emit(state.event(.opened, at: now))
    }
}
