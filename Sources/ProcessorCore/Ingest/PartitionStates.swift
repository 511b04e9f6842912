/// Which of the partitions that the group has given to a consumer are read, and from where: the only place that knows
/// what is assigned, located, paused and waiting, and whether a log is the one that was read before.
///
/// It remembers what is, and `settle` does what is still to be done; nothing depends on an event being answered at the
/// time at which it comes. So whatever comes between two calls, and whichever call fails, an assigned partition is
/// either read or on the list of what is to be done. After each `settle` the consumer has paused exactly the assigned
/// partitions that are not read.
///
/// A log is recognised, not assumed. The consumer begins at the last message that was taken, not after it, and the first
/// message that comes is compared with what is known of that one. If it is the same, all before it is the same too, and
/// reading goes on after it. If the broker has only later messages, retention has deleted the earlier ones. Anything else
/// is another log, as of a topic that was deleted and made anew or of a broker that lost what it had acknowledged, and is
/// read from its start.
struct PartitionStates: Sendable, Hashable {
    /// Where a partition is read.
    struct Place: Sendable, Hashable {
        /// How far it was read in the batches so far: the next batch continues there.
        var position: LogPosition
        /// The next offset to take. Less than `position.next` where a part of the log is read again.
        var at: Int64
        /// The last message before `at`, with which the consumer begins; nil if it begins at `at`.
        var mark: MessageMark?

        /// Where the consumer begins.
        var start: Int64 { mark?.offset ?? at }

        /// A place after the last message that was read. Offsets between that and the next one have no message; should
        /// there be one now, it is read.
        init(_ position: LogPosition) {
            self.position = position
            mark = position.last
            at = position.last.map { $0.offset + 1 } ?? position.next
        }

        /// A place without a message before it that could be compared.
        init(_ position: LogPosition, at: Int64) {
            self.position = position
            self.at = at
        }
    }

    /// What is known of an assigned partition.
    enum State: Sendable, Hashable {
        /// The database must be asked where to read it.
        case unlocated
        /// It is to be read from this place; the consumer must be moved there first. What it gives until then does not
        /// count.
        case located(Place)
        /// The consumer was moved to the message `mark` of this place; what comes is compared with that.
        case compared(Place)
        /// It is read.
        case read(Place)
        /// What was expected there is not there: the broker must be asked which offsets it has.
        case missed(Place, Evidence)

        var place: Place? {
            switch self {
            case .unlocated: nil
            case .located(let place), .compared(let place), .read(let place), .missed(let place, _): place
            }
        }
    }

    /// Why a log may be another one.
    enum Evidence: Sendable, Hashable {
        /// The broker has nothing at the offset now.
        case nothing
        /// It has given another message at the offset, or what follows without it.
        case other
    }

    /// The reader of a partition goes on elsewhere.
    struct Move: Sendable, Hashable {
        /// Why.
        enum Reason: Sendable, Hashable {
            /// The messages up to there were deleted.
            case deleted
            /// It is another log.
            case anotherLog
        }

        var partition: Int32
        var from: LogPosition
        var to: LogPosition
        var reason: Reason
    }

    /// What a message means that the consumer gives.
    enum Arrival: Sendable, Hashable {
        /// It is the next one.
        case next
        /// It was taken before.
        case known
        /// It does not count, nor does what comes behind it.
        case refused
        /// The same, as the consumer has gone on elsewhere by itself: it is moved to its place once more.
        case elsewhere(expected: Int64)
    }

    /// What had been taken of a partition while its leader was seen: two looks ago, and at the last one.
    private struct Anchor: Sendable, Hashable {
        var settled: Place
        var recent: Place
    }

