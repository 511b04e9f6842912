/// Which of the partitions that the group has given to a consumer are read, and from where: the only place that knows
/// what is assigned, located, paused and waiting.
///
/// It remembers what is, and `settle` does what is still to be done; nothing depends on an event being answered at the
/// time at which it comes. So whatever comes between two calls, and whichever call fails, an assigned partition is
/// either read or on the list of what is to be done. After each `settle` the consumer has paused exactly the assigned
/// partitions that are not read.
struct PartitionStates: Sendable, Hashable {
    /// What is known of an assigned partition.
    enum State: Sendable, Hashable {
        /// The database must be asked where to read it.
        case unlocated
        /// It is to be read from this offset; the consumer must be moved there first. What it gives until then does not
        /// count.
        case located(Int64)
        /// It is read; the next offset.
        case read(Int64)
        /// The broker has no message at this offset, which was the next: it must be asked which its first message is.
        case cut(Int64)
    }

    /// The reader of a partition that was cut goes on elsewhere.
    struct Move: Sendable, Hashable {
        var partition: Int32
        var from: Int64
        var to: Int64
    }

    /// The assigned partitions.
    private(set) var states: [Int32: State] = [:]
    /// The assigned partitions that the consumer has paused.
    private(set) var paused: Set<Int32> = []
    /// Those for which something failed; `settle` leaves them alone until `retry`.
    private(set) var failed: Set<Int32> = []
    /// The partitions that are read, and at which the consumer may have gone on elsewhere by itself: librdkafka pauses all
    /// partitions at each rebalance and goes on where it believes it has been.
    private(set) var doubted: Set<Int32> = []
    /// Whether no more messages can be taken now.
    private(set) var isFull = false
    /// Whether nothing has happened since the last `settle` after which there may be something to do.
    private var isSettled = true

    // MARK: What is known

    /// All that is assigned.
    var assigned: Set<Int32> { Set(states.keys) }

    /// The next offset of each partition whose position is known, read or not.
    var positions: [Int32: Int64] {
        states.compactMapValues { state in
            switch state {
            case .unlocated: nil
            case .located(let offset), .read(let offset), .cut(let offset): offset
            }
        }
    }

    /// Where a partition is read now; nil if what the consumer gives of it does not count.
    func readPosition(_ partition: Int32) -> Int64? {
        if case .read(let offset)? = states[partition] { return offset }
        return nil
    }

    // MARK: What happens

    /// The group has given partitions. The consumer has started those with an offset there, and has paused the others.
    mutating func assign(_ partitions: Set<Int32>, at offsets: [Int32: Int64]) {
        isSettled = false
        doubt()
        for partition in partitions {
            doubted.remove(partition)
            failed.remove(partition)
            if let offset = offsets[partition] {
                states[partition] = isFull ? .located(offset) : .read(offset)
                paused.remove(partition)
            } else {
                states[partition] = .unlocated
                paused.insert(partition)
            }
        }
    }

    /// The consumer could not start partitions that the group has given; whether it has paused them does not matter.
    mutating func notStarted(_ partitions: Set<Int32>) {
        isSettled = false
        for partition in partitions {
            if case .read(let offset)? = states[partition] { states[partition] = .located(offset) }
            if states[partition] != nil { paused.insert(partition) }
        }
    }

    /// The group has taken partitions away.
    mutating func revoke(_ partitions: Set<Int32>) {
        for partition in partitions { states[partition] = nil }
        doubt()
        paused.subtract(partitions)
        failed.subtract(partitions)
    }

    /// The consumer gives what lies at an offset of a partition: a message, its end, or that there is nothing.
    /// - Returns: whether it is what comes next. If not, and the consumer may have gone on elsewhere by itself, it is to
    ///   be moved to the position once more. Offsets without a message are common on a topic with transactions, so what
    ///   it gives when it was told where to go on is believed.
    mutating func goesOn(_ partition: Int32, at offset: Int64) -> Bool {
        guard case .read(let position)? = states[partition] else { return false }
        if doubted.remove(partition) == nil || offset == position { return true }
        states[partition] = .located(position)
        isSettled = false
        return false
    }

