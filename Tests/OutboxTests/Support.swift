import Foundation
import Readings
import Testing

@testable import Outbox

/// A folder that goes with the test.
final class Folder {
    let path: String

    init() throws {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent("vigie-outbox-\(UUID())")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        path = url.path
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }

    var file: String { path + "/outbox.sqlite" }

    /// The names of the files in it.
    var files: [String] {
        get throws { try FileManager.default.contentsOfDirectory(atPath: path).sorted() }
    }
}

/// A record as the sampler makes it.
func record(
    _ number: Int, gateway: String = "gateway-1", sensor: String = "hall", faults: [Fault] = []
) throws -> OutboxRecord {
    let reading = Reading(
        gatewayID: try #require(Identifier(gateway)), sensorID: try #require(Identifier(sensor)),
        streamID: StreamID(bits: 0), sequence: 0, eventTime: Timestamp(milliseconds: 1_000_000 + Int64(number)),
        timeQuality: number % 2 == 0 ? .synced : .estimated, intervalMilliseconds: 10_000,
        values: [.temperature: 20.1 + Double(number), .co2: 612], faults: faults,
        place: Place(latitude: 48.5, longitude: -2.25), isSimulated: true)
    return OutboxRecord(reading: reading, bootID: "boot", bootTimeMilliseconds: Int64(number))
}

/// Records with these numbers.
func records(_ numbers: ClosedRange<Int>) throws -> [OutboxRecord] { try numbers.map { try record($0) } }

/// The numbers of what waits.
func sequences(_ outbox: Outbox, after: Int64 = 0) async throws -> [Int64] {
    let found = try await outbox.read(after: after, limit: 10_000).map(\.reading.sequence)
    await outbox.release()
    return found
}

/// Drops what is beyond the bounds, to the end.
/// - Returns: how many steps it took.
@discardableResult
func keepBounds(_ outbox: Outbox) async throws -> Int {
    var steps = 1
    while try await outbox.keepBounds() { steps += 1 }
    return steps
}

/// What all reports of an outbox tell now, as if the broker had them all.
struct Told: Equatable {
    var streams: [String] = []
    var gaps: [String] = []
}

/// Gives the reports up to a number to the broker, and reads them.
func tell(_ outbox: Outbox, through number: Int64? = nil, isEnd: Bool = false) async throws -> Told {
    var told = Told()
    while true {
        let reports = try await outbox.reports(through: number, isEnd: isEnd)
        if reports.isEmpty { return told }
        for report in reports {
            #expect(report.message.count <= Reading.maximumEncodedSize)
            let object = try #require(
                try JSONSerialization.jsonObject(with: Data(report.message)) as? [String: Any])
            #expect(object["gateway_id"] as? String == report.gatewayID.description)
            let body = try #require(object["report"] as? [String: Any])
            for stream in try #require(body["streams"] as? [[String: Any]]) {
                let name = try #require(stream["stream_id"] as? String).suffix(2)
                let last = (stream["last"] as? Int).map { "\($0)" } ?? ""
                let previous = (stream["previous"] as? String)?.suffix(2) ?? "none"
                told.streams.append("\(report.gatewayID) \(name) \(stream["first"] ?? "")-\(last) after \(previous)")
            }
            for gap in try #require(body["gaps"] as? [[String: Any]]) {
                let name = try #require(gap["stream_id"] as? String).suffix(2)
                let ranges = try #require(gap["ranges"] as? [[Int]]).map { "\($0[0])-\($0[1])" }
                told.gaps.append("\(name) \(gap["reason"] ?? "") \(ranges.joined(separator: ","))")
            }
            await outbox.acknowledge(report: report.id)
        }
    }
}

/// Names of streams in a row: ...a1, ...a2.
final class StreamNames: Sendable {
    private let next: Counting

    init(_ first: UInt64 = 0xA1) {
        next = Counting(first)
    }

    var bits: @Sendable () -> UInt64 { { [next] in next.take() } }

    private final class Counting: @unchecked Sendable {
        private let lock = NSLock()
        private var number: UInt64

        init(_ number: UInt64) {
            self.number = number
        }

        func take() -> UInt64 {
            lock.withLock {
                defer { number += 1 }
                return number
            }
        }
    }
}