    /// The assigned partitions.
    private(set) var states: [Int32: State] = [:]
    /// The assigned partitions that the consumer has paused.
    private(set) var paused: Set<Int32> = []
    /// Those for which something failed; `settle` leaves them alone until `retry`.
    private(set) var failed: Set<Int32> = []
    /// The partitions in which the consumer was told where to go on and has given nothing yet: what it gives first is
    /// believed to come next, also after offsets without a message.
    private(set) var told: Set<Int32> = []
    /// The partitions in which offsets without a message were found to be real, as on a topic with transactions, since
    /// the consumer was last free to go elsewhere by itself.
    private(set) var sparse: Set<Int32> = []
    /// The partitions that were compared already when the broker last said that they go further.
    private var overdue: Set<Int32> = []
    /// Whether no more messages can be taken now.
    private(set) var isFull = false
    /// Whether nothing has happened since the last `settle` after which there may be something to do.
    private var isSettled = true

    /// The leaders of all partitions of the topic as they were last seen.
    private var leaders: [Int32: Int32] = [:]
    /// The partitions that have been without a leader since then.
    private var leaderless: Set<Int32> = []
    private var anchors: [Int32: Anchor] = [:]

    // MARK: What is known

    /// All that is assigned.
    var assigned: Set<Int32> { Set(states.keys) }

    /// The next offset of each partition that is read or could be: all before it was taken.
    var positions: [Int32: Int64] { states.compactMapValues { $0.place?.at } }

    /// Where a partition is read now; nil if nothing is taken of it, such as while its log is compared.
    func readPlace(_ partition: Int32) -> Place? {
        if case .read(let place)? = states[partition] { return place }
        return nil
    }

    /// Where the consumer is to begin in partitions that were assigned.
    func starts(_ partitions: Set<Int32>) -> [Int32: Int64] {
        states.filter { partitions.contains($0.key) }.compactMapValues { $0.place?.start }
    }

    // MARK: What happens

    /// The group has given partitions. The consumer starts those with a position there, and has paused the others.
    mutating func assign(_ partitions: Set<Int32>, at positions: [Int32: LogPosition]) {
        isSettled = false
        doubt()
        for partition in partitions {
            failed.remove(partition)
            anchors[partition] = nil
            if let position = positions[partition] {
                begin(partition, Place(position))
            } else {
                states[partition] = .unlocated
                paused.insert(partition)
            }
        }
    }

    private mutating func begin(_ partition: Int32, _ place: Place) {
        locate(partition, place)
        if isFull { return }
        start(partition)
        paused.remove(partition)
    }

    /// The consumer could not start partitions that the group has given; whether it has paused them does not matter.
    mutating func notStarted(_ partitions: Set<Int32>) {
        isSettled = false
        for partition in partitions where states[partition] != nil {
            step(back: partition)
            paused.insert(partition)
        }
    }

    /// The group has taken partitions away.
    mutating func revoke(_ partitions: Set<Int32>) {
        for partition in partitions {
            states[partition] = nil
            anchors[partition] = nil
        }
        doubt()
        paused.subtract(partitions)
        failed.subtract(partitions)
    }

    /// The consumer gives a message.
    /// - Parameter mark: what is kept of it; asked for only where it is to be compared.
    mutating func receive(_ partition: Int32, at offset: Int64, mark: () -> MessageMark) -> Arrival {
        switch states[partition] {
        case .compared(let place):
            guard let expected = place.mark, offset >= expected.offset else { return .known }
            if offset == expected.offset, mark() == expected {
                states[partition] = .read(place)
                return .known
            }
            if offset > expected.offset, !told.contains(partition) { return sendBack(partition, expected.offset) }
            miss(partition, place, .other)
            return .refused
        case .read(let place):
            return offset < place.at ? .known : follow(partition, place, offset)
        default:
            return .refused
        }
    }

    /// The consumer has come to the end of a partition.
    /// - Returns: `next` if all before this offset is read.
    mutating func receiveEnd(of partition: Int32, at offset: Int64) -> Arrival {
        switch states[partition] {
        case .compared(let place):
            guard told.contains(partition) else { return sendBack(partition, place.start) }
            miss(partition, place, offset > place.start ? .other : .nothing)
            return .refused
        case .read(let place):
            return offset < place.at ? .refused : follow(partition, place, offset)
        default:
            return .refused
        }
    }

