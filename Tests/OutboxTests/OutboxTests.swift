import Foundation
import Platform
import Readings
import Synchronization
import TestSupport
import Testing

@testable import Outbox

/// A folder that goes with the test.
private final class Folder {
    let path: String

    init() throws {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent("vigie-outbox-\(UUID())")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        path = url.path
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }

    var file: String { path + "/outbox.sqlite" }
}

private func record(_ number: Int, faults: [Fault] = []) throws -> OutboxRecord {
    let reading = Reading(
        gatewayID: try #require(Identifier("gateway-1")), sensorID: try #require(Identifier("hall")),
        streamID: StreamID(bits: 0), sequence: 0, eventTime: Timestamp(milliseconds: 1_000_000 + Int64(number)),
        timeQuality: number % 2 == 0 ? .synced : .estimated, intervalMilliseconds: 10_000,
        values: Values(temperature: 20.1 + Double(number), co2: 612), faults: faults,
        place: Place(latitude: 48.5, longitude: -2.25), isSimulated: true)
    return OutboxRecord(reading: reading, bootID: "boot", bootTimeMilliseconds: Int64(number))
}

private func sequences(_ outbox: Outbox, after: Int64 = 0) async throws -> [Int64] {
    try await outbox.read(after: after, limit: 10_000).map(\.reading.sequence)
}

extension Outbox {
    fileprivate func synchronous() throws -> Int64? { try database.integer("PRAGMA synchronous") }
}

/// Why an outbox cannot be opened; nil if it can.
private func openingError(_ path: String) async -> OutboxError? {
    do {
        _ = try await Outbox.open(path: path)
        return nil
    } catch {
        return error
    }
}

