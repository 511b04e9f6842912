/// Which reports are on their way to the broker, and what is to be noted of those that it has.
struct ReportLedger {
    /// What a report tells.
    struct Content {
        var id: Int64
        /// Streams by their place in the file, and how much of each.
        var streams: [(ordinal: Int64, told: StreamRow.Told)] = []
        /// Gaps by their rows, and what of them is not told by it.
        var gaps: [(id: Int64, rest: NumberRanges)] = []
        /// Whether it tells the end of the stream that still runs.
        var tellsEnd = false
    }

    private var given: [Content] = []
    /// Those of them that the broker refused: they are not given again at once.
    private var refused: Set<Int64> = []
    /// Reports that the broker has, and the file does not know of yet.
    private(set) var acknowledged: [Content] = []
    private var lastID: Int64 = 0
    /// Whether the end of the running stream was told: whoever goes on with it must take that back.
    private(set) var isEndTold = false

    /// Whether a gap's row is in a report that the file does not know of yet.
    func isGiven(gap id: Int64) -> Bool {
        given.contains { $0.gaps.contains { $0.id == id } }
            || acknowledged.contains { $0.gaps.contains { $0.id == id } }
    }

    /// How much of a stream is told by such reports.
    func given(stream ordinal: Int64) -> StreamRow.Told {
        let levels = (given + acknowledged).flatMap(\.streams).filter { $0.ordinal == ordinal }.map(\.told.rawValue)
        return levels.max().flatMap(StreamRow.Told.init) ?? .nothing
    }

    /// How many rows such reports hold.
    var rows: Int { (given + acknowledged).reduce(0) { $0 + $1.streams.count + $1.gaps.count } }

    /// Notes that a report is on its way.
    /// - Returns: its name.
    mutating func give(_ content: Content) -> Int64 {
        lastID += 1
        var content = content
        content.id = lastID
        given.append(content)
        return lastID
    }

    /// The broker has a report.
    mutating func acknowledge(_ id: Int64) {
        guard let index = given.firstIndex(where: { $0.id == id }) else { return }
        let content = given.remove(at: index)
        isEndTold = isEndTold || content.tellsEnd
        acknowledged.append(content)
    }

    /// The file knows of reports.
    mutating func settled(_ ids: [Int64]) {
        acknowledged.removeAll { ids.contains($0.id) }
    }

    /// The running stream has further numbers.
    mutating func goesOn() {
        isEndTold = false
    }

    /// The broker refuses a report.
    mutating func refuse(_ id: Int64) {
        refused.insert(id)
    }

    /// What was refused is to be given once more.
    mutating func renew() {
        given.removeAll { refused.contains($0.id) }
        refused = []
    }

    /// Nothing is on its way any more.
    mutating func release() {
        given.removeAll { !refused.contains($0.id) }
    }

    /// The file is another one: what it does not know of is told again.
    mutating func forget() {
        given = []
        refused = []
        acknowledged = []
        isEndTold = false
    }
}
