import Configuration
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
