import Readings

@testable import Outbox

/// What stands in an outbox's file, but for what SQLite and the outbox keep for their own speed.
struct OutboxTables: Equatable {
    /// Who gave a number to what.
    struct Use: Hashable {
        var stream: Int64
        /// Sensor and event time; nil for a number that was given up.
        var reading: String?
    }

    struct Stream: Equatable {
        var stream: Int64
        var first: Int64
        var last: Int64?
        var isRunning: Bool
        var told: Int64
    }

    struct Gap: Equatable {
        var stream: Int64
        var reason: String
        var ranges: NumberRanges
    }

    var readings: [Int64: Use] = [:]
    var quarantined: [Int64: Bool] = [:]
    var streams: [Stream] = []
    var gaps: [Gap] = []
    var lastNumber: Int64 = 0
    var dropped: Int64 = 0

    /// The numbers of all gaps.
    var gapNumbers: Set<Int64> { Set(gaps.flatMap { $0.ranges.ranges.flatMap { Array($0) } }) }

    /// What is not as in `other`, in short.
    func differences(from other: OutboxTables) -> [String] {
        var lines: [String] = []
        for (number, use) in readings where other.readings[number] != use { lines.append("reading \(number) more") }
        for number in other.readings.keys where readings[number] == nil { lines.append("reading \(number) less") }
        if quarantined != other.quarantined { lines.append("quarantine \(quarantined), not \(other.quarantined)") }
        if streams != other.streams { lines.append("streams \(streams), not \(other.streams)") }
        if gaps != other.gaps { lines.append("gaps \(gaps), not \(other.gaps)") }
        if lastNumber != other.lastNumber { lines.append("last number \(lastNumber), not \(other.lastNumber)") }
        if dropped != other.dropped { lines.append("dropped \(dropped), not \(other.dropped)") }
        return lines
    }

    /// The largest number that stands anywhere.
    var largestNumber: Int64 {
        [lastNumber, readings.keys.max() ?? 0, quarantined.keys.max() ?? 0, gapNumbers.max() ?? 0].max() ?? 0
    }
}

extension Outbox {
    /// Reads all tables.
    func tables() throws(OutboxError) -> OutboxTables {
        try withFile { file throws(OutboxError) in
            var tables = OutboxTables()
            let database = file.database
            try database.prepare("SELECT seq, stream_id, sensor_id, event_time FROM reading").run { row in
                tables.readings[row.integer(at: 0) ?? -1] = OutboxTables.Use(
                    stream: row.integer(at: 1) ?? -1,
                    reading: "\(row.text(at: 2) ?? "?") \(row.integer(at: 3) ?? -1)")
            }
            try database.prepare("SELECT seq, is_requeued FROM quarantine").run { row in
                tables.quarantined[row.integer(at: 0) ?? -1] = row.integer(at: 1) == 1
            }
            for stream in try StreamTable.all(in: database) {
                tables.streams.append(
                    OutboxTables.Stream(
                        stream: Int64(bitPattern: stream.streamID.bits), first: stream.first, last: stream.last,
                        isRunning: stream.isRunning, told: stream.told.rawValue))
            }
            for (_, gap) in try GapTable.select(through: .max, limit: .max, from: database) {
                tables.gaps.append(
                    OutboxTables.Gap(
                        stream: Int64(bitPattern: gap.streamID.bits), reason: gap.reason.rawValue, ranges: gap.ranges))
            }
            try database.prepare("SELECT last_number, dropped FROM outbox").run { row in
                tables.lastNumber = row.integer(at: 0) ?? -1
                tables.dropped = row.integer(at: 1) ?? -1
            }
            return tables
        }
    }

    /// Marks everything in the quarantine to be sent again, as a person at the board does with another program.
    func requeueAll() throws(OutboxError) {
        try withFile { file throws(OutboxError) in
            try file.database.execute("UPDATE quarantine SET is_requeued = 1 WHERE is_requeued = 0")
        }
    }

    /// What SQLite finds wrong with the file; empty if nothing.
    func damage() throws(OutboxError) -> [String] {
        try withFile { file throws(OutboxError) in
            var lines: [String] = []
            try file.database.prepare("PRAGMA integrity_check").run { row in lines.append(row.text(at: 0) ?? "") }
            return lines == ["ok"] ? [] : lines
        }
    }
}
