import CSQLite
import Foundation
import Platform
import Readings
import TestSupport
import Testing

@testable import Outbox

@Suite struct StreamTests {
    @Test func aStreamBeginsWithTheFirstReadingAfterEveryStart() async throws {
        let folder = try Folder()
        let names = StreamNames()
        var outbox: Outbox? = try await Outbox.open(path: folder.file, randomBits: names.bits)
        #expect(await outbox?.streamID == nil)
        try await outbox?.append(try records(1...2))
        #expect(await outbox?.streamID == StreamID(bits: 0xA1))
        outbox = nil
        // A start without a reading begins none.
        outbox = try await Outbox.open(path: folder.file, randomBits: names.bits)
        _ = try await outbox?.status()
        outbox = nil
        outbox = try await Outbox.open(path: folder.file, randomBits: names.bits)
        try await outbox?.append([try record(3)])
        let readings = try #require(try await outbox?.read(limit: 10)).map(\.reading)
        #expect(readings.map(\.streamID.bits) == [0xA1, 0xA1, 0xA2])
        #expect(readings.map(\.streamFirst) == [nil, nil, 3])
        #expect(readings.map(\.sequence) == [1, 2, 3])
    }

    @Test func reportsTellWhatABatchNeedsAndNoMore() async throws {
        let folder = try Folder()
        let names = StreamNames()
        var outbox: Outbox? = try await Outbox.open(path: folder.file, randomBits: names.bits)
        try await outbox?.append(try records(1...10))
        outbox = nil
        let next = try await Outbox.open(path: folder.file, randomBits: names.bits)
        try await next.append(try records(11...12))
        #expect(try await tell(next, through: 5) == Told(streams: ["gateway-1 a1 1- after none"]))
        #expect(try await tell(next, through: 9) == Told())
        // The end of the first is told when all before it is.
        #expect(
            try await tell(next, through: 11)
                == Told(streams: ["gateway-1 a1 1-10 after none", "gateway-1 a2 11- after a1"]))
        #expect(try await tell(next) == Told())
        #expect(try await tell(next, isEnd: true) == Told(streams: ["gateway-1 a2 11-12 after a1"]))
        // Whoever goes on with it all the same takes that back.
        try await next.append([try record(13)])
        #expect(try await tell(next, isEnd: true) == Told(streams: ["gateway-1 a2 11-13 after a1"]))
    }

    /// It is not sent again and again, and is not forgotten.
    @Test func aReportThatIsRefusedIsSentAgainWhenReportsAreDue() async throws {
        let folder = try Folder()
        let outbox = try await Outbox.open(path: folder.file, randomBits: { 0xA1 })
        try await outbox.append([try record(1)], dropped: 2)
        let refused = try #require(try await outbox.reports().first)
        await outbox.refuse(report: refused.id)
        await outbox.release()
        #expect(try await outbox.reports().isEmpty)
        try await outbox.append([try record(2)], dropped: 1)
        #expect(try await tell(outbox) == Told(gaps: ["a1 queue_full 4-4"]))
        try await outbox.renewReports()
        #expect(
            try await tell(outbox) == Told(streams: ["gateway-1 a1 1- after none"], gaps: ["a1 queue_full 1-2"]))
        #expect(try await tell(outbox) == Told())
    }

    @Test func reportsAreSentAgainUntilTheyAreAcknowledged() async throws {
        let folder = try Folder()
        let outbox = try await Outbox.open(path: folder.file, randomBits: { 0xA1 })
        try await outbox.append([try record(1)])
        let first = try await outbox.reports()
        #expect(first.count == 1)
        #expect(try await outbox.reports().isEmpty)
        await outbox.release()
        let second = try await outbox.reports()
        #expect(second.map(\.message) == first.map(\.message))
        // The first one's answer comes too late to count.
        await outbox.acknowledge(report: first[0].id)
        await outbox.release()
        #expect(try await outbox.reports().count == 1)
    }

    @Test func anAcknowledgedReportIsNotToldAgainAfterAStart() async throws {
        let folder = try Folder()
        let names = StreamNames()
        var outbox: Outbox? = try await Outbox.open(path: folder.file, randomBits: names.bits)
        try await outbox?.append([try record(1)])
        for report in try #require(try await outbox?.reports()) { await outbox?.acknowledge(report: report.id) }
        try await outbox?.close()
        outbox = try await Outbox.open(path: folder.file, randomBits: names.bits)
        #expect(try await outbox?.reports().isEmpty == true)
        try await outbox?.renewReports()
        #expect(try await outbox?.reports().count == 1)
    }

    /// The gateway's new name has a stream of its own; the end of the old one is told under the old name.
    @Test func aNewNameOfTheGatewayBeginsAStream() async throws {
        let folder = try Folder()
        let names = StreamNames()
        let outbox = try await Outbox.open(path: folder.file, randomBits: names.bits)
        try await outbox.append(try records(1...2))
        try await outbox.append([try record(3, gateway: "gateway-2")])
        #expect(
            try await tell(outbox)
                == Told(streams: ["gateway-1 a1 1-2 after none", "gateway-2 a2 3- after none"]))
        let readings = try await outbox.read(limit: 10).map(\.reading)
        #expect(readings.map(\.gatewayID.description) == ["gateway-1", "gateway-1", "gateway-2"])
        #expect(readings.map(\.streamFirst) == [nil, nil, 3])
    }

    /// A queue in memory that overflowed uses up numbers.
    @Test func whatTheQueueDroppedIsAGap() async throws {
        let folder = try Folder()
        let outbox = try await Outbox.open(path: folder.file, randomBits: { 0xA1 })
        try await outbox.append([try record(1)])
        try await outbox.append([try record(5)], dropped: 3)
        try await outbox.append([try record(7)], dropped: 1)
        #expect(try await sequences(outbox) == [1, 5, 7])
        #expect(try await tell(outbox, through: 4).gaps == ["a1 queue_full 2-4"])
        #expect(try await tell(outbox).gaps == ["a1 queue_full 6-6"])
    }

    /// A gap that goes on while its report is on its way is told to its end.
    @Test func aGapThatGrowsIsToldWhole() async throws {
        let folder = try Folder()
        let outbox = try await Outbox.open(path: folder.file, limits: OutboxLimits(readings: 4), randomBits: { 0xA1 })
        try await outbox.append(try records(1...6))
        try await keepBounds(outbox)
        let report = try #require(try await outbox.reports().first)
        try await outbox.append(try records(7...8))
        try await keepBounds(outbox)
        await outbox.acknowledge(report: report.id)
        #expect(try await tell(outbox).gaps == ["a1 dropped_oldest 3-4"])
        try await outbox.append(try records(9...10))
        try await keepBounds(outbox)
        #expect(try await tell(outbox).gaps == ["a1 dropped_oldest 5-6"])
        #expect(try await sequences(outbox) == [7, 8, 9, 10])
    }

    /// A start a minute for weeks without a network.
    @Test func manyShortStreamsAreToldInFewMessagesAndForgotten() async throws {
        let folder = try Folder()
        let names = StreamNames(1)
        for number in 1...1000 {
            let outbox = try await Outbox.open(path: folder.file, randomBits: names.bits)
            try await outbox.append([try record(number)])
        }
        let outbox = try await Outbox.open(path: folder.file, randomBits: names.bits)
        try await outbox.append([try record(1001)])
        var messages = 0
        var told: [OutboxReport] = []
        repeat {
            told = try await outbox.reports()
            messages += told.count
            for report in told { await outbox.acknowledge(report: report.id) }
        } while !told.isEmpty
        #expect(messages == 3)
        await outbox.acknowledge(through: 1001)
        try await outbox.append([try record(1002)])
        #expect(try Database(path: folder.file).integer("SELECT count(*) FROM stream") == 1)
    }

    @Test func quarantineIsAGapAndIsSentOnDemand() async throws {
        let folder = try Folder()
        let clock = ManualWallClock(Timestamp(milliseconds: 9_000_000))
        let outbox = try await Outbox.open(path: folder.file, randomBits: { 0xA1 }, wallClock: clock)
        try await outbox.append(try records(1...3))
        let second = try #require(try await outbox.read(after: 1, limit: 1).first)
        try await outbox.quarantine(second, reason: "too large")
        try await outbox.quarantine(second, reason: "too large")
        #expect(try await sequences(outbox) == [1, 3])
        let status = try await outbox.status()
        #expect((status.depth, status.quarantined) == (2, 1))
        #expect(try await tell(outbox).gaps == ["a1 quarantined 2-2"])
        #expect(try await outbox.requeued(limit: 10).isEmpty)

        let quarantine = try OutboxQuarantine(path: folder.file, isReadOnly: false)
        var listed: [QuarantinedReading] = []
        try quarantine.forEach { listed.append($0) }
        #expect(listed.map(\.reason) == ["too large"])
        #expect(listed.map(\.quarantinedAt) == [clock.now()])
        #expect(listed.map(\.body) == [String(decoding: second.reading.encoded(), as: UTF8.self)])
        #expect(try quarantine.requeue([7]) == (0, [7]))
        #expect(try quarantine.requeue(nil).count == 1)
        #expect(try await outbox.requeued(limit: 10).map(\.sequence) == [2])
        try await outbox.refuse(requeued: 2, reason: "still too large")
        #expect(try await outbox.requeued(limit: 10).isEmpty)
        #expect(try quarantine.requeue([2]) == (1, []))
        try await outbox.acknowledge(requeued: 2)
        #expect(try await outbox.status().quarantined == 0)
    }

    @Test func theQuarantineHasABoundOfItsOwn() async throws {
        let folder = try Folder()
        let outbox = try await Outbox.open(
            path: folder.file, limits: OutboxLimits(quarantinedReadings: 3), randomBits: { 0xA1 })
        try await outbox.append(try records(1...6))
        for record in try await outbox.read(limit: 5) { try await outbox.quarantine(record, reason: "refused") }
        #expect(try await outbox.status().quarantined == 3)
        #expect(try await tell(outbox).gaps == ["a1 quarantined 1-5"])
    }
}

