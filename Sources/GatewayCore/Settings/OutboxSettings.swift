import Configuration
import KafkaClient
import Outbox
import Platform

extension OutboxLimits {
    /// Reads the bounds of `outbox`.
    init(_ section: Section) {
        self.init()
        readings = section.value("readings", as: .integer(1...), default: readings)
        bytes = section.value("size", as: .size(ByteCount.mebibytes(1)...), default: ByteCount(bytes: bytes)).bytes
        age = section.optional("age", as: .duration(.seconds(60)...))
        freeBytes = section.value("keep_free", as: .size(), default: ByteCount(bytes: freeBytes)).bytes
        policy = section.value("when_full", as: .choice(.dropOldest), default: policy)
        guard let quarantine = section.optionalSection("quarantine") else { return }
        quarantinedReadings = quarantine.value("readings", as: .integer(1...), default: quarantinedReadings)
        quarantinedBytes =
            quarantine.value(
                "size", as: .size(ByteCount(bytes: 65_536)...), default: ByteCount(bytes: quarantinedBytes)
            ).bytes
    }
}

extension CommitBudget {
    /// Reads `outbox.commit`.
    init(_ section: Section?) {
        self.init()
        guard let section else { return }
        readings = section.value("readings", as: .integer(0...1000), default: readings)
        within = section.value("within", as: .duration(.zero...(.seconds(60))), default: within)
        offline = section.value("offline", as: .duration(.zero...(.seconds(600))), default: offline)
    }
}

extension GatewaySettings {
    /// Reports an `outbox.path` under which there can never be an outbox, or that leads to a file which the configuration
    /// uses for something else. A damaged outbox is none of these.
    func checkOutbox(_ section: Section, configurationFile: String) {
        let others = otherFiles(configurationFile)
        if let other = others.first(where: { OutboxPath.isTaken($0.path, byOutbox: outboxPath) }) {
            section.problem("\(other.name) is \(other.path): the outbox needs a file of its own", at: "path")
        } else if let refusal = OutboxPath.refusal(of: outboxPath) {
            section.problem("\(outboxPath): \(refusal); the outbox needs a file of its own", at: "path")
        } else if OutboxPath.names(of: outboxPath) > 1 {
            section.remark(
                "\(outboxPath) has other names, by hard links: readings are lost if it is ever used by one of these, since "
                    + "SQLite keeps its log by the name", at: "path")
        }
    }

    /// The files of the configuration that are not the outbox's.
    private func otherFiles(_ configurationFile: String) -> [(name: String, path: String)] {
        var files = [(name: "this configuration", path: configurationFile)]
        files += KafkaFiles(of: kafka).paths.map { ("a file of kafka", $0) }
        if let file = monitoring?.tokenFile { files.append(("monitoring.token_file", file)) }
        if case .socket(let path)? = monitoring?.address { files.append(("the socket of monitoring.listen", path)) }
        if let file = simulation.recording?.file { files.append(("simulation.recording.file", file)) }
        return files
    }
}
