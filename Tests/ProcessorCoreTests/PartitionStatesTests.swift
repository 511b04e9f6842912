import Platform
import TestSupport
import Testing

@testable import ProcessorCore

/// A consumer, a broker and a database as `PartitionStates` meets them: small enough that all their states can be
/// visited.
private struct World: Hashable, PartitionOperations {
    /// One partition, everywhere.
    struct Place: Hashable {
        // The broker.
        var low: Int64 = 0
        // The database.
        var consumed: Int64 = 0
        /// The offsets whose messages are in the database, a bit each.
        var stored: UInt8 = 0
        /// The offsets that the broker had dropped before anybody read them.
        var lost: UInt8 = 0
        // librdkafka.
        var isAssigned = false
        /// librdkafka remembers this of partitions that are not assigned too.
        var isPaused = false
        var isFetching = false
        var fetchPosition: Int64 = 0
    }

    /// What was taken of one partition.
    struct Span: Hashable {
        var from: Int64
        var to: Int64
        var messages: UInt8
    }

    enum Event: Hashable {
        case assign(Int32), assignInVain(Int32), revoke(Int32), deliver(Int32), refuse(Int32), other(Int32)
        case dropOldest(Int32)
        case settle, retry, fill, makeRoom, handOver, commit
        case database(Bool), seeking(Bool), resuming(Bool), broker(Bool)
    }

    /// The offset after the last message.
    static let high: Int64 = 2

    var places: [Place]
    var states = PartitionStates()
    var batch: [Int32: Span] = [:]
    var writing: [Int32: Span]?
    var databaseAnswers = true
    var seekingWorks = true
    var resumingWorks = true
    var brokerAnswers = true
    /// What must never happen and did.
    var fault: String?

    init(partitions: Int) {
        places = Array(repeating: Place(), count: partitions)
    }

    var events: [Event] {
        var events: [Event] = [.settle]
        for index in places.indices {
            let partition = Int32(index)
            if places[index].isAssigned || states.states[partition] != nil {
                events += [.revoke(partition), .deliver(partition), .refuse(partition)]
            } else {
                events += [.assign(partition), .assignInVain(partition)]
            }
            if places[index].consumed < World.high { events.append(.other(partition)) }
            if places[index].low == 0 { events.append(.dropOldest(partition)) }
        }
        if !states.failed.isEmpty { events.append(.retry) }
        events.append(states.isFull ? .makeRoom : .fill)
        if writing != nil { events.append(.commit) } else if !batch.isEmpty { events.append(.handOver) }
        events += [
            .database(!databaseAnswers), .seeking(!seekingWorks), .resuming(!resumingWorks), .broker(!brokerAnswers),
        ]
        return events
    }

    mutating func apply(_ event: Event) {
        switch event {
        case .assign(let partition): assign(partition, works: true)
        case .assignInVain(let partition): assign(partition, works: false)
        case .revoke(let partition):
            skip()
            states.revoke([partition])
            places[Int(partition)].isAssigned = false
            places[Int(partition)].isFetching = false
        case .deliver(let partition): deliver(partition)
        case .refuse(let partition): states.refuse(partition)
        case .other(let partition):
            // Another processor, which has the partition or believes so, commits a message.
            let offset = max(places[Int(partition)].consumed, places[Int(partition)].low)
            skip(to: offset, partition)
            store(Span(from: offset, to: offset + 1, messages: 1 << offset), partition)
        case .dropOldest(let partition): places[Int(partition)].low = 1
        case .settle: settle()
        case .retry: states.retry()
        case .fill: states.fill()
        case .makeRoom: states.makeRoom()
        case .handOver:
            writing = batch
            batch = [:]
        case .commit: commit()
        case .database(let answers): databaseAnswers = answers
        case .seeking(let works): seekingWorks = works
        case .resuming(let works): resumingWorks = works
        case .broker(let answers): brokerAnswers = answers
        }
    }

    /// A rebalance moves what the consumer reads already: it goes on after the next message.
    private mutating func skip() {
        for index in places.indices where places[index].isFetching && !places[index].isPaused {
            places[index].fetchPosition += 1
        }
    }

    private mutating func assign(_ partition: Int32, works: Bool) {
        skip()
        let located = states.isFull ? [:] : locate([partition])
        states.assign([partition], at: located)
        guard works else {
            states.notStarted([partition])
            return
        }
        let index = Int(partition)
        places[index].isAssigned = true
        places[index].isFetching = true
        // The consumer resumes what it starts, and pauses what it does not.
        places[index].isPaused = located[partition] == nil
        places[index].fetchPosition = located[partition] ?? 0
    }