@Suite struct NumberRangesTests {
    @Test func behaveAsSetsDo() throws {
        let seed = printedSeed()
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<500 {
            func draw() -> (NumberRanges, Set<Int64>) {
                var (ranges, numbers, position) = (NumberRanges(), Set<Int64>(), Int64(0))
                for _ in 0..<Int.random(in: 0...8, using: &generator) {
                    let first = position + Int64.random(in: 1...5, using: &generator)
                    position = first + Int64.random(in: 0...4, using: &generator)
                    ranges.append(first...position)
                    numbers.formUnion(first...position)
                }
                return (ranges, numbers)
            }
            let ((one, oneSet), (other, otherSet)) = (draw(), draw())
            func numbers(_ ranges: NumberRanges) -> [Int64] { ranges.ranges.flatMap { Array($0) } }
            #expect(numbers(one) == oneSet.sorted(), "seed \(seed)")
            #expect(one.count == Int64(oneSet.count), "seed \(seed)")
            #expect(numbers(one.subtracting(other)) == oneSet.subtracting(otherSet).sorted(), "seed \(seed)")
            let cut = Int64.random(in: 0...40, using: &generator)
            let parts = one.split(after: cut)
            #expect(numbers(parts.through) == oneSet.filter { $0 <= cut }.sorted(), "seed \(seed)")
            #expect(numbers(parts.rest) == oneSet.filter { $0 > cut }.sorted(), "seed \(seed)")
            #expect(NumberRanges(encoded: one.encoded) == one, "seed \(seed)")
            #expect(one.parts(of: 2).flatMap(\.ranges) == one.ranges, "seed \(seed)")
        }
    }

