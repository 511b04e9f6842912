import Foundation
import Platform
import Readings
import Synchronization
import TestSupport

@testable import Outbox

/// What the program knows for certain, because calls returned: nothing of it may be lost or contradicted afterwards.
struct OutboxFacts {
    /// Every number that was ever given, with its stream and reading.
    var used: [Int64: OutboxTables.Use] = [:]
    /// The largest of them.
    var lastNumber: Int64 = 0
    /// The broker has readings up to this one,
    var acknowledgedThrough: Int64 = 0
    /// these of the quarantine,
    var acknowledgedSingly: Set<Int64> = []
    /// and reports of these numbers.
    var told: Set<Int64> = []

    /// Takes what stands in the file by now.
    /// - Returns: what contradicts what was known; empty if nothing does.
    mutating func learn(_ tables: OutboxTables) -> [String] {
        var contradictions: [String] = []
        for (number, use) in tables.readings {
            if let known = used[number], known != use {
                contradictions.append("number \(number) is \(use) and was \(known)")
            }
            used[number] = use
        }
        for gap in tables.gaps {
            for number in gap.ranges.ranges.flatMap({ Array($0) }) {
                if let known = used[number], known.stream != gap.stream {
                    contradictions.append("the gap \(number) is of stream \(gap.stream) and was \(known)")
                }
                if used[number] == nil { used[number] = OutboxTables.Use(stream: gap.stream, reading: nil) }
            }
        }
        lastNumber = max(lastNumber, used.keys.max() ?? 0)
        return contradictions
    }

    /// Numbers of which nobody knows where they are.
    func unaccounted(_ tables: OutboxTables) -> [Int64] {
        let gaps = tables.gapNumbers
        guard lastNumber > 0 else { return [] }
        return (1...lastNumber).filter {
            $0 > acknowledgedThrough && tables.readings[$0] == nil && !gaps.contains($0) && !told.contains($0)
                && !acknowledgedSingly.contains($0)
        }
    }
}

/// Random calls of an outbox on a machine, some of which end with the program being killed, and what holds after each of
/// them.
struct OutboxWorkload {
    /// What holds after a call.
    struct Step {
        var call: String
        /// How many operations of the storage there were by then.
        var operations: Int64
        var tables: OutboxTables
        var facts: OutboxFacts
    }

    static let path = "/outbox.sqlite"

    let machine: FaultyMachine
    private(set) var limits: OutboxLimits
    let clock = ManualWallClock(Timestamp(milliseconds: 1_700_000_000_000))
    private(set) var steps: [Step]
    private(set) var contradictions: [String] = []
    private var facts: OutboxFacts
    private var random: SeededGenerator
    private var outbox: Outbox?
    private var gateway = "gateway-1"
    private var given: [OutboxRecord] = []
    private var reports: [OutboxReport] = []
    private var sampled: Int64 = 0

    /// - Parameters:
    ///   - machine: holds a file or none.
    ///   - facts: what is known from before.
    init(on machine: FaultyMachine, facts: OutboxFacts, tables: OutboxTables, seed: UInt64) {
        self.machine = machine
        self.facts = facts
        var random = SeededGenerator(seed: seed)
        limits = OutboxLimits(
            readings: .random(in: 5...60, using: &random),
            bytes: Bool.random(using: &random) ? 512 << 20 : .random(in: 60_000...200_000, using: &random),
            age: Int.random(in: 0..<3, using: &random) == 0 ? .seconds(Int.random(in: 5...60, using: &random)) : nil,
            freeBytes: 0, policy: OutboxLimits.Policy.allCases.randomElement(using: &random) ?? .dropOldest,
            quarantinedReadings: .random(in: 1...5, using: &random))
        self.random = random
        steps = [Step(call: "nothing", operations: 0, tables: tables, facts: facts)]
    }

    /// Makes `count` calls.
    mutating func run(_ count: Int) async throws {
        try await open()
        for _ in 0..<count {
            if Int.random(in: 0..<30, using: &random) == 0 {
                machine.cut(atOperation: machine.operationCount + .random(in: 1...12, using: &random))
            }
            do {
                try await note(makeCall())
            } catch let error as OutboxError {
                guard !machine.hasPower else { throw error }
                // The program was killed at an operation; the machine runs on.
                machine.kill()
                outbox = nil
                try await open()
            }
        }
    }

