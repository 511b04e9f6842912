import KafkaClient
import Monitoring
import Platform
import Presentation
import Synchronization

/// Says whether the rejected topic takes messages: one line for each change of state, and the same in health. While it
/// takes none, a batch that has something for it waits, and all that comes behind.
final class RejectedTopicHealth: Sendable {
    private let configuration: KafkaConfiguration
    private let topic: String
    private let health: Health
    private let part: String
    private let log: Log
    /// What is wrong, and since when.
    private let trouble = Mutex<(text: String, since: ContinuousClock.Instant)?>(nil)

    /// - Parameter part: what it is reported under.
    init(_ configuration: KafkaConfiguration, topic: String, health: Health, part: String, log: Log) {
        self.configuration = configuration
        self.topic = topic
        self.health = health
        self.part = part
        self.log = log
    }

    /// Looks for the topic until it is there, so that a missing one is said before the first message needs it: at the
    /// second look, as a broker that makes topics by itself has made it by then. A broker that cannot be reached is the
    /// consumer's to say.
    /// - Parameter interval: between two looks.
    func watch(every interval: Duration = .seconds(2), clock: any Clock<Duration>) async {
        do {
            let admin = try KafkaAdmin(configuration: configuration)
            var looks = 0
            while true {
                looks += 1
                do throws(KafkaError) {
                    _ = try await admin.partitionCount(topic, timeout: .seconds(2))
                    return succeeded()
                } catch {
                    switch KafkaTrouble(error, of: configuration)?.kind {
                    case .missingTopic where looks > 1, .authorization: failed(error)
                    default: break
                    }
                }
                try await clock.sleep(for: interval)
            }
        } catch is CancellationError {
        } catch {
            log.warning("cannot look for the rejected topic", ["topic": topic, "error": "\(error)"])
        }
    }

    /// Takes that messages were not taken.
    func failed(_ error: KafkaError) {
        let known = KafkaTrouble(error, of: configuration)
        let text = known?.kind == .missingTopic ? "it does not exist" : known?.text ?? "\(error)"
        let isNew = trouble.withLock { trouble in
            if trouble?.text == text { return false }
            trouble = (text, trouble?.since ?? .now)
            return true
        }
        guard isNew else { return }
        let remedy =
            known?.kind == .missingTopic
            ? "kafka-topics.sh --bootstrap-server \(configuration.bootstrapServers) --create --topic \(topic)"
                + " --partitions 1, or name another one in kafka.rejected_topic"
            : known?.remedy ?? "it is tried again until it is taken"
        log.warning(
            "the rejected topic takes nothing: a message that is no reading stops what comes behind it",
            ["topic": topic, "reason": text, "remedy": remedy])
        health.report(part, .degraded("\(topic) takes no messages: \(text); \(remedy)"))
    }

    /// Takes that it is there, or has taken messages.
    func succeeded() {
        let ended = trouble.withLock { trouble in
            defer { trouble = nil }
            return trouble
        }
        if let ended {
            let seconds = ended.since.duration(to: .now) / .seconds(1)
            log.notice(
                "the rejected topic takes messages again", ["topic": topic, "after": PlainNumbers.seconds(seconds)])
        }
        health.report(part, .healthy)
    }
}
