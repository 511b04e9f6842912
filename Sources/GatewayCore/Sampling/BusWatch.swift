import Monitoring
import Readings
import SensorBus
import SensorDrivers
import Synchronization

/// Tells a controller that is stuck from chips that are: on a bus where transfers time out for one chip after the other
/// and nobody answers in between, no chip is to blame.
///
/// The controller of the Raspberry Pi 5 is known to get there, and nothing but a power cycle brings it back; so does a
/// chip that holds a line low. It is said once, loudly; the chips' own pauses see to it that the bus is tried seldom.
final class BusWatch: Sendable {
    private struct State {
        var chips = 0
        /// Chips whose transfers timed out since anybody last answered.
        var silent: Set<BusLocation> = []
        var timeouts = 0
        var isWedged = false
    }

    /// So many transfers in a row, ...
    private static let timeouts = 3
    /// ... to so many chips, if there are as many.
    private static let chips = 2

    /// The bus as a fault names it, such as `i2c-1`.
    let name: Identifier
    private let busName: String
    private let state = Mutex(State())
    private let wedged: Gauge
    private let health: Health
    private let log: Log

    init(_ bus: any I2CBus, metrics: GatewayMetrics, health: Health, log: Log) {
        busName = bus.name
        let text = bus.name.split(separator: "/").last ?? ""
        let allowed = text.utf8.map { Identifier.isAllowed($0) ? $0 : UInt8(ascii: "-") }
        name = Identifier(String(decoding: allowed, as: UTF8.self)) ?? Identifier(constant: "bus")
        wedged = metrics.busWedged(name)
        self.health = health
        self.log = log
    }

    /// The fault that a reading has while the bus is stuck.
    var fault: Fault? {
        state.withLock { $0.isWedged } ? Fault(chip: name, kind: Identifier(constant: "wedged")) : nil
    }

    /// There is a chip more on the bus.
    func register() {
        state.withLock { $0.chips += 1 }
    }

    /// Looks at how an exchange with a chip went.
    func saw(_ error: ChipError?, at location: BusLocation) {
        if let error, case .bus(let busError) = error.kind {
            switch busError.kind.ofTheBus {
            case .timedOut: timedOut(location)
            // Nobody was asked.
            case .missing, .permissionDenied, .forbidden, .unsupported, .inUse, .other, .multiplexer: break
            case .notAcknowledged, .arbitrationLost, .lengthOrStretch: answered()
            }
        } else if error?.kind != .cancelled {
            answered()
        }
    }

    private func timedOut(_ location: BusLocation) {
        let isNew = state.withLock { state in
            state.silent.insert(location)
            state.timeouts += 1
            guard !state.isWedged, state.timeouts >= BusWatch.timeouts,
                state.silent.count >= min(BusWatch.chips, state.chips)
            else { return false }
            state.isWedged = true
            return true
        }
        guard isNew else { return }
        let text = "wedged: transfers to every chip time out; cycle the sensors' power, then the board's"
        wedged.set(1)
        health.report("bus \(name)", .degraded(text))
        log.error("bus \(text)", ["bus": busName])
    }

    private func answered() {
        let wasWedged = state.withLock { state in
            defer { state.isWedged = false }
            state.silent = []
            state.timeouts = 0
            return state.isWedged
        }
        guard wasWedged else { return }
        wedged.set(0)
        health.report("bus \(name)", .healthy)
        log.notice("the bus works again", ["bus": busName])
    }
}

extension BusError.Kind {
    /// What happened on the bus itself, whether the chip or the multiplexer before it was spoken to.
    var ofTheBus: BusError.Kind {
        if case .multiplexer(let kind) = self { kind.ofTheBus } else { self }
    }
}
