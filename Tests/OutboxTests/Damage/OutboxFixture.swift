import Foundation
import Glibc
import Readings
import TestSupport

@testable import Outbox

/// A folder that goes with the test.
final class TemporaryFolder {
    let path: String

    init() throws {
        // In memory where that is possible: what is tried here is not how long a sync takes.
        let memory = URL(fileURLWithPath: "/dev/shm")
        let parent =
            FileManager.default.isWritableFile(atPath: memory.path) ? memory : FileManager.default.temporaryDirectory
        let url = parent.appendingPathComponent("vigie-outbox-\(UUID())")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        path = url.path
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }

    var file: String { path + "/outbox.sqlite" }
}

/// The files of an outbox, as bytes.
struct OutboxImage {
    var file: [UInt8]?
    var log: [UInt8]?

    init(path: String) {
        file = FileManager.default.contents(atPath: path).map { [UInt8]($0) }
        log = FileManager.default.contents(atPath: path + "-wal").map { [UInt8]($0) }
    }

    func write(to path: String) throws {
        for (bytes, name) in [(file, path), (log, path + "-wal")] {
            guard let bytes else { continue }
            try Data(bytes).write(to: URL(fileURLWithPath: name))
        }
    }
}

/// An outbox as a crash leaves it, and what is in it.
struct OutboxFixture {
    /// Its files. What the log has is not in the file yet, or only in part.
    let image: OutboxImage
    /// Every reading that waits, by its number.
    let records: [Int64: OutboxRecord]
    /// Readings in the quarantine. A page may still hold them as they waited.
    let refused: [Int64: OutboxRecord]
    /// Readings that wait no more, since the broker has them.
    let acknowledgedThrough: Int64
    let lastNumber: Int64
    /// The pages of the table `reading`.
    let readings: SQLiteFile.Table
    /// The last version of each page: in the file, or in the log.
    let place: [Int: Place]

    enum Place: Equatable {
        case file(Range<Int>)
        case log(Range<Int>)
    }

    /// How many readings the last commit of a file with a log has.
    static let lastCommit: Int64 = 20

    /// - Parameters:
    ///   - hasLog: whether the last readings are in the log alone.
    ///   - group: readings in a group; there are 9 groups of them without a log.
    init(hasLog: Bool, group: Int = 50) async throws {
        let folder = try TemporaryFolder()
        var time: Int64 = 1_700_000_000_000
        func records(_ count: Int) throws -> [OutboxRecord] {
            try (0..<count).map { _ in
                time += 1000
                return try OutboxWorkload.record(gateway: "gateway-1", sensor: "hall-\(time % 3)", at: time)
            }
        }
        var outbox = try await Outbox.open(path: folder.file)
        for _ in 0..<8 { try await outbox.append(records(group)) }
        acknowledgedThrough = 60
        await outbox.acknowledge(through: acknowledgedThrough)
        try await outbox.settle()
        try await outbox.close()
        outbox = try await Outbox.open(path: folder.file)
        try await outbox.append(records(group), dropped: 3)
        let refused = try await outbox.read(after: 100, limit: 2)
        for record in refused { try await outbox.quarantine(record, reason: "too large") }
        self.refused = Dictionary(uniqueKeysWithValues: refused.map { ($0.reading.sequence, $0) })
        if !hasLog {
            try await outbox.close()
            outbox = try await Outbox.open(path: folder.file)
        }
        for _ in 0..<4 where hasLog { try await outbox.append(records(Int(OutboxFixture.lastCommit))) }
        image = OutboxImage(path: folder.file)
        var found: [Int64: OutboxRecord] = [:]
        for record in try await outbox.read(limit: .max) { found[record.reading.sequence] = record }
        self.records = found
        lastNumber = await outbox.lastSequence
        try await outbox.close()

        // With the log's pages in their places.
        let whole = SQLiteFile(bytes: image.file ?? [])
        var place: [Int: Place] = [:]
        for page in stride(from: 1, through: whole.pageCount, by: 1) { place[page] = .file(whole.range(ofPage: page)) }
        var complete = whole
        if let log = image.log, log.count > 32 {
            let salt = log[16..<24]
            var position = 32
            while position + 24 + whole.pageSize <= log.count, log[position + 8..<position + 16] == salt {
                let page = log[position..<position + 4].reduce(0) { $0 << 8 | Int($1) }
                let content = position + 24..<position + 24 + whole.pageSize
                place[page] = .log(content)
                let end = page * whole.pageSize
                if complete.bytes.count < end {
                    complete.bytes += [UInt8](repeating: 0, count: end - complete.bytes.count)
                }
                complete.bytes.replaceSubrange(complete.range(ofPage: page), with: log[content])
                position = content.upperBound
            }
        }
        self.place = place
        let root = try Database(path: folder.file).integer("SELECT rootpage FROM sqlite_schema WHERE name = 'reading'")
        readings = complete.table(root: Int(root ?? 0))
    }

    /// The numbers whose pages a damage has left as they were.
    func readable(in damaged: OutboxImage) -> Set<Int64> {
        func isIntact(_ page: Int) -> Bool {
            let (range, before, after) =
                switch place[page] {
                case .file(let range)?: (range, image.file, damaged.file)
                case .log(let range)?: (range, image.log, damaged.log)
                case nil: (0..<0, nil, nil)
                }
            guard let before, let after, range.upperBound <= after.count, !range.isEmpty else { return false }
            return before[range] == after[range]
        }
        var isPageIntact: [Int: Bool] = [:]
        return Set(
            records.keys.filter { number in
                (readings.pages[number] ?? []).allSatisfy { page in
                    let known = isPageIntact[page] ?? isIntact(page)
                    isPageIntact[page] = known
                    return known
                } && readings.pages[number] != nil
            })
    }

    /// The first page of a table.
    func root(of table: String) throws -> Int {
        let folder = try TemporaryFolder()
        try image.write(to: folder.file)
        return Int(
            try Database(path: folder.file).integer("SELECT rootpage FROM sqlite_schema WHERE name = '\(table)'") ?? 0)
    }

    /// Streams that never were, and gaps that are told under another stream than that of their numbers.
    /// - Parameter added: the first number and the name of the stream that was begun on the damaged files.
    func foreign(in tables: OutboxTables, besides added: (first: Int64, streamID: StreamID)?) -> [String] {
        var streams: [Int64: Int64] = [:]
        for record in records.values {
            streams[record.reading.streamFirst ?? 1] = Int64(bitPattern: record.reading.streamID.bits)
        }
        if let added { streams[added.first] = Int64(bitPattern: added.streamID.bits) }
        let firsts = streams.keys.sorted()
        var wrongs: [String] = []
        for stream in tables.streams where streams[stream.first] != stream.stream {
            wrongs.append("a stream \(stream.stream) that begins with \(stream.first) never was")
        }
        for gap in tables.gaps {
            let numbers = gap.ranges.ranges.flatMap { Array($0) }
            let wrong = numbers.filter { number in
                firsts.last { $0 <= number }.flatMap { streams[$0] } != gap.stream
            }
            if !wrong.isEmpty { wrongs.append("\(wrong.count) numbers, as \(wrong[0]), are told under another stream") }
        }
        return wrongs
    }

    /// The file's bytes after statements, each on a connection of its own.
    func edited(_ statements: [String]) throws -> [UInt8] {
        let folder = try TemporaryFolder()
        try image.write(to: folder.file)
        for statement in statements { try Database(path: folder.file).execute(statement) }
        return OutboxImage(path: folder.file).file ?? []
    }
}
