/// A pass over the oldest half of the readings, of which it drops every second one of each sensor. Pure.
struct Thinning {
    /// Where the half ends.
    let through: Int64
    /// Up to where it has come.
    private(set) var position: Int64
    /// What it has dropped so far.
    private(set) var dropped = 0
    /// The sensors whose last reading was kept, so that the next one goes.
    private var kept: Set<String> = []

    init(after position: Int64, through: Int64) {
        self.position = position
        self.through = through
    }

    var isOver: Bool { position >= through }

    /// Whether the next reading of a sensor goes.
    /// - Parameters:
    ///   - number: its number, above those before.
    ///   - sensor: the sensor, with its gateway.
    mutating func drops(_ number: Int64, of sensor: String) -> Bool {
        position = number
        if kept.remove(sensor) != nil {
            dropped += 1
            return true
        }
        kept.insert(sensor)
        return false
    }

    /// There are no more readings up to the end.
    mutating func end() {
        position = through
    }
}