    /// Whether what lies at an offset comes next: between it and the last message there must be no other. Offsets without
    /// a message are real if the consumer has found them going on from where it was told to; otherwise it is told to go
    /// back, and finds them again or what it had passed over.
    private mutating func follow(_ partition: Int32, _ place: Place, _ offset: Int64) -> Arrival {
        let wasTold = told.remove(partition) != nil
        if offset == place.at || offset == place.position.next && wasTold { return .next }
        if wasTold { sparse.insert(partition) }
        return sparse.contains(partition) ? .next : sendBack(partition, place.at)
    }

    private mutating func sendBack(_ partition: Int32, _ expected: Int64) -> Arrival {
        step(back: partition)
        return .elsewhere(expected: expected)
    }

    /// The broker does not have the offset at which the consumer wants to go on.
    /// - Parameter offset: which; negative if the consumer does not say.
    mutating func receiveOutOfRange(_ partition: Int32, at offset: Int64) -> Arrival {
        switch states[partition] {
        case .compared(let place):
            if offset >= 0, offset != place.start, !told.contains(partition) { return sendBack(partition, place.start) }
            miss(partition, place, .nothing)
        case .read(let place):
            if offset >= 0, offset != place.at { return sendBack(partition, place.at) }
            if place.mark == nil {
                miss(partition, place, .nothing)
            } else {
                locate(partition, place)
            }
        default: break
        }
        return .refused
    }

    /// All before an offset of a partition that is read has been taken.
    /// - Parameter last: the last message that was; nil if there was none.
    /// - Returns: the positions before and after it; nil if the partition is not read.
    mutating func advance(
        _ partition: Int32, to offset: Int64, last: MessageMark? = nil
    ) -> (from: LogPosition, to: LogPosition)? {
        guard case .read(var place)? = states[partition] else { return nil }
        let before = place.position
        // What is known of later messages is of a log that is read again from here.
        place.position = before.moved(to: offset, last: last ?? place.mark)
        place.at = offset
        place.mark = last ?? place.mark
        states[partition] = .read(place)
        return (before, place.position)
    }

    /// The broker says where a partition ends. What is behind that has been taken, or is to be compared, is not of this
    /// log.
    mutating func observe(end: Int64, of partition: Int32) {
        switch states[partition] {
        case .compared(let place) where end <= place.start: miss(partition, place, .nothing)
        case .compared(let place):
            // The message is there, or another one, and the consumer gives none: it is paused and moved once more. One
            // answer may have come before the message.
            if overdue.insert(partition).inserted { return }
            locate(partition, place)
            failed.insert(partition)
        case .read(let place) where end < place.at:
            if place.mark == nil {
                miss(partition, place, .nothing)
            } else {
                locate(partition, place)
            }
        default: break
        }
    }

    /// The broker refuses to give messages of a partition that is read. Being asked anew is the only way to learn that it
    /// gives them again, as it tells the end of a partition once only.
    mutating func refuse(_ partition: Int32) {
        isSettled = false
        step(back: partition)
        if case .located? = states[partition] { failed.insert(partition) }
    }

    /// What was taken is forgotten: the database says where all partitions are to be read.
    mutating func resynchronise() {
        isSettled = false
        for partition in states.keys { states[partition] = .unlocated }
        told = []
        anchors = [:]
        failed = []
    }

    /// No more messages can be taken.
    mutating func fill() {
        if isFull { return }
        isFull = true
        // Pausing drops what the consumer has fetched in advance.
        for partition in states.keys { step(back: partition) }
        isSettled = false
    }

    /// Messages can be taken again.
    mutating func makeRoom() {
        if !isFull { return }
        isFull = false
        isSettled = false
    }

    /// What failed is tried again at the next `settle`.
    mutating func retry() {
        if failed.isEmpty { return }
        failed = []
        isSettled = false
    }

