import Platform

@testable import Outbox

/// A way in which an outbox's files may be damaged.
struct OutboxDamage: Sendable {
    /// What a damage works on.
    struct Target {
        let fixture: OutboxFixture
        var image: OutboxImage
        var random: SeededGenerator
        /// Rows that are damaged although their pages may be read; all others of the same pages must arrive.
        var rows: Set<Int64>?

        /// The file, which is there in every fixture.
        var file: SQLiteFile {
            get { SQLiteFile(bytes: image.file ?? []) }
            set { image.file = newValue.bytes }
        }

        mutating func noise(_ count: Int) -> [UInt8] { (0..<count).map { _ in .random(in: 0...255, using: &random) } }

        mutating func fillWithNoise(_ range: Range<Int>) {
            let bytes = noise(range.count)
            image.file?.replaceSubrange(range, with: bytes)
        }

        mutating func fillWithZeros(_ range: Range<Int>) {
            image.file?.replaceSubrange(range, with: [UInt8](repeating: 0, count: range.count))
        }

        mutating func cutFile(to count: Int) {
            image.file = Array(image.file?.prefix(count) ?? [])
        }

        mutating func set(_ value: Int, at offset: Int, bytes count: Int) {
            var file = file
            file.set(value, at: offset, bytes: count)
            self.file = file
        }

        /// A leaf of the readings that is not in the log and has several rows.
        mutating func leaf() -> Int {
            let file = file
            let pages = fixture.readings.leaves.filter {
                fixture.place[$0] == .file(file.range(ofPage: $0)) && file.cells(ofPage: $0).count > 4
            }
            return pages.randomElement(using: &random) ?? fixture.readings.root
        }

        var root: Int { fixture.readings.root }

        /// A number in the middle.
        var someNumber: Int64 { fixture.records.keys.sorted()[fixture.records.count / 2] }

        /// Runs statements on the file, which damage one row.
        mutating func edit(row: Int64, _ sql: String...) throws {
            image.file = try fixture.edited(sql)
            image.log = nil
            rows = [row]
        }
    }

    let name: String
    /// Whether what stands there without a log is somebody else's, so that no gateway is started on it. One that is running
    /// already goes on.
    var isForeign: Bool { ["a text", "a file of another program"].contains(name) }
    /// Whether it is tried where the last readings are in the log alone; nil: there and where the log is empty.
    let hasLog: Bool?
    let apply: @Sendable (inout Target) throws -> Void

    init(_ name: String, hasLog: Bool? = nil, _ apply: @escaping @Sendable (inout Target) throws -> Void) {
        self.name = name
        self.hasLog = hasLog
        self.apply = apply
    }
}

// MARK: The header

extension OutboxDamage {
    static let ofHeader: [OutboxDamage] = [
        OutboxDamage("one letter of the magic words") { $0.image.file?[3] ^= 0x20 },
        OutboxDamage("the magic words are zero") { $0.fillWithZeros(0..<16) },
        OutboxDamage("the page size is 0") { $0.set(0, at: 16, bytes: 2) },
        OutboxDamage("the page size is 512") { $0.set(512, at: 16, bytes: 2) },
        OutboxDamage("the page size is 65536") { $0.set(1, at: 16, bytes: 2) },
        OutboxDamage("an unknown way to write") { $0.set(9, at: 18, bytes: 1) },
        OutboxDamage("an unknown way to read") { $0.set(9, at: 19, bytes: 1) },
        OutboxDamage("bytes reserved in each page") { $0.set(200, at: 20, bytes: 1) },
        OutboxDamage("the shares of a page") { $0.set(0x7F7F7F, at: 21, bytes: 3) },
        OutboxDamage("more pages than there are") { $0.set($0.file.pageCount * 2, at: 28, bytes: 4) },
        OutboxDamage("fewer pages than there are") { $0.set(3, at: 28, bytes: 4) },
        OutboxDamage("the free list begins beyond the end") { target in
            target.set(9_999_999, at: 32, bytes: 4)
            target.set(7, at: 36, bytes: 4)
        },
        OutboxDamage("the free list begins in the readings") { target in
            target.set(target.leaf(), at: 32, bytes: 4)
            target.set(5, at: 36, bytes: 4)
        },
        OutboxDamage("a free page that is its own successor") { target in
            let page = target.file.pageCount + 1
            target.image.file? += [UInt8](repeating: 0, count: 4096)
            target.set(page, at: (page - 1) * target.file.pageSize, bytes: 4)
            target.set(page, at: 32, bytes: 4)
            target.set(3, at: 36, bytes: 4)
            target.set(page, at: 28, bytes: 4)
        },
        OutboxDamage("an unknown form of the schema") { $0.set(9, at: 44, bytes: 4) },
        OutboxDamage("texts are said to be UTF-16") { $0.set(2, at: 56, bytes: 4) },
        OutboxDamage("a file of format 0") { $0.set(0, at: 60, bytes: 4) },
        OutboxDamage("a file of a newer format") { $0.set(999, at: 60, bytes: 4) },
        OutboxDamage("a file of a negative format") { $0.set(-5, at: 60, bytes: 4) },
        OutboxDamage("another way to give pages back") { $0.set(0, at: 52, bytes: 4) },
        OutboxDamage("the header is zero") { $0.fillWithZeros(0..<100) },
        OutboxDamage("the first sector is zero") { $0.fillWithZeros(0..<512) },
        OutboxDamage("the first page is zero") { $0.fillWithZeros(0..<4096) },
        OutboxDamage("the first page is noise") { $0.fillWithNoise(0..<4096) },
    ]
}

