import Foundation
import Glibc
import Testing

@testable import Outbox

/// What `buffer` and `doctor` do to the file that they look at, which a gateway may be using or may need for a salvage.
@Suite struct ToolTests {
    /// What a folder has, without SQLite's index of the log, in which each reader notes how far it reads.
    private func content(of folder: Folder) throws -> [String: Data] {
        var content: [String: Data] = [:]
        for name in try folder.files where !name.hasSuffix("-shm") {
            content[name] = FileManager.default.contents(atPath: folder.path + "/" + name)
        }
        return content
    }

    /// Opens the file as each tool does.
    /// - Returns: how many of them opened it.
    private func useTools(on path: String) -> Int {
        let uses: [() throws -> Void] = [
            { _ = try OutboxInspection(path: path, mostBytes: 1 << 20) { false } },
            { try OutboxQuarantine(path: path, isReadOnly: true).forEach { _ in } },
            { _ = try OutboxQuarantine(path: path, isReadOnly: false).requeue(nil) },
        ]
        return uses.filter { use in
            do {
                try use()
                return true
            } catch {
                return false
            }
        }.count
    }

    private func overwrite(_ path: String, with bytes: [UInt8]) throws {
        let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
        try file.write(contentsOf: Data(bytes))
        try file.close()
    }

    private enum Change: String, CaseIterable {
        case nothing, emptied, truncated, headerLost, replacedByACopy, replacedByText, deleted, logDeleted
    }

    @Test(arguments: Change.allCases)
    private func theFileOfARunningGatewayStaysAsItIs(_ change: Change) async throws {
        let folder = try Folder()
        let outbox = try await Outbox.open(path: folder.file)
        try await outbox.append(try records(1...10))
        try Database(path: folder.file).execute("VACUUM INTO '\(folder.path)/copy'")
        try await outbox.append(try records(11...20))
        switch change {
        case .nothing: break
        case .emptied: #expect(truncate(folder.file, 0) == 0)
        case .truncated: #expect(truncate(folder.file, 2 * 4096) == 0)
        case .headerLost: try overwrite(folder.file, with: Array(repeating: 0x41, count: 4096))
        case .replacedByACopy: #expect(rename(folder.path + "/copy", folder.file) == 0)
        case .replacedByText:
            #expect(unlink(folder.file) == 0)
            try Data("some text".utf8).write(to: URL(fileURLWithPath: folder.file))
        case .deleted: #expect(unlink(folder.file) == 0)
        case .logDeleted: #expect(unlink(folder.file + "-wal") == 0)
        }
        let before = try content(of: folder)
        let opened = useTools(on: folder.file)
        #expect(try content(of: folder) == before)
        switch change {
        case .nothing: #expect(opened == 3)
        // All of its pages are in the log.
        case .truncated, .headerLost: break
        default: #expect(opened == 0)
        }
        #expect(try await outbox.append([try record(21)]) == 21)
        #expect(try await sequences(outbox) == Array(1...21))
    }

    /// A gateway was killed, its log is not in the file yet, and the file was damaged.
    @Test(arguments: ["emptied", "without a header", "gone", "without a header of its log", "as it was"])
    func whatAKilledGatewayLeftStaysAsItIs(_ state: String) async throws {
        let fixture = try await OutboxFixture(hasLog: true)
        let folder = try Folder()
        var image = fixture.image
        switch state {
        case "emptied": image.file = []
        case "without a header": image.file?.replaceSubrange(0..<4096, with: [UInt8](repeating: 0x41, count: 4096))
        case "gone": image.file = nil
        case "without a header of its log": image.log?.replaceSubrange(0..<32, with: [UInt8](repeating: 0, count: 32))
        default: break
        }
        try image.write(to: folder.file)
        let before = try content(of: folder)
        _ = try? OutboxInspection(path: folder.file, mostBytes: 1 << 20) { false }
        try? OutboxQuarantine(path: folder.file, isReadOnly: true).forEach { _ in }
        // The log of a file without a header has that page, so it can be used.
        if state != "as it was", state != "without a header" {
            #expect(throws: OutboxError.self) {
                _ = try OutboxQuarantine(path: folder.file, isReadOnly: false).requeue(nil)
            }
        }
        #expect(try content(of: folder) == before)
    }

    /// What is requeued while no gateway runs waits in the log, and the next start sends it.
    @Test func whatIsRequeuedWithoutAGatewayIsThereAtTheNextStart() async throws {
        let folder = try Folder()
        var outbox = try await Outbox.open(path: folder.file)
        try await outbox.append(try records(1...5))
        for record in try await outbox.read(limit: 2) { try await outbox.quarantine(record, reason: "too large") }
        try await outbox.close()
        let file = FileManager.default.contents(atPath: folder.file)
        #expect(try OutboxQuarantine(path: folder.file, isReadOnly: false).requeue([1]).count == 1)
        #expect(FileManager.default.contents(atPath: folder.file) == file)
        #expect(OutboxFile.logBytes(folder.file) > 0)
        outbox = try await Outbox.open(path: folder.file)
        #expect(try await outbox.requeued(limit: 10).map(\.sequence) == [1])
        #expect(try await sequences(outbox) == [3, 4, 5])
    }

    @Test func aToolSaysWhatIsNotAnOutbox() throws {
        let folder = try Folder()
        func error(_ path: String) -> OutboxError? {
            do throws(OutboxError) {
                _ = try OutboxQuarantine(path: path, isReadOnly: true)
                return nil
            } catch {
                return error
            }
        }
        let missing = try #require(error(folder.file))
        #expect(missing.message == "No such file or directory")
        #expect(missing.remedy?.hasPrefix("the gateway makes it when it first starts") == true)
        try Database(path: folder.file).execute("CREATE TABLE outbox (id); CREATE TABLE person (name)")
        #expect(error(folder.file)?.message == "it is a database of another program")
        let pipe = folder.path + "/pipe"
        #expect(mkfifo(pipe, 0o600) == 0)
        #expect(error(pipe)?.message == "it is no file")
    }

    /// A file that has two names has two lock files and two logs: the lock on the file itself keeps the second gateway away.
    @Test func aSecondGatewayByAHardLinkIsRefused() async throws {
        let folder = try Folder()
        let other = folder.path + "/other.sqlite"
        let outbox = try await Outbox.open(path: folder.file)
        try await outbox.append(try records(1...5))
        #expect(link(folder.file, other) == 0)
        #expect(OutboxPath.names(of: other) == 2)
        do {
            _ = try await Outbox.open(path: other)
            Issue.record("a second gateway may use the file by its other name")
        } catch {
            #expect(error.processes == [getpid()])
        }
        // It is no loss to the first one.
        try await outbox.append(try records(6...7))
        try await outbox.close()
        let second = try await Outbox.open(path: other)
        #expect(try await sequences(second) == Array(1...7))
    }
}