    /// Makes `count` calls while the storage fails now and then, and ends with it in order.
    /// - Returns: how many calls failed.
    mutating func runOnFailingStorage(_ count: Int) async throws -> Int {
        try await open()
        var failed = 0
        for _ in 0..<count {
            machine.set(Int.random(in: 0..<3, using: &random) == 0 ? someFaults() : FaultyMachine.Faults())
            let call: String
            do {
                call = try await makeCall()
            } catch let error as OutboxError {
                // Damage would be set aside, and the storage is not damaged.
                if error.isDamage { contradictions.append("\(error)") }
                failed += 1
                call = "a call that failed: \(error.message)"
            }
            machine.set(FaultyMachine.Faults())
            try await note(call)
        }
        return failed
    }

    private mutating func someFaults() -> FaultyMachine.Faults {
        var faults = FaultyMachine.Faults()
        let failing = FaultyMachine.Faults.Failing(
            after: .random(in: 0...6, using: &random), count: .random(in: 1...3, using: &random))
        switch Int.random(in: 0..<7, using: &random) {
        case 0: faults.reads = failing
        case 1: faults.writes = failing
        case 2: faults.syncs = failing
        case 3: faults.capacity = .random(in: 0...200_000, using: &random)
        case 4: faults.isReadOnly = true
        case 5: faults.foreignLock = .writer
        default: faults.foreignLock = .exclusive
        }
        return faults
    }

    /// Appends groups of a thousand readings with long names.
    mutating func fill(groups: Int) async throws {
        if outbox == nil { try await open() }
        let name = String(repeating: "n", count: 64)
        for _ in 0..<groups {
            let records = try (0..<1000).map { _ in
                sampled += 1
                return try OutboxWorkload.record(gateway: name, sensor: name, at: sampled)
            }
            try await outbox?.append(records)
            try await note("append of 1000")
        }
    }

    /// Appends one reading.
    mutating func append() async throws {
        try await outbox?.append([record()])
        try await note("append")
    }

    /// Opens the file again with other limits, and makes them hold.
    mutating func keep(_ newLimits: OutboxLimits) async throws {
        try await outbox?.close()
        try await note("close")
        limits = newLimits
        try await open()
        while try await outbox?.keepBounds() == true { try await note("keepBounds") }
        try await note("keepBounds")
    }

    /// What holds if the power goes at an operation: the last call that had returned, and the one that was made then.
    func expected(cutAtOperation n: Int64) -> (returned: Step, underWay: Step) {
        let index = steps.lastIndex { $0.operations < n } ?? 0
        return (steps[index], steps[min(index + 1, steps.count - 1)])
    }

    private mutating func note(_ call: String) async throws {
        guard let outbox else { return }
        let tables = try await outbox.tables()
        let found = facts.learn(tables)
        contradictions += found.map { "after \(call): \($0)" }
        let lost = facts.unaccounted(tables)
        if !lost.isEmpty { contradictions.append("after \(call): nobody knows of \(lost.prefix(5))") }
        steps.append(Step(call: call, operations: machine.operationCount, tables: tables, facts: facts))
    }

    mutating func open() async throws {
        let seed = random.next()
        let bits = Mutex(SeededGenerator(seed: seed))
        outbox = try await Outbox.open(
            path: Self.path, limits: limits, fileSystem: machine.vfs, randomBits: { bits.withLock { $0.next() } },
            freeBytes: { _ in nil }, sync: { [machine] in machine.sync($0) }, wallClock: clock)
        given = []
        reports = []
        try await note("open")
    }

