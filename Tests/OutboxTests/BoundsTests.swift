import Foundation
import Platform
import Readings
import Synchronization
import TestSupport
import Testing

@testable import Outbox

@Suite struct BoundsTests {
    @Test func dropsTheOldestBeyondTheBoundAndCountsThem() async throws {
        let folder = try Folder()
        let outbox = try await Outbox.open(path: folder.file, limits: OutboxLimits(readings: 10), randomBits: { 0xA1 })
        try await outbox.append(try records(1...8))
        try await keepBounds(outbox)
        try await outbox.append(try records(9...13))
        try await keepBounds(outbox)
        #expect(try await sequences(outbox) == Array(4...13))
        let status = try await outbox.status()
        #expect((status.depth, status.dropped, status.lastSequence) == (10, 3, 13))
        #expect(status.oldest == Timestamp(milliseconds: 1_000_004))
        #expect(try await tell(outbox).gaps == ["a1 dropped_oldest 1-3"])
        try await outbox.close()
        let next = try await Outbox.open(path: folder.file)
        #expect(try await next.status().dropped == 3)
    }

    @Test func keepsTheNewestWhateverTheBound() async throws {
        let folder = try Folder()
        let outbox = try await Outbox.open(path: folder.file, limits: OutboxLimits(readings: 0, bytes: 0))
        try await outbox.append(try records(1...2))
        try await keepBounds(outbox)
        try await outbox.append([try record(3)])
        try await keepBounds(outbox)
        #expect(try await sequences(outbox) == [3])
    }

    @Test func staysBelowTheBoundInBytes() async throws {
        let folder = try Folder()
        let limit: Int64 = 1 << 20
        let outbox = try await Outbox.open(path: folder.file, limits: OutboxLimits(bytes: limit), randomBits: { 0xA1 })
        for group in 0..<120 {
            try await outbox.append(try records(group * 100 + 1...group * 100 + 100))
            try await keepBounds(outbox)
            #expect(try await outbox.status().bytes <= limit)
        }
        let status = try await outbox.status()
        #expect(status.depth > 3000)
        #expect(Int64(status.depth) + status.dropped == 12_000)
        #expect(try await sequences(outbox) == Array(status.dropped + 1...12_000))
        #expect(try await tell(outbox).gaps == ["a1 dropped_oldest 1-\(status.dropped)"])
    }

    @Test func newReadingsGiveWayIfThatIsThePolicy() async throws {
        let folder = try Folder()
        let outbox = try await Outbox.open(
            path: folder.file, limits: OutboxLimits(readings: 10, policy: .dropNewest), randomBits: { 0xA1 })
        try await outbox.append(try records(1...8))
        #expect(try await outbox.append(try records(9...13)) == 13)
        try await keepBounds(outbox)
        #expect(try await sequences(outbox) == Array(1...10))
        try await outbox.append(try records(14...15))
        // Room comes with what is acknowledged.
        await outbox.acknowledge(through: 9)
        try await outbox.append(try records(16...17))
        #expect(try await sequences(outbox) == [10, 16, 17])
        #expect(try await outbox.status().dropped == 5)
        #expect(try await tell(outbox).gaps == ["a1 dropped_newest 11-15"])
    }