    private mutating func deliver(_ partition: Int32) {
        let place = places[Int(partition)]
        guard place.isAssigned, place.isFetching, !place.isPaused else { return }
        let offset = place.fetchPosition
        if offset < place.low {
            places[Int(partition)].isFetching = false
            if states.goesOn(partition, at: offset) { states.cut(partition) }
        } else if offset > World.high {
            // It is beyond the end.
            places[Int(partition)].isFetching = false
            if states.goesOn(partition, at: offset) { fault = "offset \(offset) was believed" }
        } else if offset == World.high {
            guard let position = states.readPosition(partition), states.goesOn(partition, at: offset) else { return }
            if offset == position { return }
            count(Span(from: position, to: offset, messages: 0), partition)
            states.advance(partition, to: offset)
        } else {
            places[Int(partition)].fetchPosition += 1
            guard let position = states.readPosition(partition), offset >= position,
                states.goesOn(partition, at: offset)
            else { return }
            if offset > position { fault = "offset \(offset) was taken where \(position) was next" }
            count(Span(from: position, to: offset + 1, messages: 1 << offset), partition)
            states.advance(partition, to: offset + 1)
        }
    }

    private mutating func settle() {
        var (states, world) = (states, self)
        let moves = states.settle(&world)
        self = world
        self.states = states
        for move in moves { count(Span(from: move.from, to: move.to, messages: 0), move.partition) }
        for (partition, state) in states.states {
            let place = places[Int(partition)]
            let position = states.readPosition(partition)
            if place.isAssigned, place.isPaused != (position == nil) {
                fault = "\(state), and the consumer has paused it: \(place.isPaused)"
            }
            if let position, !states.doubted.contains(partition),
                !place.isAssigned || !place.isFetching || place.fetchPosition != position
            {
                fault = "\(state), and the consumer is elsewhere"
            }
        }
    }

    private mutating func count(_ span: Span, _ partition: Int32) {
        let before = batch[partition]
        batch[partition] = Span(
            from: before?.from ?? span.from, to: span.to, messages: (before?.messages ?? 0) | span.messages)
    }

    private mutating func commit() {
        guard databaseAnswers, let batch = writing else { return }
        writing = nil
        if batch.contains(where: { places[Int($0.key)].consumed != $0.value.from }) {
            self.batch = [:]
            states.resynchronise()
            return
        }
        for (partition, span) in batch { store(span, partition) }
    }

    private mutating func store(_ span: Span, _ partition: Int32) {
        let index = Int(partition)
        places[index].stored |= span.messages
        skip(to: span.to, partition)
        places[index].consumed = span.to
    }

    /// Whatever lies before an offset that is committed must be stored, unless the broker has dropped it.
    private mutating func skip(to offset: Int64, _ partition: Int32) {
        let index = Int(partition)
        for skipped in 0..<max(0, offset) where places[index].stored & (1 << skipped) == 0 {
            if skipped < places[index].low {
                places[index].lost |= 1 << skipped
            } else {
                fault = "offset \(skipped) was passed over"
            }
        }
    }

    /// Everything works again and has time: all that is assigned must be read to its end and stored.
    func healed() -> World {
        var world = self
        for event: Event in [.database(true), .seeking(true), .resuming(true), .broker(true), .makeRoom] {
            world.apply(event)
        }
        for _ in 0..<6 {
            world.apply(.retry)
            world.apply(.settle)
            for index in places.indices { for _ in 0...World.high { world.apply(.deliver(Int32(index))) } }
            if world.writing == nil { world.apply(.handOver) }
            world.apply(.commit)
        }
        for (partition, state) in world.states.states where world.fault == nil {
            if state != .read(World.high) || world.places[Int(partition)].consumed != World.high {
                world.fault = "partition \(partition) stays \(state) at \(world.places[Int(partition)])"
            }
        }
        return world
    }

    // MARK: PartitionOperations

    mutating func locate(_ partitions: Set<Int32>) -> [Int32: Int64] {
        guard databaseAnswers else { return [:] }
        return Dictionary(uniqueKeysWithValues: partitions.map { ($0, places[Int($0)].consumed) })
    }

    mutating func firstOffset(of partition: Int32) -> Int64? {
        brokerAnswers ? places[Int(partition)].low : nil
    }

    mutating func pause(_ partitions: Set<Int32>) {
        for partition in partitions { places[Int(partition)].isPaused = true }
    }

    mutating func resume(_ partitions: Set<Int32>) -> Set<Int32> {
        guard resumingWorks else { return [] }
        for partition in partitions {
            places[Int(partition)].isPaused = false
            // Where it goes on after a pause is nothing to rely on.
            places[Int(partition)].fetchPosition = World.high - 1
        }
        return partitions
    }

    /// Fails for all but the first partition while seeking does not work.
    mutating func seek(_ offsets: [Int32: Int64]) -> Set<Int32> {
        var moved: Set<Int32> = []
        for (partition, offset) in offsets where seekingWorks || (partition == 0 && places.count > 1) {
            places[Int(partition)].isAssigned = true
            places[Int(partition)].isFetching = true
            places[Int(partition)].fetchPosition = offset
            moved.insert(partition)
        }
        return moved
    }
}

