import CSQLite
import Glibc
import Platform
import Readings

/// What was taken out of a file that cannot be used any more.
public struct OutboxSalvage: Sendable, Equatable {
    /// Where that file is now.
    public var path: String
    /// Why it cannot be used; nil if an earlier process set it aside.
    public var cause: OutboxError?
    /// Readings that were taken out of it and wait again.
    public var readings: Int
    /// Readings that should be in it and are not, as far as that is known.
    public var missing: Int64
    /// What kept the rest from being taken out; nil if nothing did.
    public var interruption: OutboxError?
}

/// Takes what can be read out of a damaged file and puts it into a new one.
struct Salvage {
    private let path: String
    private let file: OutboxFile
    /// What is not taken: readings up to this number have been acknowledged.
    private let acknowledgedThrough: Int64
    /// The stream that this process gave numbers of.
    private let running: StreamRow?
    /// Readings that are in the new file now.
    private(set) var readings = 0

    /// - Parameters:
    ///   - path: the damaged file; its log stands beside it under the same name.
    ///   - file: the new one.
    ///   - acknowledgedThrough: readings up to this number are not taken.
    ///   - running: the stream that this process gave numbers of; nil if it gave none.
    init(path: String, into file: OutboxFile, acknowledgedThrough: Int64, running: StreamRow?) {
        self.path = path
        self.file = file
        self.acknowledgedThrough = acknowledgedThrough
        self.running = running
    }

    /// Copies all that is found, in portions.
    /// - Throws: `OutboxError` if the new file takes no more; what it has by then stays.
    mutating func run() throws(OutboxError) {
        do {
            // First what is known of streams, which tells where older rows belong.
            var ledger = Ledger()
            try PageScan.run(path) { ledger.add($0) }
            if let running { ledger.add(running) }
            var portion = Portion(known: ledger)
            try PageScan.run(path) { row in
                portion.add(row)
                if portion.count >= 500 { try insert(&portion, noting: &ledger) }
            }
            try insert(&portion, noting: &ledger)
            try insert(ledger)
        } catch let error as OutboxError {
            throw error
        } catch let error as SystemError {
            throw OutboxError(code: SQLITE_IOERR, message: error.description, path: path)
        } catch {
            throw OutboxError(code: SQLITE_ERROR, message: "\(error)", path: path)
        }
    }

    /// Whether a file, or the log beside it, holds anything that only an outbox has: its table of readings, a reading, a
    /// reading of the quarantine.
    static func recognises(_ path: String) -> Bool {
        struct Recognised: Error {}
        do {
            var portion = Portion(known: nil)
            try PageScan.run(path) { row in
                portion.add(row)
                let isSchema =
                    row.fields.count == 5 && row.text(at: 0) == "table" && row.text(at: 1) == "reading"
                    && row.text(at: 4)?.contains(ReadingColumn.timeQuality.name) ?? false
                if portion.count > 0 || isSchema { throw Recognised() }
            }
            return false
        } catch {
            return error is Recognised
        }
    }

    private func insert(_ ledger: Ledger) throws(OutboxError) {
        let database = file.database
        try database.transaction { () throws(OutboxError) in
            for stream in ledger.streamsInOrder { try StreamTable.insert(stream, into: database) }
            for gap in ledger.gaps.sorted(by: { $0.key < $1.key }) { try GapTable.insert(gap.value, into: database) }
            try database.prepare("UPDATE outbox SET last_number = max(last_number, ?), dropped = max(dropped, ?)")
                .run([.integer(ledger.lastNumber), .integer(ledger.dropped)])
        }
    }

    private mutating func insert(_ portion: inout Portion, noting ledger: inout Ledger) throws(OutboxError) {
        for record in portion.readings { ledger.note(record.reading) }
        let records = portion.readings.filter { $0.reading.sequence > acknowledgedThrough }
        let quarantined = portion.quarantined
        (portion.readings, portion.quarantined) = ([], [])
        let exists = try file.database.prepare("SELECT 1 FROM reading WHERE seq = ?")
        readings += try file.database.transaction { () throws(OutboxError) in
            var copied = 0
            for record in records {
                var isThere = false
                try exists.run([.integer(record.reading.sequence)]) { _ in isThere = true }
                if isThere { continue }
                try file.insert(record)
                copied += 1
            }
            for reading in quarantined { try file.insertQuarantined(reading) }
            return copied
        }
    }

    /// The rows of the small tables. Which table a row is of shows in the number of its fields and in their types.
    private struct Ledger {
        private(set) var streams: [StreamID: StreamRow] = [:]
        private(set) var gaps: [Int64: Gap] = [:]
        private(set) var lastNumber: Int64 = 0
        private(set) var dropped: Int64 = 0
        private var olderStream: StreamID?
        /// The largest number of a reading that was found of a stream.
        private var largest: [StreamID: Int64] = [:]