    /// A long outage keeps its shape: of each sensor every second reading goes in the oldest half.
    @Test func thinningTakesEverySecondReadingOfEachSensor() async throws {
        let folder = try Folder()
        let outbox = try await Outbox.open(
            path: folder.file, limits: OutboxLimits(readings: 60, policy: .thin), randomBits: { 0xA1 })
        // a, b, c in turn; c only every second time.
        var names: [String] = []
        while names.count < 61 { names += names.count / 5 % 2 == 0 ? ["a", "b", "c"] : ["a", "b"] }
        for (index, name) in names.prefix(61).enumerated() {
            try await outbox.append([try record(index + 1, sensor: name)])
        }
        let before = try await outbox.read(limit: 100).map(\.reading)
        await outbox.release()
        try await keepBounds(outbox)
        let after = Set(try await sequences(outbox))
        for sensor in ["a", "b", "c"] {
            let numbers = before.filter { $0.sensorID.description == sensor }.map(\.sequence)
            let oldest = numbers.filter { $0 <= 31 }
            let kept = oldest.filter { after.contains($0) }
            #expect(kept == oldest.enumerated().filter { $0.offset % 2 == 0 }.map(\.element), "\(sensor)")
            #expect(numbers.filter { $0 > 31 }.allSatisfy { after.contains($0) }, "\(sensor)")
        }
        let told = try await tell(outbox).gaps
        #expect(told.count == 1)
        #expect(told.first?.hasPrefix("a1 thinned ") == true)
        #expect(try await outbox.status().dropped == Int64(61 - after.count))
    }

    /// What cannot be thinned is dropped.
    @Test func oneReadingASensorIsDroppedWhereItCannotBeThinned() async throws {
        let folder = try Folder()
        let outbox = try await Outbox.open(path: folder.file, limits: OutboxLimits(readings: 10, policy: .thin))
        for number in 1...12 { try await outbox.append([try record(number, sensor: "s\(number)")]) }
        try await keepBounds(outbox)
        #expect(try await outbox.status().depth <= 10)
        #expect(try await sequences(outbox).last == 12)
    }

    @Test(arguments: OutboxLimits.Policy.allCases)
    func readingsGoWithAge(policy: OutboxLimits.Policy) async throws {
        let folder = try Folder()
        let clock = ManualWallClock(Timestamp(milliseconds: 1_000_000))
        let outbox = try await Outbox.open(
            path: folder.file, limits: OutboxLimits(age: .seconds(3600), policy: policy), randomBits: { 0xA1 },
            wallClock: clock)
        try await outbox.append(try records(1...20))
        try await keepBounds(outbox)
        #expect(try await outbox.status().depth == 20)
        clock.set(Timestamp(milliseconds: 1_000_000 + 3_600_000 + 11))
        try await keepBounds(outbox)
        #expect(try await sequences(outbox) == Array(11...20))
        #expect(try await tell(outbox).gaps == ["a1 dropped_oldest 1-10"])
    }

    /// One reading too many is as many as any, also where readings have an age.
    @Test func aBoundHoldsToTheReadingWhereReadingsHaveAnAge() async throws {
        let folder = try Folder()
        let clock = ManualWallClock(Timestamp(milliseconds: 1_000_000))
        let outbox = try await Outbox.open(
            path: folder.file, limits: OutboxLimits(readings: 5, age: .seconds(3600)), randomBits: { 0xA1 },
            wallClock: clock)
        for number in 1...8 {
            try await outbox.append([try record(number)])
            try await keepBounds(outbox)
            #expect(try await outbox.status().depth == min(number, 5))
        }
    }

    @Test func whatIsOnItsWayIsNotDropped() async throws {
        let folder = try Folder()
        let outbox = try await Outbox.open(path: folder.file, limits: OutboxLimits(readings: 5), randomBits: { 0xA1 })
        try await outbox.append(try records(1...4))
        _ = try await outbox.read(limit: 2)
        try await outbox.append(try records(5...12))
        try await keepBounds(outbox)
        #expect(try await outbox.read(limit: 100).map(\.reading.sequence) == [1, 2, 10, 11, 12])
        await outbox.release()
        #expect(try await tell(outbox).gaps == ["a1 dropped_oldest 3-9"])
    }