// MARK: Schema and pages

extension OutboxDamage {
    static let ofPages: [OutboxDamage] = [
        OutboxDamage("the schema has no rows", hasLog: false) { $0.set(0, at: 103, bytes: 2) },
        OutboxDamage("the schema's text is noise", hasLog: false) { $0.fillWithNoise(3000..<4096) },
        OutboxDamage("a table's root lies beyond the end", hasLog: false) { target in
            let sql = "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET rootpage = 99999 WHERE name = 'reading'"
            target.image.file = try target.fixture.edited([sql])
            target.image.log = nil
        },
        OutboxDamage("two tables have one root", hasLog: false) { target in
            let sql = """
                PRAGMA writable_schema = ON; UPDATE sqlite_schema SET rootpage =
                (SELECT rootpage FROM sqlite_schema WHERE name = 'gap') WHERE name = 'reading'
                """
            target.image.file = try target.fixture.edited([sql])
            target.image.log = nil
        },
        OutboxDamage("a table has another name", hasLog: false) { target in
            target.image.file = try target.fixture.edited(["ALTER TABLE reading RENAME TO readings"])
            target.image.log = nil
        },
        OutboxDamage("the small table is gone", hasLog: false) { target in
            target.image.file = try target.fixture.edited(["DROP TABLE outbox"])
            target.image.log = nil
        },
        OutboxDamage("the small table is empty", hasLog: false) { target in
            target.image.file = try target.fixture.edited(["DELETE FROM outbox"])
            target.image.log = nil
        },
        OutboxDamage("the root is noise", hasLog: false) { target in
            target.fillWithNoise(target.file.range(ofPage: target.root))
        },
        OutboxDamage("the root is zero", hasLog: false) { target in
            target.fillWithZeros(target.file.range(ofPage: target.root))
        },
        OutboxDamage("the root points to itself", hasLog: false) { target in
            target.set(target.root, at: target.file.cells(ofPage: target.root)[0], bytes: 4)
        },
        OutboxDamage("the root points beyond the end", hasLog: false) { target in
            target.set(9_999_999, at: target.file.rightmostPointer(ofPage: target.root), bytes: 4)
        },
        OutboxDamage("the root points twice to one leaf", hasLog: false) { target in
            let leaf = target.fixture.readings.leaves[1]
            target.set(leaf, at: target.file.cells(ofPage: target.root)[3], bytes: 4)
        },
        OutboxDamage("the root's keys are in disorder", hasLog: false) { target in
            let cells = target.file.cells(ofPage: target.root)
            let one = target.file.number(at: cells[2] + 4, bytes: 1)
            target.set(one ^ 1, at: cells[2] + 4, bytes: 1)
        },
        OutboxDamage("a leaf is zero", hasLog: false) { target in
            target.fillWithZeros(target.file.range(ofPage: target.leaf()))
        },
        OutboxDamage("a leaf is noise", hasLog: false) { target in
            target.fillWithNoise(target.file.range(ofPage: target.leaf()))
        },
        OutboxDamage("half of the leaves are noise", hasLog: false) { target in
            for leaf in target.fixture.readings.leaves where Bool.random(using: &target.random) {
                let range = target.file.range(ofPage: leaf)
                if range.upperBound <= target.file.bytes.count { target.fillWithNoise(range) }
            }
        },
        OutboxDamage("the first sector of a leaf is zero", hasLog: false) { target in
            let start = target.file.range(ofPage: target.leaf()).lowerBound
            target.fillWithZeros(start..<start + 512)
        },
        OutboxDamage("the last sector of a leaf is zero", hasLog: false) { target in
            let end = target.file.range(ofPage: target.leaf()).upperBound
            target.fillWithZeros(end - 512..<end)
        },
        OutboxDamage("the first leaf is noise", hasLog: false) { target in
            target.fillWithNoise(target.file.range(ofPage: target.fixture.readings.leaves[0]))
        },
        OutboxDamage("the last leaf is noise", hasLog: false) { target in
            let leaves = target.fixture.readings.leaves
            target.fillWithNoise(target.file.range(ofPage: leaves[leaves.count - 1]))
        },
        OutboxDamage("a leaf stands in another's place", hasLog: false) { target in
            let leaves = target.fixture.readings.leaves
            var file = target.file
            file.bytes.replaceSubrange(file.range(ofPage: leaves[4]), with: file.bytes[file.range(ofPage: leaves[2])])
            target.file = file
        },
        OutboxDamage("a leaf is said to be of an index", hasLog: false) { target in
            target.set(10, at: target.file.header(ofPage: target.leaf()), bytes: 1)
        },
        OutboxDamage("a leaf has too many cells", hasLog: false) { target in
            target.set(65_535, at: target.file.header(ofPage: target.leaf()) + 3, bytes: 2)
        },
        OutboxDamage("cells lie beyond the page", hasLog: false) { target in
            let header = target.file.header(ofPage: target.leaf())
            for index in 0..<4 { target.set(65_000, at: header + 8 + 2 * index, bytes: 2) }
        },
        OutboxDamage("a row's length is enormous", hasLog: false) { target in
            let cell = target.file.cells(ofPage: target.leaf())[3]
            target.set(0xFFFF_FFFF, at: cell, bytes: 4)
        },
        OutboxDamage("the map of pages is noise", hasLog: false) { target in
            target.fillWithNoise(target.file.range(ofPage: 2))
        },
    ]
}

