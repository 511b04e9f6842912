import Configuration
import Foundation
import Monitoring
import Outbox
import Readings
import SimulatedHardware
import Synchronization
import Testing

@testable import GatewayCore

/// What a test of the gateway has to itself: a folder with an outbox, and metrics of its own.
final class Bench {
    let folder: String
    let registry = MetricsRegistry()
    let metrics: GatewayMetrics
    let health = Health()
    let log: Log
    private let logDescriptor: Int32?
    let events = AsyncStream.makeStream(of: Publisher.Event.self)

    /// - Parameter logFile: where all that is logged goes, in the bench's folder; nil: errors to standard error.
    init(logFile: String? = nil) throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("vigie-gateway-\(UUID())").path
        self.folder = folder
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        metrics = GatewayMetrics(registry)
        logDescriptor = logFile.map { open("\(folder)/\($0)", O_CREAT | O_WRONLY, 0o600) }
        log = Log(
            "test",
            to: LogOutput(
                descriptor: logDescriptor ?? STDERR_FILENO, format: .plain, minimum: logFile == nil ? .error : .debug))
    }

    deinit {
        if let logDescriptor { close(logDescriptor) }
        for task in tasks.withLock({ $0 }) { task.cancel() }
        try? FileManager.default.removeItem(atPath: folder)
    }

    var file: String { folder + "/outbox.sqlite" }

    /// Opens the bench's outbox; appends wake `events`.
    func openOutbox() async throws -> Outbox {
        let wake = events.continuation
        return try await Outbox.open(path: file, observer: reporter.outboxObserver { wake.yield(.appended) })
    }

    private var reporter: OutboxReporter { OutboxReporter(metrics: metrics, health: health, log: log) }

    /// Something that puts each reading into the outbox and waits for that.
    func recording(
        to outbox: Outbox, recorded: @escaping @Sendable (Reading) -> Void = { _ in }
    ) -> @Sendable (OutboxRecord) async -> Void {
        let writer = OutboxWriter(outbox: outbox, budget: .each, observer: reporter.writerObserver)
        let task = Task { await writer.run() }
        tasks.withLock { $0.append(task) }
        return { record in
            writer.enqueue(record)
            await writer.settled()
            recorded(record.reading)
        }
    }

    /// The same where time waits for it, as in the gateway.
    func recording(to outbox: Outbox, on hardware: Hardware) -> @Sendable (OutboxRecord) async -> Void {
        let (record, time) = (recording(to: outbox), hardware.virtualTime)
        return { one in
            if let time { await time.standingStill { await record(one) } } else { await record(one) }
        }
    }

    private let tasks = Mutex<[Task<Int, Never>]>([])
}

/// Settings of a gateway with these stations, written as its file has them.
func settings(stations: String, more: String = "") throws -> GatewaySettings {
    let text = """
        gateway: {id: bench}
        mode: simulated
        outbox: {path: outbox.sqlite}
        kafka: {bootstrap: "127.0.0.1:9"}
        \(more)
        stations:
        \(stations)
        """
    return try GatewaySettings(ConfigurationDocument(text: text, name: "gateway.yaml"))
}

/// A record as the sampler would make it.
func record(_ number: Int, faults: Int = 0) throws -> OutboxRecord {
    let fault = Fault(chip: try #require(Identifier("bme280")), kind: try #require(Identifier("not_acknowledged")))
    let reading = Reading(
        gatewayID: try #require(Identifier("bench")), sensorID: try #require(Identifier("hall")),
        streamID: StreamID(bits: 0), sequence: 0, eventTime: Timestamp(milliseconds: 1_700_000_000_000 + Int64(number)),
        intervalMilliseconds: 1000, values: [.temperature: Double(number)],
        faults: Array(repeating: fault, count: faults))
    return OutboxRecord(reading: reading, bootID: "boot", bootTimeMilliseconds: Int64(number))
}