    private mutating func makeCall() async throws -> String {
        guard let outbox else { return "nothing" }
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<30:
            let dropped = Int.random(in: 0..<10, using: &random) == 0 ? Int.random(in: 1...5, using: &random) : 0
            let records = try (0..<Int.random(in: 1...6, using: &random)).map { _ in try record() }
            let before = facts.lastNumber
            let last = try await outbox.append(records, dropped: dropped)
            facts.lastNumber = max(facts.lastNumber, last ?? 0)
            if last != before + Int64(records.count + dropped) {
                contradictions.append("append after \(before) gave \(last ?? -1)")
            }
            return "append of \(records.count), \(dropped) dropped"
        case 30..<45:
            let after = given.last?.reading.sequence ?? 0
            given += try await outbox.read(after: after, limit: Int.random(in: 1...20, using: &random))
            return "read"
        case 45..<57:
            guard let last = given.randomElement(using: &random)?.reading.sequence else { return "nothing" }
            await outbox.acknowledge(through: last)
            facts.acknowledgedThrough = max(facts.acknowledgedThrough, last)
            given.removeAll { $0.reading.sequence <= last }
            return "acknowledge through \(last)"
        case 57..<63:
            reports += try await outbox.reports(through: Bool.random(using: &random) ? nil : facts.lastNumber / 2)
            return "reports"
        case 63..<71:
            guard let index = reports.indices.randomElement(using: &random) else { return "nothing" }
            let report = reports.remove(at: index)
            try learn(report)
            await outbox.acknowledge(report: report.id)
            return "acknowledge a report"
        case 71..<75:
            await outbox.release()
            given = []
            reports = []
            return "release"
        case 75..<80:
            try await outbox.settle()
            return "settle"
        case 80..<88:
            var steps = Int.random(in: 1...5, using: &random)
            while try await outbox.keepBounds(), steps > 1 {
                steps -= 1
                try await note("keepBounds")
            }
            return "keepBounds"
        case 88..<91:
            guard let record = given.randomElement(using: &random) else { return "nothing" }
            given.removeAll { $0.reading.sequence == record.reading.sequence }
            try await outbox.quarantine(record, reason: "too large")
            return "quarantine \(record.reading.sequence)"
        case 91..<93:
            try await outbox.requeueAll()
            try await note("requeue")
            guard let reading = try await outbox.requeued(limit: 5).randomElement(using: &random) else {
                return "nothing"
            }
            if Bool.random(using: &random) {
                try await outbox.refuse(requeued: reading.sequence, reason: "again")
                return "refuse \(reading.sequence)"
            }
            try await outbox.acknowledge(requeued: reading.sequence)
            facts.acknowledgedSingly.insert(reading.sequence)
            return "acknowledge \(reading.sequence) of the quarantine"
        case 93..<95:
            clock.set(Timestamp(milliseconds: clock.now().milliseconds + .random(in: 1000...50_000, using: &random)))
            return "time passes"
        case 95..<96:
            try await outbox.renewReports()
            return "renewReports"
        case 96..<97:
            gateway = "gateway-\(Int.random(in: 1...2, using: &random))"
            return "the gateway's name changes"
        case 97..<98:
            machine.kill()
            self.outbox = nil
            try await open()
            return "kill, open"
        default:
            let end = try await outbox.reports(isEnd: true)
            for report in end where Bool.random(using: &random) {
                try learn(report)
                await outbox.acknowledge(report: report.id)
            }
            try await note("the last reports")
            try await outbox.close()
            try await note("close")
            self.outbox = nil
            try await open()
            return "close, open"
        }
    }

    private mutating func learn(_ report: OutboxReport) throws {
        let object = try JSONSerialization.jsonObject(with: Data(report.message)) as? [String: Any]
        let content = object?["report"] as? [String: Any]
        for gap in content?["gaps"] as? [[String: Any]] ?? [] {
            for range in gap["ranges"] as? [[Int64]] ?? [] where range.count == 2 && range[0] <= range[1] {
                facts.told.formUnion(range[0]...range[1])
            }
        }
    }

    private mutating func record() throws -> OutboxRecord {
        sampled += 1
        clock.set(Timestamp(milliseconds: clock.now().milliseconds + 100))
        return try OutboxWorkload.record(
            gateway: gateway, sensor: "hall-\(Int.random(in: 1...3, using: &random))",
            at: clock.now().milliseconds + sampled)
    }

    static func record(gateway: String, sensor: String, at time: Int64) throws -> OutboxRecord {
        guard let gatewayID = Identifier(gateway), let sensorID = Identifier(sensor) else { throw NotAName() }
        let reading = Reading(
            gatewayID: gatewayID, sensorID: sensorID, streamID: StreamID(bits: 0), sequence: 0,
            eventTime: Timestamp(milliseconds: time), timeQuality: .synced, intervalMilliseconds: 10_000,
            values: [.temperature: 20.5, .co2: 612], isSimulated: true)
        return OutboxRecord(reading: reading, bootID: "boot", bootTimeMilliseconds: time)
    }

    private struct NotAName: Error {}
}
