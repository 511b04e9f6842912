import Synchronization

/// A chip's faults that somebody switches while it runs, and the supply that it hangs on.
///
/// A switch belongs to a script (`FaultScript.live`), so it reaches its chip wherever that is: on a bus, or behind a
/// multiplexer.
public final class FaultSwitch: Sendable {
    private struct State {
        var inForce: Set<FaultScript.Kind> = []
        var isPowered = true
        var lastPowerUp: Duration?
        var lastReconnection: Duration?

        var isPresent: Bool { isPowered && !inForce.contains(.unplug) }
    }

    private let elapsed: @Sendable () -> Duration
    private let state = Mutex(State())

    /// Makes a switch for a chip in `world`, without faults and with power.
    public init(world: SimulatedWorld) {
        elapsed = world.elapsed
    }

    /// What is wrong now, in the order of `FaultScript.Kind`.
    public var faults: [FaultScript.Kind] {
        state.withLock { state in FaultScript.Kind.allCases.filter(state.inForce.contains) }
    }

    /// Whether it has its supply.
    public var isPowered: Bool { state.withLock { $0.isPowered } }

    /// Begins a fault, or ends it. A chip that is plugged in again starts up.
    public func set(_ kind: FaultScript.Kind, _ isInForce: Bool) {
        change { state in
            if isInForce { state.inForce.insert(kind) } else { state.inForce.remove(kind) }
        }
    }

    /// Ends all faults.
    public func heal() {
        change { $0.inForce = [] }
    }

    /// Cuts the chip's supply, or restores it; then the chip starts up. A chip that hung, by `nack` or `freeze`, is
    /// sound again.
    public func setPower(_ isOn: Bool) {
        change { state in
            if isOn, !state.isPowered { state.lastPowerUp = elapsed() }
            state.isPowered = isOn
            if !isOn { state.inForce = state.inForce.filter { !$0.isHang } }
        }
    }

    private func change(_ body: (inout State) -> Void) {
        state.withLock { state in
            let wasPresent = state.isPresent
            body(&state)
            if state.isPresent && !wasPresent { state.lastReconnection = elapsed() }
        }
    }

    func has(_ kind: FaultScript.Kind) -> Bool {
        state.withLock { state in kind == .unplug ? !state.isPresent : state.inForce.contains(kind) }
    }

    /// When the chip's supply was last restored.
    var lastPowerUp: Duration? {
        state.withLock { $0.lastPowerUp }
    }

    /// When the chip last came back.
    var lastReconnection: Duration? {
        state.withLock { $0.lastReconnection }
    }
}
