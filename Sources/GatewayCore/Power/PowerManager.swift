import Monitoring
import Platform
import Readings
import Synchronization

/// Knows how the board is supplied, and spares its battery when that is low: readings are taken less often, and what
/// waits to be sent is sent before the board goes off.
final class PowerManager: Sendable {
    /// What health calls the battery.
    static let part = "battery"

    private let settings: BatterySettings?
    private let policy: Mutex<BatteryPolicy>
    private let health: Health
    private let log: Log
    private let flush: @Sendable () -> Void

    /// - Parameters:
    ///   - settings: nil spares nothing.
    ///   - flush: called when the board may go off soon; to make haste with what is not sent. Must return at once.
    init(
        _ settings: BatterySettings?, metrics: MetricsRegistry, health: Health, log: Log,
        flush: @escaping @Sendable () -> Void
    ) {
        self.settings = settings
        self.health = health
        self.log = log
        self.flush = flush
        policy = Mutex(BatteryPolicy(settings?.policy ?? BatteryPolicy.Settings()))
        guard settings != nil else { return }
        for state in BatteryPolicy.State.allCases {
            metrics.gauge(
                "vigie_battery_state", "1 for the state that the board's battery is in, 0 for the others.",
                labels: ["state": state.rawValue]
            ) { [weak self] in self.map { $0.state == state ? 1 : 0 } }
        }
    }

    /// What the battery has left.
    var state: BatteryPolicy.State { policy.withLock { $0.state } }
    /// Whether there is power from outside; nil is not known.
    var isPowerGood: Bool? { policy.withLock { $0.isPowerGood } }
    /// Whether the battery is charged; nil is not known.
    var isCharging: Bool? { policy.withLock { $0.isCharging } }

    /// The interval of a station now.
    /// - Parameter usual: the one that it is set to.
    func interval(_ usual: Duration) -> Duration {
        guard let settings, state != .normal else { return usual }
        return max(usual, settings.lowInterval)
    }

    /// Takes note of a reading that has been recorded.
    func took(_ reading: Reading) {
        guard reading.sensorID == settings?.sensorID, let level = reading.values[.batteryLevel] else { return }
        change { $0.measured(level) }
        // Each reading may be the last.
        if state == .critical { flush() }
    }

    /// Takes note of what the input says of power from outside.
    func setPowerGood(_ isPowerGood: Bool?) {
        change { $0.setPowerGood(isPowerGood) }
        // There may be no battery at all.
        if isPowerGood == false { flush() }
    }

    /// Takes note of what the input says of the charger.
    func setCharging(_ isCharging: Bool?) {
        change { $0.setCharging(isCharging) }
    }

    private func change(_ body: (inout BatteryPolicy) -> Void) {
        let (before, after) = policy.withLock { policy in
            let before = policy
            body(&policy)
            return (before, policy)
        }
        guard let settings, after.state != before.state else { return }
        let level = after.level.map { "\(Int($0.rounded())) %" } ?? "not known"
        switch after.state {
        case .normal:
            log.notice("the battery need not be spared", ["level": level])
            health.report(PowerManager.part, .healthy)
        case .low, .critical:
            let state = after.state == .low ? "low" : "nearly empty"
            log.warning("the battery is \(state)", ["level": level, "interval": settings.lowInterval.notation])
            health.report(
                PowerManager.part,
                .degraded("the battery is \(state): \(level), a reading every \(settings.lowInterval.notation)"))
            flush()
        }
    }
}