// MARK: Rows

extension OutboxDamage {
    private static func row(_ name: String, _ change: String) -> OutboxDamage {
        OutboxDamage("a row's \(name)") { target in
            let number = target.someNumber
            try target.edit(row: number, "UPDATE reading SET \(change) WHERE seq = \(number)")
        }
    }

    static let ofRows: [OutboxDamage] = [
        row("sensor has a bad name", "sensor_id = 'bad name!'"),
        row("gateway has no name", "gateway_id = ''"),
        row("name is no UTF-8", "sensor_id = CAST(X'FF41FE' AS TEXT)"),
        row("name is bytes", "sensor_id = X'0001'"),
        row("time is a text", "event_time = 'yesterday'"),
        row("quality of time is unknown", "time_quality = 'guessed'"),
        row("interval is zero", "interval_ms = 0"),
        row("stream is a text", "stream_id = 'none'"),
        row("stream begins after it", "stream_first = seq + 1"),
        row("stream is one that never was", "stream_id = 0"),
        row("temperature is another one", "temperature = temperature + 0.5"),
        row("faults are another's", "faults = 'scd41:crc'"),
        OutboxDamage("a row's number is none") { target in
            let number = target.someNumber
            try target.edit(row: number, "UPDATE reading SET seq = -\(number) WHERE seq = \(number)")
        },
        OutboxDamage("the last row's number is enormous") { target in
            let number = target.fixture.lastNumber
            let enormous = Int64.max
            try target.edit(row: number, "UPDATE reading SET seq = \(enormous) WHERE seq = \(number)")
        },
        OutboxDamage("a row lacks its stream") { target in
            let number = target.someNumber
            func schema(_ old: String, _ new: String) -> String {
                """
                PRAGMA writable_schema = ON;
                UPDATE sqlite_schema SET sql = replace(sql, '\(old)', '\(new)') WHERE name = 'reading'
                """
            }
            let (strict, lax) = ("stream_id INTEGER NOT NULL", "stream_id INTEGER")
            try target.edit(
                row: number, schema(strict, lax), "UPDATE reading SET stream_id = NULL WHERE seq = \(number)",
                schema(lax, strict))
        },
    ]
}