    /// All before an offset of a partition that is read has been taken.
    mutating func advance(_ partition: Int32, to offset: Int64) {
        if case .read? = states[partition] { states[partition] = .read(offset) }
    }

    /// The broker has no message at the position of a partition that is read.
    mutating func cut(_ partition: Int32) {
        guard case .read(let offset)? = states[partition] else { return }
        states[partition] = .cut(offset)
        isSettled = false
    }

    /// The broker refuses to give messages of a partition that is read. Being asked anew is the only way to learn that it
    /// gives them again, as it tells the end of a partition once only.
    mutating func refuse(_ partition: Int32) {
        guard case .read(let offset)? = states[partition] else { return }
        states[partition] = .located(offset)
        failed.insert(partition)
        isSettled = false
    }

    /// What was taken is forgotten: the database says where all partitions are to be read.
    mutating func resynchronise() {
        isSettled = false
        for partition in states.keys { states[partition] = .unlocated }
        failed = []
    }

    /// No more messages can be taken.
    mutating func fill() {
        if isFull { return }
        isFull = true
        isSettled = false
        // Pausing drops what the consumer has fetched in advance.
        for case (let partition, .read(let offset)) in states { states[partition] = .located(offset) }
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

    // MARK: What is to be done

    /// Does all that is to be done for the partitions to be read; each thing once, until it works.
    /// - Returns: the partitions that go on elsewhere because the broker has no message at their position.
    mutating func settle(_ operations: inout some PartitionOperations) -> [Move] {
        // It is called at every turn of a busy loop.
        if isSettled { return [] }
        isSettled = true
        let unlocated = pending { $0 == .unlocated }
        // Before anything that may take long, so that nothing is fetched in vain.
        pauseUnread(operations: &operations, except: isFull ? [] : pending(\.isLocated))
        if !unlocated.isEmpty {
            let offsets = operations.locate(unlocated)
            for partition in unlocated {
                if let offset = offsets[partition] {
                    states[partition] = .located(offset)
                } else {
                    failed.insert(partition)
                }
            }
        }
        var moves: [Move] = []
        for case (let partition, .cut(let offset)) in states where !failed.contains(partition) {
            if let first = operations.firstOffset(of: partition) {
                states[partition] = .located(first)
                moves.append(Move(partition: partition, from: offset, to: first))
            } else {
                failed.insert(partition)
            }
        }
        if !isFull { start(&operations) }
        pauseUnread(operations: &operations, except: [])
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
        let moved = operations.seek(positions.filter { ready.contains($0.key) })
        failed.formUnion(ready.subtracting(moved))
        for partition in moved {
            if case .located(let offset)? = states[partition] { states[partition] = .read(offset) }
        }
        doubted.subtract(moved)
    }

    private mutating func pauseUnread(operations: inout some PartitionOperations, except started: Set<Int32>) {
        let unread = states.keys.filter { partition in
            readPosition(partition) == nil && !paused.contains(partition) && !started.contains(partition)
        }
        if unread.isEmpty { return }
        operations.pause(Set(unread))
        paused.formUnion(unread)
    }

    /// Whatever is read may go on elsewhere now.
    private mutating func doubt() {
        doubted = Set(states.keys.filter { readPosition($0) != nil })
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
}

/// What is done with the partitions of a consumer.
protocol PartitionOperations {
    /// Asks the database where partitions are to be read.
    /// - Returns: the offsets that it knows; the others are asked for again later.
    mutating func locate(_ partitions: Set<Int32>) -> [Int32: Int64]
    /// Asks the broker for the offset of its first message of a partition.
    /// - Returns: nil if it does not say.
    mutating func firstOffset(of partition: Int32) -> Int64?
    /// Lets the consumer stop reading partitions. One that it does not know is not read either.
    mutating func pause(_ partitions: Set<Int32>)
    /// Lets the consumer read paused partitions again.
    /// - Returns: those for which that worked.
    mutating func resume(_ partitions: Set<Int32>) -> Set<Int32>
    /// Moves the consumer.
    /// - Returns: those for which that worked.
    mutating func seek(_ offsets: [Int32: Int64]) -> Set<Int32>
}
