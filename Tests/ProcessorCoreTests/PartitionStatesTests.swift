import Platform
import TestSupport
import Testing

@testable import ProcessorCore

/// A consumer, a broker and a database as `PartitionStates` meets them: small enough that all their states can be
/// visited.
private struct World: Hashable, PartitionOperations {
    /// How a broker comes by another log.
    struct Change: Hashable {
        /// The first offset at which it has other messages than the log before.
        var fork: Int64
        /// The offset after its last message.
        var high: Int64
        /// Whether the consumer loses its connection. Otherwise only the leader tells, which is seen some time later.
        var losesConnection: Bool

        static let all = [(0, 0), (0, 1), (0, 3), (1, 1), (1, 3)].flatMap { fork, high in
            [true, false].map { Change(fork: fork, high: high, losesConnection: $0) }
        }
    }

    /// One partition, everywhere.
    struct Place: Hashable {
        // The broker.
        var low: Int64 = 0
        /// The offset after the last message.
        var high: Int64 = 2
        /// From this offset on the messages are those of another log than at first.
        var fork = Int64.max
        var leader: Int32 = 1
        /// Whether the consumer may have read another log without knowing. Whoever takes over from it then, or is told by
        /// the database where to go on, would not know either.
        var isUnnoticed = false
        // The database.
        var consumed = LogPosition(next: 0)
        /// The messages that are in it.
        var stored: Set<MessageMark> = []
        // librdkafka.
        var isAssigned = false
        /// librdkafka remembers this of partitions that are not assigned too.
        var isPaused = false
        var isFetching = false
        var fetchPosition: Int64 = 0

        func message(_ offset: Int64) -> MessageMark {
            MessageMark(offset: offset, timestamp: nil, size: 1, checksum: offset >= fork ? 1 : 0)
        }
    }

    /// What was taken of one partition.
    struct Span: Hashable {
        var from: LogPosition
        var to: LogPosition
        var messages: Set<MessageMark>
    }

    enum Event: Hashable {
        case assign(Int32), assignInVain(Int32), revoke(Int32), deliver(Int32), refuse(Int32), other(Int32)
        case dropOldest(Int32), change(Int32, Change), end(Int32), lose(Int32), leaders
        case settle, retry, fill, makeRoom, handOver, commit
        case database(Bool), seeking(Bool), resuming(Bool), broker(Bool)
    }

    var places: [Place]
    var states = PartitionStates()
    var batch: [Int32: Span] = [:]
    var writing: [Int32: Span]?
    var databaseAnswers = true
    var seekingWorks = true
    var resumingWorks = true
    var brokerAnswers = true
    /// Whether logs may change.
    var changes = true
    /// What must never happen and did.
    var fault: String?

    init(partitions: Int, changes: Bool = true) {
        places = Array(repeating: Place(), count: partitions)
        self.changes = changes
        observeLeaders()
    }

