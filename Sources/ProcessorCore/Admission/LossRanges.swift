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
    /// Neighbouring ranges, at least one.
    private struct Chunk {
        var ranges: [LossRange]
        /// What they come to; nil since they changed.
        var digest: [Digest]?
    }

    /// What the ranges of a chunk with one reason come to.
    struct Digest: Sendable, Equatable {
        var reason: LossReason
        /// When the first and the last of them were seen, milliseconds since 1970; nil if nobody knows when any was.
        var seen: ClosedRange<Int64>?
        /// How many numbers are in those.
        var count: Int64 = 0
        /// How many are in ranges of which nobody knows when they were seen.
        var untimed: Int64 = 0
    }

    private var chunks: [Chunk] = []
    /// How many ranges there are.
    private(set) var count = 0
    /// How many numbers they hold.
    private(set) var numbers: Int64 = 0

    private static let longestChunk = 256

    /// Takes up ranges.
    /// - Parameter ranges: disjoint and in order.
    init(_ ranges: [LossRange] = []) {
        for start in stride(from: 0, to: ranges.count, by: LossRanges.longestChunk / 2) {
            chunks.append(
                Chunk(ranges: Array(ranges[start..<min(start + LossRanges.longestChunk / 2, ranges.count)])))
        }
        count = ranges.count
        numbers = ranges.reduce(0) { $0 + $1.count }
    }

    /// All of them, in order.
    var all: FlattenSequence<[[LossRange]]> { chunks.map(\.ranges).joined() }

    /// The last one.
    var last: LossRange? { chunks.last?.ranges.last }

    /// The first one that ends at a number or after it.
    func firstRange(through number: Int64) -> LossRange? {
        let chunk = LossRanges.firstIndex(chunks.count) { (chunks[$0].ranges.last?.last ?? .min) >= number }
        guard chunk < chunks.count else { return nil }
        let ranges = chunks[chunk].ranges
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
            let chunk = max(0, LossRanges.firstIndex(chunks.count) { chunks[$0].ranges[0].first > first } - 1)
            if chunks.isEmpty { chunks.append(Chunk(ranges: [])) }
            chunks[chunk].digest = nil
            let place = LossRanges.firstIndex(chunks[chunk].ranges.count) { chunks[chunk].ranges[$0].first >= first }
            if place < chunks[chunk].ranges.count, chunks[chunk].ranges[place].first == first {
                numbers -= chunks[chunk].ranges.remove(at: place).count
                count -= 1
            }
            if let range = newValue {
                chunks[chunk].ranges.insert(range, at: place)
                numbers += range.count
                count += 1
            }
            if chunks[chunk].ranges.isEmpty {
                chunks.remove(at: chunk)
            } else if chunks[chunk].ranges.count > LossRanges.longestChunk {
                let middle = LossRanges.longestChunk / 2
                chunks.insert(Chunk(ranges: Array(chunks[chunk].ranges[middle...])), at: chunk + 1)
                chunks[chunk].ranges.removeSubrange(middle...)
            }
        }
    }

    /// What the ranges come to that were seen at some time or later, with those of which nobody knows when. Only chunks that
    /// have changed, or of which only a part is that new, are looked through.
    /// - Parameter since: milliseconds since 1970.
    mutating func digests(since: Int64) -> [Digest] {
        var found: [Digest] = []
        for index in chunks.indices {
            let digests = chunks[index].digest ?? LossRanges.digests(of: chunks[index].ranges, since: .min)
            chunks[index].digest = digests
            let isMixed = digests.contains { digest in
                digest.seen.map { $0.lowerBound < since && $0.upperBound >= since } ?? false
            }
            if isMixed {
                found += LossRanges.digests(of: chunks[index].ranges, since: since)
            } else {
                for var digest in digests {
                    if let seen = digest.seen, seen.upperBound < since { (digest.seen, digest.count) = (nil, 0) }
                    if digest.count + digest.untimed > 0 { found.append(digest) }
                }
            }
        }
        return found
    }

    private static func digests(of ranges: [LossRange], since: Int64) -> [Digest] {
        var digests: [Digest] = []
        for range in ranges {
            let index = digests.firstIndex { $0.reason == range.reason } ?? digests.count
            if index == digests.count { digests.append(Digest(reason: range.reason)) }
            // A late reading on one side of a hole does not make the hole old.
            guard let seen = [range.timeBefore, range.timeAfter].compactMap({ $0 }).max() else {
                digests[index].untimed += range.count
                continue
            }
            if seen < since { continue }
            digests[index].count += range.count
            digests[index].seen =
                digests[index].seen.map { min($0.lowerBound, seen)...max($0.upperBound, seen) } ?? seen...seen
        }
        return digests.filter { $0.count + $0.untimed > 0 }
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
