import CSQLite
import Glibc
import Platform
import Readings

/// The durable queue between the sampler and the publisher.
///
/// **Constraints.** Power may go at any instant. The network may be away for a month. The storage is an SD card that
/// fills up, turns read-only, or loses pages. A number, once given, is never given again, whatever happens in between,
/// also if an older copy of the file is put back: the centre finds duplicates and losses by these numbers alone.
///
/// **Format.** One SQLite file, in WAL mode with synchronous=FULL: a commit returns after fsync(2). `OutboxSchema` has
/// the tables. A lock on a file beside it keeps a second gateway away, and one on the file itself a gateway that reaches
/// it by another name.
///
/// **Numbers.** They go on through the life of the file. A *stream* is a run of them that nobody else can give: its
/// name is random, and new with the first reading that is committed after a start, after salvage, after the file was
/// lost, and when the gateway's name changes. What never comes of a stream is a *gap*. `reports(through:)` gives the
/// messages that tell the centre of both.
///
/// **Write.** `append` commits a group of readings in one transaction; when it returns they survive everything but the
/// loss of the storage. `keepBounds` then makes room, in small steps.
///
/// **Read.** `read(after:limit:)` gives readings in the order of their numbers and leaves them in place.
///
/// **Acknowledge.** `acknowledge(through:)` holds in memory at once. Rows are deleted with a later commit, in groups: a
/// crash before it makes the same readings be sent again under the same numbers, which is harmless.
///
/// **Trouble.** A file that cannot be opened, now or later, is tried again with each call; until then every call says
/// why. A damaged file is set aside, what can be read of it goes into a new one. A file that was deleted or replaced is
/// put back from the connection, which still has it.
///
/// SQLite's calls block, so the outbox has a thread of its own.
public actor Outbox {
    /// What a number can be (RFC 8259 section 6: the largest integer that every reader of JSON takes exactly).
    static let numbers: ClosedRange<Int64> = 1...9_007_199_254_740_991

    /// The file, without the symbolic links that led to it.
    public nonisolated let path: String
    private nonisolated let executor: ThreadExecutor
    let limits: OutboxLimits
    let fileSystem: String?
    let randomBits: @Sendable () -> UInt64
    let freeBytes: @Sendable (String) -> Int64?
    let sync: @Sendable (String) -> Bool
    let wallClock: any WallClock
    let observer: OutboxObserver

    var lock: OutboxLock?
    /// The lock on the file itself.
    var hold: FileHold?
    var opened: OutboxFile?
    /// The largest number ever given; nil until a file has been opened.
    var lastNumber: Int64?
    /// The largest number that the file has noted beside its rows.
    var notedNumber: Int64 = 0
    /// After so many numbers the last one is noted, which writes one page more: if the newest rows are lost with their
    /// pages, it tells how many they were.
    private static let notingGroup: Int64 = 100
    /// The stream that goes on; nil: the next reading begins one.
    var stream: StreamRow?
    /// The stream of the newest readings, also when its file is gone.
    var lastStream: StreamRow?
    /// Whether the largest number that the file knows is the last one of its last stream.
    var isEndKnown = true
    /// Whether the numbers that were given are known although a file is damaged, since this process gave them.
    var knowsNumbers = false
    /// The largest number that the broker is known to have, with all before it.
    var acknowledgedThrough: Int64 = 0
    /// The same, as the file knows it.
    private var settledThrough: Int64 = 0
    /// So many numbers are deleted together at the latest.
    private static let settlingGroup: Int64 = 2000
    /// The largest number that was given to the publisher. What is on its way is not dropped.
    var givenThrough: Int64 = 0
    var rows = RowCount()
    var ledger = ReportLedger()
    var thinning: Thinning?
    /// Rows that hold no reading and could not be set aside yet.
    private var skipped: Set<Int64> = []

    /// Runs on the outbox's own thread.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// Takes the outbox for this process. The file is opened, or made, by the first call that needs it.
    ///
    /// A file that cannot be opened or made is no error here: the calls say so, and try again.
    /// - Parameters:
    ///   - path: the file; its folder must exist.
    ///   - limits: how far it may grow.
    ///   - fileSystem: the name of a registered SQLite VFS; nil: the usual one.
    ///   - randomBits: 64 random bits for a new stream's name.
    ///   - freeBytes: the bytes that a program without privileges may still write to the file system of a path; nil if that
    ///     is not known.
    ///   - sync: makes what a file's log holds, and the names in its folder, survive a power cut; returns whether the
    ///     storage took it.
    ///   - wallClock: tells when a group of readings was committed, and how old readings are.
    ///   - observer: what is told of what happens.
    /// - Throws: `OutboxInUse` if another process has it.
    public static func open(
        path: String, limits: OutboxLimits = OutboxLimits(), fileSystem: String? = nil,
        randomBits: @escaping @Sendable () -> UInt64 = { .random(in: 1...UInt64.max) },
        freeBytes: @escaping @Sendable (String) -> Int64? = freeBytesOfFileSystem,
        sync: @escaping @Sendable (String) -> Bool = syncLogAndFolder,
        wallClock: any WallClock = SystemWallClock(), observer: OutboxObserver = OutboxObserver()
    ) async throws(OutboxInUse) -> Outbox {
        let outbox = Outbox(
            path: path, limits: limits, fileSystem: fileSystem, randomBits: randomBits, freeBytes: freeBytes,
            sync: sync, wallClock: wallClock, observer: observer)
        try await outbox.start()
        return outbox
    }

    private init(
        path: String, limits: OutboxLimits, fileSystem: String?, randomBits: @escaping @Sendable () -> UInt64,
        freeBytes: @escaping @Sendable (String) -> Int64?, sync: @escaping @Sendable (String) -> Bool,
        wallClock: any WallClock, observer: OutboxObserver
    ) {
        self.path = fileSystem == nil ? withoutLinks(path) : path
        self.limits = limits
        self.fileSystem = fileSystem
        self.randomBits = randomBits
        self.freeBytes = freeBytes
        self.sync = sync
        self.wallClock = wallClock
        self.observer = observer
        executor = ThreadExecutor(name: "outbox")
    }

    private func start() throws(OutboxInUse) {
        guard fileSystem == nil else { return }
        do throws(OutboxError) {
            lock = try OutboxLock(path: path)
            hold = try FileHold(path: path)
        } catch {
            if let holder = error.holder { throw holder }
            observer.troubled(error)
        }
    }

    /// Opens the file, takes what can be read out of a damaged one, and counts its rows: all that the first call would
    /// wait for.
    /// - Returns: whether the file is open. If it is not, the observer knows why.
    @discardableResult
    public func prepare() async -> Bool {
        do throws(OutboxError) {
            _ = try file()
            // Others come in between.
            while try countRows() { await Task.yield() }
            return true
        } catch {
            observer.troubled(error)
            return false
        }
    }

    // MARK: Writing

    /// Commits readings in one transaction; each gets the next number.
    /// - Parameters:
    ///   - records: the readings, in order.
    ///   - dropped: how many readings before them the queue in memory had to give up. They use up numbers.
    /// - Returns: the last number; nil if there is nothing to commit.
    /// - Throws: why nothing was committed.
    @discardableResult
    public func append(_ records: [OutboxRecord], dropped: Int = 0) throws(OutboxError) -> Int64? {
        try write(records, dropped: dropped).last
    }

    /// Commits readings as `append` does.
    /// - Returns: the last number, and whether `keepBounds` has something to do.
    public func write(
        _ records: [OutboxRecord], dropped: Int = 0
    ) throws(OutboxError) -> (last: Int64?, isBeyondBounds: Bool) {
        guard let gatewayID = records.first?.reading.gatewayID, dropped >= 0 else { return (nil, false) }
        let outcome = try withFile { file throws(OutboxError) in
            do throws(OutboxError) {
                return try commit(records, dropped: dropped, gatewayID: gatewayID, to: file)
            } catch {
                // Somebody has put a row into the file: numbers go on above it.
                guard error.code & 0xFF == SQLITE_CONSTRAINT else { throw error }
                lastNumber = max(lastNumber ?? 0, try file.lastNumber())
                return try commit(records, dropped: dropped, gatewayID: gatewayID, to: file)
            }
        }
        lastNumber = outcome.last
        notedNumber = outcome.noted
        stream = outcome.stream
        lastStream = outcome.stream
        isEndKnown = true
        rows.inserted(outcome.inserted)
        settled(outcome.settled)
        ledger.goesOn()
        observer.appended()
        return (outcome.last, outcome.isBeyondBounds)
    }

    private struct Commit {
        var last: Int64
        var noted: Int64
        var stream: StreamRow
        var inserted = 0
        var settled: Settled
        var isBeyondBounds: Bool
    }

    private func commit(
        _ records: [OutboxRecord], dropped: Int, gatewayID: Identifier, to file: OutboxFile
    ) throws(OutboxError) -> Commit {
        let room = try limits.policy == .dropNewest ? room(in: file) : Int.max
        let database = file.database
        return try database.transaction { () throws(OutboxError) in
            let now = wallClock.now()
            var last = lastNumber ?? 0
            var current = try currentStream(gatewayID, after: last, in: database)
            var inserted = 0
            func gap(_ count: Int, _ reason: GatewayReport.GapReason) throws(OutboxError) {
                guard count > 0 else { return }
                try add(NumberRanges(last + 1...last + Int64(count)), reason, of: current, to: database)
                last += Int64(count)
            }
            try gap(dropped, .queueFull)
            var refused = 0
            for record in records {
                if record.reading.gatewayID.description != current.gatewayID {
                    try gap(refused, .droppedNewest)
                    refused = 0
                    current = try currentStream(record.reading.gatewayID, after: last, in: database)
                }
                if inserted >= room {
                    refused += 1
                    continue
                }
                try gap(refused, .droppedNewest)
                refused = 0
                last += 1
                var stored = record
                stored.committedAt = now
                stored.reading.sequence = last
                stored.reading.streamID = current.streamID
                stored.reading.streamFirst = current.first
                try file.insert(stored)
                inserted += 1
            }
            try gap(refused, .droppedNewest)
            if inserted < records.count { try count(dropped: records.count - inserted, in: database) }
            var noted = notedNumber
            if last - noted >= Self.notingGroup {
                try file.remember(lastNumber: last)
                noted = last
            }
            // The deletion of what was acknowledged costs little here: mostly it is on the page that is written anyway.
            let settled = try settle(in: file)
            if ledger.isEndTold {
                // The stream goes on, so its end is to be told anew.
                try database.execute("UPDATE stream SET told = 1 WHERE is_running = 1 AND told = 2")
            }
            // Here, where the file is locked anyway.
            let isBeyondBounds = try hasStep(rows: rows.count + inserted - settled.deleted, in: file)
            return Commit(
                last: last, noted: noted, stream: current, inserted: inserted, settled: settled,
                isBeyondBounds: isBeyondBounds)
        }
    }

    /// The stream that goes on under a name, or a new one that begins with the next number.
    private func currentStream(
        _ gatewayID: Identifier, after last: Int64, in database: Database
    ) throws(OutboxError) -> StreamRow {
        if let stream, stream.gatewayID == gatewayID.description {
            return stream
        }
        let before = try StreamTable.newest(in: database)
        try StreamTable.end(last: isEndKnown ? last : nil, in: database)
        let begun = StreamRow(
            ordinal: (before?.ordinal ?? 0) + 1, streamID: StreamID(bits: randomBits()),
            gatewayID: gatewayID.description, first: last + 1,
            previous: before?.gatewayID == gatewayID.description ? before?.streamID : nil, isRunning: true,
            told: .nothing)
        try StreamTable.insert(begun, into: database)
        return begun
    }

    /// Notes numbers that never come. What follows the newest gap of its kind makes that longer.
    func add(
        _ ranges: NumberRanges, _ reason: GatewayReport.GapReason, of stream: StreamRow, to database: Database
    ) throws(OutboxError) {
        try add(
            Gap(streamID: stream.streamID, gatewayID: stream.gatewayID, reason: reason, ranges: ranges), to: database)
    }

    func add(_ gap: Gap, to database: Database) throws(OutboxError) {
        if gap.ranges.ranges.count == 1, let newest = try GapTable.newest(in: database),
            !ledger.isGiven(gap: newest.id), newest.gap.streamID == gap.streamID, newest.gap.reason == gap.reason,
            newest.gap.ranges.ranges.count == 1, let end = newest.gap.ranges.last, let range = gap.ranges.ranges.first,
            range.lowerBound == end + 1
        {
            var longer = newest.gap.ranges
            longer.append(range)
            try GapTable.replace(newest.id, with: longer, in: database)
            return
        }
        for part in gap.ranges.parts(of: GapTable.mostRanges) {
            var row = gap
            row.ranges = part
            try GapTable.insert(row, into: database)
        }
    }

    func count(dropped: Int, in database: Database) throws(OutboxError) {
        try database.statement("UPDATE outbox SET dropped = dropped + ?").run([.integer(Int64(dropped))])
    }

    // MARK: Reading

    /// Reads readings in the order of their numbers, and takes them as on their way: no bound drops them until
    /// `release`. Rows that hold no reading are set aside on the way.
    /// - Parameters:
    ///   - sequence: the number after which to begin; 0 begins at the oldest that is not acknowledged.
    ///   - limit: the most readings.
    public func read(after sequence: Int64 = 0, limit: Int) throws(OutboxError) -> [OutboxRecord] {
        let after = max(sequence, acknowledgedThrough)
        let found = try withFile { file throws(OutboxError) in
            // What is passed over does not count, else a bad portion would look like the end.
            var (records, unreadable, position) = ([OutboxRecord](), [Int64](), after)
            while records.count < limit {
                let portion = try file.readings(after: position, limit: limit - records.count)
                records += portion.records
                unreadable += portion.unreadable.filter { !skipped.contains($0) }
                let ends = [portion.records.last?.reading.sequence, portion.unreadable.last].compactMap { $0 }
                guard let end = ends.max() else { break }
                position = end
                if portion.unreadable.isEmpty { break }
            }
            return (records: records, unreadable: unreadable)
        }
        if !found.unreadable.isEmpty { setAside(found.unreadable) }
        if let last = found.records.last { givenThrough = max(givenThrough, last.reading.sequence) }
        return found.records
    }

    /// Nothing is on its way any more: what has no acknowledgement yet may be dropped, and will be read again.
    public func release() {
        givenThrough = acknowledgedThrough
        ledger.release()
    }

    private func setAside(_ numbers: [Int64]) {
        skipped.formUnion(numbers)
        do throws(OutboxError) {
            let file = try file()
            let streams = try StreamTable.all(in: file.database)
            try file.database.transaction { () throws(OutboxError) in
                for number in numbers {
                    if let stream = streams.last(where: { $0.first <= number }) {
                        try add(NumberRanges(number...number), .unreadable, of: stream, to: file.database)
                    }
                }
                try file.setAside(numbers, now: wallClock.now())
            }
            rows.deleted(numbers.count)
            skipped.subtract(numbers)
            observer.setAside(numbers)
        } catch {
            // They are skipped until the storage takes writes; the writer says that it does not.
        }
    }

    // MARK: Acknowledging

    /// The broker has every reading up to and with `sequence`.
    public func acknowledge(through sequence: Int64) {
        guard sequence > acknowledgedThrough else { return }
        acknowledgedThrough = sequence
        givenThrough = max(givenThrough, sequence)
        guard sequence - settledThrough >= Self.settlingGroup else { return }
        // A disk that takes no writes is the writer's to report.
        try? settle()
    }

    /// The broker has a report.
    public func acknowledge(report id: Int64) {
        ledger.acknowledge(id)
    }

    /// The broker refuses a report: what it tells is given again after `renewReports`.
    public func refuse(report id: Int64) {
        ledger.refuse(id)
    }

    /// Deletes what was acknowledged now, and not only with the next readings.
    /// - Throws: why that is not possible; nothing is lost by it.
    public func settle() throws(OutboxError) {
        try settle(notingLastNumber: false)
    }

    /// - Parameter notesLastNumber: whether the last number is noted beside its row, too.
    func settle(notingLastNumber notesLastNumber: Bool) throws(OutboxError) {
        let outcome = try withFile { file throws(OutboxError) in
            try file.database.transaction { () throws(OutboxError) in
                if notesLastNumber, let lastNumber { try file.remember(lastNumber: lastNumber) }
                return try settle(in: file)
            }
        }
        settled(outcome)
    }

    private struct Settled {
        var through: Int64
        var deleted = 0
        var reports: [Int64] = []
    }

    /// Puts into the file what has been acknowledged in memory. Inside a transaction.
    private func settle(in file: OutboxFile) throws(OutboxError) -> Settled {
        let database = file.database
        if rows.isStored { try database.execute("UPDATE outbox SET readings = NULL") }
        var settled = Settled(through: acknowledgedThrough)
        if acknowledgedThrough > 0 {
            if acknowledgedThrough > rows.countedThrough { _ = try countAll(file) }
            if try database.statement("SELECT max(seq) FROM reading").integer() ?? 0 <= acknowledgedThrough,
                let lastNumber
            {
                try file.remember(lastNumber: lastNumber)
            }
            settled.deleted = try file.delete(through: acknowledgedThrough)
        }
        for report in ledger.acknowledged {
            for (ordinal, told) in report.streams { try StreamTable.note(told: told, ordinal: ordinal, in: database) }
            for (id, rest) in report.gaps { try GapTable.replace(id, with: rest, in: database) }
            settled.reports.append(report.id)
        }
        if !settled.reports.isEmpty { try keepLastNumber(in: file) }
        if !settled.reports.isEmpty || settled.deleted > 0 {
            try StreamTable.prune(oldest: try file.oldest(after: 0)?.sequence, in: database)
        }
        return settled
    }

    /// Remembers the largest number if no row has it any more. Inside a transaction that has deleted rows.
    func keepLastNumber(in file: OutboxFile) throws(OutboxError) {
        if let lastNumber, try file.lastNumber() < lastNumber { try file.remember(lastNumber: lastNumber) }
    }

    private func settled(_ outcome: Settled) {
        rows.deleted(outcome.deleted)
        rows.isStored = false
        settledThrough = outcome.through
        ledger.settled(outcome.reports)
    }
}
