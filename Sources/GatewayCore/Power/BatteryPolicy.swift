/// Whether the board's battery is to be spared. Pure.
///
/// The level is an estimate from the voltage of a cell at rest, so it means little while the cell is charged. And while
/// the board is supplied from outside its battery is not what it lives on. So in both cases nothing is spared, whatever
/// the level; once the supply ends, the level decides again, by its next value.
struct BatteryPolicy: Sendable, Equatable {
    /// When a battery is low.
    struct Settings: Sendable, Equatable {
        /// Below this level it is low, percent.
        var low = 20.0
        /// Below this level the board may go off at any time, percent.
        var critical = 5.0
    }

    /// What the battery has left.
    enum State: String, Sendable, CaseIterable {
        /// Enough, or there is no need of it.
        case normal
        /// Readings are taken less often.
        case low
        /// The same; what is waiting is to be sent now.
        case critical
    }

    /// How far the level must rise again above a bound, percent: the load of a sample alone moves it by a few.
    static let hysteresis = 5.0

    let settings: Settings
    private(set) var state = State.normal
    /// The last level that was measured, percent.
    private(set) var level: Double?
    /// Whether there is power from outside; nil is not known.
    private(set) var isPowerGood: Bool?
    /// Whether the battery is charged; nil is not known.
    private(set) var isCharging: Bool?

    init(_ settings: Settings = Settings()) {
        self.settings = settings
    }

    /// Takes a measured level, percent.
    mutating func measured(_ level: Double) {
        self.level = level
        decide()
    }

    /// Takes what the input says of power from outside.
    mutating func setPowerGood(_ isPowerGood: Bool?) {
        forgetLevel(if: self.isPowerGood == true && isPowerGood != true)
        self.isPowerGood = isPowerGood
        decide()
    }

    /// Takes what the input says of the charger.
    mutating func setCharging(_ isCharging: Bool?) {
        forgetLevel(if: self.isCharging == true && isCharging != true)
        self.isCharging = isCharging
        decide()
    }

    /// A level of the time of a supply says nothing of the time after it.
    private mutating func forgetLevel(if isOver: Bool) {
        if isOver { level = nil }
    }

    private mutating func decide() {
        guard isPowerGood != true, isCharging != true else {
            state = .normal
            return
        }
        guard let level else { return }
        func isBelow(_ bound: Double, already: Bool) -> Bool {
            level < bound + (already ? BatteryPolicy.hysteresis : 0)
        }
        if isBelow(settings.critical, already: state == .critical) {
            state = .critical
        } else if isBelow(settings.low, already: state != .normal) {
            state = .low
        } else {
            state = .normal
        }
    }
}
