import Foundation
import Glibc
import Readings
import TestSupport
import Testing

@testable import Outbox

@Suite struct SmallFileSystemTests {
    private static let megabyte = 1 << 20

    /// A large drop where 6 MB are left: steps of less than 4 MB of log each, and the file is given back.
    @Test(arguments: [OutboxLimits.Policy.dropOldest, .thin])
    func aLargeDropNeedsLittleSpace(policy: OutboxLimits.Policy) async throws {
        guard let small = try SmallFileSystem(bytes: 40 * Self.megabyte) else { return }
        let count = 80_000
        var outbox = try await Outbox.open(path: small.file, limits: OutboxLimits(freeBytes: 0))
        for group in 0..<count / 1000 { try await outbox.append(try records(group * 1000 + 1...group * 1000 + 1000)) }
        try await outbox.close()
        try small.fill(left: 6 * Self.megabyte)
        let before = try size(small.file)
        #expect(before > 6 * Self.megabyte)

        let limits = OutboxLimits(readings: 2000, freeBytes: 0, policy: policy)
        outbox = try await Outbox.open(path: small.file, limits: limits)
        var (largestLog, leastFree) = (0, Int.max)
        while try await outbox.keepBounds() {
            largestLog = max(largestLog, try size(small.file + "-wal"))
            leastFree = min(leastFree, small.free)
        }
        #expect(largestLog < 4 * Self.megabyte)
        #expect(leastFree > 2 * Self.megabyte)
        #expect(try await outbox.status().depth <= 2000)
        try await outbox.close()
        #expect(try size(small.file) < before / 4)
        print(
            "\(policy): \(before) to \(try size(small.file)) bytes, log at most \(largestLog), free at least \(leastFree)"
        )
    }

    /// With `keep_free`, an outbox that grows on a disk that fills up stops growing and drops.
    @Test func whatIsToStayFreeStaysFree() async throws {
        guard let small = try SmallFileSystem(bytes: 24 * Self.megabyte) else { return }
        try small.fill(left: 10 * Self.megabyte)
        let limits = OutboxLimits(freeBytes: Int64(6 * Self.megabyte))
        let outbox = try await Outbox.open(path: small.file, limits: limits)
        var leastFree = Int.max
        for group in 0..<100 {
            try await outbox.append(try records(group * 500 + 1...group * 500 + 500))
            while try await outbox.keepBounds() {}
            leastFree = min(leastFree, small.free)
        }
        #expect(leastFree > 2 * Self.megabyte)
        let status = try await outbox.status()
        #expect(status.dropped > 10_000)
        #expect(Int64(status.depth) + status.dropped == 50_000)
    }

    /// A full disk refuses what is new, gives what is there, and takes both up again when there is space.
    @Test func aFullDiskLosesNothingAndRecovers() async throws {
        guard let small = try SmallFileSystem(bytes: 12 * Self.megabyte) else { return }
        var outbox = try await Outbox.open(path: small.file, limits: OutboxLimits(freeBytes: 0))
        try await outbox.append(try records(1...5000))
        try small.fill(left: 0)
        var number = 5000
        var error: OutboxError?
        // The log has some room within the length that it keeps.
        while error == nil, number < 50_000 {
            let further = try records(number + 1...number + 500)
            do throws(OutboxError) {
                try await outbox.append(further)
                number += 500
            } catch let thrown {
                error = thrown
            }
        }
        #expect(error?.remedy?.contains("free space") == true)
        #expect(try await sequences(outbox) == Array(1...Int64(number)))
        // A start on a disk that has room for the memory that SQLite's connections share, and no more.
        try small.fill(left: 256 << 10)
        try await outbox.close()
        try small.fill(left: 48 << 10)
        outbox = try await Outbox.open(path: small.file, limits: OutboxLimits(freeBytes: 0))
        #expect(try await sequences(outbox) == Array(1...Int64(number)))
        await outbox.acknowledge(through: 100)
        #expect(try await sequences(outbox).first == 101)
        try small.fill(left: nil)
        #expect(try await outbox.append(try records(number + 1...number + 1)) == Int64(number + 1))
        #expect(try await sequences(outbox) == Array(101...Int64(number + 1)))
    }

    /// A file system that is read-only at the start: the calls say so, and go on when it is not any more.
    @Test func aReadOnlyFileSystemIsSaidAndTakenUp() async throws {
        guard let small = try SmallFileSystem(bytes: 12 * Self.megabyte) else { return }
        var outbox: Outbox? = try await Outbox.open(path: small.file, limits: OutboxLimits(freeBytes: 0))
        try await outbox?.append(try records(1...20))
        try await outbox?.close()
        outbox = nil
        try small.setReadOnly(true)
        let second = try await Outbox.open(path: small.file, limits: OutboxLimits(freeBytes: 0))
        let further = try records(21...21)
        do throws(OutboxError) {
            try await second.append(further)
            Issue.record("it was committed")
        } catch {
            #expect(error.remedy?.contains("write access") == true, "\(error)")
        }
        try small.setReadOnly(false)
        #expect(try await second.append(try records(21...21)) == 21)
        #expect(try await sequences(second) == Array(1...21))
    }

    private func size(_ path: String) throws -> Int {
        var status = stat()
        return stat(path, &status) == 0 ? Int(status.st_size) : 0
    }
}
