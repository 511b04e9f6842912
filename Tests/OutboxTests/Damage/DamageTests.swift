import CFaultyStorage
import Foundation
import Glibc
import Platform
import Readings
import Synchronization
import TestSupport
import Testing

@testable import Outbox

@Suite(.serialized) struct DamageTests {
    /// A row or page of the outbox cannot be read: every start samples, and everything that can be read arrives.
    @Test func whateverIsDamagedSamplingGoesOnAndTheReadableArrives() async throws {
        let seed = printedSeed()
        var random = SeededGenerator(seed: seed)
        let fixtures = [false: try await OutboxFixture(hasLog: false), true: try await OutboxFixture(hasLog: true)]
        #expect(OutboxDamage.all.count >= 80)
        for damage in OutboxDamage.all {
            for (hasLog, fixture) in fixtures where damage.hasLog ?? hasLog == hasLog {
                var target = OutboxDamage.Target(
                    fixture: fixture, image: fixture.image, random: SeededGenerator(seed: random.next()))
                try damage.apply(&target)
                let wrongs = try await wrongs(of: target, isForeign: damage.isForeign && !hasLog)
                #expect(wrongs == [], "\(damage.name)\(hasLog ? ", with a log" : "")")
            }
        }
    }

    /// A page of which a part is missing or zero gives no reading, stream or gap that was never committed. It is tried with a
    /// file that ends at every 61st byte of a page, and with zeros from every such place on: of a page in its middle, of that
    /// of the first readings, and of that of the streams.
    @Test func aTornPageMakesNothingUp() async throws {
        let seed = printedSeed()
        var random = SeededGenerator(seed: seed)
        let fixture = try await OutboxFixture(hasLog: false, group: 25)
        let file = SQLiteFile(bytes: fixture.image.file ?? [])
        let leaves = fixture.readings.leaves
        let pages = [leaves[leaves.count / 2], leaves[0], try fixture.root(of: "stream")]
        for offset in stride(from: 0, to: file.pageSize, by: 61) {
            var target = OutboxDamage.Target(fixture: fixture, image: fixture.image, random: random)
            target.cutFile(to: file.range(ofPage: pages[0]).lowerBound + offset)
            let foundOfCut = try await wrongs(of: target, isForeign: false)
            #expect(foundOfCut == [], "cut off at \(offset) of page \(pages[0])")

            target.image = fixture.image
            let page = pages[offset % pages.count]
            let start = file.range(ofPage: page).lowerBound + offset
            let length = min([61, 200, 512, 2048].randomElement(using: &random) ?? 61, file.pageSize - offset)
            target.fillWithZeros(start..<start + length)
            let found = try await wrongs(of: target, isForeign: false)
            #expect(found == [], "\(length) bytes from \(offset) on of page \(page) are zero")
        }
    }

