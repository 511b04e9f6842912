/// Of how many sensors the panes are loaded at once: as many as keep a batch that comes meanwhile waiting for no longer than
/// a batch takes itself.
struct LoadingPace: Sendable {
    /// What one transaction should take.
    private static let wished = Duration.milliseconds(50)
    /// What may be spent on it between two batches.
    static let share = Duration.milliseconds(100)

    /// How many sensors.
    private(set) var sensors = 32

    /// Notes what loading so many has taken.
    mutating func observe(_ duration: Duration) {
        if duration > LoadingPace.wished * 2 {
            sensors = max(1, sensors / 2)
        } else if duration < LoadingPace.wished {
            sensors = min(4096, sensors * 2)
        }
    }
}
