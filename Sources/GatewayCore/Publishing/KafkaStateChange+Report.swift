import KafkaClient
import Monitoring
import Presentation
import Readings

extension Log {
    /// Writes the one line that a change of the cluster's state is worth.
    /// - Parameter waiting: how many readings are in the outbox, about.
    func report(_ change: KafkaStateChange, waiting: Int) {
        switch change {
        case .trouble(let trouble, let duration):
            let kept = "kept in the outbox, \(waiting) waiting"
            if duration < .seconds(1) {
                warning(trouble.text, ["remedy": trouble.remedy, "readings": kept])
            } else {
                let time = PlainNumbers.seconds(duration / .seconds(1))
                warning(trouble.text, ["remedy": trouble.remedy, "not_working_for": time, "readings": kept])
            }
        case .recovered(_, let duration):
            notice(
                "the cluster takes readings again",
                ["after": PlainNumbers.seconds(duration / .seconds(1)), "waiting": waiting])
        }
    }
}

extension Health {
    /// Says of `part` what a change of the cluster's state means for it.
    func report(_ part: String, _ change: KafkaStateChange) {
        switch change {
        case .trouble(let trouble, let duration):
            let start = Timestamp(
                milliseconds: SystemWallClock().now().milliseconds - duration.millisecondsRoundedDown)
            report(part, .degraded("\(trouble.text), since \(start); \(trouble.remedy)"))
        case .recovered: report(part, .healthy)
        }
    }
}