// MARK: The file as a whole, and the log

extension OutboxDamage {
    static let ofWhole: [OutboxDamage] = [
        OutboxDamage("cut off to nothing") { $0.image.file = [] },
        OutboxDamage("cut off in the header") { $0.cutFile(to: 50) },
        OutboxDamage("cut off after the header") { $0.cutFile(to: 100) },
        OutboxDamage("cut off after the first page") { $0.cutFile(to: 4096) },
        OutboxDamage("cut off in the middle") { $0.cutFile(to: $0.file.pageCount / 2 * 4096) },
        OutboxDamage("cut off within a page") { $0.image.file?.removeLast(1000) },
        OutboxDamage("the last page is missing") { $0.image.file?.removeLast(4096) },
        OutboxDamage("a hole of 16 KiB") { $0.fillWithZeros(3 * 4096..<7 * 4096) },
        OutboxDamage("3000 bytes of noise behind the end") { $0.image.file = $0.file.bytes + $0.noise(3000) },
        OutboxDamage("moved by one byte") { $0.image.file?.insert(0, at: 0) },
        OutboxDamage("noise") { $0.fillWithNoise(0..<$0.file.bytes.count) },
        OutboxDamage("zeros") { $0.fillWithZeros(0..<$0.file.bytes.count) },
        OutboxDamage("a text") { $0.image.file = Array(String(repeating: "This is a text.\n", count: 700).utf8) },
        OutboxDamage("noise of 10 bytes") { $0.image.file = [0xFF] + $0.noise(9) },
        OutboxDamage("a file of another program", hasLog: false) { target in
            let folder = try TemporaryFolder()
            try Database(path: folder.file).execute("CREATE TABLE note (text); INSERT INTO note VALUES ('hello')")
            target.image = OutboxImage(path: folder.file)
        },
        OutboxDamage("gone") { $0.image.file = nil },
    ]

    static let ofLog: [OutboxDamage] = [
        OutboxDamage("the log's header is noise", hasLog: true) { target in
            let noise = target.noise(32)
            target.image.log?.replaceSubrange(0..<32, with: noise)
        },
        OutboxDamage("a page in the middle of the log is torn", hasLog: true) { target in
            let frame = 32 + 4 * (24 + 4096) + 24 + 2048
            let noise = target.noise(512)
            target.image.log?.replaceSubrange(frame..<frame + 512, with: noise)
        },
        OutboxDamage("the log's last page is cut off", hasLog: true) { target in
            target.image.log?.removeLast(2000)
            // A commit without its last page was never one, whatever its other pages hold.
            let last = target.fixture.lastNumber
            target.rows = Set(target.fixture.records.keys.filter { $0 > last - OutboxFixture.lastCommit })
        },
        OutboxDamage("the log is noise", hasLog: true) { target in
            target.image.log = target.noise(target.image.log?.count ?? 0)
        },
        OutboxDamage("the log is gone", hasLog: true) { $0.image.log = nil },
        OutboxDamage("the log is empty", hasLog: true) { $0.image.log = [] },
        OutboxDamage("the log is cut off in its header", hasLog: true) { target in
            target.image.log = Array(target.image.log?.prefix(20) ?? [])
        },
        OutboxDamage("the log is another file's", hasLog: true) { target in
            let folder = try TemporaryFolder()
            let database = try Database(path: folder.file)
            try database.execute("PRAGMA journal_mode = WAL; CREATE TABLE note (text); INSERT INTO note VALUES ('a')")
            target.image.log = OutboxImage(path: folder.file).log
            _ = database
        },
        OutboxDamage("the file is gone, the log is there", hasLog: true) { $0.image.file = nil },
        OutboxDamage("the file is noise, the log is whole", hasLog: true) { target in
            target.fillWithNoise(0..<target.file.bytes.count)
        },
        OutboxDamage("the file's first page is noise, the log is whole", hasLog: true) { $0.fillWithNoise(0..<4096) },
    ]

    static let all = ofHeader + ofPages + ofRows + ofWhole + ofLog
}
