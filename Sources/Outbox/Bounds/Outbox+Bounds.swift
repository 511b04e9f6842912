import CSQLite
import Glibc
import Readings

/// The bytes that a program without privileges may still write to the file system that a path is on (statvfs(3)).
/// - Returns: nil if it is not known.
public let freeBytesOfFileSystem: @Sendable (String) -> Int64? = { path in
    var status = statvfs()
    guard statvfs(path, &status) == 0 || statvfs(folder(of: path), &status) == 0 else { return nil }
    return Int64(clamping: UInt64(status.f_bavail) * UInt64(status.f_frsize))
}

extension Outbox {
    /// The most readings that one step drops: their pages, written anew, are far less than 4 MB.
    private static let step = 2000

    /// Does one step towards the bounds: drops some readings, or gives back some of the file. Each step is a transaction
    /// of its own that writes less than 4 MB.
    /// - Returns: whether there is more to do.
    public func keepBounds() throws(OutboxError) -> Bool {
        let (dropped, more) = try withFile { file throws(OutboxError) -> (Int, Bool) in
            if thinning != nil { return (try thin(file), true) }
            switch try excess(rows: rows.count, in: file) {
            case .none: return (0, try giveBack(file))
            case .expired:
                let dropped = try dropExpired(from: file)
                return (dropped, dropped > 0)
            case .readings(let count):
                if limits.policy == .thin {
                    try startThinning(file)
                    if thinning != nil { return (try thin(file), true) }
                }
                let dropped = try dropOldest(min(count, Self.step), from: file)
                return (dropped, dropped > 0)
            }
        }
        rows.deleted(dropped)
        if dropped > 0 { rows.isStored = false }
        return more
    }

    /// Whether `keepBounds` would do something.
    /// - Parameter depth: the rows, or the most that there may be.
    func hasStep(rows depth: Int, in file: OutboxFile) throws(OutboxError) -> Bool {
        if thinning != nil { return true }
        if try excess(rows: depth, in: file) != .none { return true }
        return Self.isWorthGivingBack(try file.pages())
    }

    /// What is beyond the bounds.
    private enum Excess: Equatable {
        case none
        /// Readings that are older than the bound.
        case expired
        /// So many readings; at least one stays.
        case readings(Int)
    }

    /// - Parameter depth: the rows, or the most that there may be.
    private func excess(rows depth: Int, in file: OutboxFile) throws(OutboxError) -> Excess {
        guard depth > 1 else { return .none }
        // What is too old goes under every policy, and may be all that has to go.
        if let expiry, let oldest = try file.oldest(after: firstDroppable), oldest.eventTime < expiry {
            return .expired
        }
        var excess = 0
        // What is over the bound by an estimate may be within it.
        if depth > limits.readings, try countAll(file) > max(limits.readings, 1) {
            excess = rows.count - max(limits.readings, 1)
        }
        if limits.policy != .dropNewest {
            if try file.usedBytes() > limits.bytes {
                // A share of the whole, so that a page comes free after few rounds.
                excess = max(excess, min(max(depth / 64, 16), depth - 1))
            } else if try isShortOfSpace(file) {
                excess = max(excess, min(200, depth - 1))
            }
        }
        return excess > 0 ? .readings(excess) : .none
    }

    /// The event time before which readings are too old; nil if none are.
    private var expiry: Int64? { limits.age.map { wallClock.now().milliseconds - $0.milliseconds } }

    /// What may be dropped lies above this number: the rest is on its way or acknowledged.
    private var firstDroppable: Int64 { max(givenThrough, acknowledgedThrough) }

    /// Whether the file would have to grow although the file system is short of space.
    ///
    /// A small file may grow all the same: it is not what fills the file system, and while the broker takes readings it needs
    /// a few pages for those that are on their way. Where nearly nothing is left, it is smaller still.
    private func isShortOfSpace(_ file: OutboxFile) throws(OutboxError) -> Bool {
        guard limits.freeBytes > 0, let free = freeBytes(path), free < limits.freeBytes else { return false }
        let pages = try file.pages()
        let small = free < Self.nearlyNothing ? Self.smallestFile : Self.smallFile
        return pages.free < 16 && pages.all - pages.free > small
    }

