/// Numbers of one stream, one after the other, that are not there for one reason.
struct LossRange: Sendable, Equatable {
    /// The first number.
    var first: Int64
    /// The last number, at least `first`.
    var last: Int64
    /// Why they are not there.
    var reason = LossReason.unknown
    /// The event time of the reading `first - 1`, milliseconds since 1970; nil if that is not there, or not known.
    var timeBefore: Int64?
    /// The event time of the reading `last + 1`, milliseconds since 1970; nil if that is not there, or not known.
    var timeAfter: Int64?

    /// How many numbers there are.
    var count: Int64 { last - first + 1 }
}

/// The ranges of one stream, disjoint and in order.
///
/// They stand in short arrays, so that a change costs the same among ten ranges and among a million, which an outbox
/// that thins its readings makes.
struct LossRanges: Sendable {
    /// None is empty.
    private var chunks: [[LossRange]] = []
    /// How many ranges there are.
    private(set) var count = 0
    /// How many numbers they hold.
    private(set) var numbers: Int64 = 0

    private static let longestChunk = 256

    /// Takes up ranges.
    /// - Parameter ranges: disjoint and in order.
    init(_ ranges: [LossRange] = []) {
        for start in stride(from: 0, to: ranges.count, by: LossRanges.longestChunk / 2) {
            chunks.append(Array(ranges[start..<min(start + LossRanges.longestChunk / 2, ranges.count)]))
        }
        count = ranges.count
        numbers = ranges.reduce(0) { $0 + $1.count }
    }

    /// All of them, in order.
    var all: FlattenSequence<[[LossRange]]> { chunks.joined() }

    /// The last one.
    var last: LossRange? { chunks.last?.last }

    /// The first one that ends at a number or after it.
    func firstRange(through number: Int64) -> LossRange? {
        let chunk = LossRanges.firstIndex(chunks.count) { (chunks[$0].last?.last ?? .min) >= number }
        guard chunk < chunks.count else { return nil }
        let ranges = chunks[chunk]
        return ranges[LossRanges.firstIndex(ranges.count) { ranges[$0].last >= number }]
    }

    /// The one that holds a number.
    func range(containing number: Int64) -> LossRange? {
        firstRange(through: number).flatMap { $0.first <= number ? $0 : nil }
    }

    /// The one that ends with a number.
    func range(endingWith number: Int64) -> LossRange? {
        firstRange(through: number).flatMap { $0.last == number ? $0 : nil }
    }

    /// The one that begins with a number. What is set must not overlap another one.
    subscript(first: Int64) -> LossRange? {
        get { firstRange(through: first).flatMap { $0.first == first ? $0 : nil } }
        set {
            // The last chunk that begins at the number or before it, so that chunks grow at their ends.
            let chunk = max(0, LossRanges.firstIndex(chunks.count) { chunks[$0][0].first > first } - 1)
            if chunks.isEmpty { chunks.append([]) }
            let place = LossRanges.firstIndex(chunks[chunk].count) { chunks[chunk][$0].first >= first }
            if place < chunks[chunk].count, chunks[chunk][place].first == first {
                numbers -= chunks[chunk].remove(at: place).count
                count -= 1
            }
            if let range = newValue {
                chunks[chunk].insert(range, at: place)
                numbers += range.count
                count += 1
            }
            if chunks[chunk].isEmpty {
                chunks.remove(at: chunk)
            } else if chunks[chunk].count > LossRanges.longestChunk {
                let middle = LossRanges.longestChunk / 2
                chunks.insert(Array(chunks[chunk][middle...]), at: chunk + 1)
                chunks[chunk].removeSubrange(middle...)
            }
        }
    }

    /// The first index below `count` for which a condition holds that holds for all after it; `count` if there is none.
    private static func firstIndex(_ count: Int, where holds: (Int) -> Bool) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if holds(middle) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
