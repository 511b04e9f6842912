import CSQLite
import Foundation
import Platform
import Readings
import Synchronization
import TestSupport
import Testing

@testable import Outbox

/// What an outbox tells while it is used.
private final class Watcher: Sendable {
    private let state = Mutex((salvages: [OutboxSalvage](), found: [String?](), setAside: [Int64]()))

    var salvages: [OutboxSalvage] { state.withLock { $0.salvages } }
    var found: [String?] { state.withLock { $0.found } }
    var setAside: [Int64] { state.withLock { $0.setAside } }

    var observer: OutboxObserver {
        OutboxObserver(
            salvaged: { [self] salvage in state.withLock { $0.salvages.append(salvage) } },
            putBack: { [self] found in state.withLock { $0.found.append(found) } },
            setAside: { [self] numbers in state.withLock { $0.setAside += numbers } })
    }
}

/// Overwrites a part of a file.
private func overwrite(_ path: String, at offset: UInt64, with bytes: [UInt8]) throws {
    let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
    try file.seek(toOffset: offset)
    try file.write(contentsOf: Data(bytes))
    try file.close()
}

@Suite struct SalvageTests {
    /// An outbox that ended in order, so that all is in the file itself.
    private func makeFile(_ folder: Folder, readings: Int = 1000) async throws {
        let outbox = try await Outbox.open(path: folder.file, randomBits: { 0xA1 })
        try await outbox.append(try records(1...readings))
        try await outbox.close()
    }