    @Test func theLargestNumbersHaveAForm() {
        let ranges = NumberRanges(Outbox.numbers)
        #expect(NumberRanges(encoded: ranges.encoded) == ranges)
    }

    @Test(arguments: [[0x80], [0x01], [0x00, 0x00], Array(repeating: 0xFF, count: 20), [0x01, 0x00, 0x00, 0x00]])
    func bytesThatAreNoRangesAreNone(bytes: [UInt8]) {
        #expect(NumberRanges(encoded: bytes) == nil)
    }

    /// A stream of which readings wait is not forgotten, also if nobody knows its end.
    @Test func aStreamIsKeptWhileItsReadingsWait() async throws {
        let folder = try Folder()
        let outbox = try await Outbox.open(path: folder.file)
        try await outbox.append(try records(1...1))
        try await outbox.close()
        let database = try Database(path: folder.file)
        try database.execute("DELETE FROM stream")
        let gateway = try record(1).reading.gatewayID.description
        for (first, bits) in [(Int64(1), UInt64(0xA1)), (11, 0xA2), (21, 0xA3)] {
            let stream = StreamRow(
                ordinal: 0, streamID: StreamID(bits: bits), gatewayID: gateway, first: first, previous: nil,
                isRunning: first == 21, told: .beginning)
            try StreamTable.insert(stream, into: database)
        }
        func firsts() throws -> [Int64] { try StreamTable.all(in: database).map(\.first) }
        try StreamTable.prune(oldest: 10, in: database)
        #expect(try firsts() == [1, 11, 21])
        try StreamTable.prune(oldest: 11, in: database)
        #expect(try firsts() == [11, 21])
        try StreamTable.prune(oldest: nil, in: database)
        #expect(try firsts() == [21])
    }
}