    // MARK: Leaders

    /// The cluster says who leads the partitions of the topic, which it does every few seconds. A new leader may lack what
    /// the old one had acknowledged, or have the log of a topic that was made anew. So the partition is compared, with the
    /// last message that had been taken while the old leader was surely the one: what came later may be of the new log.
    /// - Parameter leaders: the number of the broker of each partition; negative or left out while there is none.
    mutating func observe(leaders: [Int32: Int32]) {
        leaderless.formUnion(self.leaders.keys.filter { leaders[$0] ?? -1 < 0 })
        for (partition, leader) in leaders where leader >= 0 {
            let before = self.leaders.updateValue(leader, forKey: partition) ?? leader
            let wasAway = leaderless.remove(partition) != nil
            if wasAway || before != leader {
                goBack(partition)
            } else if let place = readPlace(partition) {
                let anchor = anchors[partition]
                anchors[partition] = Anchor(settled: anchor?.recent ?? place, recent: place)
            }
        }
    }

    /// Connections to brokers were lost. Whatever a broker comes back with, the last message that was taken of it must be
    /// there.
    mutating func loseConnections(to brokers: Set<Int32>) {
        if brokers.isEmpty { return }
        for (partition, leader) in leaders where brokers.contains(leader) { step(back: partition) }
    }

    /// Something is or was wrong with a partition that is read, such as that its broker did not have it for a moment: its
    /// log is compared once more with the last message that was taken.
    mutating func compare(_ partition: Int32) { step(back: partition) }

    /// A partition is not there, such as one of a topic that was deleted: it may come back with another log.
    mutating func goBack(_ partition: Int32) {
        guard var place = states[partition]?.place else { return }
        if case .missed = states[partition] { return }
        if let anchor = anchors[partition]?.settled {
            (place.at, place.mark) = (anchor.at, anchor.mark)
            anchors[partition] = Anchor(settled: place, recent: place)
        }
        locate(partition, place)
    }

    // MARK: What is to be done

    /// Does all that is to be done for the partitions to be read; each thing once, until it works.
    /// - Returns: the partitions that go on elsewhere.
    mutating func settle(_ operations: inout some PartitionOperations) -> [Move] {
        // It is called at every turn of a busy loop.
        if isSettled { return [] }
        isSettled = true
        let unlocated = pending { $0 == .unlocated }
        // Before anything that may take long, so that nothing is fetched in vain.
        pauseUnread(operations: &operations, except: isFull ? [] : pending(\.isLocated))
        if !unlocated.isEmpty {
            let positions = operations.locate(unlocated)
            for partition in unlocated {
                if let position = positions[partition] {
                    states[partition] = .located(Place(position))
                } else {
                    failed.insert(partition)
                }
            }
        }
        let moves = judge(&operations)
        if !isFull { start(&operations) }
        pauseUnread(operations: &operations, except: [])
        return moves
    }

    /// Asks which offsets the broker has where what was expected is not there.
    private mutating func judge(_ operations: inout some PartitionOperations) -> [Move] {
        let missed = pending(\.isMissed)
        if missed.isEmpty { return [] }
        let bounds = operations.bounds(of: missed)
        var moves: [Move] = []
        for case (let partition, .missed(var place, let evidence)) in states where missed.contains(partition) {
            guard let (low, end) = bounds[partition] else {
                failed.insert(partition)
                continue
            }
            let before = place.position
            if low > place.start {
                // What may lie behind what was read last is read in any case.
                place.position = before.moved(to: max(before.next, low))
                (place.at, place.mark) = (low, nil)
                if low > before.next {
                    moves.append(Move(partition: partition, from: before, to: place.position, reason: .deleted))
                }
            } else if evidence == .other || end < place.at {
                place = Place(LogPosition(next: low, generation: before.generation + 1))
                moves.append(Move(partition: partition, from: before, to: place.position, reason: .anotherLog))
            } else {
                // The broker has it by now, or is about to: a leader that was elected a moment ago does not show all that
                // it has.
                failed.insert(partition)
            }
            states[partition] = .located(place)
            if failed.contains(partition) { continue }
            anchors[partition] = Anchor(settled: place, recent: place)
        }
        return moves
    }