    /// Bytes of free space with which even a small file is not to grow.
    private static let nearlyNothing: Int64 = 2 << 20
    /// So many pages in use are a small file: some 6,000 readings.
    private static let smallFile = OutboxLimits.smallFile / OutboxFile.pageSize
    /// And so many where nearly nothing is free: 128 KiB, some 700 readings.
    private static let smallestFile: Int64 = 32

    /// How many readings may be appended, where new ones give way.
    func room(in file: OutboxFile) throws(OutboxError) -> Int {
        let limit = max(limits.readings, 1)
        var depth = rows.count
        if depth >= limit { depth = try countAll(file) }
        if depth >= limit, acknowledgedThrough > 0 {
            // What is acknowledged goes with this very commit.
            depth -= Int(
                try file.database.statement("SELECT count(*) FROM reading WHERE seq <= ?")
                    .integer([.integer(acknowledgedThrough)]) ?? 0)
        }
        if depth > 0 {
            if try file.usedBytes() > limits.bytes { return 0 }
            if try isShortOfSpace(file) { return 0 }
        }
        return max(0, limit - depth)
    }

    private func dropOldest(_ count: Int, from file: OutboxFile) throws(OutboxError) -> Int {
        _ = try countAll(file)
        return try drop(from: file) { () throws(OutboxError) in
            var chosen: [Candidate] = []
            try candidates(after: firstDroppable, through: .max, limit: count, in: file) { chosen.append($0) }
            return (chosen, .droppedOldest)
        }
    }

    private func dropExpired(from file: OutboxFile) throws(OutboxError) -> Int {
        _ = try countAll(file)
        let expiry = expiry ?? .min
        return try drop(from: file) { () throws(OutboxError) in
            var chosen: [Candidate] = []
            try candidates(after: firstDroppable, through: .max, limit: Self.step, in: file) {
                if $0.eventTime < expiry { chosen.append($0) }
            }
            return (chosen, .droppedOldest)
        }
    }

    // MARK: Thinning

    private func startThinning(_ file: OutboxFile) throws(OutboxError) {
        let count = try countAll(file)
        let start = firstDroppable
        guard count >= 4,
            let middle = try file.database.statement(
                "SELECT seq FROM reading WHERE seq > ? ORDER BY seq LIMIT 1 OFFSET ?"
            )
            .integer([.integer(start), .integer(Int64(count / 2))])
        else { return }
        thinning = Thinning(after: start, through: middle)
    }

    private func thin(_ file: OutboxFile) throws(OutboxError) -> Int {
        guard var pass = thinning else { return 0 }
        let dropped = try drop(from: file) { () throws(OutboxError) in
            var chosen: [Candidate] = []
            var seen = 0
            let start = max(pass.position, firstDroppable)
            try candidates(after: start, through: pass.through, limit: Self.step, in: file) { candidate in
                seen += 1
                if pass.drops(candidate.number, of: "\(candidate.gatewayID)/\(candidate.sensorID)") {
                    chosen.append(candidate)
                }
            }
            if seen == 0 { pass.end() }
            return (chosen, .thinned)
        }
        if pass.isOver {
            thinning = nil
            // Nothing could go, such as with one reading a sensor: then the oldest do.
            if pass.dropped == 0 { return try dropOldest(min(16, max(rows.count / 2, 1)), from: file) }
        } else {
            thinning = pass
        }
        return dropped
    }

    // MARK: Dropping

    /// A reading that may be dropped.
    private struct Candidate {
        var number: Int64
        var streamID: Int64
        var gatewayID: String
        var sensorID: String
        var eventTime: Int64
    }

