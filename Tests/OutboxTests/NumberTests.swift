import Platform
import Readings
import TestSupport
import Testing

@testable import Outbox

/// The largest number is known after a crash, whatever became of the row that had it.
@Suite struct NumberTests {
    private let machine = FaultyMachine()
    private let clock = ManualWallClock(Timestamp(milliseconds: 2_000_000))

    private func open(_ limits: OutboxLimits = OutboxLimits()) async throws -> Outbox {
        try await Outbox.open(
            path: "/outbox.sqlite", limits: limits, fileSystem: machine.vfs, freeBytes: { _ in nil },
            sync: { [machine] in machine.sync($0) }, wallClock: clock)
    }

    /// Kills the program, and starts it again.
    /// - Returns: the number of the next reading.
    private func numberAfterACrash() async throws -> Int64? {
        machine.kill()
        return try await open().append([try record(1000)])
    }

    @Test func ofReadingsThatWereNotTaken() async throws {
        let outbox = try await open(OutboxLimits(readings: 5, policy: .dropNewest))
        #expect(try await outbox.append(try records(1...8)) == 8)
        for report in try await outbox.reports() { await outbox.acknowledge(report: report.id) }
        try await outbox.settle()
        #expect(try await outbox.tables().gaps == [])
        #expect(try await numberAfterACrash() == 9)
    }

    @Test func ofReadingsThatGrewTooOld() async throws {
        let outbox = try await open(OutboxLimits(age: .seconds(60)))
        try await outbox.append(try records(1...8))
        clock.set(Timestamp(milliseconds: 9_000_000))
        while try await outbox.keepBounds() {}
        for report in try await outbox.reports() { await outbox.acknowledge(report: report.id) }
        try await outbox.settle()
        #expect(try await outbox.tables().gaps == [])
        #expect(try await numberAfterACrash() == 9)
    }

    @Test func ofAReadingThatWasSentFromTheQuarantine() async throws {
        let outbox = try await open()
        try await outbox.append(try records(1...8))
        let last = try #require(try await outbox.read(after: 7, limit: 1).first)
        try await outbox.quarantine(last, reason: "too large")
        for report in try await outbox.reports() { await outbox.acknowledge(report: report.id) }
        try await outbox.settle()
        try await outbox.requeueAll()
        try await outbox.acknowledge(requeued: 8)
        #expect(try await outbox.tables().quarantined == [:])
        #expect(try await numberAfterACrash() == 9)
    }

    @Test func ofAReadingThatTheQuarantineForgot() async throws {
        let outbox = try await open(OutboxLimits(quarantinedReadings: 1))
        try await outbox.append(try records(1...8))
        let all = try await outbox.read(limit: 8)
        for record in [all[7], all[6], all[5]] { try await outbox.quarantine(record, reason: "too large") }
        for report in try await outbox.reports() { await outbox.acknowledge(report: report.id) }
        try await outbox.settle()
        #expect(try await numberAfterACrash() == 9)
    }
}