    /// Resumes and moves what is located. In this order: after a resume librdkafka goes on where it has been, so the
    /// move comes last.
    private mutating func start(_ operations: inout some PartitionOperations) {
        var ready = pending(\.isLocated)
        let resting = ready.intersection(paused)
        if !resting.isEmpty {
            let resumed = operations.resume(resting)
            paused.subtract(resumed)
            failed.formUnion(resting.subtracting(resumed))
            ready.subtract(failed)
        }
        if ready.isEmpty { return }
        let moved = operations.seek(starts(ready))
        failed.formUnion(ready.subtracting(moved))
        for partition in moved { start(partition) }
    }

    /// The consumer stands where a partition begins.
    private mutating func start(_ partition: Int32) {
        guard case .located(let place)? = states[partition] else { return }
        states[partition] = place.mark == nil ? .read(place) : .compared(place)
        told.insert(partition)
        overdue.remove(partition)
        if anchors[partition] == nil { anchors[partition] = Anchor(settled: place, recent: place) }
    }

    private mutating func pauseUnread(operations: inout some PartitionOperations, except started: Set<Int32>) {
        let unread = states.filter { !$0.value.isStarted && !paused.contains($0.key) && !started.contains($0.key) }
        if unread.isEmpty { return }
        operations.pause(Set(unread.keys))
        paused.formUnion(unread.keys)
    }

    /// Whatever is read may go on elsewhere now: librdkafka pauses all partitions at each rebalance and goes on where it
    /// believes it has been.
    private mutating func doubt() {
        told = []
        sparse = []
    }

    private mutating func locate(_ partition: Int32, _ place: Place) {
        states[partition] = .located(place)
        told.remove(partition)
        isSettled = false
    }

    private mutating func miss(_ partition: Int32, _ place: Place, _ evidence: Evidence) {
        states[partition] = .missed(place, evidence)
        told.remove(partition)
        isSettled = false
    }

    /// A partition that is read or compared is to be moved to its place once more.
    private mutating func step(back partition: Int32) {
        if let state = states[partition], state.isStarted, let place = state.place { locate(partition, place) }
    }

    private func pending(_ isMeant: (State) -> Bool) -> Set<Int32> {
        Set(states.filter { isMeant($0.value) && !failed.contains($0.key) }.keys)
    }
}

extension PartitionStates.State {
    fileprivate var isLocated: Bool {
        if case .located = self { return true }
        return false
    }

    fileprivate var isMissed: Bool {
        if case .missed = self { return true }
        return false
    }

    /// Whether the consumer gives messages of it that count.
    var isStarted: Bool {
        switch self {
        case .compared, .read: true
        case .unlocated, .located, .missed: false
        }
    }
}

/// What is done with the partitions of a consumer.
protocol PartitionOperations {
    /// Asks the database where partitions are to be read.
    /// - Returns: the positions that it knows; the others are asked for again later.
    mutating func locate(_ partitions: Set<Int32>) -> [Int32: LogPosition]
    /// Asks the broker which offsets it has of partitions: that of the first message, and the one after the last message
    /// that can be read.
    /// - Returns: those that it says.
    mutating func bounds(of partitions: Set<Int32>) -> [Int32: (low: Int64, end: Int64)]
    /// Lets the consumer stop reading partitions. One that it does not know is not read either.
    mutating func pause(_ partitions: Set<Int32>)
    /// Lets the consumer read paused partitions again.
    /// - Returns: those for which that worked.
    mutating func resume(_ partitions: Set<Int32>) -> Set<Int32>
    /// Moves the consumer.
    /// - Returns: those for which that worked.
    mutating func seek(_ offsets: [Int32: Int64]) -> Set<Int32>
}
