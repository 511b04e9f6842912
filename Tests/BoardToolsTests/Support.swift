import Configuration
import Foundation
import Outbox
import Readings
import Testing

@testable import GatewayCore

/// A folder that a test has to itself, gone when the test ends.
final class TemporaryFolder {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("vigie-tools-\(UUID())").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }

    /// The path of a file in the folder.
    func file(_ name: String) -> String { "\(path)/\(name)" }
}

/// Settings of a gateway in simulated mode with these stations, written as its file has them.
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
func record(_ number: Int) throws -> OutboxRecord {
    let reading = Reading(
        gatewayID: try #require(Identifier("bench")), sensorID: try #require(Identifier("hall")),
        streamID: StreamID(bits: 0), sequence: 0, eventTime: Timestamp(milliseconds: 1_700_000_000_000 + Int64(number)),
        intervalMilliseconds: 1000, values: [.temperature: Double(number)])
    return OutboxRecord(reading: reading, bootID: "boot", bootTimeMilliseconds: Int64(number))
}
