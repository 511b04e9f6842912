import KafkaClient
import Monitoring
import Platform
import PostgresClient
import ReadingDecoding
import Readings

/// What the database refuses, such as by a constraint or a trigger of its operator, is found by trial transactions that
/// are rolled back, so that it stops nothing else. A refused reading or report goes to the rejected topic as it came. Refused
/// windows cost no reading: the gateway's windows wait until the database takes them.
extension BatchWriter {
    /// Changes a batch, or what is held back, so that the database takes the batch.
    /// - Throws: `StaleOffsets`, CancellationError, or what Kafka says.
    func isolate(_ batch: ReadingBatch, _ refusal: PostgresError) async throws -> ReadingBatch {
        log.warning("the database refuses a part of a batch, looking for it", ["error": "\(refusal)"])
        // Tried again first: a day's partition may have been dropped between two batches.
        let again = try await self.refusal { try dryRun(batch, holding: heldWindows.gateways) }
        guard let again else { return batch }
        if WindowTable.isWritten(by: again.sql) {
            try await holdWindows(of: batch.gateways) { gateways in
                let others = Set(batch.gateways).subtracting(gateways)
                return try await self.refusal { try dryRun(batch, holding: heldWindows.gateways.union(others)) }
            }
            return batch
        }
        // What is refused without any reading is no reading's fault.
        let known = batch.gateways.filter { !heldWindows.contains($0) }
        if let error = try await self.refusal(of: { try dryRun(windowsOf: known, holding: []) }) {
            if WindowTable.isWritten(by: error.sql) {
                try await holdWindows(of: known) { gateways in
                    try await self.refusal { try dryRun(windowsOf: gateways, holding: []) }
                }
            } else {
                log.error("the database refuses what it holds already", ["error": "\(error)"])
                health.report(healthPart, .degraded("its operator is needed: \(error)"))
                try await clock.sleep(for: HeldWindows.interval)
            }
            return batch
        }
        return try await rejectRefused(batch)
    }

    private func rejectRefused(_ batch: ReadingBatch) async throws -> ReadingBatch {
        let refused = try await PoisonSearch.refused(of: Array(batch.parts)) { indices in
            let part = batch.keeping(indices)
            return try await self.refusal { try dryRun(part, holding: heldWindows.gateways) }
        }
        if refused.isEmpty { return batch }
        var rest = batch.keeping(batch.parts.lazy.filter { refused[$0] == nil })
        // A rejected reading whose loss is refused is in the rejected topic already.
        let messages = refused.filter { batch.report(ofPart: $0.key)?.isRejectedReading != true }
        if messages.isEmpty { return rest }
        let rejected = try await originals(of: messages, in: batch)
        try await rejectedTopic.publish(rejected, now: wallClock.now())
        log.warning(
            "messages that the database refuses went to the rejected topic",
            ["messages": rejected.count, "first": rejected.first?.rejection.detail ?? ""])
        for (index, message) in zip(messages.keys.sorted(), rejected) {
            rest.reject(message, number: batch.report(ofPart: index) == nil ? batch.number(at: index) : nil)
        }
        return rest
    }

    /// The messages of refused rows and reports, as the broker has them.
    private func originals(
        of refused: [Int: PostgresError], in batch: ReadingBatch
    ) async throws -> [ReadingBatch.Rejected] {
        try await originals(of: refused.mapValues { Rejection(.refusedByDatabase, detail: "\($0)") }, in: batch)
    }

    /// The messages of rows and reports, as the broker has them. A reading that the broker does not have any more is written
    /// anew from what was decoded, and says so.
    /// - Parameter rejections: why each is rejected, by its index among the batch's parts.
    func originals(
        of rejections: [Int: Rejection], in batch: ReadingBatch
    ) async throws -> [ReadingBatch.Rejected] {
        let rows = rejections.keys.filter { batch.report(ofPart: $0) == nil }.map { batch.rows[$0] }
        let offsets = Dictionary(grouping: rows, by: \.partition).mapValues { $0.map(\.offset) }
        var found: [Int32: [Int64: SourceMessages.Message]] = [:]
        var backoff = Backoff.ofServers
        while found.count < offsets.count {
            do {
                // It closes as the last reference goes. (Swift 6.0 crashes on a `defer` with it.)
                let source = try SourceMessages(
                    configuration: settings.kafka, group: settings.group, topic: settings.topic, log: log)
                for (partition, offsets) in offsets where found[partition] == nil {
                    found[partition] = try source.read(offsets, of: partition) { Task.isCancelled }
                }
            } catch let error as KafkaError {
                log.warning("cannot read rejected messages again", ["error": "\(error)"])
                try await clock.sleep(for: backoff.next())
            }
        }
        return rejections.sorted { $0.key < $1.key }.map { index, rejection in
            if let report = batch.report(ofPart: index) { return report.message.rejected(rejection) }
            let row = batch.rows[index]
            if let message = found[row.partition]?[row.offset] {
                return ReadingBatch.Rejected(
                    key: message.key, value: message.value, headers: message.headers, partition: row.partition,
                    offset: row.offset, rejection: rejection)
            }
            let reading = batch.reading(at: index)
            return ReadingBatch.Rejected(
                key: reading.map { Array("\($0.gatewayID)".utf8) }, value: reading?.encoded(),
                headers: [KafkaHeader(name: "vigie-rebuilt", text: "the broker has dropped the message")],
                partition: row.partition, offset: row.offset, rejection: rejection)
        }
    }

    // MARK: Windows

    /// Writes what time has made due for gateways, and holds back the windows that the database refuses.
    func writeWindows(of gateways: [String]) async throws {
        if gateways.isEmpty { return }
        if let refusal = try await refusal(of: { try writeDueWindows(of: gateways) }) {
            log.warning("the database refuses windows, looking for them", ["error": "\(refusal)"])
            try await holdWindows(of: gateways) { part in
                try await self.refusal { try dryRun(windowsOf: part, holding: []) }
            }
            let rest = gateways.filter { !heldWindows.contains($0) }
            // Should even the rest be refused now, it is tried again at the next look.
            if !rest.isEmpty { _ = try await self.refusal { try writeDueWindows(of: rest) } }
        }
    }

    private func holdWindows(
        of gateways: [String], _ refusal: ([String]) async throws -> PostgresError?
    ) async throws {
        let refused = try await PoisonSearch.refused(of: gateways, refusal)
        guard let reason = refused.min(by: { $0.key < $1.key })?.value else { return }
        heldWindows.hold(refused.keys.map { gateways[$0] }, reason)
        let text = heldWindows.text ?? ""
        log.error(text)
        health.report("\(healthPart) windows", .degraded(text))
    }

    /// Tries windows again that were held back for long enough.
    func releaseWindows() {
        let released = heldWindows.release()
        if released.isEmpty { return }
        adopt(released)
        health.report("\(healthPart) windows", .healthy)
    }
}