    /// While the broker takes readings, a board whose disk is nearly full loses none.
    @Test func aSmallFileGrowsAlsoWithLittleSpace() async throws {
        let folder = try Folder()
        let free = Mutex<Int64>(8 << 20)
        let outbox = try await Outbox.open(
            path: folder.file, limits: OutboxLimits(freeBytes: 16 << 20), freeBytes: { _ in free.withLock { $0 } })
        for number in stride(from: 1, through: 4000, by: 100) {
            try await outbox.append(try records(number...number + 99))
            try await keepBounds(outbox)
        }
        #expect(try await outbox.status().dropped == 0)
        // And some stay where nearly nothing is left, but no more than that.
        free.withLock { $0 = 1000 }
        for number in stride(from: 4001, through: 6000, by: 100) {
            try await outbox.append(try records(number...number + 99))
            try await keepBounds(outbox)
        }
        let status = try await outbox.status()
        #expect(status.dropped > 0 && status.depth > 300, "\(status)")
    }

    /// With little space left the file does not grow: what is new takes the place of the oldest.
    @Test func keepsSpaceFreeForOthers() async throws {
        let folder = try Folder()
        let free = Mutex<Int64>(1 << 30)
        let outbox = try await Outbox.open(
            path: folder.file, limits: OutboxLimits(freeBytes: 1 << 20), randomBits: { 0xA1 },
            freeBytes: { _ in free.withLock { $0 } })
        for group in 0..<40 {
            try await outbox.append(try records(group * 100 + 1...group * 100 + 100))
            try await keepBounds(outbox)
        }
        #expect(try await outbox.status().depth == 4000)
        free.withLock { $0 = 1000 }
        try await outbox.append(try records(4001...4100))
        try await keepBounds(outbox)
        let pages = try #require(try await outbox.pragma("page_count"))
        for group in 41..<80 {
            try await outbox.append(try records(group * 100 + 1...group * 100 + 100))
            try await keepBounds(outbox)
        }
        #expect(try await outbox.pragma("page_count") ?? 0 <= pages + 8)
        let status = try await outbox.status()
        // No more goes than must.
        #expect(status.depth > 3000)
        #expect(Int64(status.depth) + status.dropped == 8000)
    }

    /// A reader of another program keeps the log from being put into the file; no reading goes for that.
    @Test func aLongReaderCostsNoReadings() async throws {
        let folder = try Folder()
        let outbox = try await Outbox.open(
            path: folder.file, limits: OutboxLimits(bytes: 4 << 20), randomBits: { 0xA1 })
        try await outbox.append([try record(1)])
        let reader = try Database(path: folder.file)
        try reader.execute("BEGIN")
        #expect(try reader.integer("SELECT count(*) FROM reading") == 1)
        for group in 0..<80 {
            await outbox.acknowledge(through: Int64(max(0, group - 10) * 100))
            try await outbox.append(try records(group * 100 + 2...group * 100 + 101))
            try await keepBounds(outbox)
        }
        #expect(OutboxFile.logBytes(folder.file) > 1 << 20)
        #expect(try await outbox.status().dropped == 0)
        try reader.execute("ROLLBACK")
    }

    /// A large drop is done in small steps, and the file is given back.
    @Test(arguments: [OutboxLimits.Policy.dropOldest, .thin])
    func aLargeDropWritesLittleAtATimeAndGivesTheFileBack(policy: OutboxLimits.Policy) async throws {
        let folder = try Folder()
        do {
            let outbox = try await Outbox.open(path: folder.file)
            for group in 0..<60 { try await outbox.append(try records(group * 1000 + 1...group * 1000 + 1000)) }
            try await outbox.close()
        }
        let outbox = try await Outbox.open(
            path: folder.file, limits: OutboxLimits(readings: 8000, policy: policy), randomBits: { 0xA1 })
        await outbox.prepare()
        let pages = try #require(try await outbox.pragma("page_count"))
        var largest: Int64 = 0
        while try await outbox.keepBounds() { largest = max(largest, OutboxFile.logBytes(folder.file)) }
        #expect(largest < 4 << 20)
        let status = try await outbox.status()
        #expect(status.depth <= 8000 && status.depth > 4000)
        #expect(Int64(status.depth) + status.dropped == 60_000)
        #expect(try await outbox.pragma("page_count") ?? 0 < pages / 2)
        let waiting = try await outbox.read(limit: 10_000).count
        #expect(waiting == status.depth)
    }
}