        /// The stream of rows from before format 3, whose file had one. A file that became one of format 3 names it among
        /// its streams.
        var oldestStream: StreamID? { olderStream ?? streams.values.min { $0.ordinal < $1.ordinal }?.streamID }

        mutating func add(_ row: PageScan.Row) {
            switch row.fields.count {
            case 8, 9: if let stream = StreamRow(row, ordinal: row.key) { add(stream) }
            case 7: if let gap = Gap(row) { gaps[row.key] = gap }
            case 3:
                if let number = row.integer(at: 0), Outbox.numbers.contains(number) {
                    lastNumber = max(lastNumber, number)
                    dropped = max(dropped, row.integer(at: 1) ?? 0)
                }
            case 2: if let stream = row.text(at: 0).flatMap({ StreamID($0) }) { olderStream = stream }
            default: break
            }
        }

        /// The streams as numbers went on from one to the next, which tells where each but the last one ends.
        var streamsInOrder: [StreamRow] {
            var ordered = streams.values.sorted { $0.first < $1.first }
            for (index, stream) in ordered.enumerated() {
                // No checksum covers the end of a stream.
                if let last = stream.last, last < largest[stream.streamID] ?? 0 { ordered[index].last = nil }
            }
            for index in ordered.indices.dropLast() {
                ordered[index].isRunning = false
                ordered[index].last = ordered[index].last ?? max(ordered[index + 1].first - 1, ordered[index].first)
            }
            return ordered
        }

        /// Whether a reading without a checksum may be what was committed: its number lies in its stream, or nothing is
        /// known of streams there.
        func admits(_ reading: Reading) -> Bool {
            let number = reading.sequence
            if let stream = streams[reading.streamID] { return (stream.first...(stream.last ?? .max)).contains(number) }
            return !streams.values.contains { $0.first <= number }
        }

        /// A reading says what its stream is, if the table's row of that is gone.
        mutating func note(_ reading: Reading) {
            largest[reading.streamID] = max(largest[reading.streamID] ?? 0, reading.sequence)
            guard streams[reading.streamID] == nil else { return }
            streams[reading.streamID] = StreamRow(
                ordinal: 0, streamID: reading.streamID, gatewayID: reading.gatewayID.description,
                first: reading.streamFirst ?? 1, last: nil, previous: nil, isRunning: true, told: .nothing)
        }

        /// A stream may stand several times in the log: what is known last holds.
        mutating func add(_ found: StreamRow) {
            var stream = found
            if let known = streams[stream.streamID] {
                stream.last = stream.last ?? known.last
                stream.isRunning = stream.isRunning && known.isRunning
                if known.told.rawValue > stream.told.rawValue { stream.told = known.told }
            }
            streams[stream.streamID] = stream
        }
    }

    /// Readings that wait to be copied.
    private struct Portion {
        var readings: [OutboxRecord] = []
        var quarantined: [QuarantinedReading] = []
        private let known: Ledger?
        private let olderStream: StreamID?

        /// - Parameter known: what is known of streams; nil if any row counts that looks like a reading.
        init(known: Ledger?) {
            self.known = known
            olderStream = known.map(\.oldestStream) ?? StreamID(bits: 0)
        }

        var count: Int { readings.count + quarantined.count }

        mutating func add(_ row: PageScan.Row) {
            switch row.fields.count {
            case let count where ReadingColumn.counts.contains(count):
                if let record = OutboxRecord(row, sequence: row.key, olderStream: olderStream),
                    row.isChecked(at: ReadingColumn.checksum.position) || known?.admits(record.reading) ?? true
                {
                    readings.append(record)
                }
            case 8, 4:
                if let reading = QuarantinedReading(row, olderStream: olderStream) { quarantined.append(reading) }
            default: break
            }
        }
    }
}

extension QuarantinedReading {
    /// Reads a row of the table in the order of its columns in the file; older rows end behind the body.
    /// - Returns: nil if something in it is damaged.
    fileprivate init?(_ row: PageScan.Row, olderStream: StreamID?) {
        let stream = row.integer(at: 4).map { StreamID(bits: UInt64(bitPattern: $0)) } ?? olderStream
        guard Outbox.numbers.contains(row.key), let reason = row.text(at: 1), let eventTime = row.integer(at: 2),
            let body = row.text(at: 3), let stream
        else { return nil }
        let time = row.integer(at: 6) ?? 0
        self.init(
            sequence: row.key, streamID: stream, gatewayID: row.text(at: 5) ?? "unknown",
            eventTime: Timestamp(milliseconds: eventTime), reason: reason,
            quarantinedAt: time == 0 ? nil : Timestamp(milliseconds: time), isRequeued: row.integer(at: 7) == 1,
            body: body)
    }
}