    private func candidates(
        after start: Int64, through end: Int64, limit: Int, in file: OutboxFile, _ body: (Candidate) -> Void
    ) throws(OutboxError) {
        try file.database.statement(
            """
            SELECT seq, stream_id, gateway_id, sensor_id, event_time FROM reading
            WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?
            """
        ).run([.integer(start), .integer(end), .integer(Int64(limit))]) { row in
            guard let number = row.integer(at: 0) else { return }
            body(
                Candidate(
                    number: number, streamID: row.integer(at: 1) ?? 0, gatewayID: row.text(at: 2) ?? "",
                    sensorID: row.text(at: 3) ?? "", eventTime: row.integer(at: 4) ?? 0))
        }
    }

    /// Deletes readings and notes their numbers as gaps, in one transaction.
    private func drop(
        from file: OutboxFile,
        _ choose: () throws(OutboxError) -> (chosen: [Candidate], reason: GatewayReport.GapReason)
    ) throws(OutboxError) -> Int {
        let database = file.database
        let (chosen, reason) = try choose()
        guard !chosen.isEmpty else { return 0 }
        return try database.transaction { () throws(OutboxError) in
            var gaps: [Gap] = []
            let delete = try database.statement("DELETE FROM reading WHERE seq = ?")
            for candidate in chosen {
                try delete.run([.integer(candidate.number)])
                let stream = StreamID(bits: UInt64(bitPattern: candidate.streamID))
                if gaps.last?.streamID != stream {
                    gaps.append(
                        Gap(
                            streamID: stream, gatewayID: candidate.gatewayID, reason: reason, ranges: NumberRanges()))
                }
                gaps[gaps.count - 1].ranges.append(candidate.number)
            }
            for gap in gaps { try add(gap, to: database) }
            try count(dropped: chosen.count, in: database)
            if rows.isStored { try database.execute("UPDATE outbox SET readings = NULL") }
            return chosen.count
        }
    }

    // MARK: The file's size

    private static func isWorthGivingBack(_ pages: (all: Int64, free: Int64)) -> Bool {
        pages.free > 256 && pages.free > pages.all / 4
    }

    /// Gives back pages that are free, if they are many.
    /// - Returns: whether there are still many.
    private func giveBack(_ file: OutboxFile) throws(OutboxError) -> Bool {
        let database = file.database
        let (pages, free) = try file.pages()
        guard Self.isWorthGivingBack((pages, free)) else { return false }
        guard try database.integer("PRAGMA auto_vacuum") == 2 else {
            // A file of an older release can be made small only as a whole, which is written to the log.
            if pages - free < 300 {
                try database.execute("PRAGMA auto_vacuum = INCREMENTAL")
                try database.execute("VACUUM")
            }
            return false
        }
        // Each page that is given back may move another one.
        try database.prepare("PRAGMA incremental_vacuum(200)").run()
        let rest = try file.pages().free
        return rest < free && rest > 256
    }

    // MARK: Counting

    /// Counts the next portion of the rows, after a crash.
    /// - Returns: whether there are more.
    public func countRows() throws(OutboxError) -> Bool {
        guard !rows.isExact else { return false }
        try withFile { file throws(OutboxError) in try countPortion(file) }
        return !rows.isExact
    }

    /// Counts the rest of the rows.
    /// - Returns: how many there are.
    func countAll(_ file: OutboxFile) throws(OutboxError) -> Int {
        while !rows.isExact { try countPortion(file) }
        return rows.count
    }

    private func countPortion(_ file: OutboxFile) throws(OutboxError) {
        let limit = 20_000
        let portion = try file.count(after: rows.countedThrough, through: rows.last, limit: limit)
        rows.counted(portion.count, through: portion.count < limit ? nil : portion.last)
    }
}

extension Duration {
    /// Whole milliseconds, rounded down.
    fileprivate var milliseconds: Int64 {
        components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000
    }
}
