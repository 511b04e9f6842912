import Foundation
import Outbox
import Testing

extension Site {
    /// Waits until more rows are there than now.
    /// - Parameter programs: those that must go on running.
    func waitForProgress(_ programs: [ChildProcess], _ what: String) async throws {
        // The table is made by the processor.
        var before: Int64?
        try await waitUntil("rows go on: \(what)", within: .seconds(120)) {
            for program in programs { try #require(program.isRunning, "\(what): \(program.output.suffix(4000))") }
            guard let now = try? value("SELECT count(*) FROM sensor_data", as: Int64.self) else { return false }
            if before == nil { before = now }
            return now > (before ?? now)
        }
    }

    /// Stops the gateway, then the processor: all that the gateway has numbered is published and stored, each once.
    func expectEverythingOnce(_ gateway: ChildProcess, _ processor: ChildProcess) async throws {
        gateway.send(SIGTERM)
        #expect(await gateway.ending() == .status(0), "\(gateway.output.suffix(4000))")
        let outbox = try await Outbox.open(path: folder.appendingPathComponent("outbox.sqlite").path)
        let status = try await outbox.status()
        #expect(status.depth == 0 && status.dropped == 0 && status.quarantined == 0)
        try await waitUntil("every reading is stored", within: .seconds(120)) {
            try value("SELECT count(*) FROM sensor_data", as: Int64.self) >= status.lastSequence
        }
        processor.send(SIGTERM)
        #expect(await processor.ending() == .status(0), "\(processor.output.suffix(4000))")
        let rows = try database.query("SELECT count(*), count(DISTINCT seq), max(seq) FROM sensor_data")
        let numbers = try (0..<3).map { try rows.value(0, $0, as: Int64.self) }
        #expect(numbers == [Int64](repeating: status.lastSequence, count: 3))
    }
}
