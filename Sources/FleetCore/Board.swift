import Readings

/// A board's outbox as a fleet imagines it: the numbers that it gives.
struct Board: Sendable {
    /// The id under which it sends.
    let gateway: Identifier
    /// The place of its stream in the manifest.
    var stream: Int
    /// The number that it gave last.
    var number: Int64
    /// How many readings have a number of its stream.
    var readings = 0
    /// Whether it has told of its first stream.
    var isAnnounced = false
    /// Whether it has left out the numbers of `FleetPlan.jump`.
    var hasJumped = false
}
