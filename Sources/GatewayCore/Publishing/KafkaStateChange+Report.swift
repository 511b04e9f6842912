import KafkaClient
import Monitoring
import Presentation
import Readings

extension Log {
    /// Writes the one line that a change of the cluster's state is worth.
    func report(_ change: KafkaStateChange) {
        switch change {
        case .trouble(let trouble, let duration):
            if duration < .seconds(1) {
                warning(trouble.text, ["remedy": trouble.remedy])
            } else {
                let time = PlainNumbers.seconds(duration / .seconds(1))
                warning(trouble.text, ["remedy": trouble.remedy, "not working for": time])
            }
        case .recovered(_, let duration):
            notice("the cluster takes readings again", ["after": PlainNumbers.seconds(duration / .seconds(1))])
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
