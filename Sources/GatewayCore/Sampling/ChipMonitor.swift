import Monitoring
import Readings
import SensorDrivers

/// What is seen of a chip from outside: its metrics, its health and the log.
struct ChipMonitor: Sendable {
    private let sensorID: Identifier
    private let chip: Identifier
    private let states: [CircuitBreaker.State: Gauge]
    private let opened: Counter
    private let tries: Counter
    private let lastValue: Gauge
    private let health: Health
    private let log: Log
    private let wallClock: any WallClock

    init(
        sensorID: Identifier, chip: Identifier, metrics: GatewayMetrics, health: Health, log: Log,
        wallClock: any WallClock
    ) {
        self.sensorID = sensorID
        self.chip = chip
        self.health = health
        self.log = log
        self.wallClock = wallClock
        states = Dictionary(
            uniqueKeysWithValues: CircuitBreaker.State.allCases.map { ($0, metrics.breaker(sensorID, chip, $0)) })
        opened = metrics.breakerOpened(sensorID, chip)
        tries = metrics.chipTries(sensorID, chip)
        lastValue = metrics.lastValue(sensorID, chip)
        for (state, gauge) in states { gauge.set(state == .closed ? 1 : 0) }
    }

    private var part: String { "chip \(sensorID)/\(chip)" }

    /// The breaker is in another state.
    func changed(from old: CircuitBreaker.State, to state: CircuitBreaker.State) {
        for (other, gauge) in states { gauge.set(other == state ? 1 : 0) }
        if old == .closed, state == .open { opened.increment() }
        if state == .halfOpen { tries.increment() }
    }

    /// It says what it is, for the first time or something else than before.
    func identified(_ identity: ChipIdentity) {
        log.info(
            "a chip is open",
            [
                "sensor": "\(sensorID)", "chip": "\(chip)", "part": identity.part,
                "serial": identity.serialNumber ?? "none",
            ])
        if let remark = identity.remark {
            log.warning(
                "a chip is not the configured one", ["sensor": "\(sensorID)", "chip": "\(chip)", "remark": remark])
        }
    }

    /// It gave a value, after so many failures in a row.
    func gaveValue(after failures: Int) {
        lastValue.set(Double(wallClock.now().milliseconds) / 1000)
        health.report(part, .healthy)
        if failures > 0 {
            log.notice("a chip works again", ["sensor": "\(sensorID)", "chip": "\(chip)"])
        }
    }

    /// It failed, so many times in a row.
    func failed(_ error: ChipError, times: Int) {
        health.report(part, .degraded("\(error)"))
        if times == 1 {
            log.warning("a chip failed", ["sensor": "\(sensorID)", "chip": "\(chip)", "error": "\(error)"])
        } else {
            log.debug("a chip failed again", ["sensor": "\(sensorID)", "chip": "\(chip)", "error": "\(error)"])
        }
    }
}
