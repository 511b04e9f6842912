import KafkaClient
import Monitoring
import Presentation

/// Says how it stands between a consumer and its cluster: one line for each change of state, and the same in health.
final class KafkaHealth: Sendable {
    private let configuration: KafkaConfiguration
    private let health: Health
    private let part: String
    private let log: Log
    private let state: KafkaStateMonitor

    /// - Parameter part: what it is reported under.
    init(_ configuration: KafkaConfiguration, health: Health, part: String, log: Log) {
        self.configuration = configuration
        self.health = health
        self.part = part
        self.log = log
        state = KafkaStateMonitor(
            configuration, log: { facility, message in log.debug(message, ["facility": facility]) },
            report: { change in
                switch change {
                case .trouble(let trouble, _):
                    log.warning(trouble.text, ["remedy": trouble.remedy])
                    health.report(part, .degraded("\(trouble)"))
                case .recovered(let trouble, let duration):
                    log.notice(
                        "Kafka works again",
                        ["trouble": trouble.text, "after": PlainNumbers.seconds(duration / .seconds(1))])
                    health.report(part, .healthy)
                }
            })
    }

    /// For the consumer.
    var observer: KafkaObserver {
        var observer = state.observer
        let connection = observer.connection
        observer.connection = { [health, part] broker, isUp in
            connection(broker, isUp)
            if isUp, health.state(of: part) == .starting { health.report(part, .healthy) }
        }
        return observer
    }

    /// Takes an error that the consumer came upon.
    func failed(_ error: KafkaError) {
        if KafkaTrouble(error, of: configuration) == nil {
            log.warning("Kafka", ["error": "\(error)"])
        } else {
            state.failed(error)
        }
    }

    /// Takes that the broker gave a message, or the end of a partition.
    func succeeded() {
        // What was fetched before the connection was lost says nothing of now.
        if state.isConnected { state.succeeded() }
    }

    /// Takes that the leaders of all partitions have answered. Being allowed to ask (Describe) is not being allowed to read
    /// (Read): that is shown by a message or the end of a partition, for which a refused one is asked anew.
    func answered() {
        if state.trouble?.kind != .authorization { succeeded() }
    }
}