    @Test func aFileWithoutAHeaderGivesAllItsReadings() async throws {
        let folder = try Folder()
        try await makeFile(folder)
        try overwrite(folder.file, at: 0, with: Array(repeating: 0x41, count: 4096))
        let watcher = Watcher()
        let outbox = try await Outbox.open(path: folder.file, randomBits: { 0xB1 }, observer: watcher.observer)
        #expect(try await outbox.append([try record(1001)]) == 1001)
        let readings = try await outbox.read(limit: 2000)
        #expect(readings.map(\.reading.sequence) == Array(1...1001))
        let first = try record(1).reading.values
        #expect(readings.first?.reading.values == first)
        #expect(readings.map(\.reading.streamID.bits) == Array(repeating: 0xA1, count: 1000) + [0xB1])
        let salvage = try #require(watcher.salvages.first)
        #expect((salvage.readings, salvage.missing) == (1000, 0))
        #expect(salvage.cause?.isDamage == true)
        #expect(FileManager.default.fileExists(atPath: salvage.path))
        // How far the first stream went, nobody knows: its end is not told.
        await outbox.release()
        #expect(
            try await tell(outbox).streams == ["gateway-1 a1 1- after none", "gateway-1 b1 1001- after a1"])
    }

    @Test func aLostPageIsAGapOfTheReadingsOnIt() async throws {
        let folder = try Folder()
        try await makeFile(folder)
        let size = try #require(
            try FileManager.default.attributesOfItem(atPath: folder.file)[.size] as? UInt64)
        // A leaf in the middle.
        try overwrite(folder.file, at: size / 4096 / 2 * 4096, with: Array(repeating: 0, count: 4096))
        let watcher = Watcher()
        let outbox = try await Outbox.open(path: folder.file, randomBits: { 0xB1 }, observer: watcher.observer)
        try await outbox.append([try record(1001)])
        var waiting = try await outbox.read(limit: 2000).map(\.reading.sequence)
        waiting += try await outbox.read(after: waiting.last ?? 0, limit: 2000).map(\.reading.sequence)
        let missing = (1...1001).filter { !waiting.contains(Int64($0)) }
        #expect(!missing.isEmpty && missing.count < 60)
        #expect(watcher.salvages.map(\.missing) == [Int64(missing.count)])
        await outbox.release()
        let (first, last) = (try #require(missing.first), try #require(missing.last))
        #expect(try await tell(outbox).gaps == ["a1 unreadable \(first)-\(last)"])
    }

    /// While it runs, the gateway knows every number that it gave: the end of the stream is known.
    @Test func damageWhileRunningLosesWhatIsUnreadableAndNoMore() async throws {
        let folder = try Folder()
        let names = StreamNames()
        let watcher = Watcher()
        let outbox = try await Outbox.open(path: folder.file, randomBits: names.bits, observer: watcher.observer)
        for group in 0..<40 { try await outbox.append(try records(group * 50 + 1...group * 50 + 50)) }
        await outbox.acknowledge(through: 100)
        try Database(path: folder.file).execute("PRAGMA wal_checkpoint(TRUNCATE)")
        let size = try #require(
            try FileManager.default.attributesOfItem(atPath: folder.file)[.size] as? UInt64)
        for page in 4..<size / 4096 / 2 {
            try overwrite(folder.file, at: page * 4096, with: Array(repeating: 0x55, count: 4096))
        }
        var waiting: [Int64] = []
        while true {
            let portion = try await outbox.read(after: waiting.last ?? 0, limit: 100).map(\.reading.sequence)
            if portion.isEmpty { break }
            waiting += portion
        }
        #expect(try await outbox.append([try record(2001)]) == 2001)
        #expect(watcher.salvages.count == 1)
        let missing = (101...2000).filter { !waiting.contains(Int64($0)) }
        #expect(missing.count > 100 && missing.count < 1500)
        #expect(watcher.salvages.map(\.missing) == [Int64(missing.count)])
        await outbox.release()
        let told = try await tell(outbox)
        #expect(told.streams == ["gateway-1 a1 1-2000 after none", "gateway-1 a2 2001- after a1"])
        #expect(told.gaps.allSatisfy { $0.hasPrefix("a1 unreadable ") })
    }

    /// One row that holds no reading does not stop those behind it.
    @Test func aRowThatIsNoReadingIsSetAside() async throws {
        let folder = try Folder()
        let watcher = Watcher()
        let outbox = try await Outbox.open(path: folder.file, randomBits: { 0xA1 }, observer: watcher.observer)
        try await outbox.append(try records(1...5))
        try Database(path: folder.file).execute("UPDATE reading SET gateway_id = 'no name!' WHERE seq IN (2, 3)")
        #expect(try await outbox.read(limit: 3).map(\.reading.sequence) == [1, 4, 5])
        #expect(watcher.setAside == [2, 3])
        #expect(try await outbox.status().depth == 3)
        await outbox.release()
        #expect(try await tell(outbox).gaps == ["a1 unreadable 2-3"])
        #expect(try Database(path: folder.file).integer("SELECT count(*) FROM unreadable") == 2)
    }

    @Test func aDeletedFileIsPutBack() async throws {
        let folder = try Folder()
        let names = StreamNames()
        let watcher = Watcher()
        let outbox = try await Outbox.open(path: folder.file, randomBits: names.bits, observer: watcher.observer)
        try await outbox.append(try records(1...2000))
        await outbox.acknowledge(through: 500)
        for name in try folder.files {
            try FileManager.default.removeItem(atPath: folder.path + "/" + name)
        }
        #expect(try await outbox.append([try record(2001)]) == 2001)
        #expect(watcher.found == [nil])
        // Nobody else may use it, as before.
        await #expect(throws: OutboxInUse.self) { _ = try await Outbox.open(path: folder.file) }
        var seen = try await outbox.read(limit: 1000).map(\.reading.sequence)
        seen += try await outbox.read(after: seen.last ?? 0, limit: 1000).map(\.reading.sequence)
        #expect(seen == Array(501...2001))
        #expect(try Database(path: folder.file).integer("SELECT max(seq) FROM reading") == 2001)
        await outbox.release()
        #expect(
            try await tell(outbox).streams
                == ["gateway-1 a1 1-2000 after none", "gateway-1 a2 2001- after a1"])
    }

    /// What was committed last is in the log alone.
    @Test func aDeletedLogIsPutBack() async throws {
        let folder = try Folder()
        let watcher = Watcher()
        let outbox = try await Outbox.open(path: folder.file, observer: watcher.observer)
        try await outbox.append(try records(1...20))
        #expect(unlink(folder.file + "-wal") == 0)
        try await outbox.append([try record(21)])
        #expect(watcher.found.count == 1)
        #expect(try await sequences(outbox) == Array(1...21))
        #expect(try Database(path: folder.file).integer("SELECT count(*) FROM reading") == 21)
    }

    /// SQLite has its log beside the file that a link leads to.
    @Test func aLinkLeadsToTheFile() async throws {
        let folder = try Folder()
        try FileManager.default.createDirectory(atPath: folder.path + "/card", withIntermediateDirectories: false)
        #expect(symlink("card/outbox.sqlite", folder.file) == 0)
        let watcher = Watcher()
        var outbox: Outbox? = try await Outbox.open(path: folder.file, observer: watcher.observer)
        try await outbox?.append(try records(1...20))
        do {
            _ = try await Outbox.open(path: folder.path + "/card/outbox.sqlite")
            Issue.record("a second one may use the file by its other name")
        } catch {
            #expect(error.processes == [getpid()])
        }
        // It ends without order: all is in the log.
        outbox = nil
        outbox = try await Outbox.open(path: folder.file, observer: watcher.observer)
        #expect(try await outbox?.append([try record(21)]) == 21)
        #expect(try await outbox?.status().depth == 21)
        #expect(watcher.salvages.isEmpty)
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: folder.file) == "card/outbox.sqlite")
    }

    /// A device is nobody's to move away.
    @Test func aDeviceInTheFilesPlaceIsLeftAlone() async throws {
        let check = Result { try FileCheck.run("/dev/full") }
        guard case .failure(let error as OutboxError) = check else {
            Issue.record("a device is taken for a file")
            return
        }
        #expect(!error.isDamage)
    }

    /// A link in the place of the file would have a later start look for the log elsewhere.
    @Test func aLinkThatReplacesTheOpenFileIsSetAside() async throws {
        let folder = try Folder()
        let watcher = Watcher()
        var outbox: Outbox? = try await Outbox.open(path: folder.file, observer: watcher.observer)
        try await outbox?.append(try records(1...20))
        #expect(rename(folder.file, folder.path + "/elsewhere") == 0)
        #expect(symlink("elsewhere", folder.file) == 0)
        #expect(try await outbox?.append([try record(21)]) == 21)
        let found = try #require(watcher.found.compactMap(\.self).first)
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: found) == "elsewhere")
        try await outbox?.append([try record(22)])
        #expect(watcher.found.count == 1)
        // It ends without order.
        outbox = nil
        let next = try await Outbox.open(path: folder.file, observer: watcher.observer)
        #expect(try await sequences(next) == Array(1...22))
    }

    /// Another program takes a table away while the gateway runs.
    @Test(arguments: ["reading", "stream", "gap", "outbox", "quarantine"])
    func aTableThatIsDroppedIsADamage(_ table: String) async throws {
        let folder = try Folder()
        let watcher = Watcher()
        let names = StreamNames()
        let outbox = try await Outbox.open(path: folder.file, randomBits: names.bits, observer: watcher.observer)
        for group in 0..<6 { try await outbox.append(try records(group * 50 + 1...group * 50 + 50)) }
        try Database(path: folder.file).execute("DROP TABLE \(table)")
        #expect(try await outbox.append([try record(301)]) == 301)
        _ = try await outbox.status()
        let arrived = Set(try await sequences(outbox))
        let told = try await tell(outbox)
        #expect(watcher.salvages.count == 1)
        #expect(watcher.salvages.first?.cause?.message.contains("no such table") == true)
        let missing = (1...301).filter { !arrived.contains($0) }
        #expect(arrived.isSubset(of: 1...301) && missing.count < (table == "reading" ? 150 : 1))
        #expect(watcher.salvages.map(\.missing) == [Int64(missing.count)])
        #expect(told.gaps.isEmpty == missing.isEmpty && told.gaps.allSatisfy { $0.hasPrefix("a1 unreadable ") })
        #expect(Set(told.streams.map { $0.split(separator: " ")[1] }).isSubset(of: ["a1", "a2"]))
        #expect(try await outbox.append([try record(302)]) == 302)
        #expect(watcher.salvages.count == 1)
    }

    /// A statement that is wrong by itself is no damage of the file.
    @Test func anErrorThatTheFileDoesNotExplainIsNoDamage() async throws {
        let folder = try Folder()
        let watcher = Watcher()
        let outbox = try await Outbox.open(path: folder.file, observer: watcher.observer)
        try await outbox.append(try records(1...5))
        await #expect(throws: OutboxError.self) { _ = try await outbox.pragma("nothing FROM nowhere") }
        #expect(watcher.salvages.isEmpty)
    }

    /// The last number is noted now and then, so that the loss of the newest pages is known.
    @Test(arguments: [true, false])
    func aLostTailIsToldAsAGap(isClosed: Bool) async throws {
        let folder = try Folder()
        do {
            let outbox = try await Outbox.open(path: folder.file, randomBits: { 0xA1 })
            for group in 0..<10 { try await outbox.append(try records(group * 43 + 1...group * 43 + 43)) }
            if isClosed { try await outbox.close() }
        }
        try Database(path: folder.file).execute("PRAGMA wal_checkpoint(TRUNCATE)")
        let size = try #require(
            try FileManager.default.attributesOfItem(atPath: folder.file)[.size] as? UInt64)
        #expect(truncate(folder.file, Int(size / 4096 * 2 / 3 * 4096)) == 0)
        let watcher = Watcher()
        let outbox = try await Outbox.open(path: folder.file, randomBits: { 0xB1 }, observer: watcher.observer)
        let last = try #require(try await sequences(outbox).last)
        let known: Int64 = isClosed ? 430 : 387
        #expect(last > 100 && last < known)
        #expect(watcher.salvages.map(\.missing) == [known - last])
        #expect(try await outbox.append([try record(431)]) == known + 1)
        #expect(try await tell(outbox).gaps == ["a1 unreadable \(last + 1)-\(known)"])
    }

    /// An older copy that is moved into the place of the open file is set aside: all that it has is known.
    @Test func aFileThatReplacesTheOpenOneIsSetAside() async throws {
        let folder = try Folder()
        let watcher = Watcher()
        let names = StreamNames()
        let outbox = try await Outbox.open(path: folder.file, randomBits: names.bits, observer: watcher.observer)
        try await outbox.append(try records(1...10))
        try Database(path: folder.file).execute("VACUUM INTO '\(folder.path)/copy.sqlite'")
        try await outbox.append(try records(11...20))
        #expect(rename("\(folder.path)/copy.sqlite", folder.file) == 0)
        #expect(try await outbox.read(limit: 100).map(\.reading.sequence) == Array(1...20))
        let found = try #require(watcher.found.compactMap(\.self).first)
        #expect(try Database(path: found).integer("SELECT max(seq) FROM reading") == 10)
        #expect(try await outbox.append([try record(21)]) == 21)
    }

    /// A backup that is put back while the gateway is stopped goes on in a stream of its own: no number of the first life
    /// can come again as another reading.
    @Test func aRestoredBackupGivesNoNumberAgain() async throws {
        let folder = try Folder()
        let names = StreamNames()
        var outbox: Outbox? = try await Outbox.open(path: folder.file, randomBits: names.bits)
        try await outbox?.append(try records(1...10))
        try await outbox?.close()
        outbox = nil
        try FileManager.default.copyItem(atPath: folder.file, toPath: folder.path + "/backup")
        outbox = try await Outbox.open(path: folder.file, randomBits: names.bits)
        try await outbox?.append(try records(11...15))
        let first = try #require(try await outbox?.read(limit: 100)).map(\.reading)
        try await outbox?.close()
        outbox = nil
        for name in try folder.files where name != "backup" {
            try FileManager.default.removeItem(atPath: folder.path + "/" + name)
        }
        try FileManager.default.moveItem(atPath: folder.path + "/backup", toPath: folder.file)
        outbox = try await Outbox.open(path: folder.file, randomBits: names.bits)
        try await outbox?.append(try (16...18).map { try record($0) })
        let second = try #require(try await outbox?.read(limit: 100)).map(\.reading)
        for reading in second {
            for known in first where (known.streamID, known.sequence) == (reading.streamID, reading.sequence) {
                #expect(known == reading)
            }
        }
        #expect(second.suffix(3).map(\.streamID.bits) == [0xA3, 0xA3, 0xA3])
        #expect(second.suffix(3).map(\.sequence) == [11, 12, 13])
    }

    /// A salvage that the disk cut short is taken up by the next start.
    @Test func whatAnEarlierStartDidNotFinishIsTakenUp() async throws {
        let folder = try Folder()
        try await makeFile(folder, readings: 20)
        #expect(rename(folder.file, folder.file + ".damaged-20260101T000000") == 0)
        let watcher = Watcher()
        let outbox = try await Outbox.open(path: folder.file, randomBits: { 0xB1 }, observer: watcher.observer)
        #expect(try await sequences(outbox) == Array(1...20))
        #expect(watcher.salvages.map(\.readings) == [20])
        #expect(watcher.salvages.map(\.cause) == [nil])
        #expect(try folder.files.contains { $0.contains(".salvaged-") })
        #expect(try !folder.files.contains { $0.contains(".damaged-") })
        #expect(try await outbox.append([try record(21)]) == 21)
    }

    /// Files of a newer release are kept, and what an older one understands of them goes on.
    @Test func aFileOfANewerFormatIsSetAside() async throws {
        let folder = try Folder()
        try await makeFile(folder, readings: 20)
        try Database(path: folder.file).execute("PRAGMA user_version = \(OutboxSchema.format + 1)")
        let watcher = Watcher()
        let outbox = try await Outbox.open(path: folder.file, observer: watcher.observer)
        #expect(try await sequences(outbox) == Array(1...20))
        #expect(watcher.salvages.first?.cause?.message.contains("newer release") == true)
    }

    @Test func aFolderInTheFilesPlaceIsSetAside() async throws {
        let folder = try Folder()
        try FileManager.default.createDirectory(atPath: folder.file, withIntermediateDirectories: false)
        let outbox = try await Outbox.open(path: folder.file)
        #expect(try await outbox.append([try record(1)]) == 1)
    }

    @Test func readingsWithLongFaultsAreFoundOnTheirFurtherPages() async throws {
        let folder = try Folder()
        let long = try #require(Identifier(String(repeating: "f", count: 64)))
        let faults = Array(repeating: Fault(chip: long, kind: long), count: 64)
        do {
            let outbox = try await Outbox.open(path: folder.file)
            try await outbox.append([try record(1, faults: faults), try record(2), try record(3, faults: faults)])
            try await outbox.close()
        }
        try overwrite(folder.file, at: 0, with: Array(repeating: 0x41, count: 100))
        let outbox = try await Outbox.open(path: folder.file)
        let readings = try await outbox.read(limit: 10).map(\.reading)
        #expect(readings.map(\.sequence) == [1, 2, 3])
        #expect(readings.map(\.faults.count) == [64, 0, 64])
    }
}
