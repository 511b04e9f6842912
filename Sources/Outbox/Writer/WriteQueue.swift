/// The readings that wait to be committed: bounded, in order. Pure.
struct WriteQueue {
    /// Readings that are committed together.
    struct Group {
        var records: [OutboxRecord]
        /// Readings before them that were given up for want of room; they use up numbers.
        var dropped: Int
        /// When the oldest of them was enqueued, since the writer's beginning.
        var oldest: Duration
    }

    /// The most readings.
    let capacity: Int
    /// Readings given up since the last group was taken, all of them older than those that wait.
    private(set) var dropped = 0
    private var waiting: [(record: OutboxRecord, since: Duration)] = []
    /// Where `waiting` begins: taking the oldest moves none of the others.
    private var start = 0

    /// - Parameter capacity: at least 1.
    init(capacity: Int) {
        self.capacity = max(1, capacity)
    }

    var count: Int { waiting.count - start }
    var isEmpty: Bool { count == 0 }
    /// Whether the next reading takes the place of the oldest one.
    var isFull: Bool { count >= capacity }
    /// When the oldest reading that waits was enqueued.
    var oldest: Duration? { isEmpty ? nil : waiting[start].since }

    /// Adds a reading. The oldest one goes if there is no room.
    mutating func append(_ record: OutboxRecord, at now: Duration) {
        waiting.append((record, now))
        shrink()
    }

    /// Takes the oldest readings.
    /// - Returns: nil if there are none.
    mutating func take(_ limit: Int) -> Group? {
        guard let oldest else { return nil }
        let end = min(start + limit, waiting.count)
        let group = Group(records: waiting[start..<end].map(\.record), dropped: dropped, oldest: oldest)
        dropped = 0
        start = end
        compact()
        return group
    }

    /// Puts back what was taken and could not be committed.
    mutating func putBack(_ group: Group) {
        waiting = group.records.map { ($0, group.oldest) } + waiting[start...]
        start = 0
        dropped += group.dropped
        shrink()
    }

    private mutating func shrink() {
        let excess = count - capacity
        guard excess > 0 else { return }
        start += excess
        dropped += excess
        compact()
    }

    private mutating func compact() {
        guard start > 1024, start > waiting.count / 2 else { return }
        waiting.removeFirst(start)
        start = 0
    }
}