    /// What stands in the place of the file, or of one beside it, and is no file of an outbox.
    @Test(arguments: ["a folder", "a pipe", "a link to nothing", "a folder as its log", "noise as its shared memory"])
    func whateverStandsThereSamplingGoesOn(_ place: String) async throws {
        let folder = try TemporaryFolder()
        let fixture = try await OutboxFixture(hasLog: true)
        var isFileThere = false
        switch place {
        case "a folder": try #require(mkdir(folder.file, 0o755) == 0)
        case "a pipe": try #require(mkfifo(folder.file, 0o644) == 0)
        case "a link to nothing": try #require(symlink(folder.path + "/elsewhere", folder.file) == 0)
        case "a folder as its log":
            var image = fixture.image
            image.log = nil
            try image.write(to: folder.file)
            try #require(mkdir(folder.file + "-wal", 0o755) == 0)
        default:
            try fixture.image.write(to: folder.file)
            try Data((0..<32768).map { _ in UInt8.random(in: 0...255) }).write(
                to: URL(fileURLWithPath: folder.file + "-shm"))
            isFileThere = true
        }
        let outbox = try await Outbox.open(path: folder.file, limits: OutboxLimits(freeBytes: 0))
        let record = try OutboxWorkload.record(gateway: "gateway-1", sensor: "new", at: 1_800_000_000_000)
        let number = try #require(try await outbox.append([record]))
        let found = try await outbox.read(limit: .max).map(\.reading.sequence)
        #expect(found.last == number)
        if isFileThere { #expect(found.dropLast() == fixture.records.keys.sorted()[...]) }
    }

    /// A card that cannot read a page any more: the others are sent, at a start and while running.
    @Test(arguments: [true, false])
    func anUnreadableSectorIsNoEnd(atStart: Bool) async throws {
        let folder = try TemporaryFolder()
        let fixture = try await OutboxFixture(hasLog: false)
        try fixture.image.write(to: folder.file)
        let pages = fixture.readings.leaves
        let page = atStart ? fixture.readings.root : pages[pages.count / 2]
        let range = SQLiteFile(bytes: fixture.image.file ?? []).range(ofPage: page)
        try #require(vigie_make_unreadable(folder.file, Int64(range.lowerBound), Int64(range.upperBound)))
        defer { vigie_make_readable() }
        let salvages = Mutex(0)
        let outbox = try await Outbox.open(
            path: folder.file, limits: OutboxLimits(freeBytes: 0),
            observer: OutboxObserver(salvaged: { _ in salvages.withLock { $0 += 1 } }))
        // The salvage reads the page once more, which this test lets succeed.
        let found = try await outbox.read(limit: .max).map(\.reading.sequence)
        #expect(found == fixture.records.keys.sorted())
        #expect(salvages.withLock { $0 } == 1)
        let record = try OutboxWorkload.record(gateway: "gateway-1", sensor: "new", at: 1_800_000_000_000)
        #expect(try await outbox.append([record]) ?? 0 > fixture.lastNumber)
    }

    /// Opens the damaged files, and looks whether all is as it should be.
    /// - Returns: what is not; empty if everything is.
    private func wrongs(of target: OutboxDamage.Target, isForeign: Bool) async throws -> [String] {
        let folder = try TemporaryFolder()
        try target.image.write(to: folder.file)
        let fixture = target.fixture
        let readable =
            target.rows.map { Set(fixture.records.keys).subtracting($0) } ?? fixture.readable(in: target.image)
        var wrongs: [String] = []
        let refusal = OutboxPath.refusal(of: folder.file)
        if (refusal != nil) != isForeign { wrongs.append("a start is refused: \(refusal ?? "no")") }
        let salvaged = Mutex<[OutboxSalvage]>([])
        let troubles = Mutex<[OutboxError]>([])
        let outbox = try await Outbox.open(
            path: folder.file, limits: OutboxLimits(freeBytes: 0),
            observer: OutboxObserver(
                troubled: { error in troubles.withLock { $0.append(error) } },
                salvaged: { salvage in salvaged.withLock { $0.append(salvage) } }))
        do {
            let record = try OutboxWorkload.record(gateway: "gateway-1", sensor: "new", at: 1_800_000_000_000)
            guard let number = try await outbox.append([record]) else { return ["nothing was appended"] }
            var found: [OutboxRecord] = []
            // As the publisher reads: each portion is searched for anew.
            while true {
                let portion = try await outbox.read(after: found.last?.reading.sequence ?? 0, limit: 37)
                if portion.isEmpty { break }
                found += portion
            }
            let tables = try await outbox.tables()
            let arrived = Set(found.map(\.reading.sequence))
            if !arrived.contains(number) { wrongs.append("what was appended as \(number) is not there") }
            let missing = readable.subtracting(arrived)
            if !missing.isEmpty {
                wrongs.append(
                    "\(missing.count) of \(readable.count) readable ones are missing, as \(missing.min() ?? 0)")
            }
            let committed = fixture.records.merging(fixture.refused) { one, _ in one }
            for one in found where one.reading.sequence != number && committed[one.reading.sequence] != one {
                wrongs.append("\(one.reading.sequence) is another reading")
            }
            let added = found.last?.reading
            wrongs += fixture.foreign(in: tables, besides: added.map { ($0.streamFirst ?? 1, $0.streamID) })
            // What lies between the first and the last that is known is there or told as a gap.
            let gaps = tables.gapNumbers
            let told = arrived.intersection(gaps).subtracting(fixture.refused.keys)
            if !told.isEmpty { wrongs.append("\(told.count) that are there are told as gaps, as \(told.min() ?? 0)") }
            let first = arrived.subtracting([number]).min() ?? number
            let lost = (first...number).filter {
                !arrived.contains($0) && !gaps.contains($0) && $0 > fixture.acknowledgedThrough
            }
            if !lost.isEmpty { wrongs.append("nobody knows of \(lost.count) numbers, such as \(lost[0])") }
            let named = Set(tables.streams.map(\.stream))
            let nameless = tables.readings.filter { !named.contains($0.value.stream) }
            if !nameless.isEmpty { wrongs.append("\(nameless.count) readings are of streams that nobody tells of") }
            let use = tables.readings[number]
            let old = Set(fixture.records.values.map { Int64(bitPattern: $0.reading.streamID.bits) })
            if let use, old.contains(use.stream) { wrongs.append("the new reading is in an old stream") }
        } catch {
            wrongs.append("\(error)")
        }
        if !salvaged.withLock({ $0.isEmpty }) { wrongs += try await outbox.damage() }
        wrongs += troubles.withLock { $0.map { "troubled: \($0)" } }
        return wrongs
    }
}
