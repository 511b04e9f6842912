import Foundation
import Platform
import Readings
import Synchronization
import TestSupport
import Testing

@testable import Outbox

@Suite struct OutboxTests {
    @Test func givesBackWhatWasPutIn() async throws {
        let folder = try Folder()
        let clock = ManualWallClock(Timestamp(milliseconds: 5_000_000))
        let outbox = try await Outbox.open(path: folder.file, randomBits: { 0xAB }, wallClock: clock)
        let faults = [
            Fault(chip: try #require(Identifier("scd41")), kind: try #require(Identifier("crc"))),
            Fault(chip: try #require(Identifier("bme280")), kind: try #require(Identifier("not_acknowledged"))),
        ]
        let records = [try record(1), try record(2, faults: faults)]
        #expect(try await outbox.append(records) == 2)
        var expected = records
        for index in expected.indices {
            expected[index].reading.streamID = StreamID(bits: 0xAB)
            expected[index].reading.sequence = Int64(index + 1)
            expected[index].committedAt = clock.now()
        }
        #expect(try await outbox.read(limit: 10) == expected)
        #expect(try await outbox.append([]) == nil)
    }

    @Test func readsInOrderFromAnyPlace() async throws {
        let folder = try Folder()
        let outbox = try await Outbox.open(path: folder.file)
        try await outbox.append(try records(1...20))
        #expect(try await outbox.read(after: 5, limit: 3).map(\.reading.sequence) == [6, 7, 8])
        #expect(try await sequences(outbox, after: 18) == [19, 20])
        #expect(try await sequences(outbox, after: 20) == [])
    }

    /// What is acknowledged is not given again at once, and is deleted with the next commit.
    @Test func deletesOnlyWhatIsAcknowledged() async throws {
        let folder = try Folder()
        let outbox = try await Outbox.open(path: folder.file)
        try await outbox.append(try records(1...5))
        await outbox.acknowledge(through: 3)
        #expect(try await sequences(outbox) == [4, 5])
        #expect(try await outbox.status().depth == 2)
        #expect(try Database(path: folder.file).integer("SELECT count(*) FROM reading") == 5)
        await outbox.acknowledge(through: 2)
        #expect(try await outbox.status().depth == 2)
        try await outbox.append([try record(6)])
        #expect(try Database(path: folder.file).integer("SELECT min(seq) FROM reading") == 4)
        #expect(try await outbox.status().depth == 3)
    }

    /// A crash before the deletion sends readings again, as they were.
    @Test func whatWasAcknowledgedComesAgainAfterACrash() async throws {
        let folder = try Folder()
        var outbox: Outbox? = try await Outbox.open(path: folder.file)
        try await outbox?.append(try records(1...5))
        let before = try await outbox?.read(limit: 10)
        await outbox?.acknowledge(through: 4)
        outbox = nil
        let next = try await Outbox.open(path: folder.file)
        #expect(try await next.read(limit: 10) == before)
    }

    /// A number that was once given is never given again: neither when the table is empty nor after a start, orderly or not.
    @Test func numbersAreNeverUsedTwice() async throws {
        let folder = try Folder()
        var outbox: Outbox? = try await Outbox.open(path: folder.file)
        try await outbox?.append(try records(1...2))
        await outbox?.acknowledge(through: 2)
        #expect(try await outbox?.append([try record(3)]) == 3)
        await outbox?.acknowledge(through: 3)
        try await outbox?.settle()
        outbox = nil
        outbox = try await Outbox.open(path: folder.file)
        #expect(try await outbox?.status().lastSequence == 3)
        #expect(try await outbox?.append([try record(4)]) == 4)
        await outbox?.acknowledge(through: 4)
        try await outbox?.close()
        outbox = try await Outbox.open(path: folder.file)
        #expect(try await outbox?.append([try record(5)]) == 5)
        #expect(try await outbox?.status().depth == 1)
    }

    @Test func everyCommitWaitsForTheDisk() async throws {
        let folder = try Folder()
        let outbox = try await Outbox.open(path: folder.file)
        #expect(try await outbox.pragma("synchronous") == 2)
        #expect(try await outbox.pragma("auto_vacuum") == 2)
    }

    /// Of a group commit, one page of the log is written: an SD card lives by the pages that are written. With every
    /// hundredth number there is one more, which notes that.
    @Test func aCommitWritesOnePage() async throws {
        let folder = try Folder()
        let outbox = try await Outbox.open(path: folder.file)
        try await outbox.append(try records(1...3))
        for number in 2...40 {
            let before = OutboxFile.logBytes(folder.file)
            await outbox.acknowledge(through: Int64(number * 3 - 3))
            try await outbox.append(try records(number * 3 - 2...number * 3))
            let pages: Int64 = number == 34 ? 2 : 1
            #expect(OutboxFile.logBytes(folder.file) - before == pages * (4096 + 24), "commit \(number)")
        }
    }

    @Test func tellsOfEachCommit() async throws {
        let folder = try Folder()
        let commits = Mutex(0)
        let outbox = try await Outbox.open(
            path: folder.file, observer: OutboxObserver(appended: { commits.withLock { $0 += 1 } }))
        try await outbox.append(try records(1...2))
        try await outbox.append([try record(3)])
        #expect(commits.withLock { $0 } == 2)
    }

    @Test func manyWritersGetNumbersWithoutGaps() async throws {
        let folder = try Folder()
        let outbox = try await Outbox.open(path: folder.file)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 1...50 {
                let one = try record(number)
                group.addTask { _ = try await outbox.append([one]) }
            }
            try await group.waitForAll()
        }
        #expect(try await sequences(outbox) == Array(1...50))
    }

    /// Another connection, such as the sqlite3 shell's, sees a commit as soon as it returned.
    @Test func aCommitIsSeenByAnotherConnection() async throws {
        let folder = try Folder()
        let outbox = try await Outbox.open(path: folder.file)
        try await outbox.append(try records(1...3))
        #expect(try Database(path: folder.file).integer("SELECT count(*) FROM reading") == 3)
    }

    /// After a crash the rows are counted; after an orderly end the file says how many there are.
    @Test func knowsHowManyWaitAfterAStart() async throws {
        let folder = try Folder()
        var outbox: Outbox? = try await Outbox.open(path: folder.file)
        try await outbox?.append(try records(1...50))
        for number in [10, 20, 30] {
            let one = try #require(try await outbox?.read(after: Int64(number - 1), limit: 1).first)
            try await outbox?.quarantine(one, reason: "refused")
        }
        outbox = nil
        outbox = try await Outbox.open(path: folder.file)
        // Numbers say no more than that: three of them have gone.
        #expect(try await outbox?.status().depth == 50)
        try await outbox?.append(try records(51...52))
        await outbox?.prepare()
        #expect(try await outbox?.status().depth == 49)
        await outbox?.acknowledge(through: 15)
        try await outbox?.close()
        outbox = try await Outbox.open(path: folder.file)
        #expect(try await outbox?.status().depth == 35)
        outbox = nil
        // The crash now comes before anything is written.
        outbox = try await Outbox.open(path: folder.file)
        #expect(try await outbox?.status().depth == 35)
    }

    @Test func rowsThatWereDeletedBeforeTheyWereCountedDoNotCount() async throws {
        let folder = try Folder()
        var outbox: Outbox? = try await Outbox.open(path: folder.file)
        try await outbox?.append(try records(1...30))
        outbox = nil
        outbox = try await Outbox.open(path: folder.file)
        await outbox?.acknowledge(through: 12)
        try await outbox?.settle()
        #expect(try await outbox?.status().depth == 18)
        await outbox?.prepare()
        #expect(try await outbox?.status().depth == 18)
    }

    @Test func aFolderThatIsNotThereIsNamedWithARemedyAndTriedAgain() async throws {
        let folder = try Folder()
        let path = folder.path + "/later/outbox.sqlite"
        let troubles = Mutex<[OutboxError]>([])
        let outbox = try await Outbox.open(
            path: path, observer: OutboxObserver(troubled: { error in troubles.withLock { $0.append(error) } }))
        let trouble = try #require(troubles.withLock { $0.first })
        #expect(trouble.code == 14)  // SQLITE_CANTOPEN
        #expect(trouble.remedy?.contains("folder") == true)
        #expect(trouble.description.contains(path))
        await #expect(throws: OutboxError.self) { try await outbox.append([try record(1)]) }
        try FileManager.default.createDirectory(atPath: folder.path + "/later", withIntermediateDirectories: true)
        #expect(try await outbox.append([try record(1)]) == 1)
    }

    @Test func aSecondGatewayIsRefusedByTheFirstOnesProcess() async throws {
        let folder = try Folder()
        let first = try await Outbox.open(path: folder.file)
        do {
            _ = try await Outbox.open(path: folder.file)
            Issue.record("a second one may use the file")
        } catch {
            #expect(error.processes == [getpid()])
            #expect(error.description.contains("process \(getpid())"))
            #expect(error.description.contains("stop that one"))
        }
        try await first.append([try record(1)])
        try await first.close()
        let next = try await Outbox.open(path: folder.file)
        #expect(try await sequences(next) == [1])
    }
}

extension Outbox {
    func pragma(_ name: String) throws -> Int64? {
        try withFile { file throws(OutboxError) in try file.database.integer("PRAGMA \(name)") }
    }
}
