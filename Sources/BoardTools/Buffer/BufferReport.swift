import GatewayCore
import Outbox
import Platform
import Presentation
import Readings

/// How full the outbox is, how long it lasts, and how long it takes to send what it holds.
public struct BufferReport {
    /// Readings that wait.
    let depth: Int64
    /// The most that may wait.
    let mostReadings: Int
    /// Bytes of the file's pages in use and of SQLite's log beside it, as `outbox.size` and `vigie_outbox_bytes` count them.
    let bytes: Int64
    /// The most bytes.
    let mostBytes: Int64
    /// The event time of the oldest reading; nil if none waits.
    let oldest: Timestamp?
    /// Readings that gave way since the file was made.
    let dropped: Int64
    /// Readings that the broker refused alone.
    let quarantined: Int64
    /// Bytes that the file may still grow by before `outbox.keep_free` is reached; nil if that is not known, or not set.
    let freeRoom: Int64?
    /// Readings a second, as the stations are set.
    let rate: Double
    /// Readings a second that are sent at most.
    let drainRate: Int

    /// Bytes of a reading of five quantities, as documentation/operations.md says how it was measured.
    private static let bytesOfReading = 165.0

    /// Looks at the outbox of a configuration, also while a gateway uses it. Blocks for as long as the disk takes.
    /// - Throws: `OutboxError` if it is not there or cannot be read.
    public init(
        _ settings: GatewaySettings, freeBytes: (String) -> Int64? = freeBytesOfFileSystem
    ) throws(OutboxError) {
        // Its pages are the doctor's to check.
        let inspection = try OutboxInspection(
            path: settings.outboxPath, mostBytes: settings.outboxLimits.bytes
        ) { true }
        depth = inspection.depth
        mostReadings = settings.outboxLimits.readings
        mostBytes = settings.outboxLimits.bytes
        oldest = inspection.oldest
        dropped = inspection.dropped
        quarantined = inspection.quarantined
        rate = settings.stations.reduce(0) { $0 + Duration.seconds(1) / $1.interval }
        drainRate = settings.drainRate
        bytes = inspection.bytes
        let limits = settings.outboxLimits
        freeRoom =
            limits.freeBytes == 0
            ? nil
            : freeBytes(settings.outboxPath).map { free in
                max(free - limits.freeBytes, OutboxLimits.smallFile - inspection.bytes, 0)
            }
    }

    /// For how long readings find room while the broker is away, seconds.
    var lasts: Double {
        let bytesOfRoom = min(mostBytes - bytes, freeRoom ?? .max)
        let room = min(Double(mostReadings) - Double(depth), Double(bytesOfRoom) / Self.bytesOfReading)
        return max(0, room) / rate
    }

    /// How long it takes to send what waits, seconds, at the rate that is set.
    var drainTime: Double { Double(depth) / Double(drainRate) }

    /// For a person.
    public var text: String {
        let lines = [
            (
                "waiting",
                "\(PlainNumbers.count(depth)) readings, \(PlainNumbers.share(Double(depth) / Double(mostReadings)))"
                    + " of \(PlainNumbers.count(Int64(mostReadings)))"
            ), ("oldest", oldest.map { "\($0)" } ?? "-"),
            (
                "size",
                "\(PlainNumbers.bytes(Double(bytes))), \(PlainNumbers.share(Double(bytes) / Double(mostBytes)))"
                    + " of \(PlainNumbers.bytes(Double(mostBytes)))"
            ),
            ("lasts for", "\(PlainNumbers.seconds(lasts)), at \(PlainNumbers.rate(rate * 60)) readings a minute"),
            ("sent in", "\(PlainNumbers.seconds(drainTime)) once the broker takes them, at kafka.drain_rate"),
            ("gave way", "\(PlainNumbers.count(dropped)) readings"),
            ("quarantine", "\(PlainNumbers.count(quarantined)) readings"),
        ]
        return lines.map { name, value in
            name + String(repeating: " ", count: 12 - name.utf8.count) + value + "\n"
        }.joined()
    }

    /// For a program: one object. `readings` and `bytes` that wait, with the bounds `most_readings` and `most_bytes`;
    /// `oldest`, an event time, or null; `lasts_seconds` without a broker; `drain_seconds` with one; `dropped`;
    /// `quarantined`.
    public var json: JSON {
        [
            "readings": .integer(depth), "most_readings": .integer(Int64(mostReadings)), "bytes": .integer(bytes),
            "most_bytes": .integer(mostBytes), "oldest": oldest.map { .string("\($0)") } ?? .null,
            "lasts_seconds": .number(lasts), "drain_seconds": .number(drainTime), "dropped": .integer(dropped),
            "quarantined": .integer(quarantined),
        ]
    }
}

extension QuarantinedReading {
    /// For a program: one object. `seq`, `stream_id` and `gateway_id` of the reading, `event_time`, `reason`,
    /// `quarantined_at` (null if an older release did it), `requeued`, and `reading`, the message as it was refused.
    public var json: JSON {
        [
            "seq": .integer(sequence), "stream_id": .string("\(streamID)"), "gateway_id": .string(gatewayID),
            "event_time": .string("\(eventTime)"), "reason": .string(reason),
            "quarantined_at": quarantinedAt.map { .string("\($0)") } ?? .null, "requeued": .bool(isRequeued),
            "reading": .encoded(body),
        ]
    }
}
