import CSQLite
import Foundation
import Platform
import Readings
import Synchronization
import TestSupport
import Testing

@testable import Outbox

@Suite struct WriteQueueTests {
    @Test func givesReadingsInOrderAndCountsWhatItDrops() throws {
        var queue = WriteQueue(capacity: 3)
        for number in 1...5 { queue.append(try record(number), at: .seconds(number)) }
        #expect((queue.count, queue.dropped, queue.oldest) == (3, 2, .seconds(3)))
        let taken = queue.take(2)
        let group = try #require(taken)
        let kept = try records(3...4)
        #expect(group.records == kept)
        #expect((group.dropped, group.oldest, queue.dropped, queue.count) == (2, .seconds(3), 0, 1))
        queue.append(try record(6), at: .seconds(6))
        queue.append(try record(7), at: .seconds(7))
        // What comes back is the oldest: it goes first.
        queue.putBack(group)
        #expect((queue.count, queue.dropped) == (3, 4))
        let rest = queue.take(10)
        let behind = try records(5...7)
        #expect(rest?.records == behind)
        #expect(queue.isEmpty && !queue.isFull)
    }
}

@Suite struct WriterTests {
    /// A clock that stands until it is moved.
    private func groups(
        _ budget: CommitBudget, isOnline: Bool, capacity: Int = 10_000,
        _ body: (OutboxWriter, ManualClock) async throws -> Void
    ) async throws -> [Int] {
        let folder = try Folder()
        let outbox = try await Outbox.open(path: folder.file)
        let clock = ManualClock()
        let sizes = Mutex<[Int]>([])
        let writer = OutboxWriter(
            outbox: outbox, budget: budget, capacity: capacity, clock: clock,
            observer: OutboxWriterObserver(committed: { count, _ in sizes.withLock { $0.append(count) } }))
        writer.set(isOnline: isOnline)
        let task = Task { await writer.run() }
        try await body(writer, clock)
        writer.finish()
        #expect(await task.value == 0)
        return sizes.withLock { $0 }
    }

    @Test func readingsThatComeTogetherAreCommittedTogether() async throws {
        let sizes = try await groups(CommitBudget(), isOnline: true) { writer, clock in
            for number in 1...3 { writer.enqueue(try record(number)) }
            await clock.untilSleepers(1)
            clock.advance(by: .milliseconds(99))
            #expect(writer.waiting == 3)
            clock.advance(by: .milliseconds(1))
            await writer.settled()
            for number in 4...5 { writer.enqueue(try record(number)) }
        }
        #expect(sizes == [3, 2])
    }

    /// A queue that is shorter than a group would otherwise give up all but its last readings, for ever.
    @Test func aFullQueueWaitsForNothing() async throws {
        let sizes = try await groups(CommitBudget(), isOnline: false, capacity: 3) { writer, _ in
            for number in 1...3 { writer.enqueue(try record(number)) }
            await writer.settled()
            for number in 4...6 { writer.enqueue(try record(number)) }
            await writer.settled()
        }
        #expect(sizes == [3, 3])
    }

    @Test func theyWaitLongerWhileNobodyWaitsForThem() async throws {
        let sizes = try await groups(CommitBudget(), isOnline: false) { writer, clock in
            writer.enqueue(try record(1))
            await clock.untilSleepers(1)
            clock.advance(by: .milliseconds(1900))
            writer.enqueue(try record(2))
            #expect(writer.waiting == 2)
            #expect(writer.atRisk == .milliseconds(1900))
            // The broker is back.
            writer.set(isOnline: true)
            await writer.settled()
            #expect(writer.atRisk == .zero)
        }
        #expect(sizes == [2])
    }

    @Test func aFullGroupDoesNotWait() async throws {
        let sizes = try await groups(CommitBudget(readings: 4), isOnline: false) { writer, _ in
            for number in 1...4 { writer.enqueue(try record(number)) }
            await writer.settled()
        }
        #expect(sizes.reduce(0, +) == 4)
    }

    @Test func withoutABudgetEachIsCommittedAtOnce() async throws {
        let sizes = try await groups(.each, isOnline: false) { writer, _ in
            for number in 1...3 {
                writer.enqueue(try record(number))
                await writer.settled()
            }
        }
        #expect(sizes == [1, 1, 1])
    }

    /// A lock of another program: enqueueing goes on, the oldest are given up beyond the bound, and the centre is told.
    @Test func readingsWaitInMemoryWhileTheFileIsLocked() async throws {
        let folder = try Folder()
        let outbox = try await Outbox.open(path: folder.file, randomBits: { 0xA1 })
        let refusals = AsyncStream.makeStream(of: Int.self)
        let recoveries = Mutex(0)
        let dropped = Mutex(0)
        let writer = OutboxWriter(
            outbox: outbox, budget: .each, capacity: 2,
            observer: OutboxWriterObserver(
                refused: { refusals.continuation.yield($1) }, recovered: { recoveries.withLock { $0 += 1 } },
                dropped: { count in dropped.withLock { $0 += count } }))
        let task = Task { await writer.run() }
        writer.enqueue(try record(1))
        await writer.settled()
        var blocker: OpaquePointer?
        #expect(sqlite3_open(folder.file, &blocker) == SQLITE_OK)
        defer { sqlite3_close(blocker) }
        #expect(sqlite3_exec(blocker, "BEGIN IMMEDIATE", nil, nil, nil) == SQLITE_OK)
        for number in 2...4 { writer.enqueue(try record(number)) }
        for await _ in refusals.stream { break }
        #expect(try await outbox.status().depth == 1)
        #expect(sqlite3_exec(blocker, "ROLLBACK", nil, nil, nil) == SQLITE_OK)
        writer.finish()
        #expect(await task.value == 0)
        #expect(try await outbox.read(limit: 10).map(\.reading.values[.temperature]) == [21.1, 23.1, 24.1])
        #expect(try await sequences(outbox) == [1, 3, 4])
        #expect(try await tell(outbox).gaps == ["a1 queue_full 2-2"])
        #expect(dropped.withLock { $0 } == 1)
    }

    @Test func whatCannotBeStoredUntilTheEndIsCounted() async throws {
        let folder = try Folder()
        let outbox = try await Outbox.open(path: folder.path + "/nowhere/outbox.sqlite")
        let writer = OutboxWriter(outbox: outbox, budget: .each)
        let task = Task { await writer.run() }
        for number in 1...3 { writer.enqueue(try record(number)) }
        writer.finish()
        #expect(await task.value == 3)
    }
}