    var events: [Event] {
        var events: [Event] = [.settle]
        let isUnnoticed = places.contains(where: \.isUnnoticed)
        for (index, place) in places.enumerated() {
            let partition = Int32(index)
            if place.isAssigned || states.states[partition] != nil {
                events += [.deliver(partition), .refuse(partition)]
                if !place.isUnnoticed { events.append(.revoke(partition)) }
            } else {
                events += [.assign(partition), .assignInVain(partition)]
            }
            if !isUnnoticed { events.append(.other(partition)) }
            if place.low == 0, place.high > 0 { events.append(.dropOldest(partition)) }
            if changes {
                events += [.end(partition), .lose(partition)]
                // Where no message was read yet, none can be compared.
                let known = [place.consumed] + (states.states[partition]?.place.map { [$0.position] } ?? [])
                if place.fork == .max, known.allSatisfy({ $0.last != nil || $0.next == 0 }) {
                    events += Change.all.map { .change(partition, $0) }
                }
            }
        }
        if changes { events.append(.leaders) }
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
        case .other(let partition): readElsewhere(partition)
        case .dropOldest(let partition): places[Int(partition)].low = 1
        case .change(let partition, let change): self.change(partition, change)
        case .end(let partition): states.observe(end: places[Int(partition)].high, of: partition)
        case .lose(let partition): states.loseConnections(to: [places[Int(partition)].leader])
        case .leaders: observeLeaders()
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

    /// The broker has another log from now on.
    private mutating func change(_ partition: Int32, _ change: Change) {
        let index = Int(partition)
        places[index].fork = change.fork
        places[index].high = change.high
        places[index].low = change.fork == 0 ? 0 : min(places[index].low, change.high)
        if change.losesConnection {
            states.loseConnections(to: [places[index].leader])
        } else {
            places[index].isUnnoticed = states.states[partition] != nil
        }
        places[index].leader += 1
    }

    private mutating func observeLeaders() {
        states.observe(
            leaders: Dictionary(uniqueKeysWithValues: places.enumerated().map { (Int32($0.offset), $0.element.leader) })
        )
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
        let start = states.starts([partition])[partition]
        guard works else {
            states.notStarted([partition])
            return
        }
        let index = Int(partition)
        places[index].isAssigned = true
        places[index].isFetching = true
        // The consumer resumes what it starts, and pauses what it does not.
        places[index].isPaused = start == nil
        places[index].fetchPosition = start ?? 0
    }

    /// Another processor, which has the partition or believes so, commits a message.
    private mutating func readElsewhere(_ partition: Int32) {
        let place = places[Int(partition)]
        var position = place.consumed
        var at = position.last.map { $0.offset + 1 } ?? position.next
        if at - 1 >= place.low, at > place.high || position.last.map({ place.message($0.offset) != $0 }) ?? false {
            at = place.low
            position = LogPosition(next: at, generation: position.generation + 1)
        }
        at = max(at, place.low)
        if at < place.high {
            let to = position.moved(to: at + 1, last: place.message(at))
            store(Span(from: position, to: to, messages: [place.message(at)]), partition)
        } else {
            places[Int(partition)].consumed = position
        }
    }

    private mutating func deliver(_ partition: Int32) {
        let place = places[Int(partition)]
        guard place.isAssigned, place.isFetching, !place.isPaused else { return }
        let offset = place.fetchPosition
        let expected = states.readPlace(partition)?.at
        if offset < place.low || offset > place.high {
            places[Int(partition)].isFetching = false
            if states.receiveOutOfRange(partition, at: offset) == .next { fault = "offset \(offset) was believed" }
        } else if offset == place.high {
            guard states.receiveEnd(of: partition, at: offset) == .next else { return }
            if offset != expected { fault = "the end \(offset) was believed where \(expected ?? -1) was next" }
            if let (from, to) = states.advance(partition, to: offset), from.next != to.next {
                count(Span(from: from, to: to, messages: []), partition)
            }
        } else {
            places[Int(partition)].fetchPosition += 1
            let message = place.message(offset)
            guard states.receive(partition, at: offset, mark: { message }) == .next else { return }
            if offset != expected { fault = "offset \(offset) was taken where \(expected ?? -1) was next" }
            guard let (from, to) = states.advance(partition, to: offset + 1, last: message) else { return }
            count(Span(from: from, to: to, messages: [message]), partition)
        }
    }

    private mutating func settle() {
        var (states, world) = (states, self)
        let moves = states.settle(&world)
        self = world
        self.states = states
        for move in moves { count(Span(from: move.from, to: move.to, messages: []), move.partition) }
        for (partition, state) in states.states {
            let place = places[Int(partition)]
            if place.isAssigned, place.isPaused == state.isStarted {
                fault = "\(state), and the consumer has paused it: \(place.isPaused)"
            }
            guard states.told.contains(partition), let expected = state.place else { continue }
            let start = states.readPlace(partition)?.at ?? expected.start
            let isThere = place.fetchPosition == start || place.fetchPosition == expected.start
            if !place.isAssigned || !place.isFetching || !isThere { fault = "\(state), and the consumer is elsewhere" }
        }
    }

    private mutating func count(_ span: Span, _ partition: Int32) {
        let before = batch[partition]
        batch[partition] = Span(
            from: before?.from ?? span.from, to: span.to, messages: (before?.messages ?? []).union(span.messages))
    }

    private mutating func commit() {
        guard databaseAnswers, let batch = writing else { return }
        writing = nil
        let isStale = batch.contains { partition, span in
            let consumed = places[Int(partition)].consumed
            return consumed.next != span.from.next || consumed.generation != span.from.generation
        }
        if isStale {
            self.batch = [:]
            states.resynchronise()
            return
        }
        for (partition, span) in batch { store(span, partition) }
    }

    private mutating func store(_ span: Span, _ partition: Int32) {
        let index = Int(partition)
        places[index].stored.formUnion(span.messages)
        places[index].consumed = span.to
        // Whatever lies before an offset that is committed must be stored, unless the broker has dropped it.
        guard places[index].fork == .max else { return }
        let skipped = missing(index, through: span.to.next)
        if !skipped.isEmpty { fault = "\(skipped) were passed over" }
    }

    private func missing(_ index: Int, through end: Int64) -> [MessageMark] {
        let place = places[index]
        if end <= place.low { return [] }
        return (place.low..<end).map { place.message($0) }.filter { !place.stored.contains($0) }
    }

    /// Everything works again and has time: all that is assigned must be read to its end and stored.
    func healed() -> World {
        var world = self
        for event: Event in [.database(true), .seeking(true), .resuming(true), .broker(true), .makeRoom, .leaders] {
            world.apply(event)
        }
        for round in 0..<16 {
            if round == 8 {
                // What somebody else committed meanwhile is found with the next message.
                for index in world.places.indices { world.places[index].high += 1 }
            }
            world.apply(.retry)
            world.apply(.settle)
            for index in places.indices {
                world.apply(.end(Int32(index)))
                for _ in 0...4 { world.apply(.deliver(Int32(index))) }
            }
            if world.writing == nil { world.apply(.handOver) }
            world.apply(.commit)
        }
        for (partition, state) in world.states.states where world.fault == nil {
            let place = world.places[Int(partition)]
            let missing = world.missing(Int(partition), through: place.high)
            if world.states.readPlace(partition)?.at != place.high || place.consumed.next != place.high {
                world.fault = "partition \(partition) stays \(state) at \(place)"
            } else if !missing.isEmpty {
                world.fault = "partition \(partition) lacks \(missing)"
            }
        }
        return world
    }

    // MARK: PartitionOperations

    mutating func locate(_ partitions: Set<Int32>) -> [Int32: LogPosition] {
        guard databaseAnswers else { return [:] }
        return Dictionary(uniqueKeysWithValues: partitions.map { ($0, places[Int($0)].consumed) })
    }

    mutating func bounds(of partitions: Set<Int32>) -> [Int32: (low: Int64, end: Int64)] {
        guard brokerAnswers else { return [:] }
        return Dictionary(
            uniqueKeysWithValues: partitions.map { ($0, (places[Int($0)].low, places[Int($0)].high)) })
    }

    mutating func pause(_ partitions: Set<Int32>) {
        for partition in partitions { places[Int(partition)].isPaused = true }
    }

    mutating func resume(_ partitions: Set<Int32>) -> Set<Int32> {
        guard resumingWorks else { return [] }
        for partition in partitions {
            places[Int(partition)].isPaused = false
            // Where it goes on after a pause is nothing to rely on.
            places[Int(partition)].fetchPosition = 1
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

/// No assigned partition is ever forgotten and no log is taken for another, whatever comes between what.
@Suite struct PartitionStatesTests {
    /// Visits all that can happen within a number of events.
    /// - Returns: how many different states there are.
    private func explore(_ start: World, depth: Int) throws -> Int {
        var seen: Set<World> = [start]
        var edge: [(world: World, story: [World.Event])] = [(start, [])]
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

    /// A partition of which a message was read and committed.
    private func reading(partitions: Int = 1) -> World {
        var world = World(partitions: partitions)
        for event: World.Event in [.assign(0), .settle, .deliver(0), .leaders, .leaders, .handOver, .commit] {
            world.apply(event)
        }
        return world
    }

    @Test func everyInterleavingOfOnePartitionEndsWithItBeingRead() throws {
        let count = try explore(World(partitions: 1, changes: false), depth: 7)
        #expect(count > 5000)
    }

    @Test func everyInterleavingOfTwoPartitionsEndsWithBothBeingRead() throws {
        let count = try explore(World(partitions: 2, changes: false), depth: 4)
        #expect(count > 2000)
    }

    @Test func everyInterleavingWithAnotherLogEndsWithThatBeingRead() throws {
        let count = try explore(reading(), depth: 4)
        #expect(count > 5000)
    }

    @Test func longRandomHistoriesEndWithAllBeingRead() throws {
        let seed = printedSeed()
        var random = SeededGenerator(seed: seed)
        for _ in 0..<300 {
            var world = World(partitions: Int.random(in: 1...3, using: &random))
            var story: [World.Event] = []
            for _ in 0..<80 {
                var events = world.events
                // Logs change now and then only.
                if Int.random(in: 0..<8, using: &random) > 0 {
                    events.removeAll { if case .change = $0 { true } else { false } }
                }
                let event = try #require(events.randomElement(using: &random))
                story.append(event)
                world.apply(event)
                try #require(world.fault == nil, "\(story)")
            }
            let end = world.healed()
            try #require(end.fault == nil, "\(story)")
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
        for event: World.Event in [.retry, .settle, .deliver(0)] { world.apply(event) }
        #expect(world.states.readPlace(0)?.at == 1 && world.states.readPlace(1)?.at == 0)
        #expect(world.states.paused.isEmpty && world.places.allSatisfy { !$0.isPaused })
    }

    @Test func whatFailsForOnePartitionHoldsUpNoOther() {
        var world = World(partitions: 2)
        for event: World.Event in [.database(false), .assign(0), .assign(1), .database(true), .seeking(false)] {
            world.apply(event)
        }
        world.apply(.settle)
        let start = PartitionStates.Place(LogPosition(next: 0))
        #expect(world.states.states == [0: .read(start), 1: .located(start)])
        #expect(world.states.paused == [1])
        world.apply(.seeking(true))
        world.apply(.settle)
        #expect(world.states.failed == [1], "it is tried again in a while")
        world.apply(.retry)
        world.apply(.settle)
        #expect(world.states.states == [0: .read(start), 1: .read(start)])
    }

    /// The end of a partition is told once after each move, so that a move is what shows whether the broker gives messages
    /// again where there are none.
    @Test func aPartitionThatWasRefusedIsAskedForAgain() {
        var world = World(partitions: 1)
        for event: World.Event in [.assign(0), .deliver(0), .refuse(0), .settle] { world.apply(event) }
        #expect(world.states.readPlace(0) == nil)
        #expect(world.states.paused == [0] && world.states.failed == [0])
        for event: World.Event in [.retry, .settle] { world.apply(event) }
        #expect(world.places[0].fetchPosition == 0 && world.states.paused.isEmpty, "it begins at the last message")
        world.apply(.deliver(0))
        #expect(world.states.readPlace(0)?.at == 1)
    }

    @Test func aPartitionWhoseMessagesWereDeletedGoesOnOnceTheBrokerSaysWhere() {
        var world = World(partitions: 1)
        for event: World.Event in [.assign(0), .dropOldest(0), .broker(false), .deliver(0), .settle] {
            world.apply(event)
        }
        #expect(world.states.states == [0: .missed(PartitionStates.Place(LogPosition(next: 0)), .nothing)])
        #expect(world.states.positions == [0: 0], "what was read does not change before that")
        #expect(world.batch.isEmpty)
        for event: World.Event in [.broker(true), .retry, .settle] { world.apply(event) }
        #expect(world.states.readPlace(0)?.at == 1)
        #expect(world.batch[0] == World.Span(from: LogPosition(next: 0), to: LogPosition(next: 1), messages: []))
    }

    /// Also when the offset that was next is one of the new log's.
    @Test(arguments: [Int64(0), 1, 3])
    func anotherLogIsReadFromItsStart(high: Int64) {
        var world = reading()
        for event: World.Event in [
            .change(0, World.Change(fork: 0, high: high, losesConnection: true)), .settle, .deliver(0), .settle,
        ] { world.apply(event) }
        let position = LogPosition(next: 0, generation: 1)
        #expect(world.states.states == [0: .read(PartitionStates.Place(position))])
        #expect(world.batch[0]?.from == LogPosition(next: 1, last: MessageMark(offset: 0, size: 1, checksum: 0)))
        #expect(world.batch[0]?.to == position)
    }

    /// What was taken after the new leader came may be of its log already: the comparison is with what was taken before.
    @Test func aNewLeaderIsComparedWithWhatWasTakenUnderTheOldOne() {
        var world = reading()
        for event: World.Event in [
            .change(0, World.Change(fork: 0, high: 3, losesConnection: false)), .deliver(0), .deliver(0),
        ] { world.apply(event) }
        #expect(world.states.readPlace(0)?.at == 3, "it follows the offsets")
        for event: World.Event in [.leaders, .settle] { world.apply(event) }
        #expect(world.places[0].fetchPosition == 0)
        for event: World.Event in [.deliver(0), .settle, .deliver(0)] { world.apply(event) }
        #expect(world.batch[0]?.to.next == 1 && world.batch[0]?.to.generation == 1)
        #expect(world.batch[0]?.messages.contains(MessageMark(offset: 0, size: 1, checksum: 1)) == true)
    }

    /// A leader that is elected in order has all that was read: what came since is read again, and nothing else happens.
    @Test func aNewLeaderWithTheSameLogGoesOn() {
        var world = reading()
        world.apply(.deliver(0))
        world.places[0].leader = 2
        for event: World.Event in [.leaders, .settle, .deliver(0)] { world.apply(event) }
        #expect(world.states.readPlace(0)?.at == 1)
        world.apply(.deliver(0))
        #expect(world.batch[0]?.to.next == 2)
        #expect(world.states.readPlace(0)?.at == 2)
    }

    /// A leader that was elected a moment ago shows less than it has.
    @Test func aLeaderThatDoesNotShowAllYetIsAskedAgain() {
        var states = PartitionStates()
        let mark = MessageMark(offset: 5, size: 1, checksum: 7)
        states.assign([0], at: [0: LogPosition(next: 6, last: mark)])
        #expect(states.receiveEnd(of: 0, at: 5) == .refused)
        var operations = Scripted(bounds: [0: (0, 6)])
        #expect(states.settle(&operations).isEmpty)
        #expect(states.failed == [0])
        states.retry()
        #expect(states.settle(&operations).isEmpty)
        #expect(states.receive(0, at: 5) { mark } == .known)
        #expect(states.readPlace(0)?.at == 6)
    }

    @Test func offsetsWithoutAMessageAreBelievedWhereTheyAreFoundTwice() throws {
        var states = PartitionStates()
        let mark = MessageMark(offset: 5, size: 1, checksum: 7)
        func message(_ offset: Int64) -> MessageMark { MessageMark(offset: offset, size: 1, checksum: 8) }
        states.assign([0], at: [0: LogPosition(next: 6, last: mark)])
        #expect(states.receive(0, at: 5) { mark } == .known)
        #expect(states.receive(0, at: 6) { message(6) } == .next)
        _ = states.advance(0, to: 7, last: message(6))
        #expect(states.receive(0, at: 9) { message(9) } == .elsewhere(expected: 7))
        var operations = Scripted()
        _ = states.settle(&operations)
        #expect(operations.seeks == [[0: 6]])
        #expect(states.receive(0, at: 6) { message(6) } == .known)
        #expect(states.receive(0, at: 9) { message(9) } == .next)
        let ninth = states.advance(0, to: 10, last: message(9))
        let (from, to) = try #require(ninth)
        #expect(from.next == 7 && to == LogPosition(next: 10, last: message(9)))
        // From now on they are known to be common there, until the consumer may have gone elsewhere by itself.
        #expect(states.receive(0, at: 12) { message(12) } == .next)
        _ = states.advance(0, to: 13, last: message(12))
        states.revoke([1])
        #expect(states.receive(0, at: 15) { message(15) } == .elsewhere(expected: 13))
    }

    @Test func theEndIsBelievedOnlyAfterWhatWasTaken() {
        var states = PartitionStates()
        states.assign([0], at: [0: LogPosition(next: 0)])
        #expect(states.receive(0, at: 0) { MessageMark(offset: 0, size: 1, checksum: 0) } == .next)
        _ = states.advance(0, to: 1, last: MessageMark(offset: 0, size: 1, checksum: 0))
        #expect(states.receiveEnd(of: 0, at: 4) == .elsewhere(expected: 1))
        #expect(states.positions == [0: 1])
    }

    /// Markers of transactions lie between the last message and the next offset. If the log ends among them by now, it was
    /// cut there, and what is written next is read.
    @Test func aLogThatWasCutBehindItsLastMessage() throws {
        var states = PartitionStates()
        let mark = MessageMark(offset: 5, size: 1, checksum: 7)
        states.assign([0], at: [0: LogPosition(next: 9, last: mark)])
        #expect(states.receive(0, at: 5) { mark } == .known)
        #expect(states.receive(0, at: 7) { MessageMark(offset: 7, size: 1, checksum: 8) } == .next)
        let advance = states.advance(0, to: 8, last: MessageMark(offset: 7, size: 1, checksum: 8))
        let (from, to) = try #require(advance)
        #expect(from.next == 9 && from.generation == 0)
        #expect(to.next == 8 && to.generation == 1)
    }

    /// The check value of the polynomial, as catalogues of checksums give it.
    @Test func theChecksumIsCRC32() {
        var sum = CRC32()
        sum.update(Array("1234".utf8))
        sum.update(Array("56789".utf8))
        #expect(sum.value == 0xCBF4_3926)
        #expect(CRC32().value == 0)
    }
}

/// Operations that all work.
private struct Scripted: PartitionOperations {
    var bounds: [Int32: (low: Int64, end: Int64)] = [:]
    var seeks: [[Int32: Int64]] = []

    mutating func locate(_ partitions: Set<Int32>) -> [Int32: LogPosition] { [:] }
    mutating func bounds(of partitions: Set<Int32>) -> [Int32: (low: Int64, end: Int64)] { bounds }
    mutating func pause(_ partitions: Set<Int32>) {}
    mutating func resume(_ partitions: Set<Int32>) -> Set<Int32> { partitions }
    mutating func seek(_ offsets: [Int32: Int64]) -> Set<Int32> {
        seeks.append(offsets)
        return Set(offsets.keys)
    }
}
