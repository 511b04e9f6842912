import Glibc
import Platform
import Readings
import Synchronization
import TestSupport
import Testing

@testable import Outbox

/// How many cuts `make test` makes; `make test-power-cuts` sets more.
private let cutsToMake = getenv("VIGIE_POWER_CUTS").flatMap { Int(String(cString: $0)) } ?? 4000

/// Opens what a cut has left, and looks whether everything holds.
/// - Parameters:
///   - image: what the cut has left.
///   - expected: what held before, and what was to hold then.
///   - ghosts: what may be there too: transactions that earlier cuts had torn; nil: whatever contradicts nothing.
///   - seed: for the names of streams.
/// - Returns: what does not; empty if everything does.
func wrongs(
    of image: FaultyMachine, after expected: (returned: OutboxWorkload.Step, underWay: OutboxWorkload.Step),
    ghosts: [OutboxTables]? = [], seed: UInt64
) async -> (wrongs: [String], tables: OutboxTables?) {
    let (returned, underWay) = expected
    var wrongs: [String] = []
    do {
        let bits = Mutex(SeededGenerator(seed: seed))
        let outbox = try await Outbox.open(
            path: OutboxWorkload.path, fileSystem: image.vfs, randomBits: { bits.withLock { $0.next() } },
            freeBytes: { _ in nil }, sync: { image.sync($0) })
        wrongs += try await outbox.damage()
        let tables = try await outbox.tables()
        if tables != returned.tables, tables != underWay.tables, ghosts?.contains(tables) == false {
            let differences = tables.differences(from: returned.tables).joined(separator: ", ")
            wrongs.append("it holds neither what was there before nor what was to be there: \(differences)")
        }
        var facts = returned.facts
        wrongs += facts.learn(tables)
        let lost = returned.facts.unaccounted(tables)
        if !lost.isEmpty { wrongs.append("nobody knows of \(lost.prefix(5))") }
        let both = tables.gapNumbers.intersection(tables.readings.keys)
        if !both.isEmpty { wrongs.append("\(both.sorted().prefix(5)) are there and are gaps") }
        let readings = try await outbox.read(limit: .max)
        if readings.map(\.reading.sequence) != tables.readings.keys.sorted() {
            wrongs.append("it gives \(readings.count) readings of \(tables.readings.count)")
        }

        let record = try OutboxWorkload.record(gateway: "gateway-1", sensor: "hall-1", at: 1_800_000_000_000)
        let number = try await outbox.append([record]) ?? 0
        let known = max(returned.facts.lastNumber, tables.largestNumber)
        if number <= known { wrongs.append("the number \(number) is given again, \(known) was given") }
        let now = try await outbox.tables()
        guard let stream = now.readings[number]?.stream else {
            return (wrongs + ["the reading \(number) is not there"], nil)
        }
        if returned.facts.used.values.contains(where: { $0.stream == stream }) {
            wrongs.append("its stream is an old one")
        }
        for ended in now.streams where !ended.isRunning {
            guard let last = ended.last else { continue }
            let numbers = returned.facts.used.filter { $0.value.stream == ended.stream }.keys
            if let largest = numbers.max(), largest > last {
                wrongs.append("stream \(ended.stream) ends with \(last), but has \(largest)")
            }
        }
        // What it does on the way out is of no interest.
        image.cut()
        return (wrongs, tables)
    } catch {
        return (wrongs + ["\(error)"], nil)
    }
}