@Suite struct OutboxTests {
    @Test func givesBackWhatWasPutIn() async throws {
        let folder = try Folder()
        let clock = ManualWallClock(Timestamp(milliseconds: 5_000_000))
        let outbox = try await Outbox.open(path: folder.file, wallClock: clock)
        let faults = [
            Fault(chip: try #require(Identifier("scd41")), kind: try #require(Identifier("crc"))),
            Fault(chip: try #require(Identifier("bme280")), kind: try #require(Identifier("not_acknowledged"))),
        ]
        let records = [try record(1), try record(2, faults: faults)]
        #expect(try await outbox.append(records) == 2)
        var expected = records
        for index in expected.indices {
            expected[index].reading.streamID = outbox.streamID
            expected[index].reading.sequence = Int64(index + 1)
            expected[index].committedAt = clock.now()
        }
        #expect(try await outbox.read(limit: 10) == expected)
        #expect(try await outbox.append([]) == nil)
    }

    @Test func readsInOrderFromAnyPlace() async throws {
        let folder = try Folder()
        let outbox = try await Outbox.open(path: folder.file)
        try await outbox.append((1...20).map { try record($0) })
        #expect(try await outbox.read(after: 5, limit: 3).map(\.reading.sequence) == [6, 7, 8])
        #expect(try await sequences(outbox, after: 18) == [19, 20])
        #expect(try await sequences(outbox, after: 20) == [])
    }

    @Test func deletesOnlyWhatIsAcknowledged() async throws {
        let folder = try Folder()
        let outbox = try await Outbox.open(path: folder.file)
        try await outbox.append((1...5).map { try record($0) })
        try await outbox.acknowledge(through: 3)
        #expect(try await sequences(outbox) == [4, 5])
        #expect(try await outbox.status().depth == 2)
        try await outbox.acknowledge(through: 3)
        #expect(try await outbox.status().depth == 2)
    }

    /// A number that was once given is never given again: neither when the table is empty nor after a restart.
    @Test func numbersAreNeverUsedTwice() async throws {
        let folder = try Folder()
        var outbox = try await Outbox.open(path: folder.file)
        let stream = outbox.streamID
        try await outbox.append([try record(1), try record(2)])
        try await outbox.acknowledge(through: 2)
        #expect(try await outbox.append([try record(3)]) == 3)
        try await outbox.acknowledge(through: 3)
        outbox = try await Outbox.open(path: folder.file)
        #expect(outbox.streamID == stream)
        #expect(try await outbox.status().lastSequence == 3)
        #expect(try await outbox.append([try record(4)]) == 4)
        outbox = try await Outbox.open(path: folder.file)
        #expect(try await sequences(outbox) == [4])
        #expect(try await outbox.status().depth == 1)
    }

    @Test func everyFileHasAnIdentityOfItsOwn() async throws {
        let folder = try Folder()
        let first = try await Outbox.open(path: folder.file)
        let second = try await Outbox.open(path: folder.path + "/other.sqlite")
        #expect(first.streamID != second.streamID)
        let known = try await Outbox.open(path: folder.path + "/known.sqlite", randomBits: 0xAB)
        #expect(known.streamID.description == "00000000000000ab")
    }

    @Test func dropsTheOldestBeyondTheBoundAndCountsThem() async throws {
        let folder = try Folder()
        var outbox = try await Outbox.open(path: folder.file, limits: OutboxLimits(readings: 10))
        try await outbox.append((1...8).map { try record($0) })
        try await outbox.append((9...13).map { try record($0) })
        #expect(try await sequences(outbox) == Array(4...13))
        let status = try await outbox.status()
        #expect(status.depth == 10)
        #expect(status.dropped == 3)
        #expect(status.lastSequence == 13)
        #expect(status.oldest == Timestamp(milliseconds: 1_000_004))
        outbox = try await Outbox.open(path: folder.file)
        #expect(try await outbox.status().dropped == 3)
    }

    @Test func keepsTheNewestWhateverTheBound() async throws {
        let folder = try Folder()
        let outbox = try await Outbox.open(path: folder.file, limits: OutboxLimits(readings: 0, bytes: 0))
        try await outbox.append([try record(1), try record(2)])
        try await outbox.append([try record(3)])
        #expect(try await sequences(outbox) == [3])
    }

    /// What a power cut takes cannot be tried here; that SQLite is told to wait for the disk can (PRAGMA synchronous).
    @Test func everyCommitWaitsForTheDisk() async throws {
        let folder = try Folder()
        let outbox = try await Outbox.open(path: folder.file)
        #expect(try await outbox.synchronous() == 2)
    }

    @Test func staysBelowTheBoundInBytes() async throws {
        let folder = try Folder()
        let limit: Int64 = 200_000
        let outbox = try await Outbox.open(path: folder.file, limits: OutboxLimits(bytes: limit))
        for group in 0..<60 {
            try await outbox.append((1...100).map { try record(group * 100 + $0) })
            #expect(try await outbox.status().bytes <= limit)
        }
        let status = try await outbox.status()
        #expect(status.depth > 500)
        #expect(Int64(status.depth) + status.dropped == 6000)
        #expect(try await sequences(outbox) == Array(status.dropped + 1...6000))
    }

    @Test func quarantineMovesAReadingOutOfTheWay() async throws {
        let folder = try Folder()
        let outbox = try await Outbox.open(path: folder.file)
        try await outbox.append((1...3).map { try record($0) })
        let second = try #require(try await outbox.read(after: 1, limit: 1).first)
        try await outbox.quarantine(second.reading, reason: "too large")
        try await outbox.quarantine(second.reading, reason: "too large")
        #expect(try await sequences(outbox) == [1, 3])
        let status = try await outbox.status()
        #expect(status.depth == 2)
        #expect(status.quarantined == 1)
    }

    @Test func tellsOfEachCommit() async throws {
        let folder = try Folder()
        let commits = Mutex(0)
        let outbox = try await Outbox.open(path: folder.file) { commits.withLock { $0 += 1 } }
        try await outbox.append([try record(1), try record(2)])
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

    @Test func aFolderThatIsNotThereIsNamedWithARemedy() async throws {
        let error = await openingError("/nonexistent/outbox.sqlite")
        #expect(error?.code == 14)  // SQLITE_CANTOPEN
        #expect(error?.remedy?.contains("folder") == true)
        #expect(error?.description.contains("/nonexistent/outbox.sqlite") == true)
    }

    @Test func aFileThatIsNoDatabaseIsRefused() async throws {
        let folder = try Folder()
        try Data(repeating: 0x41, count: 8192).write(to: URL(fileURLWithPath: folder.file))
        let error = await openingError(folder.file)
        #expect(error?.code == 26)  // SQLITE_NOTADB
        #expect(error?.remedy?.contains("move the file away") == true)
    }

    /// An older release must not write into a file that it does not understand, nor advise to give it up.
    @Test func aFileOfANewerFormatIsRefusedAndLeftAlone() async throws {
        let folder = try Folder()
        let stream = try await Outbox.open(path: folder.file).streamID
        try Database(path: folder.file).execute("PRAGMA user_version = \(Outbox.format + 1)")
        let error = await openingError(folder.file)
        #expect(error?.description.contains("newer release") == true)
        #expect(error?.remedy == nil)
        try Database(path: folder.file).execute("PRAGMA user_version = \(Outbox.format)")
        #expect(try await Outbox.open(path: folder.file).streamID == stream)
    }

    /// A release that knew no commit times left readings behind; they are sent as ever, without one.
    @Test func aFileOfTheFirstFormatIsTakenOver() async throws {
        let folder = try Folder()
        var outbox = try await Outbox.open(path: folder.file)
        let stream = outbox.streamID
        try await outbox.append((1...3).map { try record($0) })
        outbox = try await Outbox.open(path: folder.path + "/other.sqlite")
        try Database(path: folder.file).execute(
            "ALTER TABLE reading DROP COLUMN committed_at; PRAGMA user_version = 1")
        let clock = ManualWallClock(Timestamp(milliseconds: 7_000_000))
        outbox = try await Outbox.open(path: folder.file, wallClock: clock)
        #expect(outbox.streamID == stream)
        try await outbox.append([try record(4)])
        #expect(try await sequences(outbox) == [1, 2, 3, 4])
        #expect(try await outbox.read(limit: 10).map(\.committedAt) == [nil, nil, nil, clock.now()])
        #expect(try Database(path: folder.file).integer("PRAGMA user_version") == Outbox.format)
    }

    /// Another connection, such as the sqlite3 shell's, sees a commit as soon as it returned.
    @Test func aCommitIsSeenByAnotherConnection() async throws {
        let folder = try Folder()
        let outbox = try await Outbox.open(path: folder.file)
        try await outbox.append((1...3).map { try record($0) })
        #expect(try Database(path: folder.file).integer("SELECT count(*) FROM reading") == 3)
        try await outbox.acknowledge(through: 2)
        #expect(try Database(path: folder.file).integer("SELECT min(seq) FROM reading") == 3)
    }

    /// A file copied while in use, as a power cut leaves it, opens with every commit before it.
    @Test func whatWasCommittedSurvivesAPowerCut() async throws {
        let folder = try Folder()
        let outbox = try await Outbox.open(path: folder.file)
        try await outbox.append((1...100).map { try record($0) })
        try await outbox.acknowledge(through: 40)
        let copy = folder.path + "/copy.sqlite"
        for suffix in ["", "-wal"] {
            try FileManager.default.copyItem(atPath: folder.file + suffix, toPath: copy + suffix)
        }
        let survivor = try await Outbox.open(path: copy)
        #expect(survivor.streamID == outbox.streamID)
        #expect(try await sequences(survivor) == Array(41...100))
        #expect(try await survivor.append([try record(101)]) == 101)
    }
}

/// Random operations against a model that is a plain array.
@Suite struct OutboxModelTests {
    @Test func behavesAsAModelDoes() async throws {
        let seed = printedSeed()
        var generator = SeededGenerator(seed: seed)
        let folder = try Folder()
        let limits = OutboxLimits(readings: 60)
        var outbox = try await Outbox.open(path: folder.file, limits: limits)
        var model: [Int64] = []
        var last: Int64 = 0
        var dropped = 0
        for step in 0..<300 {
            switch Int.random(in: 0..<10, using: &generator) {
            case 0...4:
                let count = Int.random(in: 1...30, using: &generator)
                try await outbox.append((0..<count).map { _ in try record(step) })
                model += (last + 1)...(last + Int64(count))
                last += Int64(count)
                dropped += max(0, model.count - limits.readings)
                model.removeFirst(max(0, model.count - limits.readings))
            case 5...7:
                guard let through = model.randomElement(using: &generator) else { continue }
                try await outbox.acknowledge(through: through)
                model.removeAll { $0 <= through }
            case 8:
                guard let chosen = model.randomElement(using: &generator),
                    let found = try await outbox.read(after: chosen - 1, limit: 1).first
                else { continue }
                try await outbox.quarantine(found.reading, reason: "model")
                model.removeAll { $0 == chosen }
            default:
                outbox = try await Outbox.open(path: folder.file, limits: limits)
            }
            #expect(try await sequences(outbox) == model, "seed \(seed), step \(step)")
            let status = try await outbox.status()
            #expect(status.depth == model.count, "seed \(seed), step \(step)")
            #expect(status.lastSequence == last, "seed \(seed), step \(step)")
            #expect(status.dropped == dropped, "seed \(seed), step \(step)")
        }
    }
}