/// No assigned partition is ever forgotten, whatever comes between what.
@Suite struct PartitionStatesTests {
    /// Visits all that can happen within a number of events.
    /// - Returns: how many different states there are.
    private func explore(partitions: Int, depth: Int) throws -> Int {
        var seen: Set<World> = [World(partitions: partitions)]
        var edge: [(world: World, story: [World.Event])] = [(World(partitions: partitions), [])]
        for _ in 0..<depth {
            var next: [(world: World, story: [World.Event])] = []
            for (world, story) in edge {
                for event in world.events {
                    var changed = world
                    changed.apply(event)
                    guard seen.insert(changed).inserted else { continue }
                    let longer = story + [event]
                    try #require(changed.fault == nil, "\(longer)")
                    let end = changed.healed()
                    try #require(end.fault == nil, "\(longer)")
                    next.append((changed, longer))
                }
            }
            edge = next
        }
        return seen.count
    }

    @Test func everyInterleavingOfOnePartitionEndsWithItBeingRead() throws {
        let count = try explore(partitions: 1, depth: 10)
        #expect(count > 10_000)
    }

    @Test func everyInterleavingOfTwoPartitionsEndsWithBothBeingRead() throws {
        let count = try explore(partitions: 2, depth: 5)
        #expect(count > 5000)
    }

    @Test func longRandomHistoriesEndWithAllBeingRead() throws {
        let seed = printedSeed()
        var random = SeededGenerator(seed: seed)
        for _ in 0..<300 {
            var world = World(partitions: Int.random(in: 1...3, using: &random))
            for step in 0..<100 {
                let event = try #require(world.events.randomElement(using: &random))
                world.apply(event)
                try #require(world.fault == nil, "step \(step), \(event)")
            }
            let end = world.healed()
            try #require(end.fault == nil)
        }
    }

    /// The trial's story: partitions come while the database is away, then a batch is stale.
    @Test func partitionsThatWaitAreReadAfterAStaleBatch() {
        var world = World(partitions: 2)
        for event: World.Event in [
            .assign(0), .settle, .deliver(0), .handOver, .database(false), .assign(1), .settle, .other(0),
            .database(true), .commit,
        ] { world.apply(event) }
        #expect(world.states.states == [0: .unlocated, 1: .unlocated])
        world.apply(.retry)
        world.apply(.settle)
        #expect(world.states.states == [0: .read(1), 1: .read(0)])
        #expect(world.states.paused.isEmpty && world.places.allSatisfy { !$0.isPaused })
    }

    @Test func whatFailsForOnePartitionHoldsUpNoOther() {
        var world = World(partitions: 2)
        for event: World.Event in [.database(false), .assign(0), .assign(1), .database(true), .seeking(false)] {
            world.apply(event)
        }
        world.apply(.settle)
        #expect(world.states.states == [0: .read(0), 1: .located(0)])
        #expect(world.states.paused == [1])
        world.apply(.seeking(true))
        world.apply(.settle)
        #expect(world.states.failed == [1], "it is tried again in a while")
        world.apply(.retry)
        world.apply(.settle)
        #expect(world.states.states == [0: .read(0), 1: .read(0)])
    }

    /// The end of a partition is told once after each move, so that a move is what shows whether the broker gives messages
    /// again where there are none.
    @Test func aPartitionThatWasRefusedIsAskedForAgain() {
        var world = World(partitions: 1)
        for event: World.Event in [.assign(0), .deliver(0), .refuse(0), .settle] { world.apply(event) }
        #expect(world.states.states == [0: .located(1)])
        #expect(world.states.paused == [0] && world.states.failed == [0])
        world.places[0].fetchPosition = 0
        for event: World.Event in [.retry, .settle] { world.apply(event) }
        #expect(world.states.states == [0: .read(1)])
        #expect(world.places[0].fetchPosition == 1 && world.states.paused.isEmpty)
    }

    @Test func aPartitionThatWasCutGoesOnOnceTheBrokerSaysWhere() {
        var world = World(partitions: 1)
        for event: World.Event in [.assign(0), .dropOldest(0), .broker(false), .deliver(0), .settle] {
            world.apply(event)
        }
        #expect(world.states.states == [0: .cut(0)])
        #expect(world.states.positions == [0: 0], "what was read does not change before that")
        #expect(world.batch.isEmpty)
        for event: World.Event in [.broker(true), .retry, .settle] { world.apply(event) }
        #expect(world.states.states == [0: .read(1)])
        #expect(world.batch[0] == World.Span(from: 0, to: 1, messages: 0))
    }
}