@Suite struct PowerCutTests {
    /// Power cut at any instant: nothing that was reported as durable is lost, no number is given twice, every number is
    /// accounted for, and the file opens without salvage.
    @Test func whatWasReportedDurableSurvivesACutAtEveryOperation() async throws {
        let seed = printedSeed()
        var random = SeededGenerator(seed: seed)
        var cuts = 0
        var workloads = 0
        var begun = ContinuousClock.now
        // Most workloads go on with what a cut of the one before has left.
        var (machine, tables, facts) = (FaultyMachine(), OutboxTables(), OutboxFacts())
        // What was under way when that cut came. Where it was torn, it may come back with the next cut, while what is written
        // in its place is not durable: that may have the very sectors that were missing. Nobody was told of either.
        var ghosts: [OutboxTables] = []
        while cuts < cutsToMake {
            if Int.random(in: 0..<4, using: &random) == 0 {
                (machine, tables, facts, ghosts) = (FaultyMachine(), OutboxTables(), OutboxFacts(), [])
            }
            var workload = OutboxWorkload(on: machine, facts: facts, tables: tables, seed: random.next())
            try await workload.run(30)
            workloads += 1
            #expect(workload.contradictions == [])
            let operations = machine.operationCount
            let next = Int64.random(in: 1...operations + 1, using: &random)
            var following = machine
            var left: (OutboxTables, OutboxFacts, OutboxTables)?
            for n in 1...operations + 1 {
                let expected = workload.expected(cutAtOperation: n)
                let imageSeed = random.next()
                let image = machine.image(cutAtOperation: n, seed: imageSeed)
                if n == next { following = machine.image(cutAtOperation: n, seed: imageSeed) }
                let isUnchanged = expected.returned.tables == workload.steps[0].tables
                let (wrongs, found) = await wrongs(
                    of: image, after: expected, ghosts: isUnchanged ? ghosts : [], seed: random.next())
                cuts += 1
                if !wrongs.isEmpty || !workload.contradictions.isEmpty {
                    Issue.record(
                        """
                        workload \(workloads), cut at \(n) of \(operations) (\(machine.operation(n))), after \
                        '\(expected.returned.call)' and within '\(expected.underWay.call)', \(workload.limits): \
                        \(wrongs.joined(separator: "; "))
                        """)
                    return
                }
                if n == next, let found { left = (found, expected.returned.facts, expected.underWay.tables) }
            }
            machine = following
            if let left {
                ghosts = (left.0 == tables ? ghosts : []) + [left.2]
                (tables, facts) = (left.0, left.1)
                _ = facts.learn(tables)
            }
            if begun.duration(to: .now) > .seconds(20) {
                print("power cuts: \(cuts) of \(cutsToMake)")
                begun = .now
            }
        }
        print("power cuts: \(cuts) in \(workloads) workloads")
    }

    /// The first start: the file, its name in the folder, its tables, the first readings.
    @Test func aFirstStartMayBeCutAnywhere() async throws {
        var random = SeededGenerator(seed: printedSeed())
        let machine = FaultyMachine()
        var workload = OutboxWorkload(on: machine, facts: OutboxFacts(), tables: OutboxTables(), seed: random.next())
        try await workload.open()
        try await workload.append()
        #expect(machine.operationCount > 30)
        for n in 1...machine.operationCount + 1 {
            for _ in 0..<5 {
                let image = machine.image(cutAtOperation: n, seed: random.next())
                let expected = workload.expected(cutAtOperation: n)
                let (wrongs, _) = await wrongs(of: image, after: expected, seed: random.next())
                #expect(wrongs == [], "cut at \(n) (\(machine.operation(n)))")
            }
        }
    }

    /// After a large drop the file is given back in steps; a cut in any of them loses nothing more.
    @Test func givingBackMayBeCutAnywhere() async throws {
        var random = SeededGenerator(seed: printedSeed())
        let machine = FaultyMachine()
        var workload = OutboxWorkload(on: machine, facts: OutboxFacts(), tables: OutboxTables(), seed: random.next())
        try await workload.keep(OutboxLimits(freeBytes: 0))
        try await workload.fill(groups: 7)
        // The end of the connection puts all into the file.
        try await workload.keep(OutboxLimits(freeBytes: 0))
        let largest = try #require(machine.contents(of: OutboxWorkload.path)?.count)
        let before = machine.operationCount
        let limits = OutboxLimits(readings: 100, freeBytes: 0)
        try await workload.keep(limits)
        try await workload.keep(limits)
        #expect(workload.contradictions == [])
        let smallest = try #require(machine.contents(of: OutboxWorkload.path)?.count)
        #expect(smallest < largest - 400_000)
        print("giving back: \(machine.operationCount - before) operations, from \(largest) to \(smallest)")
        var n = before
        while n <= machine.operationCount + 1 {
            let image = machine.image(cutAtOperation: n, seed: random.next())
            let expected = workload.expected(cutAtOperation: n)
            let (wrongs, _) = await wrongs(of: image, after: expected, seed: random.next())
            #expect(wrongs == [], "cut at \(n) (\(machine.operation(n)))")
            n += .random(in: 1...60, using: &random)
        }
    }

    /// A card that says that it has written what it has not is found; otherwise the silence above would mean nothing.
    @Test func storageThatLiesIsFound() async throws {
        var random = SeededGenerator(seed: printedSeed())
        let machine = FaultyMachine()
        var faults = FaultyMachine.Faults()
        faults.ignoresSyncs = true
        machine.set(faults)
        var workload = OutboxWorkload(on: machine, facts: OutboxFacts(), tables: OutboxTables(), seed: random.next())
        try await workload.run(40)
        var found = 0
        for n in 1...machine.operationCount + 1 {
            let image = machine.image(cutAtOperation: n, seed: random.next())
            let expected = workload.expected(cutAtOperation: n)
            if await !wrongs(of: image, after: expected, seed: random.next()).wrongs.isEmpty { found += 1 }
        }
        #expect(found > 5)
    }
}
