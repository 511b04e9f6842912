import Platform
import Readings
import TestSupport
import Testing

@testable import Outbox

@Suite struct FailingStorageTests {
    /// Disk full, read-only, I/O errors, another program's lock: what fails has changed nothing, what does not fail holds,
    /// also over a power cut, and all goes on when the storage is in order.
    @Test func whateverFailsNothingIsLostOrGivenTwice() async throws {
        var random = SeededGenerator(seed: printedSeed())
        var failed = 0
        for _ in 0..<40 {
            let machine = FaultyMachine()
            var workload = OutboxWorkload(
                on: machine, facts: OutboxFacts(), tables: OutboxTables(), seed: random.next())
            failed += try await workload.runOnFailingStorage(60)
            #expect(workload.contradictions == [])
            let last = try #require(workload.steps.last)
            for _ in 0..<5 {
                let image = machine.image(cutAtOperation: machine.operationCount + 1, seed: random.next())
                // What failed while it was synced may be there after all.
                let (wrongs, _) = await wrongs(of: image, after: (last, last), ghosts: nil, seed: random.next())
                #expect(wrongs == [])
            }
            guard workload.contradictions.isEmpty else { return }
        }
        #expect(failed > 100)
    }

    @Test(arguments: [
        (FaultyMachine.Faults(capacity: 0), "free space"), (FaultyMachine.Faults(isReadOnly: true), "the storage"),
        (FaultyMachine.Faults(writes: .init(after: 0, count: 1000)), "the storage"),
        (FaultyMachine.Faults(syncs: .init(after: 0, count: 1000)), "the storage"),
        (FaultyMachine.Faults(foreignLock: .writer), "the other program"),
    ])
    func whatKeepsACommitAwayIsNamedAndGoesBy(faults: FaultyMachine.Faults, remedy: String) async throws {
        let machine = FaultyMachine()
        let outbox = try await Outbox.open(
            path: OutboxWorkload.path, fileSystem: machine.vfs, sync: { machine.sync($0) })
        try await outbox.append(try records(1...3))
        machine.set(faults)
        let further = try records(4...5)
        for _ in 0..<3 {
            do throws(OutboxError) {
                try await outbox.append(further)
                Issue.record("it was committed")
            } catch {
                #expect(error.remedy?.contains(remedy) == true, "\(error)")
            }
            #expect(try await sequences(outbox) == [1, 2, 3])
        }
        machine.set(FaultyMachine.Faults())
        #expect(try await outbox.append(try records(4...5), dropped: 2) == 7)
        #expect(try await sequences(outbox) == [1, 2, 3, 6, 7])
    }

    /// The kernel takes pages whose sync failed for clean, and no later sync writes them. The log is a chain: without such a
    /// page all that is committed behind it would go with a power cut.
    @Test func whatCouldNotBeSyncedDoesNotTakeLaterCommitsWithIt() async throws {
        var random = SeededGenerator(seed: printedSeed())
        let machine = FaultyMachine()
        func open() async throws -> Outbox {
            try await Outbox.open(path: OutboxWorkload.path, fileSystem: machine.vfs, sync: { machine.sync($0) })
        }
        var outbox = try await open()
        try await outbox.append(try records(1...3))
        machine.set(FaultyMachine.Faults(syncs: .init(after: 0, count: 1)))
        let unsynced = try records(4...4)
        await #expect(throws: OutboxError.self) { try await outbox.append(unsynced) }
        machine.set(FaultyMachine.Faults())
        machine.kill()
        outbox = try await open()
        let known = try await sequences(outbox)
        let last = try #require(try await outbox.append(try records(5...9)))
        for _ in 0..<20 {
            let image = machine.image(cutAtOperation: machine.operationCount + 1, seed: random.next())
            let after = try await Outbox.open(
                path: OutboxWorkload.path, fileSystem: image.vfs, sync: { image.sync($0) })
            #expect(try await sequences(after) == known + Array(last - 4...last))
        }
    }
}
